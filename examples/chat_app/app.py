"""A chat in the browser: sidebar, streaming, regenerate, alternatives, edit, drafts, export and delete-my-data.

Run it in this folder, with a local Upstash and without an account, then open http://127.0.0.1:8000:

    pip install 'chatstash[local]' fastapi uvicorn
    chatstash dev -- uvicorn app:app

A task writes each answer, not the request that asked for it. So an answer goes on when the page is closed or reloaded,
and the reloaded page follows its draft.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path as FilePath
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Cookie, Depends, FastAPI, HTTPException, Path, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from pydantic import BaseModel, Field
from scripted_model import ScriptedModel

from chatstash import (
    ChatstashError,
    ConcurrentTurn,
    DraftText,
    MessageNotFound,
    MessagesResult,
    RecordId,
    SessionNotFound,
    Store,
    UnstorableMessage,
    UpstashRedisChatMessageHistory,
)

STATIC = FilePath(__file__).parent / "static"
MONTH = 30 * 86_400
SESSIONS, MESSAGES = 20, 40
"""How many the page loads at a time."""
CONTEXT = 40
"""How many messages the model reads."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
USER_ID = re.compile("[0-9a-f]{32}")
log = logging.getLogger("chat_app")
router = APIRouter()


def current_user(user: Annotated[str, Cookie()] = "") -> str:
    """Return the user's id: here a random number in a cookie, which only recognises a browser.

    In production, return the id from your login: a server-side session, or the claim `sub` of a token whose signature
    you checked. Never take it from a field that a client may choose. It alone decides whose conversations are shown.
    """
    if not USER_ID.fullmatch(user):
        raise HTTPException(401, "Open the page first: it sets the cookie that names you.")
    return user


User = Annotated[str, Depends(current_user)]
# The browser makes up the ids of its conversations. The user's id is part of the key, so none reaches another user's.
SessionId = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,64}$")]
Tell = Callable[[str, object], None]


class Title(BaseModel):
    """A conversation's new title."""

    title: str = Field(min_length=1, max_length=200)


class Version(BaseModel):
    """The version of an answer or a question to show."""

    version: str = Field(max_length=100)


class Wish(BaseModel):
    """What to write: an answer to `text`, another answer in place of the message `replacing`, or both for an edit.

    Neither asks for an answer to the last question, after the first attempt failed.
    """

    text: str | None = Field(None, min_length=1, max_length=20_000)
    replacing: str | None = Field(None, max_length=100)


class Writing(NamedTuple):
    """An answer that is being written in this process."""

    task: asyncio.Task[None]
    stop: asyncio.Event


class Chat:
    """The store, the model, and the answers that are being written."""

    def __init__(self, store: Store, model: BaseChatModel) -> None:
        self.store = store
        self.writing: dict[tuple[str, str], Writing] = {}
        self._model = model

    def history(self, user: str, session_id: str) -> UpstashRedisChatMessageHistory:
        """Return one conversation of a user; no request."""
        return UpstashRedisChatMessageHistory(session_id, user_id=user, store=self.store)

    def begin(self, user: str, session_id: str, wish: Wish) -> AsyncIterator[str]:
        """Start a task that writes an answer; return its events, for a page to follow as long as it is open."""
        if (user, session_id) in self.writing:
            raise HTTPException(409, "An answer is being written in this conversation. Wait for it, or stop it.")
        events: asyncio.Queue[str | None] = asyncio.Queue()

        def tell(event: str, data: object) -> None:
            events.put_nowait(f"event: {event}\ndata: {json.dumps(data)}\n\n")

        def finish(task: asyncio.Task[None]) -> None:
            del self.writing[user, session_id]
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("an answer failed", exc_info=error)
                tell("failed", reason_of(error))
            tell("done", None)
            events.put_nowait(None)

        stop = asyncio.Event()
        task = asyncio.create_task(self._write(self.history(user, session_id), wish, stop, tell))
        self.writing[user, session_id] = Writing(task, stop)
        task.add_done_callback(finish)
        return until_none(events)

    async def _write(
        self, history: UpstashRedisChatMessageHistory, wish: Wish, stop: asyncio.Event, tell: Tell
    ) -> None:
        if wish.replacing is not None:
            await self._write_instead(history, wish.replacing, wish.text, stop, tell)
            return
        if wish.text is not None:
            await history.aadd_messages([HumanMessage(wish.text)])
        messages = (await history.aread(last=CONTEXT)).messages
        if not messages or messages[-1].type != "human":
            return  # answered already, in another tab
        # The draft is kept in Redis as it grows. Leaving the block appends the answer and drops the draft in one step.
        async with history.draft(every=1.0) as draft:
            async for chunk in self._chunks(messages, stop, tell):
                await draft.aupdate(chunk)

    async def _write_instead(
        self,
        history: UpstashRedisChatMessageHistory,
        replaced: str,
        question: str | None,
        stop: asyncio.Event,
        tell: Tell,
    ) -> None:
        # Reads up to before the replaced message. Leaving the block puts that message and all that follow aside, as an
        # alternative, and appends the new ones in one step. If the model fails, nothing has changed.
        async with history.guarded_turn(replacing=replaced) as turn:
            if question is not None:
                turn.add_user_message(question)
            chunks = [chunk async for chunk in self._chunks(turn.messages[-CONTEXT:], stop, tell)]
            if any(map(text_of, chunks)):
                turn.append([message_chunk_to_message(add_ai_message_chunks(*chunks))])

    async def _chunks(
        self, messages: list[BaseMessage], stop: asyncio.Event, tell: Tell
    ) -> AsyncIterator[AIMessageChunk]:
        async with aclosing(self._model.astream(messages)) as chunks:  # type: ignore[type-var] # it is a generator
            async for chunk in chunks:
                if stop.is_set():
                    return
                if words := text_of(chunk):
                    tell("words", words)
                yield chunk

    async def abandon(self, user: str, session_id: str | None = None) -> None:
        """End the answers being written for a user, in one conversation or in all, before these are deleted."""
        tasks = [
            writing.task for key, writing in self.writing.items() if key[0] == user and session_id in (None, key[1])
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_none(events: asyncio.Queue[str | None]) -> AsyncIterator[str]:
    """Yield what is put into a queue, until None is."""
    while (event := await events.get()) is not None:
        yield event


def reason_of(error: BaseException) -> str:
    """Return what to tell a user of a failed answer: nothing of the error's own text, which is for the log."""
    if isinstance(error, MessageNotFound):
        return "This message is no longer there. Nothing was changed."
    if isinstance(error, ConcurrentTurn):
        return "The conversation was changed meanwhile, perhaps in another tab. Nothing was replaced."
    if isinstance(error, UnstorableMessage):
        return "This text cannot be stored."
    return "No answer came. Try again."


def text_of(message: BaseMessage) -> str:
    """Return a message's text, without the other parts of its content."""
    if isinstance(message.content, str):
        return message.content
    parts = (part if isinstance(part, str) else part.get("text", "") for part in message.content)
    return "".join(parts)


def chat_of(request: Request) -> Chat:
    """Return the application's chat."""
    chat: Chat = request.app.state.chat
    return chat


TheChat = Annotated[Chat, Depends(chat_of)]


@router.get("/")
async def page(user: Annotated[str, Cookie()] = "") -> FileResponse:
    """Return the page, and name a browser that comes for the first time."""
    response = FileResponse(STATIC / "index.html", headers=HEADERS)
    if not USER_ID.fullmatch(user):
        # Strict: no other site can have a browser send it, so none can act for the user.
        # Behind HTTPS, add secure=True.
        response.set_cookie("user", secrets.token_hex(16), max_age=12 * MONTH, httponly=True, samesite="strict")
    return response


@router.get("/api/sessions")
async def sessions(chat: TheChat, user: User, cursor: str | None = None) -> dict[str, Any]:
    """Return the user's conversations, newest activity first: one request, however many there are."""
    found = await chat.store.alist_sessions(user_id=user, limit=SESSIONS, cursor=cursor)
    return {"sessions": [session.to_dict() for session in found.sessions], "next_cursor": found.next_cursor}


@router.patch("/api/sessions/{session_id}")
async def rename(chat: TheChat, user: User, session_id: SessionId, new: Title) -> dict[str, Any]:
    """Give a conversation a title; this does not move it up the list."""
    return (await chat.store.aupdate_session(session_id, user_id=user, title=new.title)).to_dict()


@router.delete("/api/sessions/{session_id}", status_code=204, response_model=None)
async def delete(chat: TheChat, user: User, session_id: SessionId) -> None:
    """Delete a conversation with its draft and its alternatives."""
    await chat.abandon(user, session_id)
    await chat.store.adelete_session(session_id, user_id=user)


@router.get("/api/sessions/{session_id}/messages")
async def messages(chat: TheChat, user: User, session_id: SessionId, before: str | None = None) -> dict[str, Any]:
    """Return the newest messages, or those before a cursor, and the draft of an answer that is being written."""
    history = chat.history(user, session_id)
    if before is not None:
        older = await history.aread(before=before, limit=MESSAGES)
        return {"messages": shown_messages(older), "cursor": older.cursor and str(older.cursor), "draft": None}
    # In this order: an answer that is stored meanwhile is in the messages, whatever the draft says.
    is_here = (user, session_id) in chat.writing
    draft = await history.aread_draft()
    newest = await history.aread(last=MESSAGES, tool_calls="stored")
    shown = shown_messages(newest)
    await asyncio.gather(*[add_versions(history, message) for message in shown[-2:] if message["id"]])
    cursor = newest.cursor and str(newest.cursor)
    return {"messages": shown, "cursor": cursor, "draft": shown_draft(draft, is_here)}


def shown_messages(result: MessagesResult) -> list[dict[str, Any]]:
    """Return the messages with text of a user or a model, for the page."""
    return [
        {"id": record.id and str(record.id), "role": message.type, "text": text_of(message)}
        for record, message in zip(result.records, result.messages, strict=True)
        if message.type in ("human", "ai") and text_of(message)
    ]


@router.get("/api/sessions/{session_id}/versions")
async def versions(chat: TheChat, user: User, session_id: SessionId, of: str) -> dict[str, Any] | None:
    """Return the versions of a message; null if there is one only.

    One request each. So the page is given those of the last exchange, and asks for others when the pointer is there.
    """
    return await versions_of(chat.history(user, session_id), of)


async def add_versions(history: UpstashRedisChatMessageHistory, message: dict[str, Any]) -> None:
    """Add its versions to a message for the page, unless it was replaced since it was read."""
    with suppress(MessageNotFound):
        message["versions"] = await versions_of(history, message["id"])


async def versions_of(history: UpstashRedisChatMessageHistory, message_id: str) -> dict[str, Any] | None:
    """Return the ids of a message's versions, oldest first, and which one is shown."""
    others = {str(each.records[0].id): each.id for each in await history.aalternatives(message_id) if each.records}
    order = sorted([message_id, *others], key=time_of)
    return {"ids": list(map(others.get, order)), "shown": order.index(message_id)} if others else None


def time_of(message_id: str) -> int:
    """Return when a message was written, which its id says."""
    record_id = RecordId.parse(message_id)
    return record_id.time_ms if record_id else 0


@router.get("/api/sessions/{session_id}/draft")
async def draft(chat: TheChat, user: User, session_id: SessionId) -> dict[str, Any] | None:
    """Return the draft, which any process can read; null once the answer is stored."""
    found = await chat.history(user, session_id).aread_draft()
    return shown_draft(found, (user, session_id) in chat.writing)


def shown_draft(draft: DraftText | None, is_here: bool) -> dict[str, Any] | None:
    """Return a draft for the page.

    If this process does not write it, another may, or the process that did has ended: the page sees whether it grows.
    """
    if draft is None and not is_here:
        return None
    return {"text": draft.text if draft else "", "is_here": is_here}


@router.post("/api/sessions/{session_id}/answer")
async def answer(chat: TheChat, user: User, session_id: SessionId, wish: Wish) -> StreamingResponse:
    """Write an answer, and stream it as server-sent events: `words`, then `done`; before that `failed`, if it did."""
    events = chat.begin(user, session_id, wish)
    # The second header keeps nginx from holding the words back.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


@router.post("/api/sessions/{session_id}/stop", status_code=204, response_model=None)
async def stop(chat: TheChat, user: User, session_id: SessionId) -> None:
    """Stop writing; what was written is kept. Reaches only this process: with several, tell them through Redis."""
    if (writing := chat.writing.get((user, session_id))) is not None:
        writing.stop.set()
        await asyncio.wait([writing.task])


@router.post("/api/sessions/{session_id}/version", status_code=204, response_model=None)
async def show_version(chat: TheChat, user: User, session_id: SessionId, wanted: Version) -> None:
    """Show another version of an answer or a question; the one shown so far becomes an alternative."""
    await chat.history(user, session_id).aswitch_to(wanted.version)


@router.get("/api/export")
async def export(chat: TheChat, user: User) -> StreamingResponse:
    """Return the user's conversations as JSON Lines, while they are read."""
    lines = (line + "\n" async for line in chat.store.aexport_user(user))
    headers = {"Content-Disposition": 'attachment; filename="conversations.jsonl"'}
    return StreamingResponse(lines, media_type="application/x-ndjson", headers=headers)


@router.delete("/api/me")
async def delete_me(chat: TheChat, user: User) -> dict[str, Any]:
    """Erase all that is stored of the user: conversations, drafts, alternatives, and the list of them.

    This looks at every key of the database. Where there are millions, answer at once and erase in a job.
    """
    await chat.abandon(user)
    erased = await chat.store.adelete_user(user)
    return {"sessions": len(erased.session_ids)}


async def refused(_request: Request, error: Exception) -> Response:
    """Turn an error of chatstash into an answer for the page. Its own text may name keys: that is for the log."""
    if isinstance(error, (SessionNotFound, MessageNotFound)):
        return JSONResponse({"detail": "It is no longer there."}, 404)
    if isinstance(error, ChatstashError):
        log.error("a request failed", exc_info=error)
        return JSONResponse({"detail": "The database did not answer. Try again."}, 503)
    return JSONResponse({"detail": str(error)}, 400)


def create_app(model: BaseChatModel) -> FastAPI:
    """Return the application, which answers with a chat model of LangChain."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Reads UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN.
        async with Store(ttl=MONTH, timeout=10) as store:
            app.state.chat = chat = Chat(store, model)
            yield
            await asyncio.gather(*[writing.task for writing in chat.writing.values()], return_exceptions=True)

    app = FastAPI(lifespan=lifespan, exception_handlers={ChatstashError: refused, ValueError: refused})
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


# Your model goes here, such as init_chat_model("anthropic:claude-sonnet-4-5") of LangChain.
app = create_app(ScriptedModel())
