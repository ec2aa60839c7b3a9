"""Builds the HTTP request of a batch, in the forms that the server knows."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import orjson

from chatstash.errors import CommandRejected
from chatstash.rest.commands import KEY_LOCKING, READING, Batch, Command, Effect
from chatstash.rest.digests import KnownScripts
from chatstash.rest.http.exchange import HttpRequest

SYNC_TOKEN_HEADER = "upstash-sync-token"  # noqa: S105 - a header's name


class FormRefused(CommandRejected):
    """The server does not know a form of the request. The request is then sent without it."""


class ReplyFormatRefused(FormRefused):
    """The server does not know RESP2 replies."""


class ScriptFlagsRefused(FormRefused):
    """The server does not know the flags in the first line of a script: a Redis or Valkey that is not Upstash."""


class ScriptMissing(FormRefused):
    """The server does not have a script that was named by its digest."""


class DigestRefused(FormRefused):
    """The server does not run scripts that are named by their digest."""


class Forms(NamedTuple):
    """The forms that a server is assumed to know, because it has not refused them.

    Attributes:
        resp2: Replies in RESP2. Otherwise base64 is requested, so that all bytes of a stored record survive.
        script_flags: The flags in the first line of scripts, `KEY_LOCKING` or `READING`.
    """

    resp2: bool = True
    script_flags: bool = True

    def without(self, refused: FormRefused) -> Forms:
        """Return the forms that remain after a refusal."""
        form = _FORM_OF.get(type(refused))
        return self if form is None else self._replace(**{form: False})


_FORM_OF = {ReplyFormatRefused: "resp2", ScriptFlagsRefused: "script_flags"}


_ALL_FORMS = Forms()
_SCRIPT_COMMANDS = ("EVAL", "EVAL_RO")
_ASKING_RESP2 = {"content-type": "application/json", "upstash-response-format": "resp2"}
_ASKING_BASE64 = {"content-type": "application/json", "upstash-encoding": "base64"}


def request_for(batch: Batch, *, sync_token: str | None = None, forms: Forms = _ALL_FORMS) -> HttpRequest:
    """Return the HTTP request of a batch, whose scripts are as the server knows them."""
    path = _path_of(batch)
    # /multi-exec never answers in RESP2.
    headers = _ASKING_RESP2 if forms.resp2 and path != "/multi-exec" else _ASKING_BASE64
    if sync_token:
        headers = {**headers, SYNC_TOKEN_HEADER: sync_token}
    commands = batch.commands
    return HttpRequest(path, headers, orjson.dumps(commands if len(commands) > 1 else commands[0]))


def with_scripts_as_known(batch: Batch, forms: Forms, scripts: KnownScripts | None) -> Batch:
    """Return a batch with its scripts as the server knows them; without `scripts`, none is named by its digest."""
    if not any(command[0] in _SCRIPT_COMMANDS for command in batch.commands):
        return batch
    commands = batch.commands if forms.script_flags else tuple(map(_without_flags, batch.commands))
    if scripts is not None and may_be_sent_again(batch):
        commands = tuple(map(scripts.shortened, commands))
    return replace(batch, commands=commands)


def may_be_sent_again(batch: Batch) -> bool:
    """Tell whether a batch may be sent again after one of its commands was refused for its form.

    If other commands ran, running them twice must change nothing, and nobody may rely on seeing all or none of them.
    """
    return len(batch.commands) == 1 or (batch.effect is not Effect.WRITE and not batch.atomic)


def _without_flags(command: Command) -> Command:
    if command[0] not in _SCRIPT_COMMANDS:
        return command
    return (command[0], str(command[1]).removeprefix(KEY_LOCKING).removeprefix(READING), *command[2:])


def _path_of(batch: Batch) -> str:
    if len(batch.commands) == 1:
        return "/"
    return "/multi-exec" if batch.atomic else "/pipeline"
