"""Ports for a stack: free ones, each once, none that an outgoing connection could take."""

import socket

import pytest
from chatctl.failure import Failure
from chatctl.stack import ports


@pytest.fixture
def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_taken_port_is_passed_over(listener: socket.socket) -> None:
    with listener:
        taken = listener.getsockname()[1]
        assert taken not in ports.from_port(taken, 2)


def test_ports_of_one_stack_differ() -> None:
    assert len(set(ports.private(12))) == 12


def test_private_ports_are_none_that_an_outgoing_connection_could_take() -> None:
    assert all(ports.LOWEST_PORT <= port < max(ports.first_ephemeral(), 11_000) for port in ports.private(5))


def test_ports_named_as_taken_are_left_alone() -> None:
    [first] = ports.private(1)
    assert first not in ports.from_port(first, 3, taken={first})


def test_no_free_port_is_told_with_what_to_do() -> None:
    with pytest.raises(Failure, match="free ports") as failed:
        ports.from_port(ports.LAST_PORT, 2)
    assert "--port" in failed.value.told()
