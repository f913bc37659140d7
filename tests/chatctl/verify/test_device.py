"""What a device on the bare protocol puts on record of its connections, with a server that only listens."""

import asyncio
from typing import Any, Self

import pytest
from chatctl.verify import history as h
from chatctl.verify.case import FOR_EVER, Case
from chatctl.verify.connection import ConnectionClosed, RawConnection
from chatctl.verify.contract import BrokenContract, Frame
from chatctl.verify.device import BareDevice
from chatctl.verify.final_state import FinalState

WELCOME: Frame = {"type": "welcome", "gateway": "gateway-1", "epoch": "e", "limits": {"presence_ttl_s": 30}}


class Listening(RawConnection):
    """A connection whose server says `welcome`, and `later` to a client that has left it standing."""

    later: tuple[Frame | BaseException, ...] = ()

    def __init__(self) -> None:
        self._waiting_frames: list[Frame | BaseException] = [WELCOME]
        self._left_standing = False

    @classmethod
    async def open(cls, *_: Any, **__: Any) -> Self:
        return cls()

    async def receive(self, **_: Any) -> Frame:
        if not self._waiting_frames:
            try:
                await asyncio.Event().wait()
            finally:
                if not self._left_standing:
                    self._left_standing = True
                    self._waiting_frames = list(self.later)
        found = self._waiting_frames.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found

    async def send(self, frame: Any) -> None:
        pass

    async def close(self) -> None:
        pass


async def _leave_one_standing(kind: type[Listening]) -> Case:
    """Connect, connect again beside it, wait until the server has ended the older one if it does, and stop."""
    device = BareDevice(user="ann", device="phone", gateways=lambda: ["ws://a"], token=lambda: "", connection=kind)
    seen = device.history.observations

    async def saw(what: type[h.Observation], times: int) -> None:
        async with asyncio.timeout(5):
            while sum(isinstance(one, what) for one in seen) < times:
                await asyncio.sleep(0.01)

    device.start()
    await saw(h.Welcomed, 1)
    device.go("linger", away_s=0.0)
    await saw(h.Welcomed, 2)
    await saw(h.Closed, 1 if kind.later else 0)
    await device.stop()
    return Case(device.history, FinalState({}, []))


@pytest.mark.parametrize(
    ("kind", "garbled"),
    [
        (Listening, 0),
        (type("Silent", (Listening,), {"later": (TimeoutError(),)}), 0),
        (type("Babbling", (Listening,), {"later": (BrokenContract("a gift"),)}), 1),
    ],
    ids=["stopped meanwhile", "never ended by the server", "a frame that no protocol knows"],
)
async def test_a_connection_left_standing_ends_on_record_however_it_ends(kind: type[Listening], garbled: int) -> None:
    case = await _leave_one_standing(kind)
    assert [link.down_s for link in case.links.values() if link.down_s == FOR_EVER] == []
    assert [link.ours for link in case.links.values()] == [True, True]
    assert len(case.of(h.Garbled)) == garbled


async def test_what_a_watcher_is_told_on_a_connection_left_standing_counts() -> None:
    told: Frame = {"type": "presence", "user": "bob", "online": False}
    case = await _leave_one_standing(type("Telling", (Listening,), {"later": (told, ConnectionClosed(4409))}))
    [word] = case.of(h.PresenceTold)
    assert (word.link, word.of, word.online) == (1, "bob", False)
    assert (case.links[1].code, case.links[1].ours) == (4409, False)
