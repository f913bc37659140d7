"""Owns how the images are built and run without a Docker daemon and without a registry, as root on a Debian.

podman builds the same Dockerfiles. Their base, which cannot be pulled, is made of Debian's own Python under the
official image's name and paths. Images lie in a store of their own: whoever uses podman on this machine sees none.

It cannot follow HEALTHCHECK by itself, for that takes systemd: `Container.health` runs it once.
"""

import asyncio
import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from resource import RLIMIT_NOFILE, RLIMIT_NPROC, getrlimit
from typing import Any, Final

import pytest
from chatctl.failure import Failure
from chatctl.stack.mysql_tree import KEYRING, archive, one_at_a_time

from tests.harness.programs import ROOT, program

DOCKERFILES: Final = {path.parent.name: path for path in sorted(ROOT.glob("services/*/Dockerfile"))}
"""By the service's name."""
TOOL: Final = ROOT / "tools" / "chatctl" / "Dockerfile"
"""Of what people use beside them."""
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
INDEX_SETTINGS: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
"""What pip may need to reach the index from this machine: lent to a build, kept by no image."""
BUILD_S: Final = 500
COMMAND_S: Final = 60
LOCKED: Final = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")
"""Nothing can be written anywhere, /tmp included."""
FILES: Final = f"--ulimit=nofile={getrlimit(RLIMIT_NOFILE)[1]}"
PROCESSES: Final = f"--ulimit=nproc={min(getrlimit(RLIMIT_NPROC)[1], 4096)}"
HERE: Final = ("--network=host", FILES, PROCESSES)
"""Where the tests' stores are. podman's own limits are more than it may give where it is confined itself."""


@dataclass(frozen=True, slots=True)
class Image:
    """A built image."""

    id: str
    added_bytes: int
    """Its size beyond the base's."""
    config: Mapping[str, Any]
    """As the image's own document has it."""

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in place of its entry point, to its end."""
        return _podman(
            "run", "--rm", "--no-healthcheck", *LOCKED, *HERE, f"--entrypoint={json.dumps(command)}", self.id
        )


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was started."""

    name: str

    @classmethod
    async def start(cls, image: Image, *arguments: str, environment: Mapping[str, str]) -> "Container":
        """Start one as compose.yaml does: nothing can be written, no capability, no way to more rights."""
        container = cls(f"chat-test-{secrets.token_hex(6)}")
        given = [f"--env={name}={value}" for name, value in environment.items()]
        own = ("--detach", f"--name={container.name}", *LOCKED, *HERE, *given, image.id, *arguments)
        done = await asyncio.to_thread(_podman, "run", *own)
        if done.returncode:
            await container.remove()  # what could not start was made all the same
        _out(done)
        return container

    async def health(self) -> bool:
        """Run the image's HEALTHCHECK once."""
        return (await asyncio.to_thread(_podman, "healthcheck", "run", self.name)).returncode == 0

    async def ask(self, *command: str) -> bool:
        """Run a command in it; tells whether it ended with 0."""
        return (await asyncio.to_thread(_podman, "exec", self.name, *command)).returncode == 0

    async def stop(self) -> int:
        """Send its STOPSIGNAL, and give its exit code."""
        await asyncio.to_thread(_podman, "stop", "--time=40", self.name)
        return await self.exit_code()

    async def exit_code(self) -> int:
        """Wait for its end."""
        return int(_out(await asyncio.to_thread(_podman, "wait", self.name)))

    async def logs(self) -> str:
        """Give what it wrote."""
        done = await asyncio.to_thread(_podman, "logs", self.name)
        return done.stdout + done.stderr

    async def remove(self) -> None:
        """Take it away, however it is."""
        await asyncio.to_thread(_podman, "rm", "--force", "--volumes", self.name)


def build(dockerfile: Path) -> Image:
    """Build one of the repository's Dockerfiles, from its root. Skips the test where this machine cannot."""
    if os.geteuid() != 0:
        pytest.skip("only root builds images here")
    tag = _tag(dockerfile.read_text(encoding="utf-8"))
    base = _base(tag)
    own = f"--tag=chat-test/{dockerfile.parent.name}"  # what it named before is left to `forget_old`
    options = (own, "--pull=never", "--isolation=chroot", "--network=host", "--format=docker")
    with _index_settings() as environment, tempfile.NamedTemporaryFile("r") as id_file:
        arguments = (*options, f"--iidfile={id_file.name}", f"--file={dockerfile}", str(ROOT))
        _out(_podman("build", *arguments, timeout_s=BUILD_S, environment=environment))
        made = Path(id_file.name).read_text().removeprefix("sha256:")
    [document] = json.loads(_out(_podman("image", "inspect", made)))
    config = document["Config"] | {"Healthcheck": document.get("Healthcheck")}
    return Image(made, document["Size"] - base, config)


def forget_old() -> None:
    """Remove images of a week ago that no name is left for: each change of the code makes some."""
    _podman("image", "prune", "--force", "--filter=until=168h")


def _tag(dockerfile: str) -> str:
    """Give the tag of the base that a Dockerfile names."""
    [line] = [line for line in dockerfile.splitlines() if line.startswith("ARG PYTHON=")]
    return line.removeprefix("ARG PYTHON=")


@cache
def _base(tag: str) -> int:
    """Make the base where it is not there yet; gives its size in bytes."""
    suite = tag.rpartition("-")[2]  # its own Python is of the tag's minor version
    with one_at_a_time(_store() / "base.lock"):
        if _podman("image", "exists", f"python:{tag}").returncode:
            _make_base(suite, tag)
    return int(_out(_podman("image", "inspect", "--format={{.Size}}", f"python:{tag}")))


def _make_base(suite: str, tag: str) -> None:
    """Make the base as a minimal Debian.

    /usr/local as a virtual environment has the official image's paths: /usr/local/bin/python and pip.
    """
    debootstrap = program("mmdebstrap", "mmdebstrap")
    try:
        source = archive()
    except Failure as failure:
        pytest.skip(failure.told())
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    with tempfile.TemporaryDirectory() as folder:
        tree = f"{folder}/base.tar"
        made = subprocess.run(
            [
                *(debootstrap, "--quiet", "--variant=minbase", f"--keyring={KEYRING}", *left_out),
                *("--include=python3,python3-venv,ca-certificates", suite, tree, source),
                '--customize-hook=chroot "$1" python3 -m venv /usr/local',
            ],
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
        if made.returncode:
            pytest.skip(f"no base image could be made of Debian {suite}: {made.stderr[-300:]}")
        path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        changes = ("--change=ENV LANG=C.UTF-8", f"--change=ENV {path}", '--change=CMD ["python3"]')
        _out(_podman("import", *changes, tree, f"python:{tag}", timeout_s=BUILD_S))


@contextmanager
def _index_settings() -> Iterator[dict[str, str]]:
    """Lend a build what pip needs of this machine to reach its index: variables and certificates, for RUN alone."""
    environment = [f"{name}={os.environ[name]}" for name in INDEX_SETTINGS if os.environ.get(name)]
    environment.append(f"PIP_CERT={CERTIFICATES}")
    own = Path(os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or CERTIFICATES)
    volumes = [f"{own.resolve()}:{CERTIFICATES}:ro"] if own.exists() else []
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"[containers]\nenv = {json.dumps(environment)}\nvolumes = {json.dumps(volumes)}\n")
        file.flush()
        yield {"CONTAINERS_CONF": file.name}


def _store() -> Path:
    """Give the folder of the images, in the user's cache."""
    cache_folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    store = cache_folder / "chat-images"
    store.mkdir(parents=True, exist_ok=True)
    return store


def _podman(
    *arguments: str, timeout_s: float = COMMAND_S, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    # runc: bookworm's crun does not take every mixture of cgroup versions.
    own = (f"--root={_store() / 'storage'}", f"--runroot={_store() / 'run'}", f"--runtime={program('runc', 'runc')}")
    return subprocess.run(
        [program("podman", "podman"), *own, "--cgroup-manager=cgroupfs", "--log-level=fatal", *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def _out(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{' '.join(done.args)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout.strip()
