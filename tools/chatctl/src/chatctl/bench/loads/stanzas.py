"""Owns the life of messages between pairs of XMPP users, as `pairs` has it on our own protocol: for `peer`.

A message asks for a receipt (XEP-0184), and both sides confirm what they got of the stream (XEP-0198). A closed loop:
the next message of a pair is sent when the receipt of one has come.
"""

import asyncio
import re
from base64 import b64encode
from time import perf_counter
from typing import Final, cast
from urllib.parse import urlsplit

from chatctl.bench.ejabberd import DOMAIN, PASSWORD
from chatctl.bench.histogram import Histogram
from chatctl.bench.job import Job, Tally
from chatctl.bench.loads.load import READY_S, Load, in_turns, until

DRAIN_S: Final = 20.0
HEADER: Final = (
    f"<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client'"
    " xmlns:stream='http://etherx.jabber.org/streams'>"
).encode()
BIND: Final = (
    b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>d</resource></bind></iq>"
)
ENABLE: Final = b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>"
ASK: Final = b"<r xmlns='urn:xmpp:sm:3'/>"
ASKED: Final = b"<r xmlns"
MESSAGE: Final = re.compile(rb"<message[^>]*? id='m([0-9]+)'.*?</message>", re.DOTALL)
RECEIPT: Final = re.compile(rb"<received[^>]*? id='m([0-9]+)'.*?</message>", re.DOTALL)
LONGEST_BYTES: Final = 4_096
"""Of the start of a stanza that may have its end in the next reading."""


class Resource(asyncio.Protocol):
    """One user's connection: logs in, then gives each stanza of one kind to its owner."""

    pattern = MESSAGE

    def __init__(self, load: "Stanzas", user: str, peer: str) -> None:
        self.user, self.peer, self.load = user, peer, load
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False
        token = b64encode(f"\0{user}\0{PASSWORD}".encode())
        auth = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + token + b"</auth>"
        features = b"</stream:features>"
        self._steps = [(HEADER, features), (auth, b"<success"), (HEADER, features), (BIND, b"</iq>")]
        self._steps += [(ENABLE, b"<enabled")]
        self._handled = 0
        self._rest = b""
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to log in."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type
        self._transport.write(self._steps[0][0])

    def data_received(self, data: bytes) -> None:
        """Take what arrived, and answer all of it in one write."""
        data = self._rest + data
        if self._steps:
            self._rest = self._log_in(data)
            return
        end = 0
        for found in self.pattern.finditer(data):
            end = found.end()
            self._handled += 1
            self.take(int(found[1]))
        if (asked := data.rfind(ASKED)) >= 0:
            self.put(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % self._handled)
            end = max(end, asked + len(ASKED))
        # The rest is looked at again: a stanza may have been cut there.
        self._rest = data[max(end, len(data) - LONGEST_BYTES) :]
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        """Note that it ended."""
        self.lost = True
        if not self.ready.done():
            self.ready.set_exception(ConnectionResetError(str(error or "closed")))

    def put(self, stanza: bytes) -> None:
        """Queue a stanza for the next `flush`."""
        self._out.append(stanza)

    def flush(self) -> None:
        """Write what is queued."""
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def take(self, number: int) -> None:
        """Take a stanza of a message of that number."""
        raise NotImplementedError

    def _log_in(self, data: bytes) -> bytes:
        if self._steps[0][1] not in data:
            return data
        del self._steps[0]
        self.put(self._steps[0][0] if self._steps else b"<presence/>")
        self.flush()
        if not self._steps:
            self.ready.set_result(None)
        return b""


class Sender(Resource):
    """Sends a pair's messages, and follows each to its receipt."""

    pattern = RECEIPT

    def __init__(self, load: "Stanzas", user: str, peer: str) -> None:
        super().__init__(load, user, peer)
        self.began: dict[int, float] = {}
        self._count = 0
        body = "x" * load.job.body_bytes
        self._tail = (
            f"' to='{peer}@{DOMAIN}/d' type='chat'><body>{body}</body><request xmlns='urn:xmpp:receipts'/></message>"
        ).encode() + ASK

    def send(self) -> None:
        """Queue the next message."""
        self._count += 1
        self.began[self._count] = perf_counter()
        self.put(b"<message id='m%d%s" % (self._count, self._tail))

    def take(self, number: int) -> None:
        """End a life, and begin another."""
        self.load.receipt.record(perf_counter() - self.began.pop(number))
        self.load.lived += 1
        if self.load.running:
            self.send()


class Recipient(Resource):
    """Receives a pair's messages, and says so."""

    def __init__(self, load: "Stanzas", sender: Sender, user: str) -> None:
        super().__init__(load, user, sender.user)
        self._sender = sender
        self._head = f"<message to='{sender.user}@{DOMAIN}/d' type='chat' id='r".encode()

    def take(self, number: int) -> None:
        """Measure a message's way, and send its receipt."""
        self.load.message.record(perf_counter() - self._sender.began[number])
        self.put(b"%s%d'><received xmlns='urn:xmpp:receipts' id='m%d'/></message>" % (self._head, number, number))


class Stanzas(Load):
    """Pairs of which one writes to the other."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.pairs: list[tuple[Sender, Recipient]] = []
        self.message, self.receipt = Histogram(), Histogram()
        self.lived = 0

    async def connect(self) -> None:
        """Log both sides of each pair in."""
        for number in range(self.job.first, self.job.first + self.job.count):
            sender = Sender(self, self.user(number, "a"), self.user(number, "b"))
            self.pairs.append((sender, Recipient(self, sender, sender.peer)))
        await in_turns(self._log_in(one) for pair in self.pairs for one in pair)

    async def _log_in(self, resource: Resource) -> None:
        url = urlsplit(self.job.urls[0])
        async with asyncio.timeout(READY_S):
            await asyncio.get_running_loop().create_connection(lambda: resource, url.hostname or "", url.port or 0)
            await resource.ready

    def start(self) -> None:
        """Send the first messages; the rest follows from their receipts."""
        self.running = True
        for sender, _ in self.pairs:
            for _ in range(self.job.in_flight):
                sender.send()
            sender.flush()

    def mark(self) -> Tally:
        """Give what was counted, and count anew."""
        counted = super().mark()
        counted.times |= {"message": self.message, "receipt": self.receipt}
        counted.count("messages", self.lived)
        self.message, self.receipt = Histogram(), Histogram()
        self.lived = 0
        return counted

    async def finish(self) -> dict[str, int]:
        """Wait until every message has its receipt."""
        self.running = False
        await until(lambda: not any(sender.began for sender, _ in self.pairs), within_s=DRAIN_S)
        return {
            "messages without a receipt": sum(len(sender.began) for sender, _ in self.pairs),
            "connections lost": sum(one.lost for pair in self.pairs for one in pair),
        }
