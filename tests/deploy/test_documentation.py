"""The pages on the deployment name what there is, and what they tell a reader to write works."""

import os
import re
from pathlib import Path

import pytest
import yaml
from gateway.sweeper import ROUND_S

from tests.deploy.conftest import overlay
from tests.deploy.manifests import K8S, ROOT, Manifests, render
from tests.deploy.test_policies import POLICIES
from tests.deploy.test_rendering import VERSIONS

PERIOD = re.compile(r"every (\d+) s\b")
README = (K8S / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "deployment-checks.md").read_text(encoding="utf-8")


def test_the_page_of_checks_names_every_policy_in_its_own_words() -> None:
    assert [policy.says for policy in POLICIES if f"- {policy.says}" not in PAGE.replace("\n  ", " ")] == []


def test_the_page_of_checks_names_the_versions_that_are_tried() -> None:
    assert f"it has: {' and '.join(version.rpartition('.')[0] for version in VERSIONS)}" in PAGE


@pytest.mark.parametrize("component", sorted(path.name for path in (K8S / "components").iterdir()))
def test_the_reader_is_told_of_every_component(component: str) -> None:
    assert f"`{component}`" in README


def test_the_reader_is_told_of_every_secret_and_each_of_its_keys() -> None:
    for secret in overlay("prod").of("ExternalSecret"):
        [row] = [line for line in README.splitlines() if line.startswith(f"| `{secret['spec']['target']['name']}` |")]
        assert {entry["secretKey"] for entry in secret["spec"]["data"]} <= set(re.findall("`([^`]+)`", row))


@pytest.mark.parametrize(
    "path",
    [
        "docs/protocol.md",
        "docs/operations.md",
        "deploy/k8s/README.md",
        "deploy/k8s/components/ingress/ingress.yaml",
        "deploy/k8s/components/ingress/kustomization.yaml",
        "deploy/compose/haproxy.cfg",
    ],
)
def test_whoever_speaks_of_pings_names_the_gateways_own_period(path: str) -> None:
    text = re.sub(r"[\s#]+", " ", (ROOT / path).read_text(encoding="utf-8"))
    said = {
        int(number) for words in re.findall(r"ping(?:s|ed)?\b[^.:]{0,60}", text) for number in PERIOD.findall(words)
    }
    assert said in ({ROUND_S}, {ROUND_S, 2 * ROUND_S})  # who sends is pinged every second round


def test_the_patch_for_tokens_of_a_private_key_does_what_it_says(tmp_path: Path) -> None:
    [block] = [one for one in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "CHAT_JWKS_URL" in one]
    here = os.path.relpath(K8S, tmp_path)
    kustomization = {"resources": [f"{here}/overlays/prod"], **yaml.safe_load(block)}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    patched = Manifests("prod", render(tmp_path))
    told = patched.workload("gateway").main.environment(patched)
    assert told["CHAT_JWKS_URL"] == "https://keys.example.com/jwks.json"
    assert "CHAT_JWT_SECRET" not in told
    assert [fault for policy in POLICIES for fault in policy.faults(patched)] == []
