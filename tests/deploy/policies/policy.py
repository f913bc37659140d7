"""What a policy is: a sentence, what finds faults against it, and the mistakes that it must find."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.deploy.manifests import Manifests

Faults = Callable[[Manifests], Iterator[str]]
Mistake = Callable[[Manifests], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One rule that every overlay keeps."""

    says: str
    faults: Faults
    mistakes: tuple[Mistake, ...]
    """Each breaks a good manifest in one way: without them a policy that finds nothing looks as if it held."""
    tried_on: str = "prod"
    """The overlay that the mistakes are made in."""
