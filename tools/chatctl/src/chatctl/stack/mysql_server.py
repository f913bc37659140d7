"""The private MySQL or MariaDB of a stack: its data folder, its options, its first statements. Tables are not its part.

Both servers take the same options and statements; only where the programs come from differs (`mysql_flavours`).
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import aiomysql
import pymysql

from chatctl.failure import Failure
from chatctl.stack import logs
from chatctl.stack.mysql_flavours import Flavour
from chatctl.stack.program import Program
from chatctl.stack.stack_file import MysqlAddress

WORKER = "chat_worker"
"""The user as which the workers come: it may read and write rows and nothing else, so that a server which is set to
read-only binds it, as it binds a worker in production. Each worker of a stack has an account of its own besides, so
that the server's list of sessions, and whoever audits writes, can tell one from the other."""

MAX_SOCKET_BYTES = 100
"""The path of a Unix socket has at most 107 bytes, and the server puts `.lock` behind it."""

OPTIONS = {
    "bind-address": "127.0.0.1",
    "character-set-server": "utf8mb4",  # and its default collation, case-insensitive: tables name their own
    "skip-name-resolve": "ON",
    "log-bin": "binlog",
    "binlog-format": "ROW",
    "server-id": "1",
    "sync-binlog": "1",
    "innodb-flush-log-at-trx-commit": "1",
    "max-binlog-size": "64M",
    "binlog-expire-logs-seconds": "3600",
    "max-connections": "300",
    "performance-schema": "OFF",
}
"""Commits as durable as in production, and a binary log that does not fill the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlServer:
    """A server with its data in `<folder>/mysql`, for the one address."""

    folder: Path
    address: MysqlAddress
    flavour: Flavour
    workers: int = 0
    """How many workers get an account of their own."""

    @property
    def data(self) -> Path:
        """The data folder. It belongs to one flavour: MySQL cannot read MariaDB's."""
        return self.folder / f"{self.flavour.name}-data"

    def prepare(self) -> None:
        """Make the data folder if there is none; made aside and renamed, so that half of one is never used."""
        if (self.data / "mysql").is_dir():
            return
        fresh = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True, mode=0o700)
        log = logs.path_of(self.folder, "mysql-init")
        descriptor = logs.open_log(self.folder, "mysql-init")
        # MariaDB's script does not quote its paths: it gets one without a space, which leads to the real one.
        with tempfile.TemporaryDirectory(prefix="chat-", dir="/tmp") as plain:
            link = Path(plain) / "data"
            link.symlink_to(fresh, target_is_directory=True)
            environment = {**os.environ, "TMPDIR": plain}
            try:
                command = self.flavour.initialise(link)
                done = subprocess.run(
                    command, stdout=descriptor, stderr=subprocess.STDOUT, cwd=plain, env=environment, check=False
                )
            finally:
                os.close(descriptor)
        if done.returncode != 0:
            raise Failure(
                f"{self.flavour.name} could not make its data folder {self.data}",
                log=log,
                advice="look for a full disk or a folder of another user; `--fresh` begins anew",
            )
        fresh.replace(self.data)

    def program(self) -> Program:
        """Return how to serve. Call `prepare` before its first start."""
        # A server that starts deletes the temporary tables that it finds: two in one folder would undo each other.
        temporary = self.folder / "mysql-tmp"
        temporary.mkdir(exist_ok=True, mode=0o700)
        init = self.folder / "mysql-init.sql"
        init.touch(mode=0o600)
        init.write_text(_first_statements(self.address, self.workers), encoding="utf-8")
        options = OPTIONS | self.flavour.options | {"port": str(self.address.port), "socket": self.address.socket}
        paths = {"datadir": str(self.data), "pid-file": str(self.folder / "mysql.pid"), "init-file": str(init)}
        paths["tmpdir"] = str(temporary)
        return Program(
            name="mysql",
            role="mysql",
            command=(*self.flavour.server, *(f"--{name}={value}" for name, value in (options | paths).items())),
            environment={},
            stop_s=20.0,
        )


async def answers(address: MysqlAddress) -> bool:
    """Tell whether the server lets its user in now."""
    try:
        connection = await aiomysql.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            db=address.database,
            connect_timeout=2,
        )
    except (pymysql.MySQLError, OSError, RuntimeError):
        return False
    connection.close()
    return True


def socket_path(folder: Path) -> Path:
    """Return a place for the server's socket: in the stack's folder, or where a short path is to be had.

    A folder made for it lies under the system's temporary one; `remove_socket` takes it away again.
    """
    path = folder / "mysql.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_BYTES:
        return path
    return Path(tempfile.mkdtemp(prefix="chat-", dir="/tmp")) / "mysql.sock"


def remove_socket(path: Path, folder: Path) -> None:
    """Remove the socket, and its folder if `socket_path` made one."""
    if path.parent == folder:
        path.unlink(missing_ok=True)
    elif path.parent.name.startswith("chat-"):
        shutil.rmtree(path.parent, ignore_errors=True)


def worker_account(number: int) -> str:
    """Return the account of a stack's worker of that number."""
    return f"{WORKER}_{number}"


def _first_statements(address: MysqlAddress, workers: int) -> str:
    """Return what the server does before it lets anyone in, at every start: root never is without a password.

    MariaDB's new data folder has further roots without one: two on the loopback, and one of the machine's name, as
    which nobody comes in as long as names are not resolved (`skip-name-resolve`).
    """
    accounts = [WORKER, *(worker_account(number) for number in range(1, workers + 1))]
    return f"""\
ALTER USER 'root'@'localhost' IDENTIFIED BY '{address.password}';
DROP USER IF EXISTS 'root'@'127.0.0.1', 'root'@'::1';
CREATE USER IF NOT EXISTS '{address.user}'@'%' IDENTIFIED BY '{address.password}';
ALTER USER '{address.user}'@'%' IDENTIFIED BY '{address.password}';
GRANT ALL ON *.* TO '{address.user}'@'%' WITH GRANT OPTION;
{"".join(_account(address, account) for account in accounts)}\
CREATE DATABASE IF NOT EXISTS `{address.database}`;
"""


def _account(address: MysqlAddress, account: str) -> str:
    return f"""\
CREATE USER IF NOT EXISTS '{account}'@'%' IDENTIFIED BY '{address.password}';
ALTER USER '{account}'@'%' IDENTIFIED BY '{address.password}';
GRANT SELECT, INSERT, UPDATE, DELETE ON `{address.database}`.* TO '{account}'@'%';
"""
