"""`deploy/k8s/smoke.sh` without a cluster: a kubectl of the tests notes what it is asked, and leads to a real stack."""

import asyncio
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chatctl.stack import ports

from tests.deploy import fake_kubectl
from tests.deploy.manifests import K8S
from tests.harness.stack import Stack

SCRIPT = K8S / "smoke.sh"
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
RUN_S = 240
"""Seconds for the talk, its end and its judgement, beside whatever else runs here."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run of the script, and what kubectl was asked."""

    code: int
    said: str
    calls: list[str]

    def asked(self, words: str) -> bool:
        return any(words in call for call in self.calls)


class Smoke:
    """Runs the script with the tests' kubectl on its path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = folder / "calls"
        self._calls.touch()
        kubectl = folder / "kubectl"
        kubectl.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, fake_kubectl.__file__])} "$@"\n')
        kubectl.chmod(0o755)

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
        told = {"PATH": f"{self._folder}:{os.environ['PATH']}", "FAKE_CALLS": str(self._calls), "FAKE_SECRET": "x" * 32}
        done = subprocess.run(
            [SCRIPT, *arguments],
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
            cwd=self._folder,
            env={**os.environ, **told, **(environment or {})},
        )
        return Ended(done.returncode, done.stdout + done.stderr, self._calls.read_text(encoding="utf-8").splitlines())

    def report(self) -> Any:
        """Read what `verify` left."""
        [path] = self._folder.glob(".verify/run-*/report.json")
        return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def smoke(tmp_path: Path) -> Smoke:
    return Smoke(tmp_path)


def free_pair() -> int:
    """Give the first of two neighbouring ports that are free."""
    return next(port for port in ports.private(50) if ports.is_free(port + 1))


def test_shellcheck_is_content_with_the_scripts() -> None:
    done = subprocess.run([SHELLCHECK, SCRIPT, K8S.parents[1] / "dev"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "--context"),
        (("--context",), "needs a value"),
        (("--context", "one", "--seconds", "soon"), "not a number: soon"),
        (("--context", "one", "--clients", "0"), "not a number: 0"),
        (("--context", "one", "--port", "65535"), "no such port"),
        (("--contxt", "one"), "unknown: --contxt"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_asked_of_a_cluster(
    smoke: Smoke, arguments: tuple[str, ...], named: str
) -> None:
    ended = smoke.run(*arguments)
    assert (ended.code, ended.calls) == (2, [])
    assert named in ended.said
    assert "deploy/k8s/smoke.sh --context" in ended.said


def test_help_says_how_and_asks_nothing(smoke: Smoke) -> None:
    ended = smoke.run("--help")
    assert (ended.code, ended.calls) == (0, [])
    assert "--keep" in ended.said


def test_a_namespace_that_is_there_already_is_left_alone(smoke: Smoke) -> None:
    ended = smoke.run("--context", "one", environment={"FAKE_FAILS": ""})
    assert ended.code == 2
    assert not ended.asked("apply")
    assert not ended.asked("delete")


@pytest.mark.parametrize("keep", [True, False])
def test_a_deployment_that_does_not_come_up_is_told_and_taken_away_unless_it_is_to_be_kept(
    smoke: Smoke, *, keep: bool
) -> None:
    ended = smoke.run(
        "--context", "one", *(["--keep"] if keep else []), environment={"FAKE_FAILS": "get namespace,rollout"}
    )
    assert ended.code == 1
    assert "what the cluster says" in ended.said
    assert not ended.asked("port-forward")
    assert ended.asked("delete namespace") is not keep


def test_a_run_that_cannot_be_judged_fails_and_leaves_nothing_behind(smoke: Smoke) -> None:
    port = free_pair()
    environment = {"FAKE_GATEWAY": "127.0.0.1:1", "FAKE_SECRET": ""}
    ended = smoke.run("--context", "one", "--port", str(port), environment=environment)
    assert ended.code == 1
    assert "usage: CHAT_JWT_SECRET" in ended.said or "chatctl.tokens" in ended.said
    assert ended.asked("delete namespace")
    assert ports.is_free(port)
    assert ports.is_free(port + 1)


async def test_clients_chat_while_pods_are_killed_and_every_promise_is_judged(smoke: Smoke, stack: Stack) -> None:
    port = free_pair()
    environment = {"FAKE_GATEWAY": urlsplit(stack.gateways()[0]).netloc, "FAKE_SECRET": stack.file.jwt.secret}
    arguments = ("--context", "one", "--seconds", "12", "--clients", "6", "--port", str(port))
    ended = await asyncio.to_thread(smoke.run, *arguments, environment=environment)
    assert ended.code == 0, ended.said
    assert "every promise held" in ended.said
    assert all(call.startswith("--context one ") for call in ended.calls)
    assert ended.asked(f"apply -k {K8S / 'overlays' / 'dev'}")
    assert ended.asked("delete pod/gateway-1")
    assert [fault["kind"] for fault in smoke.report()["faults"]] == ["elsewhere"] * 2
    assert ports.is_free(port)
    assert ports.is_free(port + 1)
    assert ended.calls[-1] == "--context one --namespace chat-dev delete namespace chat-dev --wait=false"
