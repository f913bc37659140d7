"""Owns what an owner knows of messages that were confirmed and published, and not yet acknowledged. Pure.

It sees the one failure that nothing else shows: everybody is connected, every process is well, and a message does not
arrive. What it does not know: messages that another worker published, and recipients who had no connection then; those
get theirs from a sync.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from chatcore.delivery import Conversation, Message, Plan
from chatcore.ids import ConversationId, UserId, partition_of

MAX_RECIPIENTS: Final = 20_000
"""Recipients waited for, per conversation. Past it further ones are counted and not followed."""
MAX_PUBLICATIONS: Final = 8
"""Publications told apart per recipient. Past it the newest joins the one before, and is taken for as old as that."""
SILENT_S: Final = 900.0
"""A client that is connected, got three periodic syncs, and acknowledges nothing: it is broken, not we."""


@dataclass(slots=True)
class Published:
    """Messages of one publication to one recipient."""

    last: int
    at: float
    count: int = 1


class Ack(NamedTuple):
    """Messages of one publication that were acknowledged, and how long that took."""

    messages: int
    seconds: float


class Undelivered:
    """Recipients that owe an acknowledgement. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._waiting: dict[ConversationId, dict[UserId, list[Published]]] = {}
        self._recipients = 0

    def __len__(self) -> int:
        return self._recipients

    def published(self, plans: Iterable[Plan], online: Collection[str], now: float) -> int:
        """Note what was published to recipients who are `online`; gives how many it had no room for."""
        refused = 0
        for plan in plans:
            for push in plan.pushes:
                if type(push) is Message and push.peer in online:
                    row = push.row
                    state = plan.states[row.conversation]
                    if row.seq > state.delivered[state.side_of(push.peer)]:
                        refused += not self._note(row.conversation, push.peer, row.seq, now)
        return refused

    def acknowledged(self, states: Mapping[ConversationId, Conversation], now: float) -> list[Ack]:
        """Take the committed states of a batch; gives what they acknowledge for the first time, by publication."""
        counts: dict[float, int] = {}
        waiting = self._waiting
        for conversation in [conversation for conversation in states if conversation in waiting]:
            state = states[conversation]
            for user, batches in tuple(waiting[conversation].items()):
                upto = state.delivered[state.side_of(user)]
                while batches and batches[0].last <= upto:
                    # It counts when the last of its messages is acknowledged.
                    done = batches.pop(0)
                    counts[done.at] = counts.get(done.at, 0) + done.count
                if not batches:
                    self.forget(conversation, user)
        return [Ack(count, now - at) for at, count in counts.items()]

    def oldest_s(self, now: float) -> float:
        """Give the age of the oldest; 0 when there is none."""
        return max((now - found[0].at for users in self._waiting.values() for found in users.values()), default=0.0)

    def older_than(self, seconds: float, now: float, most: int) -> Sequence[tuple[ConversationId, UserId, float]]:
        """Name the oldest recipients that wait longer, with their age."""
        late = [
            (conversation, user, now - found[0].at)
            for conversation, users in self._waiting.items()
            for user, found in users.items()
            if now - found[0].at > seconds
        ]
        return sorted(late, key=lambda one: -one[2])[:most]

    def forget(self, conversation: ConversationId, user: UserId) -> None:
        """Wait for a recipient no longer."""
        recipients = self._waiting.get(conversation)
        if recipients is not None and recipients.pop(user, None) is not None:
            self._recipients -= 1
            if not recipients:
                del self._waiting[conversation]

    def retain(self, partitions: Collection[int], of: int) -> int:
        """Forget conversations outside these partitions; gives how many recipients that were."""
        before = self._recipients
        for conversation in [c for c in self._waiting if partition_of(c, of) not in partitions]:
            self._recipients -= len(self._waiting.pop(conversation))
        return before - self._recipients

    def _note(self, conversation: ConversationId, user: UserId, seq: int, now: float) -> bool:
        recipients = self._waiting.get(conversation)
        batches = recipients.get(user) if recipients is not None else None
        if batches is None:
            if self._recipients >= MAX_RECIPIENTS:
                return False
            self._recipients += 1
            self._waiting.setdefault(conversation, {})[user] = [Published(seq, now)]
        elif seq > batches[-1].last:
            if batches[-1].at == now or len(batches) >= MAX_PUBLICATIONS:
                batches[-1].last = seq
                batches[-1].count += 1
            else:
                batches.append(Published(seq, now))
        return True
