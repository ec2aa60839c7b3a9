"""Which sync token is kept, with no I/O: never one that would forget a write seen answered."""

from __future__ import annotations

import threading

from chatstash.rest.sync_token import SyncToken, SyncTokens


def test_each_reply_in_turn_replaces_the_token() -> None:
    token = SyncToken()
    assert token.start(writes=False).token is None
    for number in range(3):
        token.finish(token.start(writes=number % 2 == 0), f"t{number}")
        assert token.start(writes=False).token == f"t{number}"


def test_a_read_under_way_does_not_replace_the_token_of_a_later_write() -> None:
    token = SyncToken()
    read = token.start(writes=False)
    token.finish(token.start(writes=True), "write")
    token.finish(read, "read")
    assert token.start(writes=False).token == "write"


def test_nor_does_a_read_sent_after_the_write_but_before_its_answer() -> None:
    token = SyncToken()
    write = token.start(writes=True)
    read = token.start(writes=False)
    token.finish(write, "write")
    token.finish(read, "read")
    assert token.start(writes=False).token == "write"


def test_an_earlier_write_under_way_does_not_replace_the_token_of_a_later_one() -> None:
    token = SyncToken()
    first, second = token.start(writes=True), token.start(writes=True)
    token.finish(second, "second")
    token.finish(first, "first")
    assert token.start(writes=False).token == "second"


def test_a_write_replaces_the_token_of_a_read_sent_later() -> None:
    token = SyncToken()
    write = token.start(writes=True)
    token.finish(token.start(writes=False), "read")
    token.finish(write, "write")
    assert token.start(writes=False).token == "write"


def test_a_reply_without_a_token_changes_nothing() -> None:
    token = SyncToken()
    token.finish(token.start(writes=True), "write")
    token.finish(token.start(writes=True), None)
    token.finish(token.start(writes=False), None)
    assert token.start(writes=False).token == "write"


def test_each_conversation_has_its_own() -> None:
    tokens = SyncTokens()
    tokens.of("a").finish(tokens.of("a").start(writes=True), "a's")
    assert tokens.of("b").start(writes=False).token is None
    assert tokens.of("a").start(writes=False).token == "a's"


def test_the_least_recently_used_are_forgotten() -> None:
    tokens = SyncTokens(limit=2)
    first = tokens.of("a")
    tokens.of("b")
    assert tokens.of("a") is first
    tokens.of("c")
    assert tokens.of("a") is first
    assert len(tokens._tokens) == 2


def test_threads_may_share_it() -> None:
    token = SyncToken()

    def use() -> None:
        for _ in range(500):
            token.finish(token.start(writes=True), "t")

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert token.start(writes=False).sent == 4001
