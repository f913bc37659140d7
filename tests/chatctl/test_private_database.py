"""What the stack's own database promises, on both servers."""

import aiomysql
import pytest
from delivery_worker.settings import MySQLSettings
from pymysql.err import OperationalError


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_nobody_comes_in_as_root_without_a_password(database: MySQLSettings, host: str) -> None:
    with pytest.raises(OperationalError, match="Access denied"):
        await aiomysql.connect(host=host, port=database.mysql_port, user="root")


async def test_commits_are_as_durable_as_in_production(database: MySQLSettings) -> None:
    connection = await aiomysql.connect(
        host=database.mysql_host,
        port=database.mysql_port,
        user=database.mysql_user,
        password=database.mysql_password.get_secret_value(),
    )
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT @@sync_binlog, @@innodb_flush_log_at_trx_commit, @@log_bin")
        assert await cursor.fetchone() == (1, 1, 1)
    connection.close()
