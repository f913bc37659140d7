"""The core with a model of the shell: any interleaving of sends, retries, acks, crashes, takeovers keeps G1 to G7."""

from dataclasses import dataclass, field
from typing import Any

from chatcore.delivery import Known, Memory, Message, Plan, Receipt, Refused, Sent, digest_of, new_conversation, plan
from chatcore.delivery.plan import MessageRow
from chatcore.delivery.state import Conversation
from chatcore.errors import Code
from chatcore.ids import conversation_id
from chatcore.stream import AckEvent, Event, Origin, SendEvent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

USERS = ("alice", "bob")
CONVERSATION = conversation_id(*USERS)


@dataclass
class Database:
    """What MySQL does for a batch: a fence, unique keys, marks that only rise."""

    epoch: int = 0
    messages: list[MessageRow] = field(default_factory=list)
    marks: dict[tuple[str, str], int] = field(default_factory=dict)
    cursors: dict[tuple[str, str], int] = field(default_factory=dict)
    now: int = 0

    def write(self, made: Plan) -> bool:
        """Commit; False for a duplicate key, which rolls everything back."""
        taken = {row.seq for row in self.messages}
        ids = {(row.sender, row.client_id) for row in self.messages}
        for row in made.messages:
            if row.seq in taken or (row.sender, row.client_id) in ids:
                return False
        self.messages += made.messages
        for member in made.members:
            for name in ("delivered", "read"):
                key = (member.user, name)
                self.marks[key] = max(self.marks.get(key, 0), getattr(member, name))
        for cursor in made.cursors:
            key = (cursor.user, cursor.device)
            self.cursors[key] = max(self.cursors.get(key, 0), cursor.seq)
        return True

    def load(self, sought: list[SendEvent]) -> Conversation:
        """Read the state, and the ids that are asked for."""
        wanted = {(e.origin.user, e.client_id) for e in sought}
        known = {
            (USERS.index(row.sender), row.client_id): Known(
                row.seq, row.ts, digest_of(row.body), row.device, replay=True
            )
            for row in self.messages
            if (row.sender, row.client_id) in wanted
        }
        if not self.messages:
            return new_conversation(*USERS)
        last = len(self.messages)
        pair: Any = lambda name: tuple(self.marks.get((user, name), 0) for user in USERS)  # noqa: E731
        return Conversation(
            USERS,
            last=last,
            delivered=pair("delivered"),
            read=pair("read"),
            told=(False, False),
            known=known,
            floor=last,
        )


@dataclass
class Worker:
    """An owner: its epoch, what it remembers, what it has read and not settled."""

    epoch: int = 0
    memory: Memory = field(default_factory=Memory)
    batch: list[tuple[int, Event]] = field(default_factory=list)
    committed: Plan | None = None


class Interleavings(RuleBasedStateMachine):
    """One conversation, two workers, one stream."""

    def __init__(self) -> None:
        super().__init__()
        self.database = Database()
        self.workers = [Worker(), Worker()]
        self.stream: dict[int, Event] = {}
        self.entries = 0
        self.sent_by: dict[tuple[str, str], str] = {}
        self.first_entry: dict[tuple[str, str], int] = {}
        self.repeated: set[tuple[str, str]] = set()
        self.confirmed: dict[tuple[str, str], tuple[int, int]] = {}
        self.held = dict.fromkeys((f"{user}/{device}" for user in USERS for device in ("phone", "desk")), 0)
        self.asserted = {(user, name): 0 for user in USERS for name in ("delivered", "read")}
        self.told = {(user, name): 0 for user in USERS for name in ("delivered", "read")}
        self.seen_marks: dict[tuple[str, str], int] = {}
        self.published: set[int] = set()

    @initialize()
    def start(self) -> None:
        self.take_over(0)

    def _append(self, event: Event) -> int:
        self.entries += 1
        self.stream[self.entries] = event
        return self.entries

    # -- clients ---------------------------------------------------------------------------------------------------

    @rule(user=st.sampled_from(USERS), device=st.sampled_from(("phone", "desk")))
    def send(self, user: str, device: str) -> None:
        client_id = f"c{len(self.sent_by)}"
        self.sent_by[user, client_id] = f"body of {client_id}"
        self.first_entry[user, client_id] = self._append(self._send(user, device, client_id))

    def _send(self, user: str, device: str, client_id: str, body: str | None = None) -> SendEvent:
        peer = USERS[1 - USERS.index(user)]
        return SendEvent(Origin("g", 1, user, device), peer, client_id, body or self.sent_by[user, client_id])

    @precondition(lambda self: self.sent_by)
    @rule(data=st.data(), device=st.sampled_from(("phone", "desk")), other=st.booleans())
    def send_again(self, data: st.DataObject, device: str, other: bool) -> None:
        user, client_id = data.draw(st.sampled_from(sorted(self.sent_by)))
        if not other:
            self.repeated.add((user, client_id))
        elif (user, client_id) not in self.confirmed:
            return  # until it is stored, nobody knows which body will be the first
        self._append(self._send(user, device, client_id, "another body" if other else None))

    @rule(name=st.sampled_from(("delivered", "read")), data=st.data())
    def acknowledge(self, name: str, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from(sorted(self.held)))
        user, device_id = device.split("/")
        seq = data.draw(st.integers(0, self.held[device]))
        self.asserted[user, name] = max(self.asserted[user, name], seq)
        self.asserted[user, "delivered"] = max(self.asserted[user, "delivered"], seq)
        peer = USERS[1 - USERS.index(user)]
        delivered, read = (seq, 0) if name == "delivered" else (0, seq)
        self._append(AckEvent(Origin("g", 1, user, device_id), peer, delivered, read))

    @rule(user=st.sampled_from(USERS))
    def acknowledge_too_much(self, user: str) -> None:
        peer = USERS[1 - USERS.index(user)]
        self._append(AckEvent(Origin("g", 1, user, "phone"), peer, 10_000, 0))

    # -- workers ---------------------------------------------------------------------------------------------------

    @rule(index=st.integers(0, 1))
    def take_over(self, index: int) -> None:
        self.database.epoch += 1
        self.workers[index] = Worker(epoch=self.database.epoch)

    @rule(index=st.integers(0, 1), most=st.integers(1, 5))
    def read(self, index: int, most: int) -> None:
        worker = self.workers[index]
        if worker.committed is None and worker.epoch == self.database.epoch and not worker.batch:
            worker.batch = sorted(self.stream.items())[:most]

    @rule(index=st.integers(0, 1), answer=st.sampled_from(("committed", "committed", "lost", "lost after", "refused")))
    def commit(self, index: int, answer: str) -> None:
        worker = self.workers[index]
        if not worker.batch or worker.committed is not None:
            return
        if worker.epoch != self.database.epoch:  # the fence
            worker.memory.clear()
            worker.batch = []
            return
        self._transaction(worker, answer)

    def _transaction(self, worker: Worker, answer: str, *, replay: bool = False) -> None:
        self.database.now += 1
        sends = [event for _, event in worker.batch if isinstance(event, SendEvent)]
        remembered = None if replay else worker.memory.get(CONVERSATION)
        state = remembered or self.database.load(sends if replay else [])
        made = plan([(CONVERSATION, e) for _, e in worker.batch], {CONVERSATION: state}, self.database.now)
        if answer in ("refused", "lost"):
            worker.memory.forget([CONVERSATION])
            return
        if not self.database.write(made):
            worker.memory.forget([CONVERSATION])
            assert not replay, "a plan that knows every stored id took a number that was taken"
            self._transaction(worker, answer, replay=True)
            return
        if answer == "lost after":
            worker.memory.forget([CONVERSATION])
            return
        worker.memory.install(made.states.items())
        worker.committed = made

    @rule(index=st.integers(0, 1), settled=st.booleans())
    def publish(self, index: int, settled: bool) -> None:
        """One MULTI: published and settled, or neither that the worker knows of."""
        worker = self.workers[index]
        if worker.committed is None:
            return
        made, batch = worker.committed, worker.batch
        worker.committed, worker.batch = None, []
        if not settled:
            worker.memory.forget([CONVERSATION])
            return
        self._observe(made)
        for entry, _ in batch:
            self.stream.pop(entry, None)

    @rule(index=st.integers(0, 1))
    def crash(self, index: int) -> None:
        self.workers[index] = Worker()

    @rule(user=st.sampled_from(USERS), device=st.sampled_from(("phone", "desk")))
    def synchronise(self, user: str, device: str) -> None:
        self.held[f"{user}/{device}"] = len(self.database.messages)

    # -- what is observed ------------------------------------------------------------------------------------------

    def _observe(self, made: Plan) -> None:
        for answer in made.answers:
            self._answered(answer)
        for push in made.pushes:
            if isinstance(push, Message):
                assert self.database.messages[push.row.seq - 1] == push.row
                self.published.add(push.row.seq)
            else:
                self._receipt(push)

    def _answered(self, answer: Sent | Refused) -> None:
        if isinstance(answer, Refused):
            assert answer.code in (Code.ACK_AHEAD, Code.ID_CONFLICT)
            return
        key = (answer.origin.user, answer.client_id)
        row = self.database.messages[answer.seq - 1]
        assert (row.sender, row.client_id, row.body) == (*key, self.sent_by[key])  # G1
        assert self.confirmed.setdefault(key, (answer.seq, answer.ts)) == (answer.seq, answer.ts)  # G2

    def _receipt(self, push: Receipt) -> None:
        for name, value in (("delivered", push.delivered), ("read", push.read)):
            assert value <= self.asserted[push.user, name]  # G6
            if push.to_peer:
                self.told[push.user, name] = max(self.told[push.user, name], value)

    @invariant()
    def numbers_have_no_holes(self) -> None:
        assert [row.seq for row in self.database.messages] == list(range(1, len(self.database.messages) + 1))  # G3

    @invariant()
    def no_message_is_stored_twice(self) -> None:
        ids = [(row.sender, row.client_id) for row in self.database.messages]
        assert len(ids) == len(set(ids))  # G2

    @invariant()
    def sends_keep_their_order(self) -> None:
        once = [
            self.first_entry[r.sender, r.client_id]
            for r in self.database.messages
            if (r.sender, r.client_id) not in self.repeated
        ]
        assert once == sorted(once)  # G4

    @invariant()
    def marks_only_rise_and_only_by_assertion(self) -> None:
        for (user, name), value in self.database.marks.items():
            assert value <= self.asserted[user, name]  # G6
            assert value >= self.seen_marks.get((user, name), 0)  # G7
            assert value <= len(self.database.messages)
        for user in USERS:
            assert self.database.marks.get((user, "read"), 0) <= self.database.marks.get((user, "delivered"), 0)
        self.seen_marks = dict(self.database.marks)

    def teardown(self) -> None:
        """When faults end, everything in the stream is stored, answered and told."""
        self.take_over(0)
        self.workers[1] = Worker()
        while self.stream:
            self.read(0, 3)
            self.commit(0, "committed")
            self.publish(0, settled=True)
        assert set(self.confirmed) == set(self.sent_by)  # G1, G8
        assert self.published == set(range(1, len(self.database.messages) + 1))  # G5
        for user in USERS:
            peers = [row.seq for row in self.database.messages if row.sender != user]
            for name in ("delivered", "read"):
                mark = self.database.marks.get((user, name), 0)
                covered = max([seq for seq in peers if seq <= mark], default=0)
                assert self.told[user, name] >= covered  # G8


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
