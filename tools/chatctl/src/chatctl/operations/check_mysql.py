"""Owns what is to be right about MySQL: it is the only truth, so it must keep what it said it has."""

import asyncio
import re
from typing import Any, Final

from chatcore.errors import ConfigurationError
from delivery_worker.schema import check_schema
from delivery_worker.store.session import Session

from chatctl.deployment import Deployment
from chatctl.operations.checks import Finding, fault, ok, warning

OLDEST: Final = {"MySQL": (8, 4), "MariaDB": (10, 11)}
PACKET_BYTES: Final = 16 * 1024 * 1024
"""A batch is far below it; a server with less refuses the largest ones."""
_VARIABLES: Final = (
    "version",
    "innodb_flush_log_at_trx_commit",
    "log_bin",
    "sync_binlog",
    "innodb_doublewrite",
    "read_only",
    "max_allowed_packet",
)


async def check_mysql(deployment: Deployment) -> list[Finding]:
    """Look at the server's version, durability, schema and tables. Raises `StoreUnavailable`."""
    async with deployment.session() as session:
        names = ", ".join(f"'{name}'" for name in _VARIABLES)
        sql = f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})"
        values = {str(name): str(value) for name, value in (await session.run(sql))[0]}
        found = [_version(values["version"]), *_durability(values), _writable(values), _packet(values)]
        found += [await _encrypted(session, deployment), await _schema(deployment), await _epochs(session)]
    return found


def _version(version: str) -> Finding:
    flavour = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if number < OLDEST[flavour]:
        oldest = ".".join(map(str, OLDEST[flavour]))
        return fault("mysql version", f"{flavour} {version}; checked from {oldest} on")
    return ok("mysql version", f"{flavour} {version}")


def _durability(values: dict[str, str]) -> list[Finding]:
    found = []
    if values["innodb_flush_log_at_trx_commit"] != "1":
        detail = "is not 1: a crash of its machine loses messages that were acknowledged"
        found.append(fault("innodb_flush_log_at_trx_commit", detail))
    if values["log_bin"].upper() not in ("ON", "1"):
        found.append(warning("log_bin", "is off: no restore to a point in time, and no replica"))
    elif values.get("sync_binlog") != "1":
        detail = f"is {values.get('sync_binlog')}: a crash may lose what replicas and restores are made from"
        found.append(fault("sync_binlog", detail))
    if values.get("innodb_doublewrite", "ON").upper() in ("OFF", "0"):
        found.append(warning("innodb_doublewrite", "is off: a torn page is not mended"))
    return found or [ok("mysql durability", "every commit is on disk, in the log and in the binary log")]


def _writable(values: dict[str, str]) -> Finding:
    if values["read_only"].upper() not in ("OFF", "0", "NO"):
        return fault("read_only", "is on: nothing is stored, and nothing acknowledged; is this the primary?")
    return ok("mysql role", "a primary that takes writes")


def _packet(values: dict[str, str]) -> Finding:
    size = int(values["max_allowed_packet"])
    if size < PACKET_BYTES:
        return fault("max_allowed_packet", f"is {size}: the largest batches fail; {PACKET_BYTES} or more is needed")
    return ok("max_allowed_packet", f"{size // 1024 // 1024} MiB")


async def _encrypted(session: Session, deployment: Deployment) -> Finding:
    rows = (await session.run("SHOW SESSION STATUS LIKE 'Ssl_cipher'"))[0]
    if rows and rows[0][1]:
        return ok("mysql tls", str(rows[0][1]))
    host = deployment.mysql.mysql_host
    if _is_local(host):
        return ok("mysql tls", "in the clear, on this machine")
    return warning("mysql tls", f"in the clear to {host}: set CHAT_MYSQL_TLS_CA")


def _is_local(host: str) -> bool:
    return host in ("127.0.0.1", "::1", "localhost")


async def _schema(deployment: Deployment) -> Finding:
    try:
        await asyncio.to_thread(check_schema, deployment.mysql)
    except ConfigurationError as error:
        return fault("schema", str(error))
    return ok("schema", "as this release needs it")


async def _epochs(session: Session) -> Finding:
    sql = "SELECT name, value FROM meta; SELECT COUNT(*), COALESCE(MAX(epoch), 0) FROM partition_owner"
    results: list[Any] = await session.run(sql)
    meta = dict(results[0])
    count, highest = results[1][0]
    if int(meta.get("partitions", 0)) != count:
        return fault("partitions", f"`meta` says {meta.get('partitions')}, and {count} have a row: run the migrations")
    if int(meta.get("owner_epoch", 0)) < highest:
        return fault("owner_epoch", "is lower than an owner's: a partial restore? run `chatctl epoch new`")
    return ok("partitions", f"{count}, at owner epoch {meta['owner_epoch']}, database epoch {meta['epoch']}")
