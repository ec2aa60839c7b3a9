"""Each script alone, in the real engine: it loads, touches the keys that its header names, and answers as it says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple

import pytest

from chatstash.history.scripts.loading import SCRIPTS, call
from chatstash.rest.commands import KEY_LOCKING, READING

Run = Callable[..., Any]
NAMES = sorted(path.name[:-4] for path in files("chatstash.history.scripts").iterdir() if path.name.endswith(".lua"))

BATCH, OTHER = "AAAAAAPoAAAAAAAA", "AAAAAAPpAAAAAAAA"
VALUE = f"digest:{BATCH}"


def record(batch: str = BATCH, position: int = 0) -> str:
    return f'{{"type":"human","data":{{}},"rid":"{batch}.{position}/2"}}'


def sha(text: str) -> str:
    return sha1(text.encode()).hexdigest()


A, B, OLD = record(), record(position=1), record(OTHER)
NONE = "[0]"
"""No commands that go along."""
UNREAD = (0, 0, sha(""), 1000)


class Case(NamedTuple):
    """One run of a script.

    Attributes:
        keys: Its KEYS.
        arguments: Its ARGV.
        answer: What it answers; its last command is at the place of `commands`.
        before: Commands that prepare the database.
    """

    keys: Sequence[str]
    arguments: Sequence[str | int]
    answer: Any
    before: Sequence[Sequence[str | int]] = ()


STORED_OLD = [["RPUSH", "k", OLD]]
OWN = '{"type":"human","data":{"id":"own"}}'
INDEX = [["ZADD", "z", 2, "a"], ["ZADD", "y", 3, "b"], ["HSET", "h", "sa", "20 hi", "cb", "30", "mb", "{}"]]
PARTS = [["RPUSH", "p", A], ["RPUSH", "q", B]]
CASES = {
    "append_bounded": Case(["k", "m"], [60, VALUE, 9, 2, A, B, NONE], [1, 2, 4, 1], STORED_OLD),
    "append_once": Case(["k", "m"], ["", VALUE, 9, A, B, NONE], [1, 2, 2, 1]),
    "append_parts": Case(["k", "p", "q"], ["", BATCH, "", "", "", "", "", NONE], [1, 2, 6, 1], PARTS),
    "append_parts_bounded": Case(
        ["k", "m", "p", "q"], ["", VALUE, 9, "", "", "", "", 2, NONE], [1, 2, 8, 1], [*PARTS, *STORED_OLD]
    ),
    "append_parts_once": Case(["k", "m", "p", "q"], ["", VALUE, 9, *UNREAD, NONE], [1, 2, 8, 1], PARTS),
    "append_turn": Case(["k"], ["", BATCH, "", *UNREAD, A, NONE], [0, 1, 4, [1, OLD]], STORED_OLD),
    "append_turn_bounded": Case(["k", "m"], ["", VALUE, 9, 1, 1, sha(OLD), 9, 2, A, B, NONE], [1, 2, 5, 1], STORED_OLD),
    "append_turn_once": Case(["k", "m"], ["", VALUE, 9, *UNREAD, A, NONE], [0, 1, 4, [1, OLD]], STORED_OLD),
    "append_unless_stored": Case(["k", "n"], ["", BATCH, A, B, NONE], [1, 3, 6, 1], STORED_OLD),
    "check_outcome": Case(["k", "m"], [BATCH, 9], [0, 3], []),
    "clear": Case(["k", "m"], [9, NONE], [1, 2], STORED_OLD),
    "count": Case(["k", "n"], [], [2, 4], [["RPUSH", "k", A, OLD, A]]),
    "edit_delete": Case(["k", "m"], [9, "r", A[-22:-2], "b", "x"], [1, 9, 2, 1], [["RPUSH", "k", A, "x", OLD]]),
    "edit_pop": Case(["k", "m", "p"], [9, 1, ""], [1, 8, 1, 1], [["RPUSH", "k", OLD, A]]),
    "edit_replace": Case(
        ["k", "m"],
        [9, "r", A[-22:-2], '{"type":"ai","data":{"id":"n"', ',"x":1', '["type","data","x"]', ""],
        [1, 7, 1, 2],
        [["RPUSH", "k", A, OLD]],
    ),
    "edit_truncate": Case(["k", "m"], [9, "m", "own"], [1, 6, 1, 1], [["RPUSH", "k", A, OWN]]),
    "expire_list": Case(["k"], [9, NONE], 1, STORED_OLD),
    "fork": Case(
        ["k", "d", "m", *"pqr", *"zyh", *"zyh"],
        [9, 60, "r", A[-22:-2], "a", "c", 7, 99, "5", "6"],
        [1, 15, 2],
        [["RPUSH", "k", B, A, OLD], ["SET", "q", "left"], *INDEX],
    ),
    "index_session": Case(
        ["k", "z", "y", "h"],
        ["n", 7, "GT", "s", "5 hi", 9],
        [1, 4],
        [*STORED_OLD, *INDEX],
    ),
    "insert": Case(["k"], [-2, "-", B, -2, sha(A), -1, sha(OLD)], 1, [["RPUSH", "k", A, OLD]]),
    "list_alternatives": Case(["k", "x"], ["r", A[-22:-2], ""], [1, 4, []], [["RPUSH", "k", A, OLD]]),
    "list_sessions": Case(
        ["z", "y", "h"],
        [1, "", "", "1"],
        [1, 7, [["b", "3", None, "30", None, "{}"]]],
        [*INDEX, ["ZADD", "z", 9, "gone"]],
    ),
    "locate_duplicates": Case(["k"], [BATCH], [1, 2, f"{BATCH}:0:", BATCH], [["RPUSH", "k", A, OLD, A]]),
    "move": Case(
        ["k", "d", "n", "x", "e", "i", "j", "p", "f", *"zyh", *"ZYH"],
        [9, "a", "c", 7, 99, "5", ""],
        [1, 19, 1],
        [*STORED_OLD, *INDEX, ["RPUSH", "x", "1"], ["RPUSH", "f", "left"]],
    ),
    "quarantine": Case(["k", "q"], [-2, "-", "note", -2, sha(A)], 1, [["RPUSH", "k", A, OLD]]),
    "read_page": Case(["k"], [sha(A[-22:-2]), "", 1, 7, 7, 0], [1, 2, 3, [OLD], sha(""), 0], [["RPUSH", "k", A, OLD]]),
    "remove_duplicates": Case(["k", "n"], [BATCH], [1, 6, f"{BATCH}:0:", ""], [["RPUSH", "k", A, OLD, A]]),
    "read_alternative": Case(["x"], ["a", 2, 3], [1, 1, "bc"], [["HSET", "x", "a", "abcd"]]),
    "replace_all": Case(["k", "m"], [9, "", A, B, NONE], [2, 4], STORED_OLD),
    "take_newest": Case(["k", "m"], [sha(OLD), "", 9], [1, 4], STORED_OLD),
    "replace_tail": Case(
        ["k", "m", "x"],
        ["", VALUE, 9, 2, 1, sha(A), 1000, "", "r", A[-22:-2], "alt", 9, B, NONE],
        [1, 2, 14, 1],
        [["RPUSH", "k", A, OLD]],
    ),
    "replace": Case(["k", "q"], [-2, B, "note", -2, sha(A)], 1, [["RPUSH", "k", A, OLD]]),
    "stage_hex": Case(["p2"], [9, A.encode().hex(), "ff00"], [2, 3]),
    "stored_for": Case(["k", "m"], [], [1, 3, VALUE, [B, A]], [["SET", "m", VALUE], ["RPUSH", "k", OLD, B, A]]),
    "switch_to": Case(
        ["k", "m", "x"],
        [9, "alt", "new", 9],
        [1, 15, 1, 2],
        [["RPUSH", "k", A, OLD], ["HSET", "x", "alt", f"r{OLD[-22:-2]}\n{len(B)}:{B}"]],
    ),
    "update_session": Case(
        ["z", "y", "h"], ["a", "", "title", "T", "", ""], [1, 6, "2", None, ["20 hi", None, "T", None]], INDEX
    ),
    "with_expiry": Case(["k"], ["LPUSH", 1, 1, A, "EXPIRE", 1, 1, 9], [2, [], [1, 1]]),
}
LEFT = {
    "append_bounded": [B, A],
    "append_once": [B, A],
    "append_parts": [B, A],
    "append_parts_bounded": [B, A],
    "append_parts_once": [B, A],
    "append_turn": [OLD],
    "append_turn_bounded": [B, A],
    "append_turn_once": [OLD],
    "append_unless_stored": [B, A, OLD],
    "clear": [],
    "edit_delete": [OLD[:-1] + ',"g":1}'],
    "edit_pop": [A[:-1] + ',"g":1}'],
    "edit_replace": ['{"type":"ai","data":{"id":"n"},"x":1,' + A[-29:-1] + ',"g":1}', OLD],
    "edit_truncate": [OWN],
    "insert": [B[:-1] + ',"g":1}', A, OLD],
    "quarantine": [OLD[:-1] + ',"g":1}'],
    "remove_duplicates": [OLD, A],
    "replace_all": [B, A],
    "take_newest": [],
    "move": [],
    "replace_tail": [B[:-1] + ',"g":1}', OLD],
    "switch_to": [B[:-1] + ',"g":1}', OLD],
    "replace": [B[:-1] + ',"g":1}', OLD],
}
"""The conversation afterwards, newest first, with 1 for any generation; where it is not here, it is as before."""


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_alone(run: Run, name: str) -> None:
    case = CASES[name]
    for words in case.before:
        run(*words)
    before = run("LRANGE", "k", 0, -1)
    assert run(*call(name, case.keys, *case.arguments)) == case.answer
    if name != "with_expiry":
        left = [re.sub(r',"g":[0-9]{1,9}}$', ',"g":1}', raw) for raw in run("LRANGE", "k", 0, -1)]
        assert left == LEFT.get(name, before)
    assert not {"p", "q"} & {*run("KEYS", "*")} or name in ("quarantine", "replace")


def _named(header: str, table: str) -> set[int]:
    """Return the numbers that a header names, such as 2 of `KEYS[2]`, 4 to 7 of `ARGV[4..7]` and 3 of `KEYS[3..]`."""
    found = re.findall(rf"^-- {table}\[(\d+)(?:\.\.(\d*))?\]", header, re.MULTILINE)
    return {number for first, last in found for number in range(int(first), int(last or first) + 1)}


def _used(script: str, table: str) -> set[int]:
    """Return the numbers that a script uses, as in `KEYS[2]` and `unpack(KEYS, 2)`."""
    return {int(number) for number in re.findall(rf"\b{table}(?:\[|, )(\d+)", script)}


@pytest.mark.parametrize("name", NAMES)
def test_its_header_names_its_keys_and_arguments(name: str) -> None:
    header = SCRIPTS.text_of(f"{name}.lua").partition("\n\n")[0]
    named = _named(header, "KEYS")
    # Some take the keys of an index from where the others end.
    assert named == (_used(SCRIPTS.source(name), "KEYS") or {1}) or (name in ("fork", "move") and {1, 2, 3} <= named)
    assert _named(header, "ARGV") >= _used(SCRIPTS.source(name), "ARGV")
    assert re.search("^-- Answer .*^-- Cost ", header, re.MULTILINE | re.DOTALL)


LUA = {
    "error", "function", "ipairs", "next", "pairs", "pcall", "setmetatable", "tonumber", "tostring", "type", "unpack",
    "and", "if", "in", "not", "or", "return", "until", "while", "elseif",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_each_function_that_it_calls_is_defined_before(name: str) -> None:
    # Otherwise only the path that calls it fails.
    code = re.sub(r"--.*|'[^'\n]*'|\"[^\"\n]*\"", "", SCRIPTS.source(name))
    for called in re.finditer(r"(?<![\w.:])(\w+)\(", code):
        if called[1] not in LUA:
            defined = rf"function {called[1]}\(|\blocal [\w, ]*\b{called[1]}\b|function \w*\([\w, ]*\b{called[1]}\b"
            assert re.search(defined, code[: called.end()]), called[1]


@pytest.mark.parametrize("name", NAMES)
def test_its_flags_are_those_that_are_left_out_where_a_server_refuses_them(name: str) -> None:
    assert SCRIPTS.source(name).startswith((KEY_LOCKING, READING))


def test_an_include_stands_once_and_comments_are_not_sent() -> None:
    script = SCRIPTS.composed(
        '#!lua\n-- first\n--- @include "generation"\n--- @include "identity"\n\n  return REFUSED\n'
    )
    assert script.startswith("#!lua\nlocal REFUSED = 0\n")
    assert script.endswith("\nreturn REFUSED")
    assert script.count("local function identity(raw)") == 1
    assert "\n-- " not in script
    with pytest.raises(FileNotFoundError):
        SCRIPTS.composed('#!lua\n--- @include "no_such"\n')
