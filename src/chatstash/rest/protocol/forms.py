"""Optional forms of a request: not every server that speaks the REST API knows them."""

from __future__ import annotations

from typing import NamedTuple

from chatstash.errors import CommandRejected


class FormRefused(CommandRejected):
    """The server does not know a form of the request. The request is then sent without it."""


class ReplyFormatRefused(FormRefused):
    """The server does not know RESP2 replies."""


class ScriptFlagsRefused(FormRefused):
    """The server does not know the flags in the first line of a script: a Redis or Valkey that is not Upstash."""


class Forms(NamedTuple):
    """The forms that a server is assumed to know, because it has not refused them.

    Attributes:
        resp2: Replies in RESP2. Otherwise base64 is requested, so that all bytes of a stored record survive.
        script_flags: The flags `KEY_LOCKING` in the first line of scripts.
    """

    resp2: bool = True
    script_flags: bool = True

    def without(self, refused: FormRefused) -> Forms:
        """Return the forms that remain after a refusal."""
        return self._replace(**{"resp2" if isinstance(refused, ReplyFormatRefused) else "script_flags": False})
