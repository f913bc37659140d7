"""The description of a running stack, and the tokens that are signed with what it holds."""

import json
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
from chatctl.failure import Failure
from chatctl.stack import stack_file
from chatctl.stack.stack_file import JwtSettings, MysqlAddress, ProcessEntry, RedisAddress, StackFile
from chatctl.tokens import sign

JWT = JwtSettings(secret="s" * 32, audience="chat", issuer="here")
STACK = StackFile(
    processes=(
        ProcessEntry(name="redis", role="redis", pid=7, url="redis://127.0.0.1:1/0", metrics_url=None),
        ProcessEntry(name="gateway-1", role="gateway", pid=None, url="ws://127.0.0.1:2", metrics_url="http://m"),
    ),
    redis=RedisAddress(port=1, password="s"),
    mysql=MysqlAddress(host="127.0.0.1", port=3, user="chat", password="p", database="chat", socket="/s"),
    jwt=JWT,
    origins=("http://localhost:8000",),
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    stack_file.write(tmp_path, STACK)
    assert stack_file.read(tmp_path) == STACK


def test_it_has_the_shape_that_other_tools_rely_on(tmp_path: Path) -> None:
    stack_file.write(tmp_path, STACK)
    seen = json.loads((tmp_path / "stack.json").read_bytes())
    assert set(seen) == {"processes", "redis", "mysql", "jwt", "origins"}
    assert set(seen["processes"][0]) == {"name", "role", "pid", "url", "metrics_url"}
    assert set(seen["mysql"]) == {"host", "port", "user", "password", "database", "socket"}
    assert set(seen["jwt"]) == {"secret", "audience", "issuer"}


def test_nobody_else_may_read_its_secrets(tmp_path: Path) -> None:
    stack_file.write(tmp_path, STACK)
    assert stack_file.path_in(tmp_path).stat().st_mode & 0o077 == 0


def test_a_gateway_that_is_down_keeps_its_url() -> None:
    assert STACK.gateway_urls() == ["ws://127.0.0.1:2"]


def test_a_stopped_stack_is_not_taken_for_a_running_one(tmp_path: Path) -> None:
    stack_file.write(tmp_path, replace(STACK, processes=()))
    with pytest.raises(Failure, match="no stack is up"):
        stack_file.read_running(tmp_path)


def test_half_a_description_counts_as_none(tmp_path: Path) -> None:
    stack_file.path_in(tmp_path).write_text('{"processes": [')
    assert stack_file.read(tmp_path) is None


def test_a_token_names_user_device_and_what_the_gateways_demand() -> None:
    claims = jwt.decode(sign(JWT, "alice", device="phone"), JWT.secret, ["HS256"], audience="chat", issuer="here")
    assert (claims["sub"], claims["device"]) == ("alice", "phone")
    assert claims["exp"] - claims["iat"] == 3600


def test_a_token_can_be_made_wrong_on_purpose() -> None:
    token = sign(JWT, "alice", claims={"aud": "other"})
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, JWT.secret, ["HS256"], audience="chat")
