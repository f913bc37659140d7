"""The planted bugs by name: whom they replace, what breaks them open, and what has to be out of their way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from delivery_worker.app import WorkerApp
from gateway.app import GatewayApp

from chatctl.faults.scene import Modules, Scene
from chatctl.faults.shape import Shape
from chatctl.verify.planted import batches, gateways, stores, syncs

MODULE: Final = "chatctl.verify.planted"
DURATION_S: Final = 60.0
"""Seconds of talk and faults, where nothing else is asked for."""
CLIENTS: Final = 24
"""Devices, where nothing else is asked for."""
NO_UNIQUE_ID: Final = ("ALTER TABLE message DROP KEY message_client_id, ADD KEY message_client_id (conversation_id)",)
"""The schema's own guard against a second entry of an id would hide that the worker's is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One planted bug."""

    app: type[WorkerApp] | type[GatewayApp]
    says: str
    """What it does wrong."""
    faults: tuple[str, ...]
    """The kinds of faults that provoke it."""
    shown_by: frozenset[str]
    """The properties that it breaks: one of them has to catch it. That it breaks others besides proves nothing."""
    duration_s: float = DURATION_S
    """How long a run takes that provokes it enough."""
    clients: int = CLIENTS
    """How many devices it takes to meet it."""
    statements: tuple[str, ...] = ()
    """What is done to the schema before anybody talks."""

    @property
    def role(self) -> str:
        """The service in whose place it runs."""
        return "worker" if issubclass(self.app, WorkerApp) else "gateway"

    def modules(self, name: str, shape: Shape | None = None) -> Modules:
        """Return what runs in the place of every service of its role."""
        parts = shape or Shape()
        names = parts.worker_names if self.role == "worker" else parts.gateway_names
        return dict.fromkeys(names, (MODULE, name))

    async def prepare(self, scene: Scene) -> None:
        """Put out of its way what would hide it."""
        async with scene.mysql() as connection:
            cursor: Any = await connection.cursor()
            for statement in self.statements:
                await cursor.execute(statement)


SLOW_STORE: Final = ("slow_line:worker-1:mysql", "slow_line:worker-2:mysql")
"""One worker's commits take long while the other's syncs do not."""
SLOW_REDIS: Final = ("slow_line:gateway-1:redis", "slow_line:gateway-2:redis")
"""What a gateway asks of Redis is on its way for long, and so is its subscribing again."""
STORE_FAULTS: Final = ("mysql_read_only", "mysql_lock_wait", "mysql_kill_connections", "partition_worker_mysql")

BUGS: Final[Mapping[str, Bug]] = {
    "ack_before_commit": Bug(
        app=batches.AckBeforeCommit,
        says="answers `sent` before the COMMIT",
        faults=(*STORE_FAULTS, "redis_flush"),
        shown_by=frozenset({"confirmed_is_stored", "one_entry_per_message", "told_is_as_stored"}),
    ),
    "settle_before_commit": Bug(
        app=batches.SettleBeforeCommit,
        says="settles entries before the COMMIT",
        faults=("partition_worker_mysql", "mysql_lock_wait", "kill:worker"),
        shown_by=frozenset({"settled_after_commit"}),
    ),
    "no_dedupe": Bug(
        app=stores.NoDedupe,
        says="looks no client id up",
        faults=("cut_clients", "kill:gateway", "redis_kill_normal", "kill:worker"),
        statements=NO_UNIQUE_ID,
        shown_by=frozenset({"one_entry_per_message"}),
    ),
    "dedupe_with_expiry": Bug(
        app=stores.DedupeWithExpiry,
        says="knows client ids for 2 s",
        faults=("partition_gateway_clients", "pause_long:gateway", "redis_kill_pubsub"),
        statements=NO_UNIQUE_ID,
        shown_by=frozenset({"one_entry_per_message"}),
    ),
    "unfenced_upsert": Bug(
        app=stores.UnfencedUpsert,
        says="inserts messages by an upsert, behind no fence",
        faults=("partition_worker_mysql", "pause_long:worker", "partition_worker_redis"),
        shown_by=frozenset({"fenced_worker_has_no_effect", "confirmed_is_stored", "a_number_names_one_message"}),
    ),
    "memory_before_commit": Bug(
        app=batches.MemoryBeforeCommit,
        says="remembers a batch before its COMMIT was answered",
        faults=STORE_FAULTS,
        shown_by=frozenset({"numbers_have_no_holes"}),
        duration_s=30.0,
    ),
    "receipt_on_write": Bug(
        app=gateways.ReceiptOnWrite,
        says="acknowledges for a device when it writes to its socket",
        faults=("kill",),
        shown_by=frozenset({"nothing_is_claimed_unsaid"}),
        duration_s=15.0,
    ),
    "no_sync_after_wipe": Bug(
        app=gateways.NoSyncAfterWipe,
        says="syncs nobody when Redis was emptied",
        faults=("redis_flush",),
        shown_by=frozenset({"every_device_is_complete", "messages_arrive_in_time", "receipts_converge"}),
    ),
    "removes_another": Bug(
        app=gateways.RemovesAnother,
        says="removes every member of a device that leaves",
        faults=("cut_clients", "partition_gateway_clients"),
        shown_by=frozenset(
            {"nobody_flaps", "a_late_leaver_evicts_nobody", "no_ghosts_remain", "every_device_is_complete"}
        ),
    ),
    "waits_for_the_slow": Bug(
        app=gateways.WaitsForTheSlow,
        says="lets all its clients wait for one that does not read",
        faults=("cut_clients",),
        shown_by=frozenset({"a_stalled_client_moves_nobody"}),
        duration_s=15.0,
    ),
    "leaves_in_silence": Bug(
        app=gateways.LeavesInSilence,
        says="ends when it is asked to, without a word to its clients",
        faults=("terminate:gateway", "rolling"),
        shown_by=frozenset({"a_drained_gateway_names_its_reason"}),
        duration_s=30.0,
    ),
    "routes_before_commit": Bug(
        app=batches.RoutesBeforeCommit,
        says="looks routes up before the COMMIT",
        faults=("cut_clients", *SLOW_STORE),
        shown_by=frozenset({"a_push_need_not_be_asked_for", "every_device_is_complete", "receipts_converge"}),
        clients=48,
    ),
    "second_confirmation_ignored": Bug(
        app=gateways.SecondConfirmationIgnored,
        says="takes a subscription made again for the first",
        faults=("redis_kill_pubsub", "redis_kill_pubsub", *SLOW_REDIS),
        shown_by=frozenset({"every_device_is_complete", "messages_arrive_in_time", "receipts_converge"}),
    ),
    "token_after_read": Bug(
        app=syncs.TokenAfterRead,
        says="takes a sync's token after its read",
        faults=("redis_flush",),
        shown_by=frozenset(
            {"every_device_is_complete", "receipts_converge", "a_sync_brings_everything", "a_sync_brings_every_mark"}
        ),
        duration_s=45.0,
        clients=48,
    ),
    "acks_dropped": Bug(
        app=gateways.AcksDropped,
        says="drops acknowledgements whose XADD failed",
        faults=("redis_full", "redis_kill_normal", *SLOW_REDIS),
        shown_by=frozenset({"receipts_converge", "receipts_arrive_in_time"}),
    ),
}
