"""Every overlay renders, and Kubernetes would take what comes out: its schemas, and ours for kinds of others."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from kubernetes_validate.utils import SchemaNotFoundError, ValidationError, all_versions, validate

from tests.deploy.conftest import overlay
from tests.deploy.manifests import K8S, Manifests, Resource, render

VERSIONS: Final = (all_versions()[0], all_versions()[-1])
"""The oldest and the newest Kubernetes whose schemas the validator has."""
SCHEMAS: Final = Path(__file__).parent / "schemas"
OTHERS: Final = sorted(path.stem for path in SCHEMAS.glob("*.json"))
COMPONENTS: Final = sorted(path.name for path in (K8S / "components").iterdir())


@cache
def schema_of(kind: str) -> Any:
    return json.loads((SCHEMAS / f"{kind}.json").read_text(encoding="utf-8"))


def check(resource: Resource, version: str) -> None:
    """Raise what is wrong with a resource."""
    if resource["kind"] in OTHERS:
        jsonschema.validate(resource, schema_of(resource["kind"]))
    else:
        validate(resource, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_keeps_to_its_schema(manifests: Manifests, version: str) -> None:
    for resource in manifests.resources:
        check(resource, version)


def test_no_two_resources_have_the_same_name(manifests: Manifests) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in manifests.resources]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_renders_alone_on_the_base(component: str, tmp_path: Path) -> None:
    here = os.path.relpath(K8S, tmp_path)
    wanted = {"resources": [f"{here}/base"], "components": [f"{here}/components/{component}"]}
    (tmp_path / "kustomization.yaml").write_text(json.dumps(wanted))
    for resource in render(tmp_path):
        check(resource, VERSIONS[-1])


def test_every_component_is_in_an_overlay_or_is_the_other_edge() -> None:
    written = "".join(path.read_text(encoding="utf-8") for path in (K8S / "overlays").glob("*/kustomization.yaml"))
    assert [one for one in COMPONENTS if f"components/{one}" not in written] == []


def test_a_word_that_kubernetes_does_not_know_is_found() -> None:
    deployment = overlay("prod").copied().named("Deployment", "gateway")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(ValidationError):
        check(deployment, VERSIONS[0])


@pytest.mark.parametrize("kind", OTHERS)
def test_a_word_that_an_operator_does_not_know_is_found(kind: str) -> None:
    resource = overlay("prod").copied().of(kind)[0]
    resource["spec"]["another"] = 1
    with pytest.raises(jsonschema.ValidationError):
        check(resource, VERSIONS[-1])


def test_a_kind_without_a_schema_is_not_passed_over() -> None:
    with pytest.raises(SchemaNotFoundError):
        check({"apiVersion": "example.com/v1", "kind": "Another", "metadata": {"name": "one"}}, VERSIONS[-1])
