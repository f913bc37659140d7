"""What a device on the bare protocol puts on record of its connections, with a server that only listens."""

import asyncio
from typing import Any, Self

import pytest
from chatctl.verify import history as h
from chatctl.verify.case import FOR_EVER, Case
from chatctl.verify.connection import NothingCame, RawConnection
from chatctl.verify.contract import BrokenContract, Frame
from chatctl.verify.device import BareDevice
from chatctl.verify.final_state import FinalState

WELCOME: Frame = {"type": "welcome", "gateway": "gateway-1", "epoch": "e", "limits": {"presence_ttl_s": 30}}


class Listening(RawConnection):
    """A connection whose server says `welcome` and no more, and ends it as `ending` says, or never."""

    ending: BaseException | None = None

    def __init__(self) -> None:
        self._welcomes = [WELCOME]

    @classmethod
    async def open(cls, *_: Any, **__: Any) -> Self:
        return cls()

    async def receive(self, **_: Any) -> Frame:
        if not self._welcomes:
            await asyncio.Event().wait()
        return self._welcomes.pop()

    async def expect_closed(self, **_: Any) -> int:
        if self.ending is None:
            await asyncio.Event().wait()
            raise AssertionError("it waited for ever, and did not")
        raise self.ending

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
    await saw(h.Closed, 0 if kind.ending is None else 1)
    await device.stop()
    return Case(device.history, FinalState({}, []))


@pytest.mark.parametrize(
    ("kind", "garbled"),
    [
        (Listening, 0),
        (type("Silent", (Listening,), {"ending": NothingCame("nothing")}), 0),
        (type("Babbling", (Listening,), {"ending": BrokenContract("a gift")}), 1),
    ],
    ids=["stopped meanwhile", "never ended by the server", "a frame that no protocol knows"],
)
async def test_a_connection_left_standing_ends_on_record_however_it_ends(kind: type[Listening], garbled: int) -> None:
    case = await _leave_one_standing(kind)
    assert [link.down_s for link in case.links.values() if link.down_s == FOR_EVER] == []
    assert [link.ours for link in case.links.values()] == [True, True]
    assert len(case.of(h.Garbled)) == garbled
