"""Secrets replaced by `***` in the log, the trace and the control endpoint. Pure."""

from __future__ import annotations

import base64
import json
import re
import string
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote, urlsplit

MASK = "***"
_SHORT = 8
"""Shorter secrets are masked only as whole words: the token `all` does not hide a part of FLUSHALL."""
_WORD_ENDS = set(" \t\r\n'\"`…,;)]}")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Masker:
    """Replaces secrets in text by `***`: in any case, and encoded as in URLs, JSON, base64 and hexadecimal."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form.translate(_LOWER) for secret in secrets if secret for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)
        self.longest = max(map(len, forms), default=0)
        """The length of the longest form; a text must be masked with so much context beyond a cut."""
        self._beginnings = re.compile("|".join(re.escape(form[:_SHORT]) for form in self._forms)) if forms else None

    def __call__(self, text: str) -> str:
        """Return the text with its secrets masked."""
        lower = text.translate(_LOWER)
        if self._beginnings is None or not self._beginnings.search(lower):
            return text
        shown, place = [], 0
        for start, end in self._spans(lower):
            if start >= place:
                shown += [text[place:start], MASK]
                place = end
        return "".join([*shown, text[place:]])

    def _spans(self, lower: str) -> Iterator[tuple[int, int]]:
        assert self._beginnings is not None
        for start in range(len(lower)):
            if self._beginnings.match(lower, start):
                ends = [end for form in self._forms if (end := _end(lower, start, form))]
                if ends:
                    yield start, max(ends)


def _end(lower: str, start: int, form: str) -> int:
    """Return the end of a form that starts here, whole or cut off; 0 if none starts here."""
    if lower.startswith(form, start):
        end = start + len(form)
        is_part = len(form) < _SHORT and (lower[start - 1 : start].isalnum() or lower[end : end + 1].isalnum())
        return 0 if is_part else end
    end = start
    while end < len(lower) and end - start < len(form) and lower[end] == form[end - start]:
        end += 1
    is_cut = end - start >= _SHORT and (end == len(lower) or lower[end] in _WORD_ENDS or lower.startswith("...", end))
    return end if is_cut else 0


def _forms(secret: str) -> Iterator[str]:
    data = secret.encode()
    yield secret
    yield quote(secret, safe="")
    yield "".join(f"%{byte:02x}" for byte in data)
    yield json.dumps(secret)[1:-1]
    yield data.hex()
    # Within longer base64 a secret starts at one of three offsets; its first and last characters depend on the context.
    for before in range(3) if len(data) >= _SHORT else ():
        encoded = base64.b64encode(b"\0" * before + data).rstrip(b"=").decode()
        inner = encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")


def password_of(url: str) -> str:
    """Return the password of a URL; empty if it has none."""
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""
