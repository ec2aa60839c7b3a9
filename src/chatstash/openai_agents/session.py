"""`UpstashSession`: the sessions of the OpenAI Agents SDK in Upstash Redis."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from chatstash.history.records.keys import DEFAULT_PREFIX, conversation_key
from chatstash.history.store import Store
from chatstash.history.values.options import (
    MOST_MESSAGES,
    ConversationOptions,
    check_keywords,
    keywords_of,
    shows_keywords,
)
from chatstash.openai_agents.codec import ItemsCodec, groups_of
from chatstash.rest.secret import as_secret

if TYPE_CHECKING:
    from agents import SessionSettings, TResponseInputItem


class UpstashSession:
    """The items of one conversation of the OpenAI Agents SDK, kept in an Upstash Redis database.

    Pass it to `Runner.run(…, session=…)`. Items come back to the last field. The conversation is the ordinary list of
    chatstash: `UpstashRedisChatMessageHistory` and LangChain.js read its messages, and the messages of others come as
    items. Makes no request when constructed.

    Args:
        session_id: Names the conversation; any non-empty string.
        url: The database's REST URL; empty for `UPSTASH_REDIS_REST_URL` or `KV_REST_API_URL`.
        token: Its token; empty for `UPSTASH_REDIS_REST_TOKEN` or `KV_REST_API_TOKEN`.
        key_prefix: Prefix of the conversation's key; the session id follows. None for the store's, or "message_store:".
        user_id: The user it belongs to, as for `UpstashRedisChatMessageHistory`; None for a session of no user.
        store: A `Store` to share; its url, token and options are the defaults.
        session_settings: The SDK's settings; their `limit` is the default of `get_items`.
        options: Options of the conversation, each documented at `Options`, such as `ttl`. Views of tool calls do not
            apply: the SDK pairs calls itself.

    Raises:
        ValueError: An argument is invalid, or there is no url or token.
        TypeError: An option does not exist.
    """

    @shows_keywords(ConversationOptions)
    def __init__(
        self,
        session_id: str,
        url: str = "",
        token: str = "",
        *,
        key_prefix: str | None = None,
        user_id: str | None = None,
        store: Store | None = None,
        session_settings: SessionSettings | None = None,
        **options: Unpack[ConversationOptions],
    ) -> None:
        url, token = as_secret(url), as_secret(token)
        check_keywords(options, keywords_of(UpstashSession.__init__), "UpstashSession")
        if store is not None and (url or token):
            raise ValueError("Pass either store= or url= and token=, not both")
        self._store = store or Store.shared(url, token)
        prefix = key_prefix if key_prefix is not None else self._store.key_prefix if store else DEFAULT_PREFIX
        views: ConversationOptions = {"tool_calls": "stored"}
        changed = self._store.options.changed({**options, **views})
        key = conversation_key(session_id, prefix, user_id)
        self._session = self._store.open_session(ItemsCodec(), key, changed, key_prefix=prefix)
        self.session_id = session_id
        self.session_settings = session_settings

    def __repr__(self) -> str:
        return f"{type(self).__name__}(session_id={self.session_id!r}, key={self._session.key!r})"

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return items, oldest first; one request, one command, three with a limit.

        Args:
            limit: How many of the newest items; None for the limit of `session_settings`, or all.

        Raises:
            ValueError: The limit is not a whole number; nothing was sent.
            UnreadableRecord: A record cannot be read, and `on_corrupt` is `raise`.
            DatabaseError: Any other failure.
        """
        most = _limit_of(limit, self.session_settings)
        if most is not None and most < 1:
            return []
        wanted: Any = {"last": most} if most is not None and most <= MOST_MESSAGES else {}
        found = await self._session.aread(**wanted)
        items: list[Any] = [item for group in found.items for item in group]
        return items if most is None else items[-most:]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items, all or none, exactly once even if replies are lost; one request, as `Session.append`.

        Args:
            items: The items, oldest first. The parallel function calls of one answer must be in one call.

        Raises:
            UnstorableMessage: An item is not a dict, or JSON cannot hold a value; nothing was sent.
            OutcomeUnknown: The reply was lost, and so were the attempts to find out.
            DatabaseError: Any other failure; its `applied` says whether the items were stored.
        """
        await self._session.aappend(groups_of(items))

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove and return the newest item, exactly once even if replies are lost; as `Session.pop_item`.

        Raises:
            UnreadableRecord: The newest record cannot be read; it was not removed.
            ConversationChanged: Others kept adding items; nothing was removed.
            DatabaseError: Any other failure; its `applied` says whether the item was removed.
        """
        group = await self._session.apop_item()
        return cast("TResponseInputItem", group[-1]) if group else None

    async def clear_session(self) -> None:
        """Delete the conversation; one request, as `Session.clear`."""
        await self._session.aclear()

    async def replace_items(self, items: list[TResponseInputItem]) -> None:
        """Replace all items in one atomic step, as after a compaction; one request, as `Session.replace`.

        Args:
            items: The items, oldest first.

        Raises:
            UnstorableMessage: An item cannot be stored; nothing was sent.
            DatabaseError: Any other failure; its `applied` says whether the items were replaced.
        """
        await self._session.areplace(groups_of(items))

    async def _atomic_replace_items(self, items: list[TResponseInputItem]) -> bool:
        # OpenAIResponsesCompactionSession looks for this name; otherwise it clears the session and adds items.
        await self.replace_items(items)
        return True

    async def close(self) -> None:
        """Close the store that the session was given; connections that others share stay open."""
        await self._store.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def _limit_of(limit: int | None, settings: Any) -> int | None:
    most = limit
    if most is None and settings is not None:
        most = settings.get("limit") if isinstance(settings, dict) else settings.limit
    if most is not None and (not isinstance(most, int) or isinstance(most, bool)):
        raise ValueError(f"limit must be a whole number, not {most!r}")
    return most
