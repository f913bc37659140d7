"""What a terminal chat knows of one conversation: its lines, their ticks, and what the status line says.

Pure: a value and the functions that make the next one. Never draws, reads a clock or sends.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from chatclient import (
    Connected,
    Disconnected,
    EpochChanged,
    Event,
    HistoryPage,
    Marks,
    Message,
    Presence,
    Receipt,
    SendFailed,
    Sent,
    SyncDone,
    Typing,
)

LINES_MAX = 5_000
"""Messages kept for scrolling. When it is full older pages are no longer asked for, and of new messages the
oldest line gives way: the terminal is a window, the server has them all."""
TYPING_S = 5.0
"""Seconds that the peer's typing is shown: the time that the protocol names."""


class Tick(Enum):
    """How far a message of one's own has come."""

    WAITING = "waiting"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Line:
    """A message as shown; `seq` and `ts` are None until the server has committed it."""

    id: str
    sender: str
    body: str
    seq: int | None = None
    ts: int | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """The whole state of the screen. Lines are in order, those without a seq at the end.

    `back` counts the lines below the one that the screen ends with; `older` tells whether history has more.
    """

    user: str
    peer: str
    lines: tuple[Line, ...] = ()
    delivered: int = 0
    read: int = 0
    online: bool | None = None
    last_seen: int | None = None
    typing_until: float = 0.0
    connection: str = "connecting"
    back: int = 0
    older: bool = True

    @property
    def first_seq(self) -> int | None:
        """The seq of the oldest line: where an older page ends."""
        return next((line.seq for line in self.lines if line.seq is not None), None)


def begin(user: str, peer: str, marks: Marks, waiting: Iterable[tuple[str, str]] = ()) -> View:
    """Start with what the device remembers: marks, and (id, body) of messages that still wait."""
    lines = tuple(Line(id=key, sender=user, body=body) for key, body in waiting)
    return View(user, peer, lines=lines, delivered=marks.peer_delivered, read=marks.peer_read)


def tick(view: View, line: Line) -> Tick | None:
    """Read off the marks how far a line has come; None for the peer's own."""
    if line.sender != view.user:
        return None
    if line.refusal:
        return Tick.REFUSED
    if line.seq is None:
        return Tick.WAITING
    if line.seq <= view.read:
        return Tick.READ
    return Tick.DELIVERED if line.seq <= view.delivered else Tick.SENT


def wrote(view: View, message_id: str, body: str) -> View:
    """The user sent a message; the screen goes to the end."""
    return replace(_add(view, [Line(id=message_id, sender=view.user, body=body)]), back=0)


def committed(view: View, sent: Sent) -> View:
    """A message has its place in the conversation."""
    lines = [replace(line, seq=sent.seq, ts=sent.ts) if _is(line, view.user, sent.id) else line for line in view.lines]
    return replace(view, lines=_ordered(lines))


def refused(view: View, message_id: str, code: str) -> View:
    """A message will never be sent."""
    lines = tuple(replace(line, refusal=code) if _is(line, view.user, message_id) else line for line in view.lines)
    return replace(view, lines=lines)


def paged(view: View, page: HistoryPage) -> View:
    """Older messages came; the screen stays where it is."""
    mine = [message for message in page.messages if message.sender == view.user]
    delivered = [message.seq for message in mine if message.state in ("delivered", "read")]
    read = [message.seq for message in mine if message.state == "read"]
    view = _add(view, [_line(message) for message in page.messages])
    return replace(
        view,
        delivered=max([view.delivered, *delivered]),
        read=max([view.read, *read]),
        older=page.more and len(view.lines) < LINES_MAX,
    )


def scrolled(view: View, by: int) -> View:
    """Go back by so many lines, or forward by a negative number."""
    return replace(view, back=max(0, min(len(view.lines) - 1, view.back + by)))


def happened(view: View, event: Event, now_s: float) -> View:
    """Apply what the chat tells; what concerns other conversations changes nothing."""
    match event:
        case Message(peer=view.peer):
            still = 0.0 if event.sender == view.peer else view.typing_until
            return replace(_add(view, [_line(event)]), typing_until=still)
        case Receipt(peer=view.peer, user=view.peer):
            return replace(view, delivered=max(view.delivered, event.delivered), read=max(view.read, event.read))
        case Sent(peer=view.peer):
            return committed(view, event)
        case SendFailed(peer=view.peer):
            return refused(view, event.id, event.code)
        case EpochChanged():
            waiting = tuple(line for line in view.lines if line.seq is None)
            return replace(view, lines=waiting, delivered=0, read=0, back=0, older=True)
    return _status(view, event, now_s)


def _status(view: View, event: Event, now_s: float) -> View:
    match event:
        case Presence(user=view.peer):
            return replace(view, online=event.online, last_seen=event.last_seen)
        case Typing(peer=view.peer):
            return replace(view, typing_until=now_s + TYPING_S)
        case Connected():
            return replace(view, connection="catching up")
        case SyncDone():
            return replace(view, connection="connected")
        case Disconnected():
            # What the peer does is unknown without a connection: better nothing than an old truth.
            why = f"{event.reason}; again in {event.retry_in_s:.0f} s"
            return replace(view, connection=f"reconnecting ({why})", online=None, typing_until=0.0)
    return view


def _line(message: Message) -> Line:
    return Line(id=message.id, sender=message.sender, body=message.body, seq=message.seq, ts=message.ts)


def _is(line: Line, sender: str, message_id: str) -> bool:
    return (line.sender, line.id) == (sender, message_id)


def _add(view: View, new: list[Line]) -> View:
    """Put lines in their places; one that is there already, by its sender and id, is replaced."""
    keys = {(line.sender, line.id) for line in new}
    lines = _ordered([*(line for line in view.lines if (line.sender, line.id) not in keys), *new])
    newest = view.lines[-1].seq if view.lines else None
    later = sum(1 for line in new if line.seq is None or newest is None or line.seq > newest)
    # A screen that was scrolled back keeps its place when messages come below it.
    back = min(view.back + later, len(lines) - 1) if view.back else 0
    return replace(view, lines=lines[-LINES_MAX:], back=back)


def _ordered(lines: list[Line]) -> tuple[Line, ...]:
    return tuple(sorted(lines, key=lambda line: float("inf") if line.seq is None else line.seq))
