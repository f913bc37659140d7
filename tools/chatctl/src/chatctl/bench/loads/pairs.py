"""Owns the life of messages between pairs of users: send, sent, message, acknowledgement, receipt.

A closed loop sends the next message of a pair when the receipt of one has come. An open loop sends at times that
were drawn beforehand, and measures from the intended one: a late generator or a slow server makes the next ones late,
and that shows (no coordinated omission).
"""

import asyncio
import random
from collections import deque
from itertools import cycle
from time import perf_counter
from typing import Any, Final

from chatctl.bench.device import Device
from chatctl.bench.histogram import Histogram
from chatctl.bench.job import Job, Tally
from chatctl.bench.loads.load import Load, in_turns, until

DRAIN_S: Final = 20.0
"""Seconds for what is under way at the end: the promise is 15 (G8)."""
OWN_ACK_S: Final = 1.0
"""Seconds in which each sender acknowledges its own messages once."""
OWN_SHARES: Final = 20
"""Moments of these seconds: devices of a thousand people do not speak all at once."""
RETRY_S: Final = 1.0
"""Seconds after which a refused send is sent again; refusals here are rare enough for one number."""
SEED: Final = 4
"""Of the open loop's times: each run draws the same."""


class Sender(Device):
    """Sends a pair's messages, and follows each to its receipt."""

    __slots__ = ("_count", "_head", "_load", "_tail", "_unread", "began", "peer")

    def __init__(self, load: "Pairs", *, user: str, peer: str, request: bytes) -> None:
        super().__init__(user=user, request=request)
        self.peer = peer
        self.began: dict[int, float] = {}
        """When each message that has no receipt yet was to be sent."""
        self._load = load
        self._count = 0
        self._unread: deque[tuple[int, int]] = deque()
        self._head = b'{"type":"send","id":"'
        self._tail = b'","to":"%s","body":"%s"}' % (peer.encode(), b"x" * load.job.body_bytes)

    def send(self, due: float) -> None:
        """Queue the next message, which is due now."""
        self._count += 1
        self.began[self._count] = due
        self.put(b"%s%d%s" % (self._head, self._count, self._tail))

    def on_sent(self, frame: Any) -> None:
        """Note the number that a message got."""
        super().on_sent(frame)
        number = int(frame["id"])
        self._load.sent.record(perf_counter() - self.began[number])
        self._unread.append((frame["seq"], number))

    def on_receipt(self, frame: Any) -> None:
        """End the lives that the peer's mark covers, and begin as many."""
        if frame["user"] != self.peer:
            return
        delivered, now, load = frame["delivered"], perf_counter(), self._load
        while self._unread and self._unread[0][0] <= delivered:
            _, number = self._unread.popleft()
            load.receipt.record(now - self.began.pop(number))
            load.lived += 1
            if load.closed and load.running:
                self.send(now)

    def on_error(self, frame: Any) -> None:
        """Send again what was refused for now; the same id makes no second message (G2)."""
        super().on_error(frame)
        self._load.tally.count(f"error {frame['code']}")
        if "retry_after_ms" in frame and frame.get("ref") is not None:
            again = b"%s%s%s" % (self._head, frame["ref"].encode(), self._tail)
            asyncio.get_running_loop().call_later(RETRY_S, self._send_again, again)

    def _send_again(self, frame: bytes) -> None:
        self.put(frame)
        self.flush()


class Recipient(Device):
    """Receives a pair's messages."""

    __slots__ = ("_load", "_sender")

    def __init__(self, load: "Pairs", sender: Sender, *, user: str, request: bytes) -> None:
        super().__init__(user=user, request=request)
        self._load, self._sender = load, sender

    def on_message(self, frame: Any) -> None:
        """Measure its way."""
        super().on_message(frame)
        began = self._sender.began.get(int(frame["id"]))
        if began is not None:
            self._load.message.record(perf_counter() - began)


class Pairs(Load):
    """Pairs of which one writes to the other."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.closed = bool(job.in_flight)
        self.pairs: list[tuple[Sender, Recipient]] = []
        self.sent, self.message, self.receipt = Histogram(), Histogram(), Histogram()
        self.lived = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        """Connect both sides of each pair, to neighbouring gateways: where there are two, every message crosses."""
        numbers = range(self.job.first, self.job.first + self.job.count)
        self.pairs = [self._pair(number) for number in numbers]
        await in_turns(
            self.open(device, number + side)
            for number, pair in zip(numbers, self.pairs, strict=True)
            for side, device in enumerate(pair)
        )

    def _pair(self, number: int) -> tuple[Sender, Recipient]:
        one, other = self.user(number, "a"), self.user(number, "b")
        sender = Sender(self, user=one, peer=other, request=self.request(one, number))
        return sender, Recipient(self, sender, user=other, request=self.request(other, number + 1))

    def start(self) -> None:
        """Send the first messages; the rest follows from their receipts, or from the clock."""
        self.running = True
        self._tasks.append(asyncio.create_task(self._acknowledge_own(), name="own acks"))
        if not self.closed:
            self._tasks.append(asyncio.create_task(self._send_on_time(), name="open loop"))
            return
        for sender, _ in self.pairs:
            for _ in range(self.job.in_flight):
                sender.send(perf_counter())
            sender.flush()

    def mark(self) -> Tally:
        """Give what was counted, and count anew."""
        counted = super().mark()
        counted.times |= {"sent": self.sent, "message": self.message, "receipt": self.receipt}
        counted.count("messages", self.lived)
        self.sent, self.message, self.receipt = Histogram(), Histogram(), Histogram()
        self.lived = 0
        return counted

    async def finish(self) -> dict[str, int]:
        """Wait until every message has its receipt."""
        self.running = False
        for task in self._tasks:
            task.cancel()
        await until(lambda: not any(sender.began for sender, _ in self.pairs), within_s=DRAIN_S)
        return {
            "messages without a receipt": sum(len(sender.began) for sender, _ in self.pairs),
            "holes": sum(device.holes() for pair in self.pairs for device in pair),
            "connections lost": sum(device.lost is not None for pair in self.pairs for device in pair),
        }

    async def _acknowledge_own(self) -> None:
        for share in cycle(range(OWN_SHARES)):
            await asyncio.sleep(OWN_ACK_S / OWN_SHARES)
            for sender, _ in self.pairs[share::OWN_SHARES]:
                sender.touch_own()

    async def _send_on_time(self) -> None:
        """Send at the times of a Poisson process, each message from the next pair."""
        draw = random.Random(SEED + self.job.first)  # noqa: S311 - a load, not a secret
        due = perf_counter()
        while True:
            for sender, _ in self.pairs:
                due += draw.expovariate(self.job.rate_per_s)
                if (wait_s := due - perf_counter()) > 0:
                    await asyncio.sleep(wait_s)
                sender.send(due)
                sender.flush()
