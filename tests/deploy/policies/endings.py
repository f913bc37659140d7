"""Policies of pods that end: the arithmetic of a shutdown, who may end at once, and what the autoscalers may do."""

from collections.abc import Iterator
from typing import Any, Final

from gateway.leaving import END_S, GRACE_S, PER_S

from deploy.observability import declarations
from tests.deploy.manifests import Container, Manifests, Resource
from tests.deploy.policies.pods import quantity
from tests.deploy.policies.policy import Policy
from tests.deploy.policies.settings import read

RESERVE_S: Final = 5
"""Seconds between a service's own deadline and SIGKILL: for the interpreter to end, on a node that is busy."""
SCALE_DOWN_S: Final = 120
"""At most one pod of gateways goes in this time."""


def _settings(container: Container, manifests: Manifests) -> Any:
    return read(container, manifests)


def _graced(manifests: Manifests) -> Iterator[str]:
    for container in manifests.services():
        takes_s = _settings(container, manifests).shutdown_s + RESERVE_S
        grace_s = container.workload.pod["terminationGracePeriodSeconds"]
        if takes_s > grace_s:
            yield f"{container.where} needs {takes_s:g} s to end, and is killed after {grace_s} s"


def _drained(manifests: Manifests) -> Iterator[str]:
    """A full gateway sends all its clients away at their pace, and waits before that until the edge knows."""
    settings = _settings(manifests.workload("gateway").main, manifests)
    paced_s = settings.max_connections / PER_S + GRACE_S + END_S
    if paced_s > settings.drain_s:
        yield f"{settings.max_connections} clients need {paced_s:g} s, and get {settings.drain_s:g} s"
    if settings.prestop_s <= 0:
        yield "a gateway stops before the edge knows of it"
    if settings.max_connection_age_s <= 0:
        yield "connections stay where they are, and new gateways stay empty"


def _evictable(manifests: Manifests) -> Iterator[str]:
    guarded = []
    for budget in manifests.of("PodDisruptionBudget"):
        spec = budget["spec"]
        if "minAvailable" in spec or not isinstance(spec.get("maxUnavailable"), int) or spec["maxUnavailable"] < 1:
            yield f"PodDisruptionBudget {budget['metadata']['name']} may keep a node from being drained"
        guarded += manifests.selected(spec["selector"])
    for container in manifests.services():
        if container.workload not in guarded:
            yield f"{container.where} may lose all its pods at once"
        if container.workload.body["spec"].get("replicas", 2) < 2:
            yield f"{container.where} stands alone"


def _rolled(manifests: Manifests) -> Iterator[str]:
    for container in manifests.services():
        spec = container.workload.body["spec"]
        if spec["strategy"].get("rollingUpdate") != {"maxSurge": 1, "maxUnavailable": 0}:
            yield f"{container.where} is replaced by more than one pod at a time"
        if not spec.get("minReadySeconds"):
            yield f"{container.where} counts as there before it has stood a moment"
        if spec.get("progressDeadlineSeconds", 600) <= container.workload.pod["terminationGracePeriodSeconds"]:
            yield f"{container.where} is called stuck while it drains"


def _scaled(manifests: Manifests) -> Iterator[str]:
    for scaler in (*manifests.of("HorizontalPodAutoscaler"), *manifests.of("ScaledObject")):
        name, target = f"{scaler['kind']} {scaler['metadata']['name']}", scaler["spec"]["scaleTargetRef"]
        deployment = manifests.one(target["kind"], target["name"])
        if deployment is None:
            yield f"{name} scales nothing"
        elif "replicas" in deployment["spec"]:
            yield f"{name} and every deployment undo each other"
        down = _behaviour(scaler)["scaleDown"]
        paces = {(one["type"], one["value"]) for one in down["policies"]}
        slow = min(one["periodSeconds"] for one in down["policies"]) >= SCALE_DOWN_S
        if paces != {("Pods", 1)} or not slow or down.get("selectPolicy") != "Min":
            yield f"{name} ends more than one pod in {SCALE_DOWN_S} s"


def _behaviour(scaler: Resource) -> Any:
    spec = scaler["spec"]
    if scaler["kind"] == "ScaledObject":
        return spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    return spec["behavior"]


def _by_connections(manifests: Manifests) -> Iterator[str]:
    declared = {family.name for registry in declarations.registries().values() for family in registry.collect()}
    for scaler in manifests.of("HorizontalPodAutoscaler"):
        pods = [one["pods"] for one in scaler["spec"]["metrics"] if one["type"] == "Pods"]
        if not pods or not any(one["type"] == "Resource" for one in scaler["spec"]["metrics"]):
            yield "gateways are not scaled by connections and by CPU"
        for metric in pods:
            if metric["metric"]["name"] not in declared:
                yield f"no service tells {metric['metric']['name']}"
            settings = _settings(manifests.workload("gateway").main, manifests)
            if quantity(metric["target"]["averageValue"]) * 2 > settings.max_connections:
                yield "the clients of a lost gateway do not fit into as many others"


def _by_backlog(manifests: Manifests) -> Iterator[str]:
    recorded = {
        rule["record"]
        for one in manifests.of("PrometheusRule")
        for group in one["spec"]["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    for scaler in manifests.of("ScaledObject"):
        queries = [one["metadata"]["query"] for one in scaler["spec"]["triggers"] if one["type"] == "prometheus"]
        if not queries or set(queries) - recorded:
            yield f"workers are scaled by {queries}, which nobody records"
        partitions = int(manifests.named("ConfigMap", "migrations")["data"]["CHAT_PARTITIONS"])
        if scaler["spec"]["maxReplicaCount"] > partitions:
            yield f"more workers than {partitions} partitions"


def _scaler(manifests: Manifests, kind: str) -> Resource:
    return manifests.of(kind)[0]


def _numbered(manifests: Manifests, part: str) -> None:
    manifests.workload(part).body["spec"]["replicas"] = 3


POLICIES: Final = (
    Policy(
        says="a service ends by itself before it is killed",
        faults=_graced,
        mistakes=(
            lambda m: m.workload("gateway").pod.update(terminationGracePeriodSeconds=220),
            lambda m: m.named("ConfigMap", "delivery-worker")["data"].update(CHAT_SHUTDOWN_S="60"),
            lambda m: m.named("ConfigMap", "gateway")["data"].update(CHAT_SHUTDOWN_S="240"),
        ),
    ),
    Policy(
        says="a full gateway has the time to send its clients away at their pace",
        faults=_drained,
        mistakes=(
            lambda m: m.named("ConfigMap", "gateway")["data"].update(CHAT_MAX_CONNECTIONS="40000"),
            lambda m: m.named("ConfigMap", "gateway")["data"].update(CHAT_SHUTDOWN_S="100"),
            lambda m: m.named("ConfigMap", "gateway")["data"].update(CHAT_PRESTOP_S="30"),
            lambda m: m.named("ConfigMap", "gateway")["data"].pop("CHAT_PRESTOP_S"),
            lambda m: m.named("ConfigMap", "gateway")["data"].pop("CHAT_MAX_CONNECTION_AGE_S"),
        ),
    ),
    Policy(
        says="a service never loses all its pods to a drain of nodes, and never keeps a node from being drained",
        faults=_evictable,
        mistakes=(
            lambda m: m.named("PodDisruptionBudget", "gateway")["spec"].update(maxUnavailable=0),
            lambda m: m.named("PodDisruptionBudget", "gateway")["spec"].update(minAvailable=2),
            lambda m: m.resources.remove(m.named("PodDisruptionBudget", "presence")),
            lambda m: m.workload("presence").body["spec"].update(replicas=1),
        ),
    ),
    Policy(
        says="a release replaces one pod at a time, once the new one has stood a while",
        faults=_rolled,
        mistakes=(
            lambda m: m.workload("gateway").body["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable="25%"),
            lambda m: m.workload("presence").body["spec"].pop("minReadySeconds"),
            lambda m: m.workload("gateway").body["spec"].update(progressDeadlineSeconds=200),
        ),
    ),
    Policy(
        says="autoscalers alone say how many there are, and take one away at a time",
        faults=_scaled,
        mistakes=(
            lambda m: _numbered(m, "gateway"),
            lambda m: _numbered(m, "delivery-worker"),
            lambda m: _scaler(m, "ScaledObject")["spec"]["scaleTargetRef"].update(name="worker"),
            lambda m: _behaviour(_scaler(m, "HorizontalPodAutoscaler"))["scaleDown"]["policies"][0].update(value=2),
            lambda m: _behaviour(_scaler(m, "ScaledObject"))["scaleDown"]["policies"][0].update(periodSeconds=60),
        ),
    ),
    Policy(
        says="gateways are scaled by connections and CPU, with room for the clients of a lost one",
        faults=_by_connections,
        mistakes=(
            lambda m: _scaler(m, "HorizontalPodAutoscaler")["spec"]["metrics"].pop(0),
            lambda m: _scaler(m, "HorizontalPodAutoscaler")["spec"]["metrics"].pop(1),
            lambda m: _scaler(m, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"].update(name="a"),
            lambda m: _scaler(m, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["target"].update(
                averageValue="15k"
            ),
        ),
    ),
    Policy(
        says="workers are scaled by a recorded backlog, up to one for each partition",
        faults=_by_backlog,
        mistakes=(
            lambda m: _scaler(m, "ScaledObject")["spec"]["triggers"][0]["metadata"].update(query="chat:backlog"),
            lambda m: _scaler(m, "ScaledObject")["spec"].update(maxReplicaCount=64),
        ),
    ),
)
