"""How many of each service a scene has, and what its parts are called. Pure."""

from dataclasses import dataclass

STORES = ("redis", "mysql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The size of a scene."""

    gateways: int = 2
    workers: int = 2
    presence: int = 1

    @property
    def gateway_names(self) -> list[str]:
        """The gateways, as `stack.json` names them."""
        return [f"gateway-{number}" for number in range(1, self.gateways + 1)]

    @property
    def worker_names(self) -> list[str]:
        """The workers."""
        return [f"worker-{number}" for number in range(1, self.workers + 1)]

    @property
    def presence_names(self) -> list[str]:
        """The replicas of presence."""
        return [f"presence-{number}" for number in range(1, self.presence + 1)]

    @property
    def services(self) -> list[str]:
        """Everything but the stores."""
        return [*self.gateway_names, *self.worker_names, *self.presence_names]

    @property
    def processes(self) -> list[str]:
        """Every process of the stack."""
        return [*self.services, *STORES]

    @property
    def clocks(self) -> list[str]:
        """The processes whose clock can be stepped: Redis ends at once under libfaketime, because of its allocator."""
        return [*self.services, "mysql"]

    @property
    def lines(self) -> list[str]:
        """Every proxied line, as `<service>:<what it leads to>`; `clients` lead to their gateway."""
        return [
            *(f"{name}:redis" for name in self.services),
            *(f"{name}:mysql" for name in self.worker_names),
            *self.client_lines,
        ]

    @property
    def client_lines(self) -> list[str]:
        """The lines from clients to gateways."""
        return [f"{name}:clients" for name in self.gateway_names]
