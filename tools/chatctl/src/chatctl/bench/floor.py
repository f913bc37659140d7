"""Owns the floor under a latency: what the database alone takes to make one row durable, with nobody else about."""

from time import perf_counter
from typing import Final

import pymysql

from chatctl.bench.histogram import Histogram
from chatctl.stack.stack_file import MysqlAddress

COMMITS: Final = 200


def commits(address: MysqlAddress) -> Histogram:
    """Commit single rows to a table of its own, one after the other."""
    connection = pymysql.connect(
        host=address.host,
        port=address.port,
        user=address.user,
        password=address.password,
        database=address.database,
        autocommit=True,
    )
    times = Histogram()
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_floor (id INT PRIMARY KEY) ENGINE=InnoDB")
        for number in range(COMMITS):
            began = perf_counter()
            cursor.execute("INSERT INTO bench_floor VALUES (%s)", (number,))
            times.record(perf_counter() - began)
        cursor.execute("DROP TABLE bench_floor")
    return times
