"""Waiting for a migration: what one may still bring is waited for, a fault of the own settings is not."""

import sys
from pathlib import Path

import pytest
from delivery_worker import schema
from delivery_worker.__main__ import main


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "without a certificate"])
def test_authorities_that_cannot_be_read_end_the_wait_with_2_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("CHAT_MYSQL_TLS_CA", str(file))
    monkeypatch.setenv("CHAT_MYSQL_USER", "chat")
    monkeypatch.setenv("CHAT_MYSQL_PASSWORD", "secret")
    monkeypatch.setattr(sys, "argv", ["delivery-worker", "await-schema"])
    monkeypatch.setattr(schema, "check_schema", lambda _: pytest.fail("it waits"))
    assert main() == 2
    [told] = capsys.readouterr().err.splitlines()
    assert told.startswith(f"delivery-worker: CHAT_MYSQL_TLS_CA: no certificates in {file}: ")
