"""The requests that set an expiry on a list only, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from chatstash.errors import Applied, CommandRejected, DatabaseError, ReadOnlyToken, WrongType
from chatstash.history.steps.expiry import lists_only
from chatstash.history.steps.recent import LATELY, RecentKeys
from chatstash.history.steps.requests import list_command
from chatstash.rest.commands import Batch, Cost, Effect, Replies
from chatstash.rest.ops import Op
from tests.rest.test_ops import play

COST = Cost(1, 1, 20, 20)
PUSH = ("LPUSH", "k", "a", "b")
EXPIRE = ("EXPIRE", "k", 60)
NATIVE = Batch((PUSH, EXPIRE), atomic=True, effect=Effect.WRITE)


def _replies(*values: object) -> Replies:
    return Replies(values, COST)  # type: ignore[arg-type]


def _pushing(seen: RecentKeys, **more: Any) -> Op[Replies]:
    return lists_only(list_command("k", PUSH, 60, Effect.WRITE, **more), "k", seen)


def test_a_script_runs_the_commands_unless_the_key_was_lately_a_list() -> None:
    seen = RecentKeys()
    answer = _replies([2, [], [7, 1]])
    replies, (script,) = play(_pushing(seen), [answer])
    ((name, _, *words),) = script.commands
    assert (name, words) == ("EVAL", [1, "k", "LPUSH", 1, 2, "a", "b", "EXPIRE", 1, 1, 60])
    assert (replies.values, script.billed_commands(answer.values), script.effect) == ((7, 1), 3, Effect.WRITE)
    assert play(_pushing(seen), [_replies(9, 1)])[1] == [NATIVE]


def test_a_key_is_taken_for_a_list_for_minutes_only() -> None:
    now = [0.0]
    seen = RecentKeys(lambda: now[0])
    seen.add("k")
    now[0] = LATELY - 1
    assert "k" in seen
    now[0] = LATELY
    assert "k" not in seen


def test_the_oldest_of_too_many_keys_is_forgotten() -> None:
    seen = RecentKeys()
    for number in range(20_000):
        seen.add(str(number))
    assert len(seen._seen) == 10_000
    assert "19999" in seen
    assert "0" not in seen


def test_a_key_of_another_type_is_forgotten() -> None:
    seen = RecentKeys()
    with pytest.raises(WrongType, match="left as it was"):
        play(_pushing(seen), [WrongType("x", applied=Applied.UNKNOWN)])
    seen.add("k")
    with pytest.raises(WrongType, match="PERSIST"):
        play(_pushing(seen), [_replies(WrongType("x"), 1), _replies(1)])
    assert "k" not in seen


@pytest.mark.parametrize("refusal", [CommandRejected("no EVAL"), ReadOnlyToken("no EVAL")])
def test_without_scripts_the_type_is_checked_first(refusal: DatabaseError) -> None:
    replies, asked = play(_pushing(RecentKeys()), [refusal, _replies(0), _replies(7, 1)])
    assert (asked[1:], replies.values) == ([Batch((("LLEN", "k"),)), NATIVE], (7, 1))
    with pytest.raises(WrongType, match="left as it was"):
        play(_pushing(RecentKeys()), [refusal, WrongType("x")])


def test_an_expiry_refused_within_the_script_is_a_partial_append() -> None:
    with pytest.raises(CommandRejected, match=r"were stored, but the expiry .* NOPERM") as caught:
        play(_pushing(RecentKeys()), [_replies([2, [1], [7, b"NOPERM s3cret"]])])
    assert caught.value.applied is Applied.PARTIALLY
    assert "s3cret" not in str(caught.value)


def test_other_keys_and_other_errors_do_not_show_a_list() -> None:
    seen = RecentKeys()

    def other() -> Op[Replies]:
        return (yield Batch((("DEL", "staged"), ("RPUSH", "staged", "x"), ("EXPIRE", "staged", 60)), atomic=True))

    _, asked = play(lists_only(other(), "k", seen), [_replies(0, 1, 1)])
    assert asked[0].commands[0] == ("DEL", "staged")
    assert "k" not in seen
    with pytest.raises(CommandRejected):
        play(
            lists_only(list_command("k", PUSH, None, Effect.WRITE), "k", seen),
            [_replies(CommandRejected("x"))],
        )
    assert "k" not in seen
