"""Classes of `chatstash.frozen` behave as the standard library's frozen dataclasses."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import field

import pytest

from chatstash import Budget, Cursor, Options, frozen


@frozen.dataclass(frozen=True)
class Ours:
    """A value."""

    first: int
    second: list[int] = field(default_factory=list)
    third: str = field(default="c", repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class Theirs:
    """A value."""

    first: int
    second: list[int] = field(default_factory=list)
    third: str = field(default="c", repr=False, compare=False)


def test_it_is_a_dataclass() -> None:
    value = Ours(1, third="x")
    assert dataclasses.is_dataclass(value)
    assert [each.name for each in dataclasses.fields(Ours)] == ["first", "second", "third"]
    assert dataclasses.asdict(value) == {"first": 1, "second": [], "third": "x"}
    assert dataclasses.replace(value, first=2) == Ours(2)
    assert repr(value) == repr(Theirs(1)).replace("Theirs", "Ours")
    assert str(inspect.signature(Ours)) == str(inspect.signature(Theirs)).removesuffix(" -> None")
    assert Ours.__match_args__ == Theirs.__match_args__  # type: ignore[attr-defined]
    match value:
        case Ours(first, []):
            assert first == 1


def test_equality_and_hash_leave_out_what_is_not_compared() -> None:
    assert Ours(1, third="x") == Ours(1, third="y")
    assert Ours(1) != Ours(2)
    assert Ours(1) != Theirs(1)
    assert hash(Cursor(1, 2, 3, "a", "b")) == hash(Cursor(1, 2, 3, "a", "b"))
    with pytest.raises(TypeError):
        hash(Ours(1))


@pytest.mark.parametrize("value", [Ours(1, [2]), Cursor(1, 2, 3, "a", "b"), Options(ttl=5), Budget()])
def test_values_survive_copying_and_pickling(value: object) -> None:
    for other in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert other == value
        assert type(other) is type(value)


def test_each_object_has_its_own_default() -> None:
    assert Ours(1).second is not Ours(1).second


def test_it_does_not_change() -> None:
    value = Ours(1)
    for name in ("first", "other"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del value.first  # type: ignore[misc]
    assert value == Ours(1)


@pytest.mark.parametrize(
    ("arguments", "keywords"), [((), {}), ((1, [], "c", 4), {}), ((1,), {"first": 1}), ((1,), {"fourth": 1})]
)
def test_wrong_arguments_are_refused(arguments: tuple[object, ...], keywords: dict[str, object]) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(*arguments, **keywords)  # type: ignore[arg-type]


def test_post_init_checks_values() -> None:
    with pytest.raises(ValueError, match="timeout"):
        Budget(timeout=0)
    with pytest.raises(ValueError, match="timeout"):
        dataclasses.replace(Budget(), timeout=-1)


def test_only_frozen_classes() -> None:
    with pytest.raises(ValueError, match="frozen"):
        frozen.dataclass(frozen=False)
