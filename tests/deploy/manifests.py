"""Owns rendered manifests: how kubectl renders them, and what policies ask of them. It judges nothing."""

import copy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
K8S: Final = ROOT / "deploy" / "k8s"
OVERLAYS: Final = ("dev", "staging", "prod")
KUBECTL: Final = Path(sys.executable).with_name("kubectl")
RENDER_S: Final = 60
OURS: Final = ("chat/gateway", "chat/delivery-worker", "chat/presence", "chat/chatctl")
WORKLOADS: Final = ("Deployment", "StatefulSet", "Job")
NAME: Final = "app.kubernetes.io/name"
VERSION: Final = "app.kubernetes.io/version"

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable's value that is elsewhere: of a secret, or of the pod itself."""

    kind: str
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a workload."""

    workload: "Workload"
    body: Resource

    @property
    def where(self) -> str:
        """Say which it is."""
        return f"{self.workload.name}/{self.body['name']}"

    @property
    def image(self) -> str:
        """Its image without registry, tag and digest: one of `OURS`, or another's."""
        name = str(self.body["image"]).partition("@")[0].rpartition(":")[0] or str(self.body["image"])
        return next((one for one in OURS if name.endswith(one)), name)

    def ports(self) -> dict[str, int]:
        """Give the ports by name."""
        return {port["name"]: port["containerPort"] for port in self.body.get("ports", ())}

    def environment(self, manifests: "Manifests") -> dict[str, str | Reference]:
        """Give the variables as the process will see them; the later source wins."""
        found: dict[str, str | Reference] = {}
        for source in self.body.get("envFrom", ()):
            config = manifests.one("ConfigMap", source["configMapRef"]["name"])
            found |= config["data"] if config else {}
        for variable in self.body.get("env", ()):
            value = _value(variable, manifests)
            if value is not None:
                found[variable["name"]] = value
        return found


def _value(variable: Resource, manifests: "Manifests") -> str | Reference | None:
    match variable:
        case {"value": value}:
            return str(value)
        case {"valueFrom": {"secretKeyRef": source}}:
            return Reference("Secret", source["name"], source["key"])
        case {"valueFrom": {"fieldRef": source}}:
            return Reference("Pod", "", source["fieldPath"])
        case {"valueFrom": {"configMapKeyRef": source}}:
            config = manifests.one("ConfigMap", source["name"])
            found: str | None = (config or {"data": {}})["data"].get(source["key"])
            return found
    raise AssertionError(f"a variable of an unknown form: {variable}")


@dataclass(frozen=True, slots=True)
class Workload:
    """Something that runs pods."""

    body: Resource

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def part(self) -> str:
        """Which part of the system it is: the label that everything selects by."""
        return str(self.labels.get(NAME, ""))

    @property
    def labels(self) -> Mapping[str, str]:
        """Of its pods."""
        labels: Mapping[str, str] = self.body["spec"]["template"]["metadata"]["labels"]
        return labels

    @property
    def pod(self) -> Resource:
        """What a pod of it is."""
        spec: Resource = self.body["spec"]["template"]["spec"]
        return spec

    @property
    def main(self) -> Container:
        """The container that does its work."""
        return Container(self, self.pod["containers"][0])

    def containers(self) -> Iterator[Container]:
        """Give all, those that come first included."""
        for body in (*self.pod.get("initContainers", ()), *self.pod["containers"]):
            yield Container(self, body)


class Manifests:
    """What one overlay deploys."""

    def __init__(self, name: str, resources: list[Resource]) -> None:
        self.name = name
        self.resources = resources

    def copied(self) -> "Manifests":
        """Give one that may be broken."""
        return Manifests(self.name, copy.deepcopy(self.resources))

    def of(self, kind: str) -> list[Resource]:
        """Give all of a kind."""
        return [one for one in self.resources if one["kind"] == kind]

    def one(self, kind: str, name: str) -> Resource | None:
        """Give the one of that name, or None."""
        return next((one for one in self.of(kind) if one["metadata"]["name"] == name), None)

    def named(self, kind: str, name: str) -> Resource:
        """Give the one whose name is that, but for the hash that kustomize adds."""
        found = [one for one in self.of(kind) if one["metadata"]["name"].startswith(name)]
        assert found, f"no {kind} {name}"
        return min(found, key=lambda one: len(one["metadata"]["name"]))

    def workloads(self) -> list[Workload]:
        """Give all that run pods."""
        return [Workload(one) for kind in WORKLOADS for one in self.of(kind)]

    def workload(self, part: str) -> Workload:
        """Give the one of that part."""
        return next(one for one in self.workloads() if one.part == part)

    def containers(self) -> Iterator[Container]:
        """Give all containers."""
        return (container for workload in self.workloads() for container in workload.containers())

    def services(self) -> Iterator[Container]:
        """Give the containers of ours that serve: those with a port."""
        return (one for one in self.containers() if one.image in OURS and one.body.get("ports"))

    def selected(self, selector: Resource) -> list[Workload]:
        """Give the workloads whose pods a label selector takes."""
        return [one for one in self.workloads() if selects(selector, one.labels)]


def selects(selector: Resource, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector takes these labels. Only `In` is used here."""
    expressions = selector.get("matchExpressions", ())
    assert all(one["operator"] == "In" for one in expressions), "this knows `In` alone"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(one["key"]) in one["values"] for one in expressions
    )


def render(folder: Path) -> list[Resource]:
    """Render a kustomization. Fails the test with what kubectl says."""
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, timeout=RENDER_S, check=False)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]
