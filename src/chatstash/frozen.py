"""Frozen dataclasses that are quick to define: the start of a serverless function waits for them.

The standard library compiles six methods for each frozen dataclass, which takes half a millisecond. Here all classes
share these methods. They are dataclasses all the same: `fields`, `replace` and `asdict` take them. Type checkers see
the decorator of the standard library.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")


def _dataclass(*, frozen: bool) -> Callable[[type[T]], type[T]]:
    """Return a decorator that makes a class a frozen dataclass, as the standard library's with `frozen=True`."""
    if not frozen:
        raise ValueError("only for frozen dataclasses")
    return _frozen


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass

__all__ = ["dataclass"]


def _frozen(cls: type[T]) -> type[T]:
    for name, member in _SHARED.items():
        if name not in vars(cls):
            setattr(cls, name, member)
    return dataclasses.dataclass(init=False, repr=False, eq=False)(cls)


def _init(self: Any, *args: Any, **keywords: Any) -> None:
    fields = self.__dataclass_fields__
    values = dict(zip(fields, args), **keywords)  # noqa: B905 - those not given get their defaults
    is_each_once = len(values) == len(args) + len(keywords)
    if values.keys() != fields.keys():
        values |= {name: _default(self, fields[name]) for name in fields if name not in values}
    # With a keyword that is no field, there are more values than fields.
    if not is_each_once or len(values) != len(fields):
        raise TypeError(f"{type(self).__name__} takes {', '.join(fields)}, each once")
    vars(self).update(values)
    self.__post_init__()


def _default(value: object, field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    raise TypeError(f"{type(value).__name__} requires {field.name}")


def _post_init(_: object) -> None:
    """Check nothing: most classes have nothing to check."""


def _repr(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name, field in self.__dataclass_fields__.items() if field.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _compared(value: Any) -> tuple[object, ...]:
    return tuple(getattr(value, name) for name, field in value.__dataclass_fields__.items() if field.compare)


def _setattr(_: object, name: str, __: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(_: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


class _Signature:
    """The signature of a class, made when `help` or `inspect.signature` asks for it."""

    def __get__(self, _: object, cls: type) -> inspect.Signature:
        return inspect.Signature([_parameter(field) for field in dataclasses.fields(cls)])


class _Factory:
    """The default value of a parameter that is made anew for each object."""

    def __repr__(self) -> str:
        return "<factory>"


_FACTORY = _Factory()


def _parameter(field: dataclasses.Field[Any]) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
    if field.default_factory is not dataclasses.MISSING:
        default = _FACTORY
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(field.name, kind, default=default, annotation=field.type)


_SHARED = {
    "__init__": _init,
    "__post_init__": _post_init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
    "__signature__": _Signature(),
}
