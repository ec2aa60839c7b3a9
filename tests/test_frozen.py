"""Classes of `chatstash.frozen` behave as the standard library's frozen dataclasses and named tuples."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import typing
from dataclasses import field

import pytest

from chatstash import Budget, CacheStats, Cursor, Options, frozen


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


class OurTuple(frozen.NamedTuple):
    """A tuple."""

    first: int
    second: str | None = None

    @property
    def both(self) -> tuple[int, str | None]:
        """Both fields."""
        return self.first, self.second


class TheirTuple(typing.NamedTuple):
    """A tuple."""

    first: int
    second: str | None = None


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


@pytest.mark.parametrize("value", [Ours(1, [2]), Cursor(1, 2, 3, "a", "b"), Options(ttl=5), Budget(), OurTuple(1)])
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


def test_a_named_tuple_is_one() -> None:
    made = OurTuple(1)
    assert made == (1, None) == TheirTuple(1)
    assert made.both == (1, None)
    assert OurTuple._fields == TheirTuple._fields
    assert OurTuple._field_defaults == TheirTuple._field_defaults
    assert repr(made) == repr(TheirTuple(1)).replace("Their", "Our")
    assert made._replace(second="b") == OurTuple(1, "b")
    assert typing.get_type_hints(OurTuple) == typing.get_type_hints(TheirTuple)
    assert inspect.getdoc(OurTuple) == "A tuple."
    assert issubclass(CacheStats, tuple)
    assert CacheStats.__module__ == "chatstash.history.cache.cache"
    assert not hasattr(made, "__dict__")
