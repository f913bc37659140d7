"""Where the programs of MariaDB and of MySQL come from. It knows command lines, and starts nothing."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from chatctl.stack import mysql_tree
from chatctl.stack.executables import find

FlavourName = Literal["mariadb", "mysql"]


class Flavour(Protocol):
    """One of the two servers."""

    @property
    def name(self) -> FlavourName:
        """Which."""

    @property
    def server(self) -> tuple[str, ...]:
        """The server's command line, to which options are added."""

    @property
    def options(self) -> dict[str, str]:
        """Options that only this one has."""

    def initialise(self, data: Path) -> tuple[str, ...]:
        """Return the command that fills an empty data folder."""


def _as_root() -> tuple[str, ...]:
    """Both servers refuse to run as root unless told that it is meant.

    Another user could not reach a stack that lies in root's home, and taking another identity would clear the
    kernel's promise to end the server with its supervisor.
    """
    return ("--user=root",) if os.geteuid() == 0 else ()


@dataclass(frozen=True, slots=True)
class MariaDB:
    """The distribution's MariaDB."""

    name: Literal["mariadb"] = "mariadb"

    @property
    def server(self) -> tuple[str, ...]:
        """The server's command line."""
        return (find("mariadbd", package="mariadb-server"), "--no-defaults", *_as_root())

    @property
    def options(self) -> dict[str, str]:
        """None of its own."""
        return {}

    def initialise(self, data: Path) -> tuple[str, ...]:
        """Return mariadb-install-db, without the test database and the anonymous users."""
        program = find("mariadb-install-db", package="mariadb-server")
        method = "--auth-root-authentication-method=normal"
        return (program, "--no-defaults", *_as_root(), f"--datadir={data}", method, "--skip-test-db")


@dataclass(frozen=True, slots=True)
class MySQL:
    """A real MySQL out of its tree."""

    tree: Path = field(default_factory=mysql_tree.ensure)
    name: Literal["mysql"] = "mysql"

    @property
    def server(self) -> tuple[str, ...]:
        """The server's command line: through the tree's own dynamic loader."""
        share = self.tree / "share"
        return (
            *mysql_tree.loaded(self.tree, "mysqld"),
            "--no-defaults",
            *_as_root(),
            f"--basedir={self.tree}",
            f"--lc-messages-dir={share}",
            f"--character-sets-dir={share / 'charsets'}",
            f"--plugin-dir={self.tree / 'plugin'}",
        )

    @property
    def options(self) -> dict[str, str]:
        """Its second protocol would take a fixed port, and its default folder for files need not exist."""
        return {"mysqlx": "OFF", "secure-file-priv": "NULL"}

    def initialise(self, data: Path) -> tuple[str, ...]:
        """Return mysqld's own initialisation."""
        return (*self.server, "--initialize-insecure", f"--datadir={data}")


def flavour(name: FlavourName) -> Flavour:
    """Return the one of that name; for MySQL this may take minutes, the first time."""
    return MySQL() if name == "mysql" else MariaDB()
