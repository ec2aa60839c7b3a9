"""Filters of items and conditions on namespaces, as LangGraph's other stores understand them. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from langgraph.store.base import MatchCondition

from chatstash.namespaces.layout import labels_of, namespace_of

_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_OPERATORS = {"$eq", "$ne", *_ORDERED}


def checked_filter(wanted: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a filter; raises ValueError for an operator that does not exist."""
    for value in (wanted or {}).values():
        _check(value)
    return wanted or {}


def _check(value: Any) -> None:
    if isinstance(value, Mapping):
        unknown = [name for name in value if isinstance(name, str) and name.startswith("$") and name not in _OPERATORS]
        if unknown:
            raise ValueError(
                f"the filter has an unknown operator {unknown[0]!r}: use one of {', '.join(sorted(_OPERATORS))}"
            )
        for inner in value.values():
            _check(inner)


def matches(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether an item's value has all that a filter says."""
    return all(_equals(value.get(name), part) for name, part in wanted.items())


def _equals(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if any(isinstance(name, str) and name.startswith("$") for name in wanted):
            return all(_compares(value, name, operand) for name, operand in wanted.items())
        return isinstance(value, Mapping) and matches(value, wanted)
    if isinstance(wanted, (list, tuple)):
        return isinstance(value, (list, tuple)) and len(value) == len(wanted) and all(map(_equals, value, wanted))
    return bool(value == wanted)


def _compares(value: Any, name: str, operand: Any) -> bool:
    if name == "$eq":
        return bool(value == operand)
    if name == "$ne":
        return bool(value != operand)
    numbers = (_number(value), _number(operand))
    if None not in numbers:
        return _ORDERED[name](*numbers)
    return isinstance(value, str) and isinstance(operand, str) and _ORDERED[name](value, operand)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def is_selected(labels: tuple[str, ...], conditions: Iterable[MatchCondition]) -> bool:
    """Tell whether a namespace meets conditions; `*` stands for any label."""
    return all(_meets(labels, condition) for condition in conditions)


def _meets(labels: tuple[str, ...], condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    if len(labels) < len(path):
        return False
    own = labels[: len(path)] if condition.match_type == "prefix" else labels[len(labels) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, own, strict=True))


def common_prefix(conditions: Iterable[MatchCondition]) -> str:
    """Return a namespace below which all namespaces are that can meet the conditions."""
    longest: tuple[str, ...] = ()
    for condition in conditions:
        if condition.match_type == "prefix":
            path = tuple(condition.path)
            longest = max(longest, path[: path.index("*")] if "*" in path else path, key=len)
    return namespace_of(longest)


def selection(
    conditions: Sequence[MatchCondition], max_depth: int | None
) -> Callable[[Sequence[str]], Iterator[tuple[str, list[str]]]]:
    """Return a function that selects names, cut to a depth, each with the namespaces behind it, in order."""

    def select(names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        behind: dict[str, list[str]] = {}
        for name in names:
            labels = labels_of(name)
            if is_selected(labels, conditions):
                behind.setdefault(namespace_of(labels[:max_depth]), []).append(name)
        return iter(sorted(behind.items(), key=lambda entry: labels_of(entry[0])))

    return select
