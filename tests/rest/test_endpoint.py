"""Where a database is, and from which variables that is taken."""

from __future__ import annotations

import pytest

from chatstash.rest.endpoint import Endpoint, resolve_endpoint
from chatstash.rest.secret import Secret

OWN = {"UPSTASH_REDIS_REST_URL": "https://own.example", "UPSTASH_REDIS_REST_TOKEN": "own"}
VERCELS = {"KV_REST_API_URL": "https://kv.example", "KV_REST_API_TOKEN": "kv"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*OWN, *VERCELS):
        monkeypatch.delenv(name, raising=False)


def _set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (OWN, ("https://own.example", "own")),
        (VERCELS, ("https://kv.example", "kv")),
        ({**OWN, **VERCELS}, ("https://own.example", "own")),
        ({**VERCELS, "UPSTASH_REDIS_REST_URL": "", "UPSTASH_REDIS_REST_TOKEN": ""}, ("https://kv.example", "kv")),
    ],
)
def test_the_pair_that_counts(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[str, str]
) -> None:
    _set(monkeypatch, variables)
    assert resolve_endpoint() == Endpoint(*expected)
    assert resolve_endpoint(token="given") == Endpoint(expected[0], "given")
    assert resolve_endpoint(url="https://given.example") == Endpoint("https://given.example", expected[1])


def test_pairs_are_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, {**VERCELS, "UPSTASH_REDIS_REST_URL": "https://own.example"})
    with pytest.raises(ValueError, match="UPSTASH_REDIS_REST_TOKEN missing"):
        resolve_endpoint()


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError) as caught:
        resolve_endpoint()
    assert all(name in str(caught.value) for name in (*OWN, *VERCELS))


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("UPSTASH_REDIS_REST_URL", ' "{}" '), ("UPSTASH_REDIS_REST_TOKEN", "'{}"), ("KV_REST_API_TOKEN", '{}"')],
)
def test_a_value_in_quotes(monkeypatch: pytest.MonkeyPatch, name: str, quoted: str) -> None:
    pair = OWN if name in OWN else VERCELS
    _set(monkeypatch, {**pair, name: quoted.format(pair[name])})
    with pytest.raises(ValueError, match=f"{name} is in quotes.*docker"):
        resolve_endpoint()


def test_arguments_in_quotes() -> None:
    with pytest.raises(ValueError, match="url is in quotes"):
        Endpoint('"https://h.example"', "t")
    with pytest.raises(ValueError, match="token is in quotes"):
        Endpoint("https://h.example", "'t'")


def test_a_token_may_be_handed_on() -> None:
    first = Endpoint("https://h.example", "t")
    assert Endpoint(first.url, first.token) == first
    assert len({first, Endpoint("https://h.example", Secret("t")), Endpoint("https://h.example", "u")}) == 2


@pytest.mark.parametrize("wrong", [None, b"t", 0])
def test_what_is_no_string(monkeypatch: pytest.MonkeyPatch, wrong: object) -> None:
    _set(monkeypatch, OWN)
    with pytest.raises(ValueError, match="token must be a string"):
        resolve_endpoint(token=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="url must be a string"):
        resolve_endpoint(url=wrong)  # type: ignore[arg-type]
