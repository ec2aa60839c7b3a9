"""Clearing, without I/O: by a script, or by a command where scripts are refused."""

from __future__ import annotations

import pytest

from chatstash.errors import CommandRejected, OutcomeUnknown, ReadOnlyToken
from chatstash.history.operations import clear as clears
from chatstash.history.records.keys import IN_FLIGHT_TTL, companion_key, kept_beside
from chatstash.rest.commands import Batch, Effect
from chatstash.rest.limits import Budget
from chatstash.rest.ops import retrying
from tests.history.operations.replies import lost, replied, settlement_of
from tests.rest.test_ops import play


def test_clear_tells_whether_there_was_a_conversation() -> None:
    for deleted, existed in ((1, True), (0, False)):
        result, asked = play(clears.clear("k", "name"), [replied([deleted, 3])])
        keys = ("k", companion_key("clear", "k", "name"), *kept_beside("k"))
        assert asked[0].commands[0][2:-1] == (5, *keys, IN_FLIGHT_TTL)
        assert settlement_of(asked[0]) == Batch(asked[0].commands, effect=Effect.IDEMPOTENT)
        assert (result.existed, asked[0].billed_commands(([deleted, 3],))) == (existed, 4)


@pytest.mark.parametrize("refusal", [CommandRejected("no EVAL"), ReadOnlyToken("no EVAL")])
def test_without_scripts_clearing_is_a_command(refusal: Exception) -> None:
    result, asked = play(clears.clear("k", "name"), [refusal, replied(1)])
    assert asked[1] == Batch((("DEL", "k"), ("DEL", *kept_beside("k"))), atomic=True, effect=Effect.WRITE)
    assert result.existed
    with pytest.raises(OutcomeUnknown) as caught:
        play(retrying(clears.clear("k", "name"), Budget(retries=3)), [refusal, lost()])
    assert (caught.value.key, caught.value.marker) == ("k", None)
