"""Policies of who may reach what: nothing but what the variables of each name, from both ends."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from tests.deploy.manifests import Manifests, Resource, Workload
from tests.deploy.policies.policy import Policy

DNS: Final = 53


def _denied(manifests: Manifests) -> Iterator[str]:
    policies = manifests.of("NetworkPolicy")
    if not any(
        one["spec"]["podSelector"] == {} and set(one["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        for one in policies
        if not one["spec"].get("ingress") and not one["spec"].get("egress")
    ):
        yield "nothing is denied"
    for policy in policies:
        for rule in (*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ())):
            if not rule.get("ports") or not all(rule.get("from") or rule.get("to") or [{}]):
                yield f"NetworkPolicy {policy['metadata']['name']} opens everything"


def _reach(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads():
        needed = {port for _, port in _stores(workload, manifests)}
        opened = {port["port"] for rule in _rules(manifests, workload, "egress") for port in rule["ports"]} - {DNS}
        if opened != needed:
            yield f"{workload.name} may reach ports {opened}, and needs {needed}"


def _opened(manifests: Manifests) -> Iterator[str]:
    """A port that nobody is let to might as well not be there."""
    for workload in manifests.workloads():
        opened = {port["port"] for rule in _rules(manifests, workload, "ingress") for port in rule["ports"]}
        if workload.main.ports().keys() != opened:
            yield f"{workload.name} listens on {set(workload.main.ports())}, and others reach {opened}"


def _admitted(manifests: Manifests) -> Iterator[str]:
    """A store in the cluster lets in whoever needs it; and whoever needs it may go there, and not elsewhere."""
    for workload in manifests.workloads():
        for host, _ in _stores(workload, manifests):
            for store in _behind(host, manifests):
                if workload not in _peers(manifests, store, "ingress", "from"):
                    yield f"{store.name} does not let {workload.name} in"
                if store not in _peers(manifests, workload, "egress", "to"):
                    yield f"{workload.name} may not go to {store.name}"


def _found(manifests: Manifests) -> Iterator[str]:
    """A store that is named without a domain is a Service beside its clients."""
    services = {
        (one["metadata"]["name"], port["port"]) for one in manifests.of("Service") for port in one["spec"]["ports"]
    }
    for workload in manifests.workloads():
        for host, port in _stores(workload, manifests):
            if "." not in host and (host, port) not in services:
                yield f"{workload.name} looks for {host}:{port}, and there is no such Service"


def _stores(workload: Workload, manifests: Manifests) -> set[tuple[str, int]]:
    """Give hosts and ports of the stores that a workload is told."""
    found: set[tuple[str, int]] = set()
    for container in workload.containers():
        told = container.environment(manifests)
        for url in (urlsplit(str(told[name])) for name in ("CHAT_REDIS_URL", "REDIS_ADDR") if name in told):
            found.add((url.hostname or "", url.port or 6379))
        if "CHAT_MYSQL_HOST" in told:
            found.add((str(told["CHAT_MYSQL_HOST"]), int(str(told["CHAT_MYSQL_PORT"]))))
    return found


def _behind(host: str, manifests: Manifests) -> list[Workload]:
    service = manifests.one("Service", host)
    return manifests.selected({"matchLabels": service["spec"]["selector"]}) if service else []


def _rules(manifests: Manifests, workload: Workload, direction: str) -> Iterator[Resource]:
    for policy in manifests.of("NetworkPolicy"):
        if workload in manifests.selected(policy["spec"]["podSelector"]):
            yield from policy["spec"].get(direction, ())


def _peers(manifests: Manifests, workload: Workload, direction: str, side: str) -> list[Workload]:
    return [
        peer
        for rule in _rules(manifests, workload, direction)
        for one in rule[side]
        if "podSelector" in one and "namespaceSelector" not in one
        for peer in manifests.selected(one["podSelector"])
    ]


def _policy(manifests: Manifests, name: str) -> Resource:
    found: Resource = manifests.named("NetworkPolicy", name)["spec"]
    return found


def _values(manifests: Manifests, name: str) -> list[str]:
    values: list[str] = _policy(manifests, name)["podSelector"]["matchExpressions"][0]["values"]
    return values


def _clients(manifests: Manifests, name: str) -> list[str]:
    values: list[str] = _policy(manifests, name)["ingress"][0]["from"][0]["podSelector"]["matchExpressions"][0][
        "values"
    ]
    return values


POLICIES: Final = (
    Policy(
        says="everything is denied, and no rule opens everything",
        faults=_denied,
        mistakes=(
            lambda m: m.resources.remove(m.named("NetworkPolicy", "default-deny")),
            lambda m: _policy(m, "default-deny").update(policyTypes=["Ingress"]),
            lambda m: _policy(m, "redis")["egress"][0].pop("ports"),
            lambda m: _policy(m, "redis")["egress"][0].pop("to"),
            lambda m: _policy(m, "gateway")["ingress"][0].update({"from": [{}]}),
        ),
    ),
    Policy(
        says="each may reach the stores that it is told, and no others",
        faults=_reach,
        mistakes=(
            lambda m: m.resources.remove(m.named("NetworkPolicy", "redis")),
            lambda m: _values(m, "mysql").append("gateway"),
            lambda m: _values(m, "mysql").remove("migrations"),
            lambda m: m.named("ConfigMap", "chat-mysql")["data"].update(CHAT_MYSQL_PORT="3307"),
        ),
    ),
    Policy(
        says="others reach every port on which something listens, and no others",
        faults=_opened,
        mistakes=(
            lambda m: _values(m, "metrics").remove("presence"),
            lambda m: m.resources.remove(m.named("NetworkPolicy", "gateway")),
        ),
    ),
    Policy(
        says="a store in the cluster lets in whoever needs it",
        faults=_admitted,
        mistakes=(
            lambda m: _clients(m, "redis-clients").remove("presence"),
            lambda m: _clients(m, "mysql-clients").remove("migrations"),
            lambda m: _policy(m, "redis")["egress"][0].update(to=[{"ipBlock": {"cidr": "192.0.2.0/24"}}]),
        ),
        tried_on="dev",
    ),
    Policy(
        says="a store without a domain in its name is a Service beside its clients",
        faults=_found,
        mistakes=(
            lambda m: m.named("Service", "redis")["metadata"].update(name="valkey"),
            lambda m: m.named("ConfigMap", "chat-mysql")["data"].update(CHAT_MYSQL_HOST="database"),
        ),
        tried_on="dev",
    ),
)
