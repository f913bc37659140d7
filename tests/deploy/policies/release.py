"""Policies of a release and of what is watched of it."""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from deploy.k8s import generate
from tests.deploy.manifests import NAME, VERSION, Manifests
from tests.deploy.policies.policy import Policy

EXPORTED: Final = {"redis": ("redis-exporter", 9121), "mysql": ("mysqld-exporter", 9104)}


def _migrated(manifests: Manifests) -> Iterator[str]:
    """Each release's job has a name of its own, and workers wait for what it does."""
    job, worker = manifests.workload("migrations"), manifests.workload("delivery-worker")
    version = job.labels.get(VERSION)
    if job.name != f"migrate-{version}":
        yield f"the migration of {version} is called {job.name}: a job that was there before cannot change"
    if job.main.body["args"] != ["migrate"]:
        yield "the migration does not migrate"
    first = [one for one in worker.containers() if one.body.get("args") == ["await-schema"]]
    if (
        not first
        or first[0].body["image"] != job.main.body["image"]
        or worker.main.body["image"] != first[0].body["image"]
    ):
        yield "workers do not wait for the schema of their own release"
    database = (
        {name: first[0].environment(manifests)[name] for name in ("CHAT_MYSQL_HOST", "CHAT_MYSQL_DATABASE")}
        if first
        else {}
    )
    for container in (job.main, worker.main):
        if not database.items() <= container.environment(manifests).items():
            yield f"{container.where} uses another database than is waited for"


def _labelled(manifests: Manifests) -> Iterator[str]:
    for one in manifests.resources:
        if one["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") not in (None, "chat"):
            yield f"{one['kind']} {one['metadata']['name']} is part of something else"
    for workload in manifests.workloads():
        if workload.labels.get("app.kubernetes.io/part-of") != "chat" or NAME not in workload.labels:
            yield f"the pods of {workload.name} do not say what they are"
        if workload.body["metadata"]["labels"].get(NAME) != workload.part:
            yield f"{workload.name} and its pods have different names"


def _watched(manifests: Manifests) -> Iterator[str]:
    """Jobs are called as rules and dashboards call them."""
    rules = manifests.of("PrometheusRule")
    if not rules:
        return
    jobs = set()
    for monitor in manifests.of("PodMonitor"):
        if monitor["spec"]["jobLabel"] == NAME:
            jobs |= {workload.part for workload in manifests.selected(monitor["spec"]["selector"])}
    for monitor in manifests.of("ServiceMonitor"):
        jobs |= {rule["replacement"] for rule in monitor["spec"]["endpoints"][0]["relabelings"]}
    asked = {job for found in re.findall(r'job=~?"([^"]+)"', generate.rules()) for job in found.split("|")}
    if jobs != asked | {"gateway", "delivery-worker", "presence", "redis", "mysql"}:
        yield f"Prometheus has the jobs {jobs}"
    if rules[0]["spec"] != yaml.safe_load(generate.rules())["spec"]:
        yield "the rules are not those of deploy/observability"
    for job, (name, port) in EXPORTED.items():
        service = manifests.one("Service", name)
        if service is None or service["spec"]["ports"][0]["port"] != port:
            yield f"{job} has no exporter at {name}:{port}"


def _monitor(manifests: Manifests, name: str) -> Any:
    return manifests.named("ServiceMonitor", name)["spec"]["endpoints"][0]


POLICIES: Final = (
    Policy(
        says="each release has a migration of its own, and its workers wait for it",
        faults=_migrated,
        mistakes=(
            lambda m: m.workload("migrations").body["metadata"].update(name="migrate"),
            lambda m: m.workload("migrations").main.body.update(args=[]),
            lambda m: m.workload("delivery-worker").pod.update(initContainers=[]),
            lambda m: m.workload("delivery-worker").pod["initContainers"][0].update(image="chat/delivery-worker:0.0.9"),
            lambda m: (
                m.workload("delivery-worker")
                .pod["initContainers"][0]["env"]
                .append({"name": "CHAT_MYSQL_HOST", "value": "another"})
            ),
        ),
    ),
    Policy(
        says="pods say what they are, and their workloads say the same",
        faults=_labelled,
        mistakes=(
            lambda m: m.workload("gateway").body["metadata"]["labels"].update({NAME: "gatway"}),
            lambda m: m.workload("presence").labels.pop("app.kubernetes.io/part-of"),  # type: ignore[attr-defined]  # a dict
        ),
    ),
    Policy(
        says="Prometheus has the jobs and the rules of deploy/observability",
        faults=_watched,
        mistakes=(
            lambda m: m.named("PodMonitor", "chat")["spec"].update(jobLabel="app"),
            lambda m: _monitor(m, "redis-exporter").update(relabelings=[]),
            lambda m: m.of("PrometheusRule")[0]["spec"]["groups"].pop(),
            lambda m: m.named("Service", "redis-exporter")["spec"]["ports"][0].update(port=9122),
        ),
    ),
)
