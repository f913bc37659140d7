"""Services with one part replaced: bugs that a simulation has to find. The product has no switch for them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from chatctl.simulate.services import ROLES, Compose, SimulatedGateway, SimulatedWorker
from chatctl.simulate.twin_mysql.tables import TABLES
from chatctl.verify.planted.bugs import BUGS
from delivery_worker.router import RedisRouter


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


ROUTELESS: Mapping[str, Compose] = {**ROLES, "worker": RoutelessWorker}


def planted(name: str) -> Mapping[str, Compose]:
    """Give the services with one of `verify`'s bugs: its root, on the twins."""
    bug = BUGS[name]
    twin = SimulatedWorker if bug.role == "worker" else SimulatedGateway
    return {**ROLES, bug.role: type(f"{bug.app.__name__}OnTwins", (twin, bug.app), {})}


def prepare(name: str, patch: pytest.MonkeyPatch) -> None:
    """Put out of the bug's way what would hide it: in the twin, the schema's unique key of client ids."""
    if BUGS[name].statements:
        patch.setitem(TABLES, "message", replace(TABLES["message"], unique=()))
