"""compose.yaml run for real with our images: it comes up in its order, people chat, and it stops in order."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy import composition
from tests.deploy.composed import composed
from tests.deploy.podman import Image
from tests.deploy.talk import SECRET, a_whole_chat


@pytest.mark.slow
async def test_what_compose_starts_chats_and_each_container_stops_with_0(
    images: Mapping[str, Image], tmp_path: Path
) -> None:
    secrets = {name: f"of-{name.lower()}" for name in composition.variables()} | {"CHAT_JWT_SECRET": SECRET}
    async with composed(composition.read(secrets), images, tmp_path) as system:
        await a_whole_chat([system.url], [system.url])
        for name, container in system.containers.items():
            assert await container.health(), name
        for name, container in reversed(list(system.containers.items())):
            assert await container.stop() == 0, f"{name}: {await container.logs()}"
