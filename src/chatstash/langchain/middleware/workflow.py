"""The workflow of each hook of the middleware, once for both colours; see `Step`. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, messages_from_dict, messages_to_dict
from langgraph.config import get_config
from langgraph.runtime import ExecutionInfo

from chatstash.errors import IdempotencyConflict, ReplyGone
from chatstash.history.records.keys import checked_idempotency_key
from chatstash.langchain.history import UpstashRedisChatMessageHistory
from chatstash.langchain.middleware.nesting import is_inner, own_event, within
from chatstash.langchain.middleware.turn import Mark, Turn, advanced, begin, removals, shown
from chatstash.langchain.runnable.session_config import HistoryProvider
from chatstash.langchain.runnable.workflow import IDEMPOTENCY_KEY, Step, Steps
from chatstash.langchain.write_errors import with_reply

TURN = "chatstash_turn"
MARK = "chatstash_mark"
SEEN = "chatstash_seen"

Update = dict[str, Any]

_log = logging.getLogger("chatstash")


class Agent(NamedTuple):
    """The options of a middleware, and the workflows of its hooks."""

    histories: HistoryProvider
    session_id_key: str
    return_unstored: bool

    def start(self, state: Mapping[str, Any], runtime: Any) -> Steps[Update]:
        """Read the earlier messages; with an idempotency key, ask first whether the event was answered."""
        turn = yield from self._open(runtime)
        if turn.history is None:
            return {TURN: turn}
        if turn.event is not None and (stored := (yield _stored_for(turn.history, turn.event))) is not None:
            return _answered(state, turn, stored)
        messages, mark = state["messages"], _mark_of(state)
        window = yield _read(turn.history)
        start = begin(window, messages, mark)
        removed = removals(messages, start.repeated)
        turn = Turn(turn.history, turn.event, window, start)
        turn.saw(start.new)
        kept = _to_keep(turn, runtime)
        update: Update = {TURN: turn, MARK: start.mark}
        if kept or state.get(SEEN):
            update[SEEN] = [None, *kept]
        return {**update, "messages": removed} if removed else update

    def call_model(self, request: Any, handler: Callable[[Any], Any]) -> Steps[tuple[Any, Update]]:
        """Show the model the earlier messages; returns its response and an update of the state."""
        held: Turn | None = request.state.get(TURN)
        turn = held or (yield from self._resume(request.state, request.runtime))
        if turn.history is not None:
            turn.saw(request.state["messages"])
            messages = shown(turn.window, request.messages, _mark_of(request.state))
            request = request.override(messages=messages)
        with within(turn):
            response = yield Step(partial(handler, request), partial(handler, request))
        answers = _messages_of(response)
        turn.saw(answers, generated=True)
        update: Update = {} if held else {TURN: turn}
        if any(isinstance(answer, AIMessage) and answer.tool_calls for answer in answers):
            # A person may be asked now, and another process resume the run.
            update[SEEN] = _to_keep(turn, request.runtime)
        return response, {name: value for name, value in update.items() if value}

    def call_tool(self, request: Any, handler: Callable[[Any], Any]) -> Steps[Any]:
        """Call a tool; an agent within it does not write to this conversation."""
        turn: Turn = request.state.get(TURN) or (yield from self._open(request.runtime))
        with within(turn):
            result = yield Step(partial(handler, request), partial(handler, request))
        turn.saw(_with_ids(result), generated=True)
        return result

    def end(self, state: Mapping[str, Any], runtime: Any) -> Steps[Update | None]:
        """Append the new messages of a run."""
        turn: Turn = state.get(TURN) or (yield from self._reopen(state, runtime))
        messages, mark = state["messages"], _mark_of(state)
        if turn.history is None:
            return None
        new = turn.new_messages(messages, mark)
        try:
            yield _append(turn.history, new, turn.event or _repeatable_task(runtime))
        except Exception as error:  # noqa: BLE001 - raised, unless the user wants the reply
            if turn.event is not None and isinstance(error, IdempotencyConflict):
                _log.info("Another delivery of this event was stored first; its reply is returned.")
                stored = yield _stored_for(turn.history, turn.event)
                return _replaced(state, new, stored or [], turn.event)
            if not self.return_unstored:
                raise with_reply(error, _output_of(state))  # noqa: B904 - mostly the same error
            _log.error("The messages of a run could not be stored; its reply is returned: %s.", type(error).__name__)
            return None
        forget: Update = {SEEN: [None]} if state.get(SEEN) else {}
        return {MARK: advanced(mark, new, messages), **forget}

    def _open(self, runtime: Any) -> Steps[Turn]:
        """Find the history of a run; the turn has none if an outer run stores it: of an agent, or of `with_history`."""
        config = get_config().get("configurable", {})
        fields = {self.session_id_key: self._session_id(config, runtime.context)}
        history = yield Step(partial(self.histories.get, fields), partial(self.histories.aget, fields))
        if not isinstance(history, UpstashRedisChatMessageHistory):
            raise ValueError(
                f"ChatHistoryMiddleware needs an UpstashRedisChatMessageHistory, but get_session_history returned a "
                f"{type(history).__name__}. Nothing was read or stored."
            )
        event = config.get(IDEMPOTENCY_KEY.id)
        event = None if event is None else own_event(checked_idempotency_key(event))
        is_part = is_inner(history.key) or _is_at(config.get("message_history"), history.key)
        return Turn(None if is_part else history, event)

    def _reopen(self, state: Mapping[str, Any], runtime: Any) -> Steps[Turn]:
        """Go on with the turn of a run that is resumed."""
        turn = yield from self._open(runtime)
        turn.restore(messages_from_dict(state.get(SEEN, [])))
        return turn

    def _resume(self, state: Mapping[str, Any], runtime: Any) -> Steps[Turn]:
        """Go on with a turn, and read the earlier messages again: no checkpoint holds them."""
        turn = yield from self._reopen(state, runtime)
        if turn.history is not None:
            turn.window = yield _read(turn.history)
        return turn

    def _session_id(self, config: Mapping[str, Any], context: Any) -> Any:
        name = self.session_id_key
        found = config.get(name)
        if found is None:
            found = context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)
        if found is None:
            raise ValueError(
                f"The run has no {name!r}. Nothing was read or stored. Pass it with the call: "
                f"agent.invoke(input, {{'configurable': {{{name!r}: '...'}}}}), or in the context."
            )
        return found


def _read(history: UpstashRedisChatMessageHistory) -> Step:
    return Step(lambda: history.messages, history.aget_messages)


def _is_at(outer: object, key: str) -> bool:
    return isinstance(outer, UpstashRedisChatMessageHistory) and outer.key == key


def keep_seen(held: list[Any] | None, more: list[Any]) -> list[Any]:
    """Add to the kept messages of a turn; None begins anew. The reducer of its channel."""
    return more[1:] if more[:1] == [None] else [*(held or []), *more]


def _to_keep(turn: Turn, runtime: Any) -> list[dict[str, Any]]:
    """Return the messages to keep in the checkpoint; as dicts, because LangGraph streams messages as new ones."""
    return messages_to_dict(turn.take_unkept()) if _repeatable_task(runtime) else []


def _repeatable_task(runtime: Any) -> str | None:
    """Return the id of this step if a run may repeat it: if a checkpointer can resume a run that crashed after it."""
    info: ExecutionInfo = runtime.execution_info
    return None if info.thread_id is None else str(info.task_id)


def _append(history: UpstashRedisChatMessageHistory, messages: list[BaseMessage], key: str | None) -> Step:
    add, aadd = history.add_messages, history.aadd_messages
    return Step(
        partial(add, messages, idempotency_key=key), partial(aadd, messages, idempotency_key=key), is_write=True
    )


def _stored_for(history: UpstashRedisChatMessageHistory, event: str) -> Step:
    return Step(partial(history.stored_for, event), partial(history.astored_for, event))


def _answered(state: Mapping[str, Any], turn: Turn, stored: list[BaseMessage]) -> Update:
    """Return the update that ends the run of a redelivered event with the stored turn."""
    new = begin([], state["messages"], _mark_of(state)).new
    update = _replaced(state, new, stored, turn.event or "")
    return {**update, TURN: Turn(None), "jump_to": "end"}


def _replaced(state: Mapping[str, Any], new: Sequence[BaseMessage], stored: list[BaseMessage], event: str) -> Update:
    """Return the update that replaces the messages of a run by the stored ones of the same event."""
    if not stored:
        raise ReplyGone(event)
    return {"messages": [*removals(state["messages"], new), *stored], MARK: advanced(_mark_of(state), stored, stored)}


def _mark_of(state: Mapping[str, Any]) -> Mark:
    mark: Mark = state.get(MARK, {})
    return mark


def _messages_of(response: Any) -> list[BaseMessage]:
    found = getattr(response, "result", response)
    messages = found if isinstance(found, list) else [found]
    return [message for message in messages if isinstance(message, BaseMessage)]


def _with_ids(result: Any) -> list[BaseMessage]:
    """Return the messages of a tool's result; gives them ids, as LangGraph does when it adds them to the state."""
    results = result if isinstance(result, list) else [result]
    updates = [getattr(each, "update", None) for each in results]
    found = [*results, *(each for update in updates if isinstance(update, dict) for each in update.get("messages", []))]
    messages = [message for message in found if isinstance(message, BaseMessage)]
    for message in messages:
        message.id = message.id or str(uuid4())
    return messages


def _output_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the output that the run would have had."""
    messages = [message for message in state["messages"] if not isinstance(message, RemoveMessage)]
    structured = {name: state[name] for name in ("structured_response",) if name in state}
    return {"messages": messages, **structured}
