"""Owns the names of everything in Redis. Pure.

| Key                    | Type                    | TTL      | Written by | Read by |
|------------------------|-------------------------|----------|------------|---------|
| `chat:in:{p}`          | stream, group per epoch | -        | gateways; settled by the owner | the partition's owner |
| `chat:workers`         | zset, score = deadline  | -        | workers    | workers |
| `chat:meta`            | hash: partitions, epoch | -        | workers    | gateways |
| `chat:gateway:<id>`    | string: ms ahead of Redis | 10 s   | the gateway | it (gone = Redis was wiped), people |
| `chat:presence`        | stream, group           | -        | gateways   | presence |
| `chat:sync`            | stream, group           | -        | gateways   | workers |
| `chat:devices:{user}`  | zset, score = deadline  | -        | gateways: their own members; presence: deadlines | all |
| `chat:deadlines`       | zset of users, score = when to look | - | presence   | presence |
| `chat:swept`           | string                  | 60 s     | presence   | presence (was anybody here a moment ago?) |
| `chat:seen:{user}`     | string                  | 90 days  | presence   | presence |
| `chat:watch:{user}`    | zset of gateways, score = deadline | 180 s | presence | presence |
| `chat:gw:<gateway>`    | Pub/Sub channel         | -        | all        | the gateway |
| `chat:dead`            | stream, bounded         | -        | workers    | people |

Braces mark the hash tag of a Redis cluster: what belongs to one partition or one user lies on one node. All times
are Redis's own TIME, in milliseconds.
"""

from dataclasses import dataclass
from typing import Final, Literal

from chatcore.errors import CodecError
from chatcore.ids import ConnectionNumber, DeviceId, GatewayId

SYNC_GROUP: Final = "workers"
PRESENCE_GROUP: Final = "presence"


class Keys:
    """The key names under one prefix. Several systems may share a Redis under different prefixes."""

    def __init__(self, prefix: str = "chat") -> None:
        self.prefix = prefix
        self.workers = f"{prefix}:workers"
        self.meta = f"{prefix}:meta"
        self.presence = f"{prefix}:presence"
        self.sync = f"{prefix}:sync"
        self.deadlines = f"{prefix}:deadlines"
        self.swept = f"{prefix}:swept"
        self.dead = f"{prefix}:dead"

    def inbox(self, partition: int | Literal["*"]) -> str:
        """The stream of a partition's unsettled events; `*` gives the pattern of all, as for users and gateways."""
        return f"{self.prefix}:in:{{{partition}}}"

    def gateway(self, gateway: str) -> str:
        """The gateway's own sign of life; when it is gone before its time, Redis was wiped."""
        return f"{self.prefix}:gateway:{gateway}"

    def channel(self, gateway: str) -> str:
        """The Pub/Sub channel of a gateway."""
        return f"{self.prefix}:gw:{gateway}"

    def devices(self, user: str) -> str:
        """The connections of a user's devices, for routing and for presence."""
        return f"{self.prefix}:devices:{{{user}}}"

    def seen(self, user: str) -> str:
        """Whether the user was last told to be online, and since when not."""
        return f"{self.prefix}:seen:{{{user}}}"

    def watch(self, user: str) -> str:
        """The gateways with a subscriber to the user's presence."""
        return f"{self.prefix}:watch:{{{user}}}"


def group_of(epoch: int) -> str:
    """Name the consumer group of an owner's epoch (R2)."""
    return f"delivery-{epoch}"


def epoch_of(group: bytes) -> int:
    """Read the epoch off a group's name; -1 for a group that no owner made."""
    _, _, number = group.partition(b"-")
    return int(number) if group.startswith(b"delivery-") and number.isdigit() else -1


@dataclass(frozen=True, slots=True)
class Member:
    """One connection of one device, as it stands in `chat:devices:{user}` (R4)."""

    device: DeviceId
    gateway: GatewayId
    connection: ConnectionNumber
    entered_ms: int
    """Redis's TIME when it was entered first: of two connections of a device the later one is the newer."""

    def encode(self) -> str:
        """Write it as a member of the sorted set. `|` is in no device or gateway id."""
        return f"{self.device}|{self.gateway}|{self.connection}|{self.entered_ms}"

    @classmethod
    def decode(cls, raw: bytes) -> "Member":
        """Read what `encode` wrote. Raises `CodecError`."""
        try:
            device, gateway, connection, entered_ms = raw.decode("ascii").split("|")
            return cls(DeviceId(device), GatewayId(gateway), ConnectionNumber(int(connection)), int(entered_ms))
        except ValueError as error:
            raise CodecError(f"not a member: {raw[:100]!r}") from error
