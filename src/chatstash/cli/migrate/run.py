"""Imports conversations one after the other, and collects the results. Prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from chatstash.cli.migrate.report import ConversationReport, HowToImport, LeftOut, MigrationReport
from chatstash.cli.running import STOP_THE_RUN, without_server_text
from chatstash.errors import ChatstashError, ThreadInUse, UnreadableRecord, WrongType
from chatstash.history.operations.scan import scan
from chatstash.history.records.keys import conversation_named
from chatstash.history.store import Store
from chatstash.langchain.history import UpstashRedisChatMessageHistory
from chatstash.langgraph import ImportResult, UpstashRedisSaver, import_history

_NO_CONVERSATION = "no readable message, so it may not be a conversation; name it to import it"


class MigrationRun:
    """Imports conversations, and calls `on_done` with the report of each.

    Args:
        store: The database of the conversations, with their key prefix.
        saver: The checkpointer.
        how: The options of all imports.
        report: Receives the totals.
        on_done: Called with each conversation.
    """

    def __init__(
        self,
        store: Store,
        saver: UpstashRedisSaver,
        how: HowToImport,
        report: MigrationReport,
        on_done: Callable[[ConversationReport], None],
    ) -> None:
        self._store = store
        self._saver = saver
        self._how = how
        self._report = report
        self._on_done = on_done

    def stored_sessions(self) -> Iterator[str]:
        """Yield the session id of each key that starts with the prefix; one request for each 1000 keys."""
        prefix, budget = self._store.key_prefix, self._store.options.retry_policy.read
        seen: set[bytes] = set()
        cursor = "0"
        while True:
            cursor, keys = self._store.database.run("list", scan(prefix, cursor), "", budget)
            new = [key for key in dict.fromkeys(keys) if key not in seen and key != prefix.encode()]
            seen.update(new)
            yield from (key.decode(errors="surrogateescape").removeprefix(prefix) for key in new)
            if cursor == "0":
                return

    def migrate(self, session_ids: Iterable[str], *, named: bool) -> None:
        """Import conversations. An error stops the others only if it concerns all.

        Args:
            session_ids: Their session ids.
            named: Whether the user named them, so that one that does not exist is an error.
        """
        for session_id in session_ids:
            done = ConversationReport(
                session_id, self._store.key_prefix + session_id, self._how.thread_prefix + session_id
            )
            self._import(done, named=named)
            self._report.add(done)
            self._on_done(done)

    def _import(self, done: ConversationReport, *, named: bool) -> None:
        try:
            _note(done, self._result(done))
            if done.status == "empty" and named:
                done.status, done.error = "missing", "there is no such conversation"
        except STOP_THE_RUN:
            raise
        except WrongType:
            done.status, done.error = "skipped", "not a list"
        except ThreadInUse as error:
            done.status, done.error = "refused", str(error)
        except UnreadableRecord as error:
            if not (error.records or named or self._store.key_prefix):
                done.status, done.error = "skipped", _NO_CONVERSATION
                return
            done.status, done.error = "unreadable", "records cannot be read; --skip-unreadable leaves them out"
            done.unreadable = _left_out(error.unreadable)
        except ChatstashError as error:
            done.error = without_server_text(error)
        except ValueError as error:
            done.error = str(error)

    def _result(self, done: ConversationReport) -> ImportResult:
        named = conversation_named(done.session_id, self._store.key_prefix)
        history = UpstashRedisChatMessageHistory(named.session_id, user_id=named.user_id, store=self._store)
        how = self._how
        return import_history(
            history,
            self._saver,
            done.thread_id,
            messages_key=how.messages_key,
            merge=how.merge,
            on_corrupt="skip" if how.skip_unreadable else "raise",
            dry_run=how.dry_run,
        )


def _note(done: ConversationReport, result: ImportResult) -> None:
    done.status, done.messages = result.status, result.messages
    done.added, done.updated = result.added, result.updated
    done.unreadable = _left_out(result.unreadable)


def _left_out(errors: Iterable[UnreadableRecord]) -> list[LeftOut]:
    # The details in parentheses may quote the record.
    return [LeftOut(error.position, error.reason.partition(" (")[0]) for error in errors]
