"""Tokens: which elements of the hash a value consists of, and in which order. Pure.

A token is one of

- `{segment}.{first}-{last}` or `{segment}.{number}`: groups of elements, one after the other,
- `@{level}{segment}.{number}`: a page, a field that holds further tokens,
- `+{segment}.{first}-{last}`: one group in parts, which are joined.

A segment is written by one process only, which numbers its elements, so an append-only list that one process writes is
one token. A list that many processes continued would have many tokens, all sent with each checkpoint. So whenever 16
tokens of a level have come together, the oldest 12 become a page, which is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

PAGE_TOKENS = 12
MAX_TOKENS = 15
"""Of one level, in a header."""


class Page(NamedTuple):
    """A stored page: its token, the references to all groups below it, and its tokens."""

    token: str
    refs: tuple[str, ...]
    tokens: tuple[str, ...]


class Manifest(NamedTuple):
    """The groups of a value.

    Attributes:
        tokens: What a header holds.
        refs: The groups that they stand for; a reference is a token of one group.
        pages: The pages among and below the tokens.
    """

    tokens: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    pages: tuple[Page, ...] = ()


def is_page(token: str) -> bool:
    """Tell whether a token stands for a page."""
    return token.startswith("@")


def page_field(token: str) -> str:
    """Return the field that holds a page."""
    return token[2:]


def refs_of(token: str) -> list[str]:
    """Return the references that a token stands for; a token of parts is a reference itself."""
    if token.startswith("+"):
        return [token]
    return list(_numbered(token))


def fields_of(ref: str) -> list[str]:
    """Return the fields of a group: one, or those of its parts."""
    return list(_numbered(ref.removeprefix("+")))


def _numbered(token: str) -> Iterator[str]:
    segment, _, numbers = token.partition(".")
    first, _, last = numbers.partition("-")
    return (f"{segment}.{number}" for number in range(int(first), int(last or first) + 1))


def loaded(tokens: Sequence[str], page_texts: Mapping[str, Sequence[str]]) -> Manifest:
    """Return the manifest of stored tokens.

    Args:
        tokens: The tokens of a header.
        page_texts: The tokens of all pages below, by the field of the page.
    """
    pages: list[Page] = []

    def expanded(wanted: Iterable[str]) -> tuple[str, ...]:
        found: list[str] = []
        for token in wanted:
            if is_page(token):
                inner = tuple(page_texts[page_field(token)])
                pages.append(Page(token, expanded(inner), inner))
                found += pages[-1].refs
            else:
                found += refs_of(token)
        return tuple(found)

    refs = expanded(tokens)
    return Manifest(tuple(tokens), refs, tuple(pages))


def encoded(refs: Sequence[str], known: Sequence[Page], store_page: Callable[[Sequence[str]], str]) -> Manifest:
    """Return the manifest of references, with known pages where they fit.

    Args:
        refs: The groups of the value, in order.
        known: Pages that are stored already.
        store_page: Stores tokens as a page, and returns its field.
    """
    tokens, pages = _tokens(refs, known)
    while (at := _full_run(tokens)) is not None:
        inner = tokens[at : at + PAGE_TOKENS]
        covered = {page.token: page.refs for page in pages}
        below = tuple(ref for token in inner for ref in covered.get(token) or refs_of(token))
        page = Page(f"@{_level(inner[0]) + 1}{store_page(inner)}", below, tuple(inner))
        pages.append(page)
        tokens[at : at + PAGE_TOKENS] = [page.token]
    return Manifest(tuple(tokens), tuple(refs), tuple(pages))


def _tokens(refs: Sequence[str], known: Sequence[Page]) -> tuple[list[str], list[Page]]:
    """Return the tokens of references: known pages, the largest that fit, and runs of neighbours."""
    by_first: dict[str, list[Page]] = {}
    for page in sorted(known, key=lambda page: -len(page.refs)):
        by_first.setdefault(page.refs[0], []).append(page)
    tokens: list[str] = []
    used: list[Page] = []
    single: list[str] = []
    at = 0
    while at < len(refs):
        fitting = next((page for page in by_first.get(refs[at], ()) if _fits(page, refs, at)), None)
        if fitting is None:
            single.append(refs[at])
            at += 1
            continue
        tokens += _runs(single)
        single = []
        tokens.append(fitting.token)
        used += [fitting, *_below(fitting, known)]
        at += len(fitting.refs)
    return tokens + _runs(single), used


def _fits(page: Page, refs: Sequence[str], at: int) -> bool:
    return tuple(refs[at : at + len(page.refs)]) == page.refs


def _below(page: Page, known: Sequence[Page]) -> list[Page]:
    inner = [other for other in known if other.token in page.tokens]
    return inner + [below for other in inner for below in _below(other, known)]


def _runs(refs: Sequence[str]) -> list[str]:
    """Return references with neighbours of one segment joined."""
    tokens: list[str] = []
    for _, run in groupby(enumerate(refs), lambda entry: _place_in_run(entry[1], entry[0])):
        members = [ref for _, ref in run]
        last = members[-1].rpartition(".")[2]
        tokens.append(members[0] if len(members) == 1 else f"{members[0]}-{last}")
    return tokens


def _place_in_run(ref: str, at: int) -> tuple[str, int]:
    """Return the same value for references that follow each other in one segment."""
    if ref.startswith("+"):
        return ref, -at
    segment, _, number = ref.partition(".")
    return segment, int(number) - at


def _level(token: str) -> int:
    return int(token[1]) if is_page(token) else 0


def _full_run(tokens: Sequence[str]) -> int | None:
    """Return where the oldest run of too many tokens of one level begins, or None."""
    at = 0
    for _, run in groupby(tokens, _level):
        count = len(list(run))
        if count > MAX_TOKENS and _level(tokens[at]) < 9:
            return at
        at += count
    return None
