"""Owns what the people of a run do: a course of actions for one device, drawn from a seed.

It decides and calls the device; it must never look at what other devices know, and never judge.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from chatctl.verify import history as h
from chatctl.verify.device import BareDevice
from chatctl.verify.history import digest

BACKLOG_MAX: Final = 200
"""Unanswered sends of a device past which it begins no more: a person waits, too."""
BEYOND: Final = 1_000_000
"""What an acknowledgement that reaches too far adds: no conversation of a run gets there."""
KEPT: Final = 300
"""Sends that a device may send again or forge, the newest."""
LETTERS: Final = 'abcdefghij klmnop äöü €漢字🙂\n"\\'


@dataclass(frozen=True, slots=True)
class Pace:
    """How busy a device is."""

    every_s: float = 0.6
    """Mean seconds between two actions."""
    away_s: float = 6.0
    """Longest time away."""
    stall_s: float = 8.0
    """Longest time without reading."""


class Behaviour:
    """The person behind one device."""

    def __init__(
        self,
        device: BareDevice,
        talking: Callable[[], Sequence[str]],
        *,
        gateways: Sequence[str],
        seed: str,
        pace: Pace,
        calm: bool = False,
    ) -> None:
        self.device = device
        self.calm = calm
        """Only sends, reads and asks: nothing that breaks a connection."""
        self._talking = talking
        self._gateways = list(gateways)
        self._pace = pace
        self._random = random.Random(seed)  # noqa: S311 - a seed is to give the same again
        self._count = 0
        self._mine: list[tuple[str, str, str]] = []
        self._forged: set[str] = set()
        self._stalls: list[asyncio.TimerHandle] = []
        gentle: list[tuple[Callable[[], None], int]] = [
            (self._send, 60),
            (self._burst, 3),
            (self._read, 25),
            (self._send_again, 3),
            (self._forge, 1),
            (self._overreach, 1),
            (self._ask_history, 2),
            (self._ask_list, 1),
            (self._type, 1),
            (self._ping, 1),
            (self._nonsense, 1),
        ]
        rough = [(self._leave, 2), (self._vanish, 2), (self._hand_over, 1), (self._stall, 1)]
        self._gentle = gentle
        self._rough = gentle + rough

    async def run(self) -> None:
        """Act until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._random.expovariate(1 / self._pace.every_s))
                chances = self._gentle if self.calm else self._rough
                [(action, _)] = self._random.choices(chances, weights=[weight for _, weight in chances])
                action()
        finally:
            self.settle()

    def settle(self) -> None:
        """End what this person holds up."""
        for timer in self._stalls:
            timer.cancel()
        self.device.stall(begins=False)

    def _peer(self) -> str | None:
        peers = self._talking()
        return self._random.choice(peers) if peers else None

    def _body(self) -> str:
        length = self._random.choice((3, 20, 20, 80, 80, 300)) if self._random.random() < 0.97 else 4_000
        return "".join(self._random.choices(LETTERS, k=length))

    def _send(self) -> None:
        peer = self._peer()
        if peer is None or len(self.device.state.outbox) >= BACKLOG_MAX:
            return
        self._count += 1
        client_id = f"{self.device.device}-{self._count}"
        body = self._body()
        self._mine = [*self._mine[-KEPT:], (peer, client_id, body)]
        self.device.send(peer, client_id, body)

    def _burst(self) -> None:
        for _ in range(self._random.randint(5, 20)):
            self._send()

    def _read(self) -> None:
        peer = self._peer()
        if peer is not None and (known := self.device.state.peers.get(peer)):
            self.device.read(peer, known.cursor)

    def _answered(self) -> tuple[str, str, str] | None:
        outbox, sent = self.device.state.outbox, self.device.state.sent
        mine = [one for one in self._mine if one[1] in sent and one[1] not in outbox and one[1] not in self._forged]
        return self._random.choice(mine) if mine else None

    def _send_again(self) -> None:
        if (one := self._answered()) is not None:
            peer, client_id, body = one
            self.device.send(peer, client_id, body)

    def _forge(self) -> None:
        if (one := self._answered()) is not None:
            peer, client_id, body = one
            self._forged.add(client_id)
            other = f"{body} or not"
            frame = {"type": "send", "id": client_id, "to": peer, "body": other}
            self.device.say(frame, h.Forging, peer, client_id, digest(other))

    def _overreach(self) -> None:
        peer = self._peer()
        if peer is not None:
            seq = BEYOND + self.device.state.peer(peer).cursor
            kind = self._random.choice(("read_ack", "delivery_ack"))
            self.device.say({"type": kind, "peer": peer, "seq": seq}, h.Overreached, peer, seq)

    def _ask_history(self) -> None:
        peer = self._peer()
        if peer is not None:
            self._count += 1
            before = {"before": self.device.state.peer(peer).cursor + 1} if self._random.random() < 0.5 else {}
            self.device.say({"type": "history", "ref": f"page-{self._count}", "peer": peer, "limit": 20, **before})

    def _ask_list(self) -> None:
        self._count += 1
        self.device.say({"type": "conversations", "ref": f"list-{self._count}", "limit": 20})

    def _type(self) -> None:
        if (peer := self._peer()) is not None:
            self.device.say({"type": "typing", "to": peer})

    def _ping(self) -> None:
        self.device.say({"type": "ping"})

    def _nonsense(self) -> None:
        self.device.say(
            self._random.choice(({"type": "gift"}, {"type": "send", "id": "no", "to": self.device.user, "body": "x"}))
        )

    def _leave(self) -> None:
        self.device.go("close", away_s=self._random.uniform(0, self._pace.away_s))

    def _vanish(self) -> None:
        self.device.go("abort", away_s=self._random.uniform(0, self._pace.away_s))

    def _hand_over(self) -> None:
        self.device.prefer(self._random.choice(self._gateways))
        self.device.go("linger", away_s=0.0)

    def _stall(self) -> None:
        self.device.stall(begins=True)
        length_s = self._random.uniform(1, self._pace.stall_s)
        loop = asyncio.get_running_loop()
        self._stalls = [loop.call_later(length_s, lambda: self.device.stall(begins=False))]
