"""`ChatHistoryMiddleware`: each hook in both colours; `workflow` says what they do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from typing import Annotated, Any, NotRequired, Unpack, get_args

from langchain.agents.middleware import AgentMiddleware, AgentState, ExtendedModelResponse, ModelRequest, ModelResponse
from langchain.agents.middleware.types import PrivateStateAttr, ToolCallRequest, hook_config
from langchain_core.messages import ToolMessage
from langchain_core.runnables import ConfigurableFieldSpec
from langgraph.channels import BinaryOperatorAggregate, UntrackedValue
from langgraph.runtime import Runtime
from langgraph.types import Command

from chatstash.history.store import Store
from chatstash.history.values.options import OptionsWithoutTtl, check_keywords, keywords_of, shows_keywords
from chatstash.langchain.history import STORE_PREFIX, UpstashRedisChatMessageHistory
from chatstash.langchain.middleware.turn import Mark, Turn
from chatstash.langchain.middleware.workflow import Agent, keep_seen
from chatstash.langchain.runnable.drivers import arun, run
from chatstash.langchain.runnable.session_config import HistoryFactory, HistoryProvider
from chatstash.langchain.tokens import TokenCounter
from chatstash.langchain.write_errors import OnWriteError, OnWriteFailure
from chatstash.rest.secret import as_secret


class ChatHistoryState(AgentState[Any]):
    """The state of an agent with this middleware.

    Attributes:
        chatstash_turn: The turn in progress; never in a checkpoint.
        chatstash_mark: The thread's mark.
        chatstash_seen: Messages of an unfinished turn, which middleware may remove before it is stored. Only with a
            checkpointer.
    """

    chatstash_turn: NotRequired[Annotated[Turn, UntrackedValue, PrivateStateAttr]]
    chatstash_mark: NotRequired[Annotated[Mark, PrivateStateAttr]]
    chatstash_seen: NotRequired[Annotated[list[Any], BinaryOperatorAggregate(list, keep_seen), PrivateStateAttr]]


class ChatHistoryMiddleware(AgentMiddleware[ChatHistoryState, Any, Any]):
    """Memory for an agent of LangChain 1: for `create_agent(..., middleware=[ChatHistoryMiddleware()])`.

    A run reads the conversation once, shows its messages to the model before the agent's own, and appends the new
    messages once, at its end: 2 requests and 2 commands, or 3 with a ttl. With a checkpointer, 2 more commands make
    sure that a run which is resumed after a crash stores its messages once. `UpstashRedisChatMessageHistory` and
    `with_history` read and write the same conversation. A run that raises or is interrupted stores nothing until it is
    resumed and ends.

    List it first: messages that earlier middleware adds to the input count as input. With a checkpointer, the thread
    keeps the agent's state and the conversation is stored besides; the model sees each message once.

    With `idempotency_key` in the config, next to the session id, a run first asks whether that event was stored. If so,
    it ends with the stored messages without calling the model, for 1 request and 4 commands; a new event takes one
    more request of 2 commands.

    Args:
        get_session_history: Returns the `UpstashRedisChatMessageHistory` for a session id; called once per run. May be
            `async def`, for async runs only. None for a history with the following arguments.
        session_id_key: The name of the session id: in `config["configurable"]` or, if it is not there, in the context
            of the run. `thread_id` to use that of the checkpointer.
        on_write_failure: If the messages cannot be stored: `raise` the error, which has the output of the run as
            `error.reply`, or log the error and `return` the output.
        url: As for `UpstashRedisChatMessageHistory`, like all that follow.
        token: The database's token.
        key_prefix: Prefix of the conversations' keys.
        ttl: Seconds until a conversation expires; every turn restarts it.
        max_tokens: Token budget of the earlier messages.
        token_counter: Counts tokens.
        store: A `Store` to share.
        on_write_error: Called with the error when messages could not be added.
        options: Further options of the conversations, each documented at `Options`.

    Raises:
        ValueError: An argument is invalid. In a run: there is no session id, it is invalid, or `get_session_history`
            returned something else; nothing was read or stored.
        TypeError: An option does not exist.
        ReplyGone: In a run: the event of the idempotency key was stored, and its messages have been removed since.

    Example:
        ```python
        from langchain.agents import create_agent
        from langchain_core.language_models import FakeListChatModel
        from chatstash.langchain import ChatHistoryMiddleware

        memory = ChatHistoryMiddleware(ttl=86_400, read_last=50)
        agent = create_agent(FakeListChatModel(responses=["Paris."]), middleware=[memory])
        agent.invoke({"messages": "Capital of France?"}, {"configurable": {"session_id": "user-42"}})
        ```
    """

    state_schema = ChatHistoryState

    @shows_keywords(OptionsWithoutTtl)
    def __init__(
        self,
        get_session_history: HistoryFactory | None = None,
        *,
        session_id_key: str = "session_id",
        on_write_failure: OnWriteFailure = "raise",
        url: str = "",
        token: str = "",
        key_prefix: str = STORE_PREFIX,
        ttl: int | None = None,
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
        store: Store | None = None,
        on_write_error: OnWriteError | None = None,
        **options: Unpack[OptionsWithoutTtl],
    ) -> None:
        # Tracebacks that show arguments show neither the token nor a password in the url.
        url, token = as_secret(url), as_secret(token)
        super().__init__()
        check_keywords(options, keywords_of(ChatHistoryMiddleware.__init__), "ChatHistoryMiddleware")
        if on_write_failure not in get_args(OnWriteFailure):
            raise ValueError(f"on_write_failure must be 'raise' or 'return', not {on_write_failure!r}")
        if not isinstance(session_id_key, str) or not session_id_key:
            raise ValueError(f"session_id_key must be the name of a field, not {session_id_key!r}")
        given: dict[str, Any] = {
            "url": url,
            "token": token,
            "ttl": ttl,
            "max_tokens": max_tokens,
            "token_counter": token_counter,
            "store": store,
            "on_write_error": on_write_error,
            **options,
        }
        if get_session_history is None:
            get_session_history = _Histories(UpstashRedisChatMessageHistory("-", key_prefix=key_prefix, **given))
        elif extra := [name for name, value in given.items() if value] + ["key_prefix"] * (key_prefix != STORE_PREFIX):
            raise ValueError(f"give either get_session_history or {', '.join(extra)}: the function makes the history")
        field = ConfigurableFieldSpec(id=session_id_key, annotation=str)
        self._agent = Agent(HistoryProvider(get_session_history, [field]), session_id_key, on_write_failure == "return")

    @hook_config(can_jump_to=["end"])
    def before_agent(self, state: ChatHistoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Read the conversation; one request."""
        return run(self._agent.start(state, runtime))

    @hook_config(can_jump_to=["end"])
    async def abefore_agent(self, state: ChatHistoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Read the conversation, as `before_agent` does."""
        return await arun(self._agent.start(state, runtime))

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Show the model the earlier messages; one request if the run was resumed, else none."""
        return _with_update(*run(self._agent.call_model(request, handler)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Show the model the earlier messages, as `wrap_model_call` does."""
        return _with_update(*await arun(self._agent.call_model(request, handler)))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Call a tool; agents within it that have the same session id store nothing."""
        result: ToolMessage | Command[Any] = run(self._agent.call_tool(request, handler))
        return result

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Call a tool, as `wrap_tool_call` does."""
        result: ToolMessage | Command[Any] = await arun(self._agent.call_tool(request, handler))
        return result

    def after_agent(self, state: ChatHistoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Append the new messages; one request."""
        return run(self._agent.end(state, runtime))

    async def aafter_agent(self, state: ChatHistoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Append the new messages, as `after_agent` does."""
        return await arun(self._agent.end(state, runtime))


class _Histories:
    """Makes the history of a session id: a copy of a template, which has the checked arguments."""

    def __init__(self, template: UpstashRedisChatMessageHistory) -> None:
        self._template = template

    def __call__(self, session_id: str) -> UpstashRedisChatMessageHistory:
        history = copy(self._template)
        history.session_id = session_id
        _ = history.key  # checks the session id before anything is sent
        return history


def _with_update(response: Any, update: dict[str, Any]) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
    return ExtendedModelResponse(response, Command(update=update)) if update else response
