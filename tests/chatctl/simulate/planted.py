"""Services with one part replaced: bugs that a simulation has to find. The product has no switch for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from chatcore.stream import TypingSeen
from chatctl.simulate.services import ROLES, Compose, SimulatedGateway, SimulatedPresence, SimulatedWorker
from chatctl.simulate.twin_mysql.tables import TABLES
from chatctl.simulate.twin_redis.keyspace import SortedSet
from chatctl.simulate.twin_redis.scripts import SCRIPTS, Host
from chatctl.verify.planted.bugs import BUGS
from chatctl.verify.planted.gateways import LEAVE_ALL
from delivery_worker.router import RedisRouter
from presence.devices import Devices
from presence.sweeper import Sweeper


class Forgetful(RedisRouter):
    """Looks no route up: whoever is connected hears of nothing but answers."""

    async def routes(self, users: Iterable[str]) -> dict[str, Any]:
        """Find nobody."""
        del users
        return {}


class RoutelessWorker(SimulatedWorker):
    """Messages reach nobody before the next sync."""

    def __init__(self, name: str, roads: Any) -> None:
        super().__init__(name, roads)
        self.router.__class__ = Forgetful


class NeverSweeping(Sweeper):
    """Looks at nobody whose time has come."""

    async def _sweep(self) -> bool:
        """Leave everybody where they are."""
        return False


class GhostlyPresence(SimulatedPresence):
    """Who vanished stays."""

    def __init__(self, name: str, roads: Any) -> None:
        super().__init__(name, roads)
        self.sweeper.__class__ = NeverSweeping


class Discreet(Devices):
    """Tells nobody that somebody types."""

    async def tell_typing(self, events: Sequence[TypingSeen]) -> None:
        """Keep it."""
        del events


class DiscreetPresence(SimulatedPresence):
    """One operation of all does nothing."""

    def __init__(self, name: str, roads: Any) -> None:
        super().__init__(name, roads)
        self.devices.__class__ = Discreet


ROUTELESS: Mapping[str, Compose] = {**ROLES, "worker": RoutelessWorker}
GHOSTLY: Mapping[str, Compose] = {**ROLES, "presence": GhostlyPresence}
DISCREET: Mapping[str, Compose] = {**ROLES, "presence": DiscreetPresence}


def planted(name: str) -> Mapping[str, Compose]:
    """Give the services with one of `verify`'s bugs: its root, on the twins."""
    bug = BUGS[name]
    twin = SimulatedWorker if bug.role == "worker" else SimulatedGateway
    return {**ROLES, bug.role: type(f"{bug.app.__name__}OnTwins", (twin, bug.app), {})}


def _leave_all(host: Host, keys: list[bytes], args: list[bytes]) -> int:
    """Do as the script of the bug `removes_another` does."""
    members = host.keys.make(keys[0], SortedSet)
    for member in [member for member in members if member.startswith(args[0])]:
        del members[member]
    host.keys.drop_empty(keys[0])
    return 0


def prepare(name: str, patch: pytest.MonkeyPatch) -> None:
    """Put out of the bug's way what would hide it, the schema's unique key of client ids; teach the twin its script."""
    patch.setitem(SCRIPTS, LEAVE_ALL, _leave_all)
    if BUGS[name].statements:
        patch.setitem(TABLES, "message", replace(TABLES["message"], unique=()))
