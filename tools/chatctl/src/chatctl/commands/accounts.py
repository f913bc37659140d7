"""`acl` and `grants`: the accounts of Redis and of MySQL as text for their administrator. They reach no server."""

import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TypeVar, get_args

from chatcore.acl import User, acl_file
from chatcore.keys import Keys
from delivery_worker.grants import Part, accounts

from chatctl.failure import Failure

T = TypeVar("T")


def acl(*, passwords: Path, prefix: str = "chat") -> None:
    """Print Redis's ACL file: one user per service, with just its keys, channels and commands.

    Parameters
    ----------
    passwords
        A file with a line `user=password` for each user to make, or `-`. Only their digests are printed.
    prefix
        Of the keys, as CHAT_KEY_PREFIX.
    """
    print(acl_of(read_passwords(passwords), prefix=prefix), end="")


def grants(*, passwords: Path, database: str = "chat", tls: bool = True) -> None:
    """Print the SQL that makes MySQL's accounts: application, migrator and exporter.

    Parameters
    ----------
    passwords
        A file with a line `account=password` for each account to make, or `-`. The passwords are printed.
    database
        Of the services, as CHAT_MYSQL_DATABASE.
    tls
        Whether the server refuses them in the clear.
    """
    print(grants_of(read_passwords(passwords), database=database, tls=tls), end="")


def acl_of(passwords: Mapping[str, str], *, prefix: str) -> str:
    """Write the ACL file of these users, in an order of its own. Raises `Failure` for one that there is not."""
    known = _known(passwords, get_args(User))
    return acl_file(Keys(prefix), {user: sha256(password.encode()).hexdigest() for user, password in known.items()})


def grants_of(passwords: Mapping[str, str], *, database: str, tls: bool) -> str:
    """Write the SQL of these accounts, in an order of its own. Raises `Failure` for one that there is not."""
    known: dict[Part, str] = _known(passwords, get_args(Part))
    return "".join(f"{statement};\n" for statement in accounts(database, known, tls=tls))


def read_passwords(path: Path) -> dict[str, str]:
    """Read lines `name=password`; empty ones and those that begin with # say nothing. Raises `Failure`."""
    try:
        text = sys.stdin.read() if path == Path("-") else path.read_text(encoding="utf-8")
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}", advice="name a file, or - for standard input") from None
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    if not pairs or not all(name and password for name, _, password in pairs):
        raise Failure(f"{path} does not hold lines name=password", advice="give each account a password")
    return {name: password for name, _, password in pairs}


def _known(passwords: Mapping[str, str], known: tuple[T, ...]) -> dict[T, str]:
    for name in passwords.keys() - set(known):
        raise Failure(f"no such account: {name}", advice=f"choose among {', '.join(map(str, known))}")
    return {one: passwords[str(one)] for one in known if one in passwords}
