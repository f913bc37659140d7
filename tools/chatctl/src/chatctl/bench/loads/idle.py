"""Owns devices that are connected and silent: they answer pings, nothing else."""

from chatctl.bench.device import Device
from chatctl.bench.job import Job
from chatctl.bench.loads.load import Load, in_turns


class Idle(Load):
    """Silent devices."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._devices: list[Device] = []

    async def connect(self) -> None:
        """Connect all."""
        numbers = range(self.job.first, self.job.first + self.job.count)
        for number in numbers:
            user = self.user(number)
            self._devices.append(Device(user=user, request=self.request(user, number)))
        await in_turns(self.open(device, number) for number, device in zip(numbers, self._devices, strict=True))

    def start(self) -> None:
        """Stay silent."""

    async def finish(self) -> dict[str, int]:
        """Count the connections that ended."""
        return {"connections lost": sum(device.lost is not None for device in self._devices)}
