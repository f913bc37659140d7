"""Owns the devices of a run that use the project's own client library, as an application would.

They record what the application sees. When and how often the library sends or acknowledges is its own affair: a send
is recorded when it is submitted, an acknowledgement when the library has recorded what it will acknowledge.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import chatclient
from chatclient import Chat, ChatError, MemoryState
from chatclient.session.records import PeerRecord, Record

from chatctl.verify import history as h
from chatctl.verify.final_state import DeviceEnd
from chatctl.verify.history import History, Witness, digest
from chatctl.verify.system import System

STAY_S: Final = (5.0, 25.0)
"""Seconds that the program runs before it is closed and opened anew."""
UNSENT_MAX: Final = 50


class _WitnessedState(MemoryState):
    """Keeps a device's records, and tells of what it will acknowledge: records are written before frames go out."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness
        self._said: dict[str, tuple[int, int]] = {}

    def write(self, records: Sequence[Record]) -> None:
        """Keep these records."""
        for record in records:
            if isinstance(record, PeerRecord):
                self._note(record)
        super().write(records)

    def _note(self, record: PeerRecord) -> None:
        cursor, read = self._said.get(record.peer, (0, 0))
        if record.read > read:
            self._witness.saw(h.Acked, record.peer, record.read, read=True)
        if record.cursor > cursor:
            self._witness.saw(h.Acked, record.peer, record.cursor, read=False)
        self._said[record.peer] = (max(cursor, record.cursor), max(read, record.read))


class LibraryDevice:
    """One device of one user on chatclient, and the person behind it."""

    def __init__(
        self,
        *,
        user: str,
        device: str,
        peers: Sequence[str],
        talking: Callable[[], Sequence[str]],
        system: System,
        history: History,
        seed: str,
        every_s: float,
    ) -> None:
        self.user = user
        self.device = device
        self.calm = False
        """The program stays open, and sends and reads only."""
        self.quiet = False
        """It stays open and begins nothing."""
        self._peers = list(peers)
        self._talking = talking
        self._system = system
        self._witness = Witness(history, user, device)
        self._random = random.Random(seed)  # noqa: S311 - a seed is to give the same again
        self._every_s = every_s
        self._state = _WitnessedState(self._witness)
        self._count = 0
        self._chat: Chat | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._read: dict[str, int] = defaultdict(int)
        self._held: dict[str, dict[int, str]] = defaultdict(dict)

    async def run(self) -> None:
        """Open the program, use it and close it, over and over, until cancelled."""
        while True:
            await self._session()
            await asyncio.sleep(self._random.uniform(0, 3))

    async def _session(self) -> None:
        async def token() -> str:
            return self._system.token(self.user)

        chat = chatclient.connect(self._system.gateways, token, device=self.device, state=self._state)
        try:
            async with chat:
                self._chat = chat
                listening = asyncio.create_task(self._listen(chat), name=f"listen {self.user}/{self.device}")
                try:
                    await self._use(chat, listening)
                finally:
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
                    self._note_end()  # the library closes in its own time: it does not count as ours
        finally:
            # The closed chat ended them. To cancel one could lose a `sent` that the library has settled already.
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def _use(self, chat: Chat, listening: asyncio.Task[None]) -> None:
        """Act until it is time to close the program; raises what ended the listening."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._random.uniform(*STAY_S)
        while self.calm or loop.time() < until_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(listening), self._random.expovariate(1 / self._every_s))
                return
            if not self.quiet and (peers := self._talking()):
                self._act(chat, self._random.choice(peers))

    def _act(self, chat: Chat, peer: str) -> None:
        if self._random.random() < 0.3:
            seq = chat.marks(peer).cursor
            if seq > self._read[peer]:
                self._read[peer] = seq
                chat.read(peer, seq)
        elif len(chat.unsent()) < UNSENT_MAX:
            self._count += 1
            job = asyncio.create_task(self._send(chat, peer, f"{self.device}-{self._count}", f"library {self._count}"))
            self._sending.add(job)
            job.add_done_callback(self._sending.discard)

    async def _send(self, chat: Chat, peer: str, client_id: str, body: str) -> None:
        self._witness.of_link(0).saw(h.Sending, peer, client_id, digest(body))
        with suppress(ChatError):  # closed meanwhile: it stays in the outbox, and is told at the next opening
            self._note_sent(await chat.send(peer, body, message_id=client_id))

    def _note_sent(self, sent: chatclient.Sent) -> None:
        self._witness.saw(h.Sent, sent.peer, sent.id, sent.seq, sent.ts)
        self._held[sent.peer][sent.seq] = sent.id

    async def _listen(self, chat: Chat) -> None:
        async for event in chat:
            match event:
                case chatclient.Message(peer=peer):
                    seen = (event.sender, event.seq, event.id, event.ts, digest(event.body), "library")
                    self._witness.saw(h.Seen, peer, *seen)
                    self._held[peer][event.seq] = event.id
                case chatclient.Sent():
                    self._note_sent(event)
                case chatclient.Receipt():
                    other = event.peer if event.user == self.user else self.user
                    self._witness.saw(h.Claimed, event.user, other, event.delivered, event.read)
                case chatclient.Connected():
                    self._witness.link = self._witness.history.next_link()
                    self._witness.saw(h.Welcomed, event.gateway, "", 30.0)
                case chatclient.SyncDone():
                    self._witness.saw(h.SyncDone, "")
                case chatclient.Disconnected():
                    self._note_end()

    def _note_end(self) -> None:
        if self._witness.link:
            self._witness.saw(h.Closed, 0, ours=False)
            self._witness.link = 0

    def end(self) -> DeviceEnd:
        """Return what the application knows, for the judge."""
        marks = {peer: self._chat.marks(peer) for peer in self._peers} if self._chat is not None else {}
        return DeviceEnd(
            user=self.user,
            device=self.device,
            start={peer: min(self._held[peer], default=1) - 1 for peer in marks},
            cursor={peer: mark.cursor for peer, mark in marks.items()},
            own_read={peer: mark.read for peer, mark in marks.items()},
            peer_delivered={peer: mark.peer_delivered for peer, mark in marks.items()},
            peer_read={peer: mark.peer_read for peer, mark in marks.items()},
            held={peer: dict(self._held[peer]) for peer in marks},
            unanswered=frozenset(one.id for one in self._chat.unsent()) if self._chat is not None else frozenset(),
        )
