"""Every overlay keeps every policy, and every policy finds the mistakes that it is there for."""

from collections.abc import Iterator

import pytest

from tests.deploy.conftest import overlay
from tests.deploy.manifests import Manifests
from tests.deploy.policies import endings, network, pods, reach, release, settings, stores
from tests.deploy.policies.policy import Mistake, Policy

MODULES = (pods, settings, network, reach, endings, stores, release)
POLICIES = tuple(policy for module in MODULES for policy in module.POLICIES)


def mistakes() -> Iterator[object]:
    for policy in POLICIES:
        for number, mistake in enumerate(policy.mistakes, 1):
            yield pytest.param(policy, mistake, id=f"{policy.says}-{number}")


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.says)
def test_every_overlay_keeps(policy: Policy, manifests: Manifests) -> None:
    assert list(policy.faults(manifests)) == []


@pytest.mark.parametrize(("policy", "mistake"), list(mistakes()))
def test_a_mistake_is_found(policy: Policy, mistake: Mistake) -> None:
    broken = overlay(policy.tried_on).copied()
    mistake(broken)
    assert list(policy.faults(broken)) != []
