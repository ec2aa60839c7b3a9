"""Runs the tests of transfers in both colours."""

from __future__ import annotations

from functools import partial

import pytest

from tests.transfer.support import Transfer, in_colour


@pytest.fixture(params=["sync", "async"])
def do(request: pytest.FixtureRequest) -> Transfer:
    """Call a function of `chatstash.transfer` in one colour: `do("import_jsonl", store, lines)`."""
    return partial(in_colour, request.param)
