"""Owns the rendered overlays and the built images: each is made once."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.deploy import podman
from tests.deploy.manifests import K8S, OVERLAYS, Manifests, render
from tests.deploy.podman import DOCKERFILES, TOOL, Image

INGRESS = "ingress"
"""Production with the other edge: no overlay of its own, but what its reader is told to write instead."""


@cache
def overlay(name: str) -> Manifests:
    """Render an overlay, or production by way of an ingress. Whoever changes it takes a copy."""
    if name != INGRESS:
        return Manifests(name, render(K8S / "overlays" / name))
    written = (K8S / "overlays" / "prod" / "kustomization.yaml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        here = os.path.relpath(K8S, Path(folder).resolve())
        changed = written.replace("components/gateway-api", "components/ingress").replace("../..", here)
        (Path(folder) / "kustomization.yaml").write_text(changed, encoding="utf-8")
        return Manifests(name, render(Path(folder)))


@pytest.fixture(params=(*OVERLAYS, INGRESS))
def manifests(request: pytest.FixtureRequest) -> Manifests:
    """What each overlay deploys, one after the other."""
    return overlay(request.param)


@pytest.fixture(scope="session")
async def images() -> AsyncIterator[Mapping[str, Image]]:
    """Every service's image, by the service's name."""
    yield {name: await asyncio.to_thread(podman.build, path) for name, path in DOCKERFILES.items()}
    await asyncio.to_thread(podman.forget_old)


@pytest.fixture(scope="session")
async def tool() -> Image:
    """The image of chatctl."""
    return await asyncio.to_thread(podman.build, TOOL)
