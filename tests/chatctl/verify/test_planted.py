"""Planted bugs are real services with one part replaced, each with faults that provoke it."""

import pytest
from chatctl.faults.kinds import targets_of
from chatctl.faults.shape import Shape
from chatctl.verify.planted.bugs import BUGS
from chatctl.verify.properties import PROPERTIES
from delivery_worker.app import WorkerApp
from gateway.app import GatewayApp


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_takes_the_place_of_every_service_of_its_role_and_of_no_other(name: str) -> None:
    shape = Shape(gateways=3, workers=2, presence=1)
    names = shape.worker_names if issubclass(BUGS[name].app, WorkerApp) else shape.gateway_names
    assert set(BUGS[name].modules(name, shape)) == set(names)


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_provoked_by_faults_that_there_are(name: str) -> None:
    assert all(targets_of(fault, Shape()) for fault in BUGS[name].faults)


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_shown_by_properties_that_there_are(name: str) -> None:
    assert BUGS[name].shown_by
    assert BUGS[name].shown_by <= {one.name for one in PROPERTIES}


def test_the_services_themselves_are_none_of_the_bugs() -> None:
    assert not {WorkerApp, GatewayApp} & {bug.app for bug in BUGS.values()}
