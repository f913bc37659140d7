"""Whom a service trusts: authorities out of a file, or a fault that names the variable."""

import ssl
from pathlib import Path

import pytest
from chatcore.errors import ConfigurationError
from chatcore.tls import trusting

from tests.harness.authority import Authority


def test_a_client_checks_the_certificate_and_the_name(tmp_path: Path) -> None:
    context = trusting(Authority.found(tmp_path).certificate, variable="CHAT_X_TLS_CA")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_file_that_is_missing_is_named_with_its_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^CHAT_X_TLS_CA: .*gone\.pem"):
        trusting(tmp_path / "gone.pem", variable="CHAT_X_TLS_CA")


def test_a_file_without_a_certificate_is_named_with_its_variable(tmp_path: Path) -> None:
    (empty := tmp_path / "empty.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"^CHAT_X_TLS_CA: .*empty\.pem"):
        trusting(empty, variable="CHAT_X_TLS_CA")
