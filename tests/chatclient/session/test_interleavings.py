"""PROTOCOL section 6 under any interleaving: a device and the model server over a line that loses and reorders.

However the frames fare, acknowledgements never run ahead, each message is told once and in order, and when the
faults end the device is complete.
"""

from collections import defaultdict
from typing import Any

from chatclient.events import EpochChanged, Message
from chatclient.session import Session
from chatclient.session import effects as e
from chatclient.session import inputs as i
from chatclient.state import MemoryState
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.chatclient.model_server import Line, ModelServer

PEERS = st.sampled_from(["bob", "carol"])
END_S = 120


class Device(RuleBasedStateMachine):
    """One device of alice's; frames of both ways wait until a rule lets one arrive."""

    untaken_max = 20_000

    def __init__(self) -> None:
        super().__init__()
        self.server = ModelServer()
        self.epoch = self.server.epoch
        self.state = MemoryState()
        self.now = 0.0
        self.line: Line | None = None
        self.to_server: list[dict[str, Any]] = []
        self.queue: list[Message] = []
        self.told: dict[str, list[int]] = defaultdict(list)
        self.own: dict[str, set[int]] = defaultdict(set)
        self.seen: dict[str, int] = defaultdict(int)
        self.sends = 0
        self.undone: set[str] = set()
        self.refused: dict[str, tuple[str, int]] = {}
        self.dialing = False
        self.begin()

    def begin(self) -> None:
        self.to_server.clear()
        self.session = Session(self.state.load(), untaken_max=self.untaken_max)
        self.seen.clear()
        self.queue.clear()
        self.refused.clear()  # a new run knows of no refusal
        self.feed(i.Started())

    @initialize(earlier=st.integers(0, 4), known=st.booleans())
    def before(self, earlier: int, *, known: bool) -> None:
        """What was there before the device: with `known`, all of it is owed to it."""
        if known:
            self.server.known.add(("alice", "phone"))
        for _ in range(earlier):
            self.server.post("bob", "alice", "earlier")
        self.connect()

    # The line.

    @precondition(lambda self: self.line is None)
    @rule()
    def connect(self) -> None:
        if self.line is None and self.dialing:
            self.dialing = False
            self.line = self.server.connect("alice", "phone")
            self.to_server.clear()
            self.arrive(self.line.out.pop(0))

    @precondition(lambda self: self.line is not None and self.line.out)
    @rule(choice=st.integers(0, 5), fate=st.sampled_from(["arrive", "arrive", "arrive", "twice", "lost"]))
    def from_server(self, choice: int, fate: str) -> None:
        """Let a frame arrive; messages and receipts may overtake all but the welcome, fail and come twice."""
        assert self.line is not None
        place = choice % len(self.line.out)
        loose = self.line.out[place]["type"] in ("message", "receipt") and self.line.out[0]["type"] != "welcome"
        frame = self.line.out.pop(place if loose else 0)
        if fate == "lost" and frame["type"] in ("message", "receipt", "sent", "history"):
            return
        self.arrive(frame)
        if fate == "twice" and self.line is not None and frame["type"] not in ("welcome", "error"):
            self.arrive(frame)

    @precondition(lambda self: self.line is not None and self.to_server)
    @rule(fate=st.sampled_from(["arrive", "lost", "refused"]))
    def from_device(self, fate: str) -> None:
        """Let a frame reach the server; one may be lost behind the socket, in a store that was wiped."""
        assert self.line is not None
        frame = self.to_server.pop(0)
        if fate == "refused" and frame["type"] == "send":
            self.server.refuse[frame["id"]] = {"code": "overloaded", "message": "", "retry_after_ms": 1_000}
        if fate != "lost":
            self.server.receive(self.line, frame)

    @rule()
    def flow(self) -> None:
        """Nothing goes wrong for a while."""
        while self.line is not None and (self.line.out or self.to_server or self.queue):
            while self.to_server and self.line is not None:
                self.server.receive(self.line, self.to_server.pop(0))
            while self.line is not None and self.line.out:
                self.arrive(self.line.out.pop(0))
            self.take()

    @precondition(lambda self: self.line is not None)
    @rule(code=st.sampled_from([None, 1001, 1011, 4408]))
    def lose(self, code: int | None) -> None:
        assert self.line is not None
        self.server.disconnect(self.line)
        self.line = None
        self.feed(i.Lost(code, 0.5))

    @rule(seconds=st.sampled_from([0.01, 0.06, 1.0, 2.5, 11.0, 61.0]))
    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (wake_at := self.session.wake_at) is not None and wake_at <= end:
            self.now = max(self.now, wake_at)
            self.feed(i.Ticked())
        self.now = end

    # Whole stories: what single steps reach too rarely.

    @precondition(lambda self: self.line is not None)
    @rule(code=st.sampled_from([None, 1001, 1012]), refusals=st.integers(0, 3))
    def come_back(self, code: int | None, refusals: int) -> None:
        """The connection breaks, some handshakes are refused for now, and the device is back."""
        self.lose(code)
        for _ in range(refusals):
            self.dial()
            self.dialing = False
            self.feed(i.Refusal(503, "draining", 0.5, retry_after_s=1))
        self.dial()
        self.connect()

    def dial(self) -> None:
        while not self.dialing and self.session.wake_at is not None:
            self.now = max(self.now, self.session.wake_at)
            self.feed(i.Ticked())

    @precondition(lambda self: self.line is not None)
    @rule(peer=PEERS, more=st.integers(1, 3), before=st.booleans())
    def a_send_is_refused(self, peer: str, more: int, *, before: bool) -> None:
        """A send is refused for now, and others to the same peer stand behind it, or come afterwards."""
        self.reach_server()
        self.send(peer)
        self.server.refuse[f"c{self.sends}"] = {"code": "overloaded", "message": "", "retry_after_ms": 1_000}
        for _ in range(more if before else 0):
            self.send(peer)
        self.reach_server()
        for _ in range(0 if before else more):
            self.send(peer)

    @precondition(lambda self: self.line is not None)
    @rule(peer=PEERS, lost=st.integers(1, 3))
    def a_hole_opens(self, peer: str, lost: int) -> None:
        """Messages get lost on their way, and a later one arrives."""
        if self.line is None:
            return
        for _ in range(lost):
            self.server.post(peer, "alice", "lost")
            self.line.out.pop()
        self.server.post(peer, "alice", "behind the hole")
        while self.line is not None and self.line.out:
            self.arrive(self.line.out.pop(0))

    @precondition(lambda self: self.line is not None)
    @rule(peer=PEERS)
    def acknowledgements_are_lost(self, peer: str) -> None:
        """All that the device says of a message it took gets lost, and the connection stays."""
        self.a_peer_writes(peer)
        while self.line is not None and self.line.out:
            self.arrive(self.line.out.pop(0))
        self.reach_server()
        while self.queue:
            self.take()
        self.read(peer)
        self.wait(0.06)
        self.to_server = [frame for frame in self.to_server if frame["type"] not in ("delivery_ack", "read_ack")]

    def reach_server(self) -> None:
        while self.line is not None and self.to_server:
            self.server.receive(self.line, self.to_server.pop(0))

    @rule(lost=st.integers(0, 3), peer=PEERS)
    def restore(self, lost: int, peer: str) -> None:
        """The database comes back from a backup, without the last messages of a conversation: a new epoch."""
        if self.line is not None:
            self.lose(1012)
        log = self.server.log("alice", peer)
        gone = log[max(0, len(log) - lost) :]
        self.undone |= {message["id"] for message in gone if message["id"] not in self.unsent()}
        self.server.restore("alice", peer, len(log) - len(gone))
        self.dial()
        self.connect()

    def unsent(self) -> set[str]:
        return {message.id for message in self.session.unsent()}

    @precondition(lambda self: self.line is not None)
    @rule()
    def heal(self) -> None:
        """A sync may come again at any time."""
        if self.line is not None:
            self.server.sync(self.line)

    # The people.

    @rule(peer=PEERS)
    def a_peer_writes(self, peer: str) -> None:
        self.server.post(peer, "alice", "hi")

    @rule(peer=PEERS)
    def another_device_writes(self, peer: str) -> None:
        self.server.post("alice", peer, "from the desk", device="desk")

    @rule(peer=PEERS)
    def send(self, peer: str) -> None:
        self.sends += 1
        self.feed(i.Submitted(f"c{self.sends}", peer, "hi"))

    @precondition(lambda self: self.queue)
    @rule()
    def take(self) -> None:
        if self.queue:
            message = self.queue.pop(0)
            self.told[message.peer].append(message.seq)
            self.feed(i.Taken(message.peer, message.seq))

    @rule(peer=PEERS, ahead=st.integers(0, 2))
    def read(self, peer: str, ahead: int = 0) -> None:
        """Read up to the newest message, or say so of some that are not there yet."""
        if self.told[peer]:
            self.feed(i.MarkedRead(peer, self.told[peer][-1] + ahead))

    @rule()
    def restart(self) -> None:
        """The program dies; what it kept is there, what it had not taken is not."""
        if self.line is not None:
            self.server.disconnect(self.line)
            self.line = None
        self.begin()

    # The shell.

    def arrive(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "message" and self.session.synced:
            self.seen[frame["peer"]] = max(self.seen[frame["peer"]], frame["seq"])
        self.note_refusal(frame)
        self.feed(i.Arrived({name: value for name, value in frame.items() if value is not None}))

    def note_refusal(self, frame: dict[str, Any]) -> None:
        """Keep who was refused for now, by id: its peer and its place in the order of sending."""
        if frame["type"] == "error" and frame.get("retry_after_ms"):
            for message in self.session.unsent():
                if message.id == frame["ref"]:
                    self.refused[message.id] = message.to, int(message.id[1:])
        elif frame["type"] == "sent":
            self.refused.pop(frame["id"], None)

    def write(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "send":
            place = int(frame["id"][1:])
            overtaken = [at for to, at in self.refused.values() if to == frame["to"] and at < place]
            assert not overtaken, "it has to wait behind one that was refused for now"
        self.to_server.append(frame)

    def feed(self, event: i.Input) -> None:
        for effect in self.session.handle(event, self.now):
            match effect:
                case e.Keep(record):
                    self.state.write([record])
                case e.Write(frame):
                    self.write(frame)
                case e.Tell(Message() as message):
                    self.queue.append(message)
                case e.Tell(EpochChanged()):
                    self.forget()
                case e.Settle(sent):
                    self.own[sent.peer].add(sent.seq)
                case e.Dial():
                    self.dialing = True
                case e.HangUp():
                    if self.line is not None:
                        self.server.disconnect(self.line)
                        self.line = None
                    self.feed(i.Lost(None, 0.5))

    def forget(self) -> None:
        """Drop what the application knows of a database that is no more."""
        assert self.epoch != self.server.epoch, "the epoch did not change"
        self.epoch = self.server.epoch
        self.queue.clear()
        self.told.clear()
        self.own.clear()
        self.seen.clear()

    # The promises.

    @invariant()
    def messages_are_told_once_and_in_order(self) -> None:
        for seqs in self.told.values():
            assert seqs == sorted(set(seqs))

    @invariant()
    def acknowledgements_never_run_ahead(self) -> None:
        assert self.server.ahead == []
        for peer in ("bob", "carol"):
            cursor = self.server.cursors.get(("alice", "phone", peer), 0)
            assert cursor == 0 or cursor <= self.start(peer) or cursor <= self.session.marks(peer).cursor

    @invariant()
    def the_application_misses_nothing_below_the_cursor(self) -> None:
        for peer in ("bob", "carol"):
            held = set(self.told[peer])
            for message in self.server.log("alice", peer)[self.start(peer) : self.session.marks(peer).cursor]:
                own = (message["from"], message["device"]) == ("alice", "phone")
                assert own or message["seq"] in held

    def start(self, peer: str) -> int:
        """The seq that this device never was owed: what others of the user held when it came."""
        return self.server.start.get(("alice", "phone", peer), 0)

    def teardown(self) -> None:
        """The faults end, and the server heals once: within two minutes everything converges on one connection."""
        self.connect()
        for second in range(END_S):
            if second == END_S // 2:
                self.nothing_seen_is_missing()
                self.heal()
            self.flow()
            self.wait(1.0)
            self.connect()
            self.feed(i.Heard())
        self.everything_is_complete()

    def nothing_seen_is_missing(self) -> None:
        """What the device could know of is there without the server's help; the rest is for the sync."""
        assert self.session.unanswered == 0
        for peer, seq in self.seen.items():
            assert self.session.marks(peer).cursor >= seq

    def everything_is_complete(self) -> None:
        assert self.session.unanswered == 0
        for peer in ("bob", "carol"):
            log = self.server.log("alice", peer)
            assert self.session.marks(peer).cursor == len(log)
            assert self.server.cursors.get(("alice", "phone", peer), 0) == len(log)
            assert self.server.reads["alice", peer] == self.session.marks(peer).read
        self.messages_are_told_once_and_in_order()
        self.the_application_misses_nothing_below_the_cursor()
        sends = [m["id"] for peer in ("bob", "carol") for m in self.server.log("alice", peer) if m["id"][0] == "c"]
        wanted = {f"c{n + 1}" for n in range(self.sends)}
        assert sorted(sends) == sorted(wanted - self.undone | (set(sends) & self.undone))


class CrampedDevice(Device):
    """The same with room for two messages that the application has not taken: the rest is left to history."""

    untaken_max = 2


TestDevice = Device.TestCase
TestDevice.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
TestCrampedDevice = CrampedDevice.TestCase
TestCrampedDevice.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
