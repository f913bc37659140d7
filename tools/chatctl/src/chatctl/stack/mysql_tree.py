"""Makes a tree with a real MySQL, on Debian releases that package only MariaDB. Installs nothing on the machine.

Debian's unstable suite has MySQL, built for a newer C library than the machine's. So its packages and all that they
need are unpacked into a folder, only what the server loads is kept, and it is started through that folder's own
dynamic loader. Which archive to ask is apt's to say: mirrors and proxies that are set up for it are used unnamed.
"""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatctl.failure import Failure

SUITE = "sid"
"""Debian's suite with MySQL."""

PACKAGE = "mysql-server-core"

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

SPARE_PLUGINS = ("*_client.so", "*telemetry*", "*webauthn*", "*mecab*", "group_replication.so")
"""Plugins that no test loads and that would need further libraries: 40 MB."""


def ensure() -> Path:
    """Return the tree, made first if there is none: 67 MB to download, 140 MB kept, in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    tree = cache / "chatctl-mysql"
    cache.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(tree.with_suffix(".lock")):
        if not (tree / "bin" / "mysqld").exists():
            _make(tree)
    return tree


def loaded(tree: Path, program: str) -> tuple[str, ...]:
    """Return the command line that starts one of the tree's programs with the tree's libraries."""
    lib = tree / "lib"
    return (str(lib / "ld.so"), "--inhibit-cache", "--library-path", str(lib), str(tree / "bin" / program))


def _make(tree: Path) -> None:
    log = tree.with_suffix(".log")
    with tempfile.TemporaryDirectory(prefix=f"{tree.name}-", dir=tree.parent) as name, log.open("w") as output:
        world = Path(name)
        try:
            _download(world, output.fileno())
            _distil(world, output.fileno())
        except (OSError, subprocess.CalledProcessError, IndexError) as error:
            raise Failure(
                f"could not make a MySQL out of Debian's {SUITE} suite: {error}",
                log=log,
                advice="it needs Debian, apt sources and a network; MariaDB serves without it",
            ) from error
        (world / "tree").replace(tree)  # whole, or not at all


def _download(world: Path, log: int) -> None:
    """Fetch the server's package and all that it needs into `world`, with package lists and a status of its own."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (world / folder).mkdir(parents=True)
    architecture = _output("dpkg", "--print-architecture").strip()
    options = f"arch={architecture} target=Packages signed-by={KEYRING}"
    (world / "sources.list").write_text(f"deb [{options}] {archive()} {SUITE} main\n", encoding="ascii")
    # Perl passes as installed, so that it is not fetched: it serves a script that is not kept.
    (world / "status").write_text(
        f"Package: perl\nVersion: 999\nArchitecture: {architecture}\nMulti-Arch: allowed\n"
        "Status: install ok installed\nMaintainer: none\nDescription: a stand-in\n",
        encoding="ascii",
    )
    _apt(world, log, "update")
    _apt(world, log, "install", "--yes", "--download-only", PACKAGE)


def archive() -> str:
    """Return the archive that this machine's release comes from, by apt's own account of its sources."""
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    wanted = ("Created-By: Packages", "Component: main", f"Codename: {release}")
    for unread in ((), ("--no-release-info",)):  # before the first update apt knows a source by its suite's name only
        filters = wanted if not unread else (*wanted[:2], f"Release: {release}")
        found = _output("apt-get", "indextargets", *unread, "--format", "$(REPO_URI)", *filters).split()
        if found:
            return found[0]
    raise Failure("no Debian archive among this machine's apt sources", advice="MariaDB serves without it")


def _apt(world: Path, log: int, *arguments: str) -> None:
    options = {
        "Dir::Etc::SourceList": str(world / "sources.list"),
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": str(world / "state"),
        "Dir::State::status": str(world / "status"),
        "Dir::Cache": str(world / "cache"),
        "Dir::Log": str(world),
        "Debug::NoLocking": "true",
        "APT::Sandbox::User": _output("id", "-un").strip(),
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    chosen = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    _run(log, "apt-get", "-qq", "--no-install-recommends", *chosen, *arguments)


def _distil(world: Path, log: int) -> None:
    """Keep of the unpacked packages what the server loads: its program, libraries, messages and plugins."""
    unpacked, tree = world / "all", world / "tree"
    for package in (world / "cache" / "archives").glob("*.deb"):
        _run(log, "dpkg-deb", "-x", str(package), str(unpacked))
    lib = next(unpacked.glob("usr/lib/*-linux-gnu*"))
    loader = next(unpacked.glob("usr/lib*/ld-linux*.so.*"))
    for folder in ("bin", "lib", "share"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(loader, tree / "lib" / "ld.so")
    server = unpacked / "usr" / "sbin" / "mysqld"
    listed = _output(str(loader), "--inhibit-cache", "--library-path", str(lib), "--list", str(server))
    for library in re.findall(r"=> (\S+)", listed):
        if Path(library).is_relative_to(lib):
            shutil.copy(library, tree / "lib")
    server.replace(tree / "bin" / "mysqld")
    for folder in ("english", "charsets"):
        (unpacked / "usr" / "share" / "mysql" / folder).replace(tree / "share" / folder)
    (lib.parent / "mysql" / "plugin").replace(tree / "plugin")
    for pattern in SPARE_PLUGINS:
        for plugin in (tree / "plugin").glob(pattern):
            plugin.unlink()


def _environment() -> dict[str, str]:
    """Return the environment without a preloaded library: one for the machine's C library does not fit the tree's."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | {"LC_ALL": "C"}


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, env=_environment()).stdout


def _run(log: int, *command: str) -> None:
    subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT, env=_environment())


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Hold a file's lock: who comes meanwhile waits, and then finds what was made."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
