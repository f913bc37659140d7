"""Owns presence's settings."""

from typing import Annotated

from chatcore.settings import ServiceSettings
from pydantic import Field


class PresenceSettings(ServiceSettings):
    """Presence's own."""

    presence_ttl_s: Annotated[int, Field(ge=12, le=600)] = 30
    """Seconds after its last heartbeat at which a device is taken for gone. Gateways beat every 10 s: below 12, one
    late beat makes a live device flap. The gateways name it in `welcome`; give them the same."""
