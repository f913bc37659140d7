"""Policies of pods: what they may do on a node, what they take of it, where they stand, how they are asked."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

from tests.deploy.manifests import OURS, VERSION, Container, Manifests
from tests.deploy.policies.policy import Policy

UNITS: Final[dict[str, Fraction]] = {
    "": Fraction(1),
    "m": Fraction(1, 1000),
    "k": Fraction(1000),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
}
PINNED: Final = re.compile(r"[^:@]+(:\d+(/[^:@]+)?)?:v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?")
"""A version to its last part, with or without its digest."""


def quantity(written: Any) -> Fraction:
    """Read a quantity of Kubernetes."""
    found = re.fullmatch(r"(\d+)([a-zA-Z]*)", str(written))
    assert found is not None, f"no quantity: {written}"
    return Fraction(int(found[1])) * UNITS[found[2]]


def _restricted(manifests: Manifests) -> Iterator[str]:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a little more."""
    for workload in manifests.workloads():
        pod, context = workload.pod, workload.pod.get("securityContext", {})
        if not (context.get("runAsNonRoot") and context.get("runAsUser")):
            yield f"{workload.name} may run as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{workload.name} may make every system call"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{workload.name} gets a token of the API server"
        if any(pod.get(one) for one in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{workload.name} shares the node's namespaces"
        for volume in pod.get("volumes", ()):
            if not {"configMap", "secret", "emptyDir", "projected"} & volume.keys():
                yield f"{workload.name} mounts {volume}"
        for container in workload.containers():
            yield from _confined(container)


def _confined(container: Container) -> Iterator[str]:
    context = container.body.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield f"{container.where} may gain rights"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{container.where} keeps capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{container.where} may write to its image"


def _namespace(manifests: Manifests) -> Iterator[str]:
    for namespace in manifests.of("Namespace"):
        if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "the namespace lets any pod in"
    names = {one["metadata"]["name"] for one in manifests.of("Namespace")}
    for one in manifests.resources:
        if one["kind"] != "Namespace" and {one["metadata"].get("namespace")} != names:
            yield f"{one['kind']} {one['metadata']['name']} is not in the namespace"


def _sized(manifests: Manifests) -> Iterator[str]:
    for container in manifests.containers():
        resources = container.body.get("resources", {})
        for what in ("cpu", "memory"):
            asked, most = (resources.get(kind, {}).get(what) for kind in ("requests", "limits"))
            if asked is None or most is None:
                yield f"{container.where} has no bounds of its {what}"
            elif quantity(asked) > quantity(most):
                yield f"{container.where} asks for more {what} than it may have"


def _pinned(manifests: Manifests) -> Iterator[str]:
    for container in manifests.containers():
        image = str(container.body["image"])
        if not PINNED.fullmatch(image):
            yield f"{container.where} runs {image}, whatever that is today"
        version = container.workload.labels.get(VERSION)
        if container.image in OURS and image.partition("@")[0].rpartition(":")[2] != version:
            yield f"{container.where} runs {image} in a release called {version}"


def _spread(manifests: Manifests) -> Iterator[str]:
    for workload in (container.workload for container in manifests.services()):
        constraints = workload.pod.get("topologySpreadConstraints", ())
        over = {one["topologyKey"] for one in constraints if manifests.selected(one["labelSelector"]) == [workload]}
        if over != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
            yield f"{workload.name} may stand in one zone, or on one node"


def _probed(manifests: Manifests) -> Iterator[str]:
    wanted = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz?exclude=shared"}
    for container in manifests.services():
        for kind, path in wanted.items():
            asked = container.body.get(kind, {}).get("httpGet", {})
            if (asked.get("path"), asked.get("port")) != (path, "metrics"):
                yield f"{container.where} is asked {asked} as its {kind}"
        liveness = container.body["livenessProbe"]
        if liveness["timeoutSeconds"] * liveness["failureThreshold"] < 15:
            yield f"{container.where} is restarted for a pause of a moment"
        if any(kind in container.body.get("lifecycle", {}) for kind in ("preStop", "postStart")):
            yield f"{container.where} has a hook: it may not find a shell, and waits by itself"


def _workload(manifests: Manifests, part: str = "gateway") -> Any:
    return manifests.workload(part).pod


def _container(manifests: Manifests, part: str = "gateway") -> Any:
    return manifests.workload(part).main.body


POLICIES: Final = (
    Policy(
        says="pods are confined as `restricted` demands, read only, and without a token",
        faults=_restricted,
        mistakes=(
            lambda m: _workload(m)["securityContext"].update(runAsNonRoot=False),
            lambda m: _workload(m)["securityContext"].pop("seccompProfile"),
            lambda m: _workload(m, "migrations").pop("automountServiceAccountToken"),
            lambda m: _workload(m).update(hostNetwork=True),
            lambda m: _workload(m)["volumes"].append({"name": "node", "hostPath": {"path": "/"}}),
            lambda m: _container(m)["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
            lambda m: _container(m, "redis-exporter")["securityContext"].pop("readOnlyRootFilesystem"),
            lambda m: _workload(m, "delivery-worker")["initContainers"][0].pop("securityContext"),
        ),
    ),
    Policy(
        says="everything is in one namespace, which refuses pods that are not confined",
        faults=_namespace,
        mistakes=(
            lambda m: m.of("Namespace")[0]["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce"),
            lambda m: m.of("Service")[0]["metadata"].update(namespace="default"),
        ),
    ),
    Policy(
        says="every container says what it needs and what it may take at most",
        faults=_sized,
        mistakes=(
            lambda m: _container(m)["resources"].pop("limits"),
            lambda m: _container(m)["resources"]["requests"].update(memory="1Gi"),
            lambda m: _workload(m, "delivery-worker")["initContainers"][0].pop("resources"),
        ),
    ),
    Policy(
        says="images are pinned, and ours are of the release that the labels name",
        faults=_pinned,
        mistakes=(
            lambda m: _container(m).update(image="registry.example.com/chat/gateway:latest"),
            lambda m: _container(m).update(image="registry.example.com/chat/gateway"),
            lambda m: _container(m, "migrations").update(image="registry.example.com/chat/delivery-worker:0.0.9"),
            lambda m: _container(m, "redis-exporter").update(image="oliver006/redis_exporter:v1"),
        ),
    ),
    Policy(
        says="the replicas of a service are spread over zones and nodes",
        faults=_spread,
        mistakes=(
            lambda m: _workload(m, "presence").pop("topologySpreadConstraints"),
            lambda m: _workload(m)["topologySpreadConstraints"][0]["labelSelector"].update(matchLabels={"a": "b"}),
        ),
    ),
    Policy(
        says="services are asked for their own life alone, and for readiness without what all share",
        faults=_probed,
        mistakes=(
            lambda m: _container(m)["readinessProbe"]["httpGet"].update(path="/readyz"),
            lambda m: _container(m)["livenessProbe"]["httpGet"].update(path="/readyz"),
            lambda m: _container(m, "presence").pop("startupProbe"),
            lambda m: _container(m)["livenessProbe"].update(failureThreshold=1),
            lambda m: _container(m).update(lifecycle={"preStop": {"exec": {"command": ["sleep", "10"]}}}),
        ),
    ),
)
