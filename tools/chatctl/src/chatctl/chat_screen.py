"""The terminal's screen: keys and events in, drawings and calls of the chat out. One view, replaced as a whole.

Owns the tasks that wait for answers. Never decides what a tick means: the view does.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from chatclient import Chat, ChatError, EpochChanged, Message, SendRefused, SyncDone, new_message_id
from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Point
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.layout import FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import TextArea

from chatctl import chat_drawing as drawing
from chatctl import chat_view as view_of
from chatctl.chat_view import View

PAGE_LINES = 10
"""Messages that PageUp and PageDown move by."""
TYPING_PAUSE_S = 3.0
"""Seconds between two typing frames: the peer shows one for 5, so a slow typist never flickers."""
REDRAW_S = 1.0
"""Seconds between two drawings without a reason: typing must disappear although nothing happens."""


class Screen:
    """A conversation of `user` with `peer` on the terminal; `run` it once."""

    def __init__(self, chat: Chat, user: str, peer: str) -> None:
        self._chat = chat
        waiting = [(message.id, message.body) for message in chat.unsent() if message.to == peer]
        self.view: View = view_of.begin(user, peer, chat.marks(peer), waiting)
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking = self._paged = False
        self._typed_at = float("-inf")
        self._input = TextArea(height=1, multiline=False, prompt="> ", accept_handler=self._accept)
        self._input.buffer.on_text_changed += self._changed
        self.app: Application[None] = Application(
            layout=Layout(self._layout(), focused_element=self._input),
            key_bindings=self._keys(),
            style=Style.from_dict(drawing.STYLE),
            full_screen=True,
            refresh_interval=REDRAW_S,
        )

    async def run(self) -> None:
        """Show the conversation until the user leaves; raise what ended the chat."""
        self._chat.subscribe([self.view.peer])
        self._own(self._follow(), "follow")
        try:
            await self.app.run_async(handle_sigint=True)
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _layout(self) -> HSplit:
        lines = FormattedTextControl(
            lambda: drawing.draw_lines(self.view),
            show_cursor=False,
            get_cursor_position=lambda: Point(0, drawing.row_of_focus(self.view)),
        )
        status = FormattedTextControl(lambda: drawing.draw_status(self.view))
        typing = FormattedTextControl(lambda: drawing.draw_typing(self.view, time.monotonic()))
        return HSplit(
            [
                Window(status, height=1, style="class:status"),
                Window(lines, wrap_lines=True),
                Window(typing, height=1),
                self._input,
            ]
        )

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c")
        @keys.add("c-d")
        def leave(_: object) -> None:
            self.app.exit()

        @keys.add("pageup")
        def back(_: object) -> None:
            self._show(view_of.scrolled(self.view, PAGE_LINES))
            if self.view.back + PAGE_LINES >= len(self.view.lines):
                self._want_older()

        @keys.add("pagedown")
        def forward(_: object) -> None:
            self._show(view_of.scrolled(self.view, -PAGE_LINES))

        return keys

    async def _follow(self) -> None:
        """Show what the chat tells, and say that what is shown was read."""
        async for event in self._chat:
            self._show(view_of.happened(self.view, event, time.monotonic()))
            if isinstance(event, Message) and (event.peer, event.sender) == (self.view.peer, self.view.peer):
                self._chat.read(event.peer, event.seq)
            self._paged = self._paged and not isinstance(event, EpochChanged)
            if isinstance(event, SyncDone) and not self._paged:
                self._want_older()

    def _accept(self, buffer: Buffer) -> bool:
        if buffer.text.strip():
            message_id = new_message_id()
            self._show(view_of.wrote(self.view, message_id, buffer.text))
            self._own(self._send(message_id, buffer.text), "send")
        return False  # empties the input

    async def _send(self, message_id: str, body: str) -> None:
        try:
            sent = await self._chat.send(self.view.peer, body, message_id=message_id)
        except SendRefused as refusal:
            self._show(view_of.refused(self.view, message_id, refusal.code))
        except ChatError as error:
            self._show(view_of.refused(self.view, message_id, str(error)))
        else:
            self._show(view_of.committed(self.view, sent))

    def _want_older(self) -> None:
        if self.view.older and not self._asking:
            self._asking = True
            self._own(self._fetch_older(), "history")

    async def _fetch_older(self) -> None:
        try:
            page = await self._chat.history(self.view.peer, before=self.view.first_seq)
            self._paged = True
            self._show(view_of.paged(self.view, page))
            read = max((message.seq for message in page.messages if message.sender == self.view.peer), default=0)
            if read:
                self._chat.read(self.view.peer, read)
        finally:
            self._asking = False

    def _changed(self, buffer: Buffer) -> None:
        now_s = time.monotonic()
        if buffer.text and now_s - self._typed_at >= TYPING_PAUSE_S:
            self._typed_at = now_s
            self._chat.typing(self.view.peer)

    def _show(self, view: View) -> None:
        self.view = view
        self.app.invalidate()

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"chat-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """Let an error end the screen instead of vanishing in a task."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self.app.is_running and not self.app.is_done:
            self.app.exit(exception=error)
