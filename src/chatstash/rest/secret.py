"""A token or password that no log, repr or traceback shows."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import NoReturn, TypeVar, cast
from urllib.parse import quote

T = TypeVar("T")


class Secret:
    """A string that only `get_secret_value` shows, as pydantic's SecretStr.

    It is not a subclass of str: tools that print the local variables of a traceback truncate strings, and a slice of a
    subclass is a plain string. It can be copied within a process, but not pickled.
    """

    __slots__ = ("get_secret_value",)

    get_secret_value: Callable[[], str]
    """Returns the string."""

    def __init__(self, text: str | Secret) -> None:
        # In a closure, where tools that inspect objects do not find it.
        self.get_secret_value = text.get_secret_value if isinstance(text, Secret) else lambda: text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __bool__(self) -> bool:
        return bool(self.get_secret_value())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.get_secret_value() == other.get_secret_value()

    def __hash__(self) -> int:
        return hash(self.get_secret_value())

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a token cannot be pickled: set it in the environment, or pass it again")


def as_secret(value: T) -> T:
    """Return a string as a `Secret`, and any other value unchanged. Type checkers see the same type.

    Used on arguments that may hold a token, before anything can fail: a traceback shows the arguments.
    """
    return cast(T, Secret(value)) if isinstance(value, str) else value


def redact(text: str, token: Secret) -> str:
    """Return `text` with `***` for the token, whether it is plain or encoded for JSON, HTML, a URL or in base64."""
    if not token:
        return text
    for form in sorted(_forms_of(token), key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def _forms_of(token: Secret) -> set[str]:
    import html  # noqa: PLC0415 - a millisecond, and hardly ever needed

    plain = token.get_secret_value()
    in_json = plain.replace("\\", "\\\\").replace('"', '\\"')
    in_base64 = base64.b64encode(plain.encode()).decode().rstrip("=")
    return {plain, in_json, in_json.replace("/", "\\/"), html.escape(plain), quote(plain, safe=""), in_base64}
