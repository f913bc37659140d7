"""Owns the people of one test: users that nobody else has, their devices and connections, all closed at the end."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import jwt
from chatctl.verify.case import Case
from chatctl.verify.connection import RawConnection
from chatctl.verify.device import BareDevice
from chatctl.verify.final_state import DeviceEnd, Entry, FinalState
from chatctl.verify.history import History, Pair, pair_of
from chatctl.verify.properties import violations
from chatctl.verify.properties.marks import receipts_converge
from chatctl.verify.properties.order import every_device_is_complete
from chatctl.verify.reading import read_log

from tests.harness.system import System, environment_of

CONVERGE_S = 60.0
"""Deadline of a run's end: a killed MariaDB takes up to 20 s to be back, backoffs reach 30 s, G8 allows 15 s more."""
LOOK_S = 0.5


class Cast:
    """Makes users, connections and devices of one system."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._mark = secrets.token_hex(4)
        self._connections: list[RawConnection] = []
        self.devices: list[BareDevice] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ends = [device.stop() for device in self.devices] + [connection.close() for connection in self._connections]
        await asyncio.gather(*ends, return_exceptions=True)

    def user(self, name: str) -> str:
        """Return a user id that belongs to this test alone."""
        return f"{name}-{self._mark}"

    def gateway(self, index: int) -> str:
        """Return a gateway's address."""
        gateways = self.system.gateways()
        return gateways[index % len(gateways)]

    async def connect(
        self, user: str, device: str = "phone", *, gateway: int = 0, since: str | None = None, **token: Any
    ) -> RawConnection:
        """Connect, and leave `welcome` and the sync to be taken."""
        return await self.connect_to(self.gateway(gateway), user, device, since=since, **token)

    async def connect_to(
        self, base: str, user: str, device: str = "phone", *, since: str | None = None, **token: Any
    ) -> RawConnection:
        """The same on a gateway named by its address."""
        connection = await RawConnection.open(base, self.system.token(user, **token), device, since=since)
        self._connections.append(connection)
        return connection

    async def online(
        self, user: str, device: str = "phone", *, gateway: int = 0, since: str | None = None
    ) -> RawConnection:
        """Connect, and take `welcome` and one whole sync."""
        connection = await self.connect(user, device, gateway=gateway, since=since)
        await connection.expect("welcome")
        await connection.sync()
        return connection

    def device(
        self,
        user: str,
        device: str = "phone",
        *,
        history: History | None = None,
        gateways: Callable[[], Sequence[str]] | None = None,
        reads: bool = True,
        window: int = 200,
        last_backoff_s: float = 2.0,
    ) -> BareDevice:
        """Make a device that does all that a client owes; the test starts it."""
        made = BareDevice(
            user=user,
            device=device,
            gateways=gateways or self.system.gateways,
            token=lambda: self.system.token(user),
            history=history,
            reads=reads,
            window=window,
            last_backoff_s=last_backoff_s,
        )
        self.devices.append(made)
        return made

    def sign(self, payload: dict[str, Any], *, secret: str | None = None, **how: Any) -> str:
        """Sign any payload, with the system's own secret if no other is given."""
        return jwt.encode(payload, secret or self.secret(), algorithm="HS256", **how)

    def secret(self) -> str:
        """Return the secret with which the gateways check HS256 tokens."""
        return self._environment()["CHAT_JWT_SECRET"]

    def claims(self, user: str, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good token, changed; None leaves one out."""
        environment = self._environment()
        claims = {
            "sub": user,
            "exp": int(time.time()) + 600,
            "aud": environment.get("CHAT_JWT_AUDIENCE", "chat"),
            "iss": environment.get("CHAT_JWT_ISSUER", "chat"),
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def _environment(self) -> dict[str, str]:
        gateway = next(p for p in self.system.processes() if p.role == "gateway" and p.pid is not None)
        return environment_of(gateway.pid or 0)

    async def log(self, user: str, peer: str) -> list[Entry]:
        """Read a conversation's whole log as `history` gives it out, from a connection of its own."""
        reader = await self.connect(user, "judge")
        try:
            await reader.expect("welcome")
            return await read_log(reader, peer)
        finally:
            await reader.close()

    async def final_state(self, pairs: Sequence[Pair], devices: Sequence[BareDevice]) -> FinalState:
        """Read the logs of all conversations, and what the devices know."""
        logs: dict[Pair, list[Entry]] = {}
        for pair in pairs:
            logs[pair_of(*pair)] = await self.log(*pair)
        return FinalState(logs=logs, devices=[device.end() for device in devices])

    async def converge(
        self,
        pairs: Sequence[Pair],
        devices: Sequence[BareDevice],
        history: History,
        *,
        timeout_s: float = CONVERGE_S,
        offline: Sequence[DeviceEnd] = (),
    ) -> FinalState:
        """Wait until every device has everything and every receipt, then judge the whole run."""
        deadline = time.monotonic() + timeout_s
        await _until(lambda: not any(device.state.outbox for device in devices), deadline)
        final = await self.final_state(pairs, devices)
        judged = final
        while time.monotonic() < deadline:
            judged = FinalState(logs=final.logs, devices=[*(device.end() for device in devices), *offline])
            case = Case(history, judged)
            if not any(True for check in (every_device_is_complete, receipts_converge) for _ in check(case)):
                break
            await asyncio.sleep(LOOK_S)
        broken = violations(history, judged)
        assert not broken, "\n".join([f"{len(broken)} violations", *broken[:20]])
        return judged


async def _until(condition: Callable[[], bool], deadline: float) -> None:
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_S)
