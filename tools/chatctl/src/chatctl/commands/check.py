"""`check`: whether everything that the promises rest on is as it should be."""

import sys

from chatctl import deployment
from chatctl.deployment import Dir
from chatctl.operations.check_clocks import check_clocks
from chatctl.operations.check_mysql import check_mysql
from chatctl.operations.check_redis import check_redis
from chatctl.operations.check_system import check_gateways, check_workers
from chatctl.operations.checks import Look
from chatctl.operations.checks import check as look_over
from chatctl.printing import Json, tell

LOOKS: dict[str, Look] = {
    "mysql": check_mysql,
    "redis": check_redis,
    "clocks": check_clocks,
    "workers": check_workers,
    "gateways": check_gateways,
}


def check(*, json: Json = False, dir: Dir = None) -> None:  # noqa: A002 - the option's name
    """Look at the stores' settings, the schema, the clocks and the services. Exit code 1 when anything is at fault."""
    found = deployment.perform(look_over(deployment.find(dir), LOOKS))
    tell(found, as_json=json, none="")
    if any(finding.state == "fault" for finding in found):
        sys.exit(1)
