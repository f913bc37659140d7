"""`backlog`, `partitions`, `owners`, `who`: what a running system looks like from its stores."""

from chatctl import deployment
from chatctl.deployment import Dir
from chatctl.operations import backlog as streams
from chatctl.operations import people
from chatctl.printing import Json, tell


def backlog(*, all: bool = False, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the options' names
    """Show what waits in the streams, and for how long. All at 0 is a healthy system at rest.

    Parameters
    ----------
    all
        The empty streams too.
    """
    found = deployment.perform(streams.backlog(deployment.find(dir)))
    tell([one for one in found if one.entries or all], as_json=json, none="Nothing waits.")


def partitions(*, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the option's name
    """Show each partition's owner and epoch in MySQL, its group in Redis, and what is unsettled."""
    found = deployment.perform(streams.partitions(deployment.find(dir)))
    tell(found, as_json=json, none="The schema has no partitions: run `delivery-worker migrate`.")


def owners(*, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the option's name
    """Show the workers that live and how many partitions each owns, and owners that do not live."""
    found = deployment.perform(streams.owners(deployment.find(dir)))
    tell(found, as_json=json, none="No worker was ever here.")


def who(user: str, *, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the option's name
    """Show a user's devices: where they are connected, since when they are known, which are revoked."""
    found = deployment.perform(people.devices(deployment.find(dir), user))
    tell(found, as_json=json, none=f"No device of {user} is known.")
