"""compose.yaml: what it starts is whole, ordered by health, locked down, and known to what it starts."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import yaml
from chatcore.acl import User, acl_file, grants
from chatcore.keys import Keys
from delivery_worker import grants as accounts
from delivery_worker.settings import MySQLSettings, WorkerSettings
from gateway.settings import GatewaySettings
from gateway.sweeper import ROUND_S
from presence.settings import PresenceSettings
from pydantic_settings import BaseSettings

from tests.deploy import composition
from tests.deploy.composition import Composition, HealthCheck, Service, Unset
from tests.deploy.policies.settings import CommandSettings
from tests.harness.programs import ROOT


class ToolSettings(CommandSettings):
    """What `chatctl` reads to find a system, and to sign a token for it."""

    jwt_secret: str


SECRETS: Final = dict.fromkeys(composition.variables(), "x" * 48)
COMPOSE: Final = composition.read(SECRETS)
OURS: Final = {name: service for name, service in COMPOSE.services.items() if service.ours}
STAYING: Final = [name for name, service in OURS.items() if name != "migration" and not service.profiles]
"""Those of ours that run all the time."""
READERS: Final[Mapping[tuple[str, tuple[str, ...]], type[BaseSettings]]] = {
    ("chat/gateway", ()): GatewaySettings,
    ("chat/presence", ()): PresenceSettings,
    ("chat/delivery-worker", ()): WorkerSettings,
    ("chat/delivery-worker", ("migrate",)): MySQLSettings,
    ("chat/chatctl", ()): ToolSettings,
}
"""Which settings a process reads, by its image and command."""
OBSERVABILITY: Final = ROOT / "deploy" / "observability"
HAPROXY: Final = (ROOT / "deploy" / "compose" / "haproxy.cfg").read_text(encoding="utf-8")
METRICS_PORT: Final = "9090"
"""The images' own."""

of_ours = pytest.mark.parametrize("name", OURS)


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_a_secret_that_is_missing_is_named_with_what_to_do(missing: str) -> None:
    with pytest.raises(Unset, match=f"^{missing}: run deploy/compose/secrets.sh$"):
        composition.read({name: value for name, value in SECRETS.items() if name != missing})


def test_one_command_makes_every_secret_and_never_makes_them_anew(tmp_path: Path) -> None:
    script = tmp_path / "deploy" / "compose" / "secrets.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "deploy" / "compose" / "secrets.sh", script)
    assert subprocess.run([script], check=False).returncode == 0
    made = (tmp_path / ".env").read_text()
    lines = dict(line.split("=") for line in made.splitlines())
    assert lines.keys() == SECRETS.keys()
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in lines.values())
    assert len(set(lines.values())) == len(lines)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert subprocess.run([script], check=False).returncode == 1
    assert (tmp_path / ".env").read_text() == made


def test_git_and_the_images_never_see_the_secrets() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert "!.env" not in (ROOT / ".dockerignore").read_text()


@of_ours
def test_every_variable_is_one_that_the_service_knows_and_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = OURS[name]
    reader = READERS[service.name, tuple(service.command)]
    assert service.environment.keys() <= {f"CHAT_{field.upper()}" for field in reader.model_fields}
    for variable in [variable for variable in os.environ if variable.startswith("CHAT_")]:
        monkeypatch.delenv(variable)
    for variable, value in service.environment.items():
        monkeypatch.setenv(variable, value)
    reader()


@of_ours
def test_our_containers_can_write_nothing_and_have_no_rights(name: str) -> None:
    service = OURS[name]
    assert service.read_only
    assert service.init
    assert service.cap_drop == ["ALL"]
    assert service.security_opt == ["no-new-privileges:true"]
    assert not service.volumes


@of_ours
def test_our_images_are_built_from_their_own_dockerfile(name: str) -> None:
    build = OURS[name].build
    assert build is not None
    assert (ROOT / build.dockerfile).exists()
    assert OURS[name].name == f"chat/{Path(build.dockerfile).parent.name}"
    assert OURS[name].release == version(OURS[name].name.removeprefix("chat/"))


@pytest.mark.parametrize("name", ["migration", *STAYING])
def test_a_service_is_killed_only_after_its_own_deadline(name: str) -> None:
    service = OURS[name]
    shutdown_s = float(service.environment.get("CHAT_SHUTDOWN_S", GatewaySettings.model_fields["shutdown_s"].default))
    assert _seconds(service.stop_grace_period) >= shutdown_s + 5


def test_who_is_waited_for_can_say_that_it_is_there() -> None:
    for name, service in COMPOSE.services.items():
        for other, dependency in service.depends_on.items():
            waited = COMPOSE.services[other]
            if dependency.condition == "service_healthy":
                assert isinstance(waited.healthcheck, HealthCheck), f"{name} waits for {other}"
            ends = waited.restart.startswith("on-failure")
            assert ends == (dependency.condition == "service_completed_successfully"), f"{name} waits for {other}"


def test_it_starts_in_the_order_of_health() -> None:
    order = list(TopologicalSorter({name: one.depends_on for name, one in COMPOSE.services.items()}).static_order())
    way = ["mysql", "migration", "worker-1", "gateway-1", "haproxy"]
    assert [name for name in order if name in way] == way
    assert COMPOSE.services["haproxy"].depends_on.keys() >= {"gateway-1", "gateway-2"}


@pytest.mark.parametrize("name", STAYING)
def test_a_service_is_healthy_when_it_is_ready(name: str) -> None:
    check = OURS[name].healthcheck
    assert isinstance(check, HealthCheck)
    assert check.test == ["CMD", "python", "-m", "chatcore.healthcheck", "/readyz"]


def test_the_tool_is_started_by_people_alone_and_waits_for_no_store() -> None:
    tool = COMPOSE.services["chatctl"]
    assert (tool.profiles, tool.restart, tool.depends_on) == (["tools"], "no", {})
    assert [name for name, service in COMPOSE.services.items() if service.profiles] == ["chatctl"]


def test_there_are_two_of_what_must_not_stand_alone() -> None:
    images = [OURS[name].name for name in STAYING]
    assert (images.count("chat/gateway"), images.count("chat/delivery-worker")) == (2, 2)


def _variable(store: str, user: str) -> str:
    return f"${{{store}_{user.upper().replace('-', '_')}_PASSWORD}}"


def _content(name: str) -> str:
    """Give a config as it stands in the file."""
    content: str = _yaml(composition.FILE)["configs"][name]["content"]
    return content


def test_redis_has_the_users_of_the_services_with_their_rights() -> None:
    users: dict[User, str] = {user: f"<{user}>" for user in grants(Keys())}
    expected = acl_file(Keys(), users)
    for user in users:
        expected = expected.replace(f"#<{user}>", f">{_variable('REDIS', user)}")
    assert _content("redis-users") == expected
    named = {
        service.environment["CHAT_REDIS_USER"] for service in OURS.values() if "CHAT_REDIS_USER" in service.environment
    }
    assert named | {COMPOSE.services["redis-exporter"].environment["REDIS_USER"]} == set(users)


def test_mysql_has_its_three_accounts_with_their_rights() -> None:
    passwords = {part: _variable("MYSQL", part) for part in get_args(accounts.Part)}
    expected = "".join(f"{statement};\n" for statement in accounts.accounts("chat", passwords, tls=False))
    assert _content("mysql-accounts") == expected
    migration = COMPOSE.services["migration"].environment
    assert migration["CHAT_MYSQL_USER"] == accounts.ACCOUNTS["migrator"]
    assert migration["CHAT_MYSQL_APPLICATION"] == accounts.ACCOUNTS["application"]
    assert {OURS[name].environment["CHAT_MYSQL_USER"] for name in ("worker-1", "worker-2")} == {
        accounts.ACCOUNTS["application"]
    }
    assert f"--mysqld.username={accounts.ACCOUNTS['exporter']}" in COMPOSE.services["mysqld-exporter"].command


def test_no_redis_here_throws_away_what_is_unsettled() -> None:
    command = COMPOSE.services["redis"].command
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_mysql_keeps_what_it_has_confirmed() -> None:
    assert {"--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"} <= set(COMPOSE.services["mysql"].command)
    assert COMPOSE.services["mysql"].volumes == ["mysql:/var/lib/mysql"]


def test_every_file_that_is_mounted_is_there_and_every_volume_and_config_declared() -> None:
    for service in COMPOSE.services.values():
        for volume in service.volumes:
            source, _, access = (volume + ":rw").split(":")[:3]
            if source.startswith("./"):
                assert (ROOT / source).exists()
                assert access == "ro"
            else:
                assert source in COMPOSE.volumes
        assert {mount.source for mount in service.configs} <= COMPOSE.configs.keys()


def test_prometheus_asks_every_service_and_both_stores() -> None:
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"]
        for job in _yaml(OBSERVABILITY / "prometheus" / "prometheus.yml")["scrape_configs"]
    }
    for job, found in targets.items():
        own = f"chat/{job}"
        expected = [f"{name}:{METRICS_PORT}" for name, one in OURS.items() if one.name == own and not one.command]
        assert found == (expected or {"redis": ["redis-exporter:9121"], "mysql": ["mysqld-exporter:9104"]}[job])
    assert {target.split(":")[0] for found in targets.values() for target in found} <= COMPOSE.services.keys()


def _mounts(service: Service) -> dict[str, str]:
    """Give what lies where in a container."""
    return {volume.split(":")[1]: volume.split(":")[0] for volume in service.volumes}


def test_prometheus_finds_its_configuration_and_rules() -> None:
    mounts = _mounts(COMPOSE.services["prometheus"])
    assert mounts["/etc/prometheus/prometheus.yml"] == "./deploy/observability/prometheus/prometheus.yml"
    [rules] = _yaml(OBSERVABILITY / "prometheus" / "prometheus.yml")["rule_files"]
    assert mounts[rules.removesuffix("/*.yml")] == "./deploy/observability/prometheus/rules"


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    grafana = COMPOSE.services["grafana"]
    mounts = _mounts(grafana)
    assert mounts["/etc/grafana/provisioning"] == "./deploy/observability/grafana/provisioning"
    provisioning = OBSERVABILITY / "grafana" / "provisioning"
    [provider] = _yaml(provisioning / "dashboards" / "chat.yml")["providers"]
    assert mounts[provider["options"]["path"]] == "./deploy/observability/grafana/dashboards"
    assert list((OBSERVABILITY / "grafana" / "dashboards").glob("*.json"))
    [source] = _yaml(provisioning / "datasources" / "prometheus.yml")["datasources"]
    assert source["url"] == "${PROMETHEUS_URL}"
    assert grafana.environment["PROMETHEUS_URL"] == f"http://prometheus:{_port('prometheus')}"


def test_grafanas_provisioning_has_the_documented_shape() -> None:
    """https://grafana.com/docs/grafana/latest/administration/provisioning/ (Grafana itself cannot be had here)."""
    provisioning = OBSERVABILITY / "grafana" / "provisioning"
    dashboards = _yaml(provisioning / "dashboards" / "chat.yml")
    datasources = _yaml(provisioning / "datasources" / "prometheus.yml")
    assert dashboards.keys() == {"apiVersion", "providers"}
    assert datasources.keys() == {"apiVersion", "datasources"}
    assert dashboards["apiVersion"] == datasources["apiVersion"] == 1
    for provider in dashboards["providers"]:
        assert provider.keys() <= {"name", "orgId", "folder", "folderUid", "type", "disableDeletion", "options"} | {
            "updateIntervalSeconds",
            "allowUiUpdates",
        }
        assert provider["type"] == "file"
    for source in datasources["datasources"]:
        assert source.keys() >= {"name", "type", "access", "url"}
        assert (source["type"], source["access"]) == ("prometheus", "proxy")


def _port(name: str) -> str:
    [port] = COMPOSE.services[name].ports
    return port.rpartition(":")[2]


def test_haproxy_spreads_over_every_gateway_and_asks_the_port_of_health() -> None:
    servers = dict(re.findall(r"^    server (\S+) (\S+)$", HAPROXY, re.MULTILINE))
    gateways = [name for name, service in OURS.items() if service.name == "chat/gateway"]
    assert servers == {name: f"{name}:8080" for name in gateways}
    assert f"check port {METRICS_PORT} " in HAPROXY
    assert "balance leastconn" in HAPROXY
    assert f"bind :{_port('haproxy')}\n" in HAPROXY


def test_haproxy_gives_a_gateway_up_before_it_stops_letting_clients_in() -> None:
    found = re.search(r"inter (\d+)s fall (\d+)", HAPROXY)
    assert found is not None
    noticed_s = int(found[1]) * int(found[2])
    for name in ("gateway-1", "gateway-2"):
        assert float(COMPOSE.services[name].environment["CHAT_PRESTOP_S"]) > noticed_s


def test_haproxy_keeps_a_websocket_open_over_several_pings() -> None:
    found = re.search(r"timeout tunnel (\d+)s", HAPROXY)
    assert found is not None
    assert int(found[1]) >= 3 * ROUND_S


def test_there_are_descriptors_for_every_connection() -> None:
    most = int(re.findall(r"maxconn (\d+)", HAPROXY)[0])
    assert COMPOSE.services["haproxy"].ulimits["nofile"] > 2 * most
    for name in ("gateway-1", "gateway-2"):
        assert COMPOSE.services[name].ulimits["nofile"] > GatewaySettings.model_fields["max_connections"].default


def test_nothing_is_reached_from_another_machine() -> None:
    """The ports' own shape says so; here, that those who listen are few."""
    published = {name for name, service in COMPOSE.services.items() if service.ports}
    assert published == {"haproxy", "prometheus", "grafana"}


def test_the_composition_is_whole() -> None:
    assert isinstance(COMPOSE, Composition)
    assert COMPOSE.services.keys() >= {"redis", "mysql", "migration", "presence", "prometheus", "grafana"}
