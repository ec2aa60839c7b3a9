"""TLS: servers are verified, whatever the environment and the settings of other libraries say."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3

from chatstash import ConnectionFailed, Store
from chatstash.rest.http.environment import tls_context
from tests.conftest import Call, call_sync
from tests.security.certificates import serving_tls, write_certificate


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def _variables(*pairs: tuple[str, str]) -> Callable[[pytest.MonkeyPatch], None]:
    def switch(monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in pairs:
            monkeypatch.setenv(name, value)

    return switch


def _unverified_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "_create_default_https_context", ssl._create_unverified_context)


def _no_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    urllib3.disable_warnings()


SWITCHES = {
    "nothing": lambda _: None,
    "PYTHONHTTPSVERIFY": _variables(("PYTHONHTTPSVERIFY", "0")),
    "CURL_CA_BUNDLE": _variables(("CURL_CA_BUNDLE", ""), ("REQUESTS_CA_BUNDLE", "")),
    "NODE_TLS_REJECT_UNAUTHORIZED": _variables(("NODE_TLS_REJECT_UNAUTHORIZED", "0"), ("GIT_SSL_NO_VERIFY", "1")),
    "empty SSL_CERT_FILE": _variables(("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", "")),
    "the default context of urllib": _unverified_default,
    "urllib3's warnings": _no_warnings,
}


def _refused(url: str, call: Call) -> None:
    store = Store(url, "secret-token", retries=0)
    with pytest.raises(ConnectionFailed) as caught:
        call(store.session("s"), "clear")
    assert caught.value.applied.name == "NO"
    assert "certificate" in str(caught.value.__cause__).lower()


@pytest.mark.parametrize("switch", SWITCHES)
def test_no_switch_lets_a_self_signed_certificate_pass(
    tmp_path: Path, switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    SWITCHES[switch](monkeypatch)
    with serving_tls(write_certificate(tmp_path / "tls.pem")) as server:
        _refused(server.url, call_sync)
        assert server.requests == []


@pytest.mark.parametrize("made", [{"address": "127.0.0.2"}, {"days_left": -1}], ids=["another host", "expired"])
def test_a_trusted_certificate_of_another_host_or_expired(
    tmp_path: Path, call: Call, made: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = write_certificate(tmp_path / "tls.pem", **made)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving_tls(certificate) as server:
        _refused(server.url, call)
        assert server.requests == []


def test_trust_in_one_authority_is_trust_in_no_other(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, other = write_certificate(tmp_path / "a.pem"), write_certificate(tmp_path / "b.pem", days_left=2)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with serving_tls(other) as server, serving_tls(trusted) as good:
        _refused(server.url, call)
        assert server.requests == []
        assert call(Store(good.url, "t").session("s"), "read").records == []
        assert len(good.requests) == 1


def test_the_context_verifies() -> None:
    context = tls_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
