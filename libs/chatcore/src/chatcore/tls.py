"""Owns how a service trusts a store's certificate: by given authorities, and for the name that it was told."""

import ssl
from pathlib import Path

from chatcore.errors import ConfigurationError


def trusting(authorities: Path, *, variable: str) -> ssl.SSLContext:
    """Make the context of a client that accepts nothing but a certificate of those authorities for its server's name.

    Raises `ConfigurationError` that names the environment variable, for a file that cannot be read or holds none.
    """
    try:
        return ssl.create_default_context(cafile=str(authorities))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"{variable}: no certificates in {authorities}: {error}") from error
