"""Owns the gateway's settings."""

from typing import Annotated, Self

from chatcore.frames import MAX_BODY_BYTES, MAX_FRAME_BYTES
from chatcore.settings import Names, ServiceSettings, TraceSettings, split_names
from pydantic import Field, SecretStr, field_validator, model_validator

from gateway.leaving import drain_s, shortest_shutdown_s


class GatewaySettings(ServiceSettings, TraceSettings):
    """The gateway's own."""

    host: str = "127.0.0.1"
    """Where the WebSocket listens. In a container: `0.0.0.0`."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """Its port; 0 lets the system choose one, which the log then names."""

    reuse_port: bool = False
    """Share the port with other gateways of the same user (SO_REUSEPORT). `--processes` sets it for its own."""

    jwt_secret: SecretStr | None = None
    """The shared secret of HS256 tokens, at least 32 bytes. Without it only asymmetric tokens pass."""

    jwt_audience: str = "chat"
    """The `aud` that a token must carry."""

    jwt_issuer: str = "chat"
    """The `iss` that a token must carry."""

    jwks_file: str | None = None
    """A JWKS document with public keys, read again every 5 minutes and at an unknown key id."""

    jwks_url: str | None = None
    """The same over HTTP. Only one of the two."""

    origins: Names = ()
    """Origins beside the gateway's own host from which a browser may connect, separated by commas."""

    max_connections: Annotated[int, Field(ge=0)] = 20_000
    """Connections of this process; a full garbage collection grows with them. 0: no limit."""

    max_admissions: Annotated[int, Field(ge=0)] = 1_000
    """Handshakes that wait for Redis and a worker at once; past it 429, with a Retry-After for each of its own. About
    what is admitted in a second: those that wait for 5 s are given up, and their work was for nothing. 0: no limit."""

    connections_per_user: Annotated[int, Field(ge=0)] = 0
    """Connections of one user on this gateway. 0: no limit."""

    handshakes_per_s: Annotated[float, Field(ge=0)] = 0.0
    """Handshakes a second on this gateway (270 microseconds of CPU each). 0: no limit."""

    user_handshakes_per_s: Annotated[float, Field(ge=0)] = 0.0
    """Handshakes a second of one user on this gateway. 0: no limit."""

    sends_per_s: Annotated[int, Field(gt=0)] = 100
    """Requests a second of one connection, in the long run."""

    sends_burst: Annotated[int, Field(gt=0)] = 1_000
    """Requests of one connection at once."""

    max_in_flight: Annotated[int, Field(gt=0)] = 1_000
    """Sends of one connection without an answer."""

    max_subscriptions: Annotated[int, Field(gt=0, le=200)] = 200
    """Users whose presence one connection may watch."""

    prestop_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds after SIGTERM in which it is unready and still lets clients in, for load balancers to notice. Part of
    `CHAT_SHUTDOWN_S`. Behind one: the time of its health checks until it gives a backend up, and a second."""

    max_connection_age_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds after which a connection is sent elsewhere, or up to a fifth earlier: new gateways fill. 0: never."""

    presence_ttl_s: Annotated[int, Field(ge=12, le=600)] = 30
    """Give presence the same: seconds after its last heartbeat at which a device is taken for gone."""

    max_backlog_entries: Annotated[int, Field(gt=0)] = 20_000
    """Entries in a partition's stream past which sends to it get `overloaded`. Bounds the memory of Redis."""

    queue_bytes: Annotated[int, Field(ge=65_536)] = 1024 * 1024
    """Bytes that wait for one slow reader; past it the connection closes with 4408."""

    queue_frames: Annotated[int, Field(ge=16)] = 4_096
    """Frames that wait for one slow reader; the same."""

    @property
    def drain_s(self) -> float:
        """Seconds of a shutdown for the connections."""
        return drain_s(self.shutdown_s, self.prestop_s)

    @property
    def limits(self) -> dict[str, int]:
        """The limits as `welcome` names them."""
        return {
            "max_frame_bytes": MAX_FRAME_BYTES,
            "max_body_bytes": MAX_BODY_BYTES,
            "sends_per_s": self.sends_per_s,
            "sends_burst": self.sends_burst,
            "max_in_flight": self.max_in_flight,
            "max_subscriptions": self.max_subscriptions,
            "presence_ttl_s": self.presence_ttl_s,
        }

    _split = field_validator("origins", mode="before")(split_names)

    @model_validator(mode="after")
    def _one_jwks(self) -> Self:
        if self.jwks_file and self.jwks_url:
            raise ValueError("CHAT_JWKS_FILE and CHAT_JWKS_URL exclude each other")
        return self

    @model_validator(mode="after")
    def _time_to_leave(self) -> Self:
        least_s = shortest_shutdown_s(self.prestop_s)
        if self.shutdown_s < least_s:
            raise ValueError(
                f"CHAT_SHUTDOWN_S is {self.shutdown_s:g}, and with CHAT_PRESTOP_S={self.prestop_s:g} a drain in order "
                f"takes at least {least_s:g}"
            )
        return self
