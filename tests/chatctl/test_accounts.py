"""`acl`, `grants` and `token`: accounts and tokens without a running system."""

import os
import subprocess
import sys
from pathlib import Path

import jwt
import pytest
from chatcore.acl import acl_file
from chatcore.keys import Keys
from chatctl.commands.accounts import acl_of, grants_of, read_passwords
from chatctl.failure import Failure

from tests.harness.command import chatctl


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    path = tmp_path / "passwords.env"
    path.write_text("# of the tests\n\npresence=p=1\ngateway=g\n", encoding="utf-8")
    return path


async def test_acl_prints_the_file_for_the_users_that_are_named(passwords: Path) -> None:
    done = await chatctl("acl", "--passwords", str(passwords), "--prefix", "one")
    assert done.code == 0, done.err
    assert done.out == acl_of({"gateway": "g", "presence": "p=1"}, prefix="one")
    assert "p=1" not in done.out


def test_the_order_of_the_passwords_changes_nothing() -> None:
    assert acl_of({"presence": "p", "gateway": "g"}, prefix="one") == acl_of(
        {"gateway": "g", "presence": "p"}, prefix="one"
    )
    assert acl_of({"gateway": ""}, prefix="one").startswith(acl_file(Keys("one"), {}))


async def test_grants_prints_statements_that_demand_tls_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "passwords.env"
    path.write_text("migrator=m\n", encoding="utf-8")
    done = await chatctl("grants", "--passwords", str(path))
    assert done.code == 0, done.err
    assert "REQUIRE SSL;" in done.out
    assert (await chatctl("grants", "--passwords", str(path), "--no-tls")).out == grants_of(
        {"migrator": "m"}, database="chat", tls=False
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "gateway\n", "gateway=\n", "=secret\n"])
def test_a_file_that_names_no_password_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "passwords.env"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Failure):
        read_passwords(path)


async def test_an_account_that_there_is_not_is_named_and_nothing_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "passwords.env"
    path.write_text("gatway=g\n", encoding="utf-8")
    for command in ("acl", "grants"):
        done = await chatctl(command, "--passwords", str(path))
        assert (done.code, done.out) == (1, "")
        assert "gatway" in done.err


def test_a_token_is_signed_with_the_secret_that_the_environment_names() -> None:
    secret = "of-a-system-that-runs-elsewhere-1"
    environment = {**os.environ, "CHAT_JWT_SECRET": secret, "CHAT_JWT_ISSUER": "me"}
    for module, arguments in (("chatctl", ("token", "alice")), ("chatctl.tokens", ("alice",))):
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        claims = jwt.decode(done.stdout.strip(), secret, algorithms=["HS256"], audience="chat", issuer="me")
        assert claims["sub"] == "alice"


def test_without_a_secret_no_token_is_made() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CHAT_JWT_SECRET"}
    done = subprocess.run(
        [sys.executable, "-m", "chatctl.tokens", "alice"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "CHAT_JWT_SECRET" in done.stderr
