"""Owns the one scene that the tests of all kinds break, one after the other."""

from collections.abc import AsyncIterator

import pytest
from chatctl.faults.scene import Scene, make_scene


@pytest.fixture(scope="session")
async def whole_scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """A scene of 2 gateways, 2 workers and 1 presence."""
    async with make_scene(tmp_path_factory.mktemp("scene")) as scene:
        yield scene


@pytest.fixture
async def scene(whole_scene: Scene) -> Scene:
    """The same, everybody ready."""
    await whole_scene.wait_ready(60)
    return whole_scene
