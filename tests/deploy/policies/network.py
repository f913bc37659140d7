"""Policies of what finds whom: selectors and labels, ports, the edge."""

from collections.abc import Iterator
from typing import Any, Final

from tests.deploy.manifests import NAME, Manifests, Resource
from tests.deploy.policies.policy import Policy

WEBSOCKET: Final = "/v1/ws"


def _selecting(manifests: Manifests) -> Iterator[str]:
    for workload in manifests.workloads():
        selector = workload.body["spec"].get("selector")
        if selector is not None and manifests.selected(selector) != [workload]:
            yield f"{workload.name} counts other pods than its own"
        if workload.main.image == f"chat/{workload.part}" and workload.name != workload.part:
            yield f"{workload.name} is labelled {workload.part}"
    for one in manifests.of("Service"):
        if len(manifests.selected({"matchLabels": one["spec"]["selector"]})) != 1:
            yield f"Service {one['metadata']['name']} leads to no workload, or to several"
    for one in manifests.of("PodDisruptionBudget"):
        if len(manifests.selected(one["spec"]["selector"])) != 1:
            yield f"PodDisruptionBudget {one['metadata']['name']} is nobody's, or several's"
    for one in (*manifests.of("NetworkPolicy"), *manifests.of("PodMonitor")):
        selector = one["spec"].get("podSelector", one["spec"].get("selector"))
        named = {value for entry in selector.get("matchExpressions", ()) for value in entry["values"]}
        named |= {selector.get("matchLabels", {}).get(NAME)} - {None}
        missing = named - {workload.part for workload in manifests.workloads()} - _exporters(manifests)
        if missing:
            yield f"{one['kind']} {one['metadata']['name']} names {missing}, and there is no such workload"


def _exporters(manifests: Manifests) -> set[str]:
    """A policy may name exporters where there is no monitoring."""
    return set() if manifests.of("PrometheusRule") else {"redis-exporter", "mysqld-exporter"}


def _ports(manifests: Manifests) -> Iterator[str]:
    for container in manifests.services():
        told = container.environment(manifests)
        for port, variable in (("ws", "CHAT_PORT"), ("metrics", "CHAT_METRICS_PORT")):
            if port in container.ports() and str(container.ports()[port]) != told.get(variable):
                yield f"{container.where} listens on {told.get(variable)}, and {port} is {container.ports()[port]}"
    for one, selector, port in _named_ports(manifests):
        for workload in manifests.selected(selector):
            if port not in workload.main.ports():
                yield f"{one['kind']} {one['metadata']['name']} leads to {port} of {workload.name}, which is not there"


def _named_ports(manifests: Manifests) -> Iterator[tuple[Resource, Resource, str]]:
    """Give who names a port, of which pods, and its name."""
    for one in manifests.of("Service"):
        yield from ((one, {"matchLabels": one["spec"]["selector"]}, p["targetPort"]) for p in one["spec"]["ports"])
    for one in manifests.of("NetworkPolicy"):
        rules = one["spec"].get("ingress", ())
        yield from ((one, one["spec"]["podSelector"], port["port"]) for rule in rules for port in rule["ports"])
    for one in manifests.of("PodMonitor"):
        yield from ((one, one["spec"]["selector"], end["port"]) for end in one["spec"]["podMetricsEndpoints"])
    for one in manifests.of("ServiceMonitor"):
        yield from ((one, one["spec"]["selector"], end["port"]) for end in one["spec"]["endpoints"])


def _service(manifests: Manifests) -> Iterator[str]:
    spec = manifests.named("Service", "gateway")["spec"]
    if [port.get("appProtocol") for port in spec["ports"]] != ["kubernetes.io/ws"]:
        yield "the edge is not told that the gateways speak WebSocket"
    if spec.get("sessionAffinity", "None") != "None":
        yield "the edge keeps a client at the gateway that it had"


def _routed(manifests: Manifests) -> Iterator[str]:
    [port] = manifests.named("Service", "gateway")["spec"]["ports"]
    for rule in (rule for route in manifests.of("HTTPRoute") for rule in route["spec"]["rules"]):
        if rule.get("timeouts") != {"request": "0s", "backendRequest": "0s"}:
            yield "the route ends a WebSocket after some time"
        if rule["matches"] != [{"path": {"type": "Exact", "value": WEBSOCKET}}]:
            yield f"the route leads elsewhere than to {WEBSOCKET}"
        if rule["backendRefs"] != [{"name": "gateway", "port": port["port"]}]:
            yield f"the route leads to {rule['backendRefs']}"


def _admitted(manifests: Manifests) -> Iterator[str]:
    [port] = manifests.named("Service", "gateway")["spec"]["ports"]
    wanted = {"service": {"name": "gateway", "port": {"name": port["name"]}}}
    for ingress in manifests.of("Ingress"):
        paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
        if [(one["path"], one["backend"]) for one in paths] != [(WEBSOCKET, wanted)]:
            yield f"the ingress leads elsewhere than to {WEBSOCKET}"
        if {host for entry in ingress["spec"].get("tls", ()) for host in entry["hosts"]} != {
            rule["host"] for rule in ingress["spec"]["rules"]
        }:
            yield "the ingress lets tokens travel in the clear"


def _route(manifests: Manifests) -> Any:
    return manifests.named("HTTPRoute", "gateway")["spec"]["rules"][0]


def _ingress(manifests: Manifests) -> Any:
    return manifests.named("Ingress", "gateway")["spec"]


def _policy(manifests: Manifests, name: str) -> Resource:
    found: Resource = manifests.named("NetworkPolicy", name)["spec"]
    return found


def _relabel(manifests: Manifests) -> None:
    manifests.workload("presence").body["spec"]["template"]["metadata"]["labels"][NAME] = "gateway"


POLICIES: Final = (
    Policy(
        says="selectors take the pods that are meant, and no others",
        faults=_selecting,
        mistakes=(
            _relabel,
            lambda m: m.named("Service", "gateway")["spec"].update(selector={NAME: "gatway"}),
            lambda m: m.named("PodDisruptionBudget", "presence")["spec"].update(selector={"matchLabels": {}}),
            lambda m: _policy(m, "mysql")["podSelector"]["matchExpressions"][0]["values"].append("worker"),
        ),
    ),
    Policy(
        says="ports are those on which the services listen",
        faults=_ports,
        mistakes=(
            lambda m: m.named("ConfigMap", "gateway")["data"].update(CHAT_PORT="8081"),
            lambda m: m.named("ConfigMap", "chat")["data"].update(CHAT_METRICS_PORT="9091"),
            lambda m: m.named("Service", "gateway")["spec"]["ports"][0].update(targetPort="http"),
            lambda m: _policy(m, "metrics")["ingress"][0]["ports"][0].update(port="health"),
            lambda m: m.named("PodMonitor", "chat")["spec"]["podMetricsEndpoints"][0].update(port="ws"),
        ),
    ),
    Policy(
        says="the edge knows that gateways speak WebSocket, and keeps nobody at one",
        faults=_service,
        mistakes=(
            lambda m: m.named("Service", "gateway")["spec"]["ports"][0].pop("appProtocol"),
            lambda m: m.named("Service", "gateway")["spec"].update(sessionAffinity="ClientIP"),
        ),
    ),
    Policy(
        says="the route leads to the WebSocket, and ends none for its age",
        faults=_routed,
        mistakes=(
            lambda m: _route(m).pop("timeouts"),
            lambda m: _route(m)["matches"][0]["path"].update(value="/"),
            lambda m: _route(m)["backendRefs"][0].update(port=8080),
        ),
    ),
    Policy(
        says="the ingress leads to the WebSocket, with TLS",
        faults=_admitted,
        mistakes=(
            lambda m: _ingress(m)["rules"][0]["http"]["paths"][0].update(path="/"),
            lambda m: _ingress(m)["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"].update(name="http"),
            lambda m: _ingress(m).pop("tls"),
            lambda m: _ingress(m)["rules"][0].update(host="another.example.com"),
        ),
        tried_on="ingress",
    ),
)
