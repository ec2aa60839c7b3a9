"""The files of an export: a zip, a folder, or one of the JSON files. One file is in memory at a time.

An export has one `conversations.json`, or several with a hundred conversations each: `conversations-000.json` and so
on. Each is a JSON array.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

import orjson

_NAME = re.compile(r"conversations(?:-\d+)?\.json")

ExportPath: TypeAlias = str | os.PathLike[str]


class ExportFile(NamedTuple):
    """One of the files of conversations.

    Attributes:
        name: Its name, within the zip or the folder.
        conversations: Its conversations, in reverse order; None if it cannot be read.
        problem: Why it cannot be read; empty if it can.
    """

    name: str
    conversations: list[Any] | None
    problem: str = ""


def read_files(path: ExportPath) -> Iterator[ExportFile]:
    """Yield the files of an export, by name. Their conversations are in reverse order.

    Raises:
        ValueError: It is no export: not a zip, a folder or a JSON file, or without conversations.
        OSError: It cannot be read.
    """
    root = Path(path)
    if root.is_dir():
        yield from _in_folder(root)
    elif zipfile.is_zipfile(root):
        yield from _in_zip(root)
    else:
        with root.open("rb") as file:
            begins = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if begins not in (b"[", b"{"):
            raise ValueError(f"{str(root)!r} is no export of ChatGPT: not a zip, a folder or a JSON file")
        yield _loaded(root.name, root.read_bytes())


def _in_folder(root: Path) -> Iterator[ExportFile]:
    names = sorted(each for each in root.rglob("conversations*.json") if _NAME.fullmatch(each.name))
    _check_any(names, root)
    for each in names:
        yield _loaded(each.relative_to(root).as_posix(), each.read_bytes())


def _in_zip(root: Path) -> Iterator[ExportFile]:
    with ExitStack() as closing:
        archive = closing.enter_context(zipfile.ZipFile(root))
        names = sorted(name for name in archive.namelist() if _NAME.fullmatch(PurePosixPath(name).name))
        _check_any(names, root)
        for name in names:
            try:
                content = archive.read(name)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
                # It is damaged, encrypted, or compressed in a way that Python does not know.
                yield ExportFile(name, None, f"it cannot be unpacked ({type(error).__name__})")
            else:
                yield _loaded(name, content)


def _check_any(names: list[Any], root: Path) -> None:
    if not names:
        raise ValueError(f"{str(root)!r} is no export of ChatGPT: it has no conversations.json")


def _loaded(name: str, content: bytes) -> ExportFile:
    try:
        found = _json(content.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        return ExportFile(name, None, f"it is not valid JSON ({error})")
    if isinstance(found, dict):
        inner = found.get("conversations")
        found = inner if isinstance(inner, list) else [found]
    if not isinstance(found, list):
        return ExportFile(name, None, f"it is a JSON {type(found).__name__}, not a list of conversations")
    return ExportFile(name, found[::-1])


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)  # half a surrogate pair, for example
