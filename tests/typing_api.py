"""How users write it, for type checkers to read: not run, but checked by mypy --strict."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable

from chatstash import (
    Alternative,
    AppendResult,
    Budget,
    ConversationOptions,
    Cost,
    DraftText,
    EditResult,
    Erased,
    MessagesResult,
    MoveResult,
    OnCorrupt,
    Outcome,
    OutcomeUnknown,
    Record,
    RequestTimeout,
    RetryPolicy,
    Session,
    SessionInfo,
    SessionPage,
    StartOn,
    Store,
    TokenCounter,
    ToolCalls,
    UpstashRedisChatMessageHistory,
    with_history,
)
from chatstash.transfer import (
    ImportReport,
    aexport_jsonl,
    aimport_jsonl,
    export_jsonl,
    import_jsonl,
    read_chatgpt_export,
    to_markdown,
    to_openai,
)


def sync() -> None:
    history = UpstashRedisChatMessageHistory("s", "https://x.upstash.io", "t", "p:", 60, timeout=3, retries=1)
    base: BaseChatMessageHistory = history
    messages: list[BaseMessage] = history.messages
    history.add_messages([HumanMessage("a")])
    history.add_user_message("a")
    result: MessagesResult = history.read()
    cost: Cost = result.cost + Cost()
    when: dt.datetime | None = result.records[0].time
    print(base, messages, cost.requests, when)


async def in_a_loop() -> None:
    async with Store(ttl=60) as store:
        history = UpstashRedisChatMessageHistory("s", store=store)
        await history.aadd_messages([HumanMessage("a")])
        messages: list[BaseMessage] = await history.aget_messages()
        appended: AppendResult = await store.session("s").aappend([Record("human", {"content": "a"})])
        print(messages, appended.record_ids[0].time_ms)


def errors(error: OutcomeUnknown | RequestTimeout) -> tuple[int | None, str | None]:
    return error.status, error.server_text


async def find(session_id: str) -> UpstashRedisChatMessageHistory:
    history = UpstashRedisChatMessageHistory(session_id)
    stored: list[BaseMessage] | None = await history.astored_for("evt")
    print(stored)
    return history


def chain(error_seen: list[Exception]) -> Runnable[str, str]:
    model = FakeListChatModel(responses=["a"])
    theirs: BaseChatMessageHistory = UpstashRedisChatMessageHistory("s", on_write_error=error_seen.append)
    with_history(model, UpstashRedisChatMessageHistory, keep_partial=False)
    with_history(model, find, on_write_failure="return", store_rewritten=True)
    with_history(model, lambda session_id: UpstashRedisChatMessageHistory(session_id, ttl=60))
    return with_history(model, lambda: theirs, input_messages_key="question") | str


def options(*, strict: bool) -> None:
    on_corrupt: OnCorrupt = "raise" if strict else "skip"
    changes: ConversationOptions = {"ttl": 60, "on_corrupt": on_corrupt}
    with Store(on_corrupt=on_corrupt, retry_policy=RetryPolicy(append=Budget(timeout=5))) as store:
        session = store.session("s", **changes)
        appended: AppendResult = session.append([Record("human", {})], idempotency_key="evt")
        outcome: Outcome = session.check_outcome("evt")
        token: str | None = session.sync_token
        with session.guarded_turn() as turn:
            turn.append(turn.items)
    print(appended.repeated, outcome, token)


async def transfer(history: UpstashRedisChatMessageHistory, store: Store) -> None:
    lines: Iterator[str] = export_jsonl(history.session())
    report: ImportReport = import_jsonl(store, lines, user_id="ada", if_exists="skip")
    report = await aimport_jsonl(store, aexport_jsonl(history.session()), on_malformed="skip")
    for conversation in read_chatgpt_export(Path("export.zip")):
        text: str = to_markdown(conversation.messages) + to_markdown(conversation.records())
        formatted: list[dict[str, Any]] = to_openai(conversation.messages)
        print(text, formatted, conversation.skipped)
    restored: AppendResult = store.session("s").restore(history.read().records)
    print(report.to_dict(), restored.to_dict(), history.read().to_dict())


def sidebar(store: Store) -> list[str | None]:
    page: SessionPage = store.list_sessions(user_id="ann", limit=20, cursor=None)
    info: SessionInfo = store.update_session("s", user_id="ann", title="T", metadata={"pinned": True})
    found: SessionInfo | None = store.get_session("s", user_id="ann")
    erased: Erased = store.delete_user("bob", on_progress=lambda progress: print(progress.scanned))
    lines: Iterator[str] = store.export_user("ann")
    moved: MoveResult = store.adopt("old", "ann")
    print(info.to_dict(), found, erased.session_ids, list(lines), moved.length, store.reindex().listed)
    return [session.title for session in page.sessions]


async def edits(history: UpstashRedisChatMessageHistory, session: Session[Record]) -> None:
    done: EditResult = history.replace_message("m1", AIMessage("a"))
    done = await history.adelete_messages("m1", history.records()[0].id or "")
    done = session.truncate(after=session.records()[0])
    with history.guarded_turn(replacing="m2") as turn:
        turn.add_ai_message("b")
    alternatives: list[Alternative[BaseMessage]] = history.alternatives("m2")
    done = history.switch_to(alternatives[0])
    items: list[Record] = session.alternatives("m2")[0].items
    forked: MoveResult = await history.afork("copy", upto="m2")
    async with history.draft(every=2) as draft:
        await draft.aupdate("text")
    left: DraftText | None = session.read_draft()
    await history.aadd_messages([HumanMessage("a")], metadata={"rating": 5})
    print(done.removed, items, forked.session_id, left, dict(session.records()[0].metadata))


def room(of_one: Callable[[BaseMessage], int]) -> list[BaseMessage]:
    starts: list[StartOn] = ["human", HumanMessage, ["human", HumanMessage], ()]
    tool_calls: ToolCalls = "answered"
    with Store(start_on="human", tool_calls=tool_calls) as store:
        for start_on in starts:
            history = UpstashRedisChatMessageHistory("s", store=store, start_on=start_on)
            history.read(last=5, start_on=start_on, tool_calls="stored")
        store.session("s", start_on=["human"]).read(last=5, tool_calls="paired")
    counters: list[TokenCounter] = [len, of_one, FakeListChatModel(responses=["a"]), "approximate"]
    with Store(cache_bytes=10**6, max_connections=10) as store:
        history = UpstashRedisChatMessageHistory("s", store=store, max_tokens=100, token_counter=counters[0])
        messages: list[BaseMessage] = history.read(max_tokens=50, token_counter=of_one).messages
        hits: int = store.cache_stats().hits
    return messages[hits:]
