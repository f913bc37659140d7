"""compose.yaml run for real with our images: it comes up in its order, people chat, and it stops in order."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy import composition
from tests.deploy.composed import composed
from tests.deploy.podman import Container, Image
from tests.deploy.talk import SECRET, a_whole_chat


async def _checked(tool: Image, environment: Mapping[str, str]) -> dict[str, str]:
    """Run `chatctl check` in its container; gives each finding's state by its subject."""
    container = await Container.start(tool, "check", "--json", environment=environment)
    try:
        code, said = await container.exit_code(), await container.logs()
        assert code == 0, said
        return {finding["subject"]: finding["state"] for finding in json.loads(said)}
    finally:
        await container.remove()


@pytest.mark.slow
async def test_what_compose_starts_chats_is_without_fault_and_each_container_stops_with_0(
    images: Mapping[str, Image], tool: Image, tmp_path: Path
) -> None:
    secrets = {name: f"of-{name.lower()}" for name in composition.variables()} | {"CHAT_JWT_SECRET": SECRET}
    compose = composition.read(secrets)
    async with composed(compose, images, tmp_path) as system:
        await a_whole_chat([system.url], [system.url])
        found = await _checked(tool, {**compose.services["chatctl"].environment, **system.stores})
        assert {subject: state for subject, state in found.items() if state != "ok"} == {"appendonly": "warning"}
        assert found["redis acl"] == "ok"
        for name, container in system.containers.items():
            assert await container.health(), name
        for name, container in reversed(list(system.containers.items())):
            assert await container.stop() == 0, f"{name}: {await container.logs()}"
