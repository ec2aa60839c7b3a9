"""One turn of a conversation: what the runnable is given, and which messages are new afterwards. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage, BaseMessageChunk

from chatstash.langchain.shapes import (
    Keys,
    input_messages,
    output_messages,
    stopped_messages,
    without_prefix,
)


@dataclass(frozen=True, slots=True)
class Question:
    """The input of a run, looked at before anything is read.

    Attributes:
        keys: Where its dicts hold messages.
        value: The input as it was given.
        messages: Its messages.
    """

    keys: Keys
    value: Any
    messages: list[BaseMessage]

    @classmethod
    def of(cls, keys: Keys, value: Any) -> Question:
        """Return the question that an input asks.

        Raises:
            ValueError: The input is none of the shapes permitted.
        """
        if isinstance(value, dict):
            return cls(keys, value, input_messages(value[keys.input_key_of(value)]))
        if keys.input or keys.history:
            raise ValueError(
                f"the input must be a dict, not a {type(value).__name__}, for input_messages_key or "
                "history_messages_key is given. Nothing was stored."
            )
        return cls(keys, value, input_messages(value))

    def after(self, history: Sequence[BaseMessage]) -> Exchange:
        """Return the turn in which this is asked after a conversation.

        An input that repeats the whole conversation and goes on asks only what follows it.
        """
        repeats = len(self.messages) > len(history)
        asked = without_prefix(history, self.messages) if repeats else self.messages
        return Exchange(self.keys, self._given(history, asked), list(history), asked)

    def _given(self, history: Sequence[BaseMessage], asked: list[BaseMessage]) -> Any:
        if self.keys.history:
            shorter = {} if asked is self.messages else {self.keys.input_key_of(self.value): asked}
            return {**self.value, **shorter, self.keys.history: list(history)}
        if self.keys.input:
            return {**self.value, self.keys.input: [*history, *asked]}
        return [*history, *asked]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question asked after a conversation.

    Attributes:
        keys: Where the dicts of the runnable hold messages.
        given: The input for the runnable.
        history: What was said before.
        asked: The new messages of the input.
    """

    keys: Keys
    given: Any
    history: list[BaseMessage]
    asked: list[BaseMessage]

    def ended(self, output: Any) -> list[BaseMessage]:
        """Return the new messages of a turn whose reply is whole.

        Of an output that repeats what the runnable was given, as an agent's may, only what follows it is new.

        Raises:
            ValueError: The output is none of the shapes permitted.
        """
        held = output[self.keys.output_key_of(output)] if isinstance(output, dict) else output
        return [*self.asked, *without_prefix([*self.history, *self.asked], output_messages(held))]

    def stopped(self, output: Any) -> list[BaseMessage]:
        """Return the new messages of a turn whose reply was stopped; none where the reply had not begun."""
        said = stopped_messages(self._begun(output))
        return [*self.asked, *said] if said else []

    def _begun(self, output: Any) -> list[BaseMessage]:
        if isinstance(output, dict):
            # Not the only key there is: another may have been about to come.
            output = output.get(self.keys.output or "output")
        try:
            return without_prefix([*self.history, *self.asked], output_messages(output))
        except ValueError:
            return []


class Reply:
    """The output of a stream, put together as the next step of a chain would see it.

    As in langchain-core's `Runnable.transform`, parts are added up, and where they cannot be, the last one counts.
    """

    def __init__(self) -> None:
        self.output: Any = []

    def add(self, part: Any) -> None:
        """Add the next part."""
        # Whole messages add up to a prompt in LangChain, and are meant one after the other here.
        part = [part] if isinstance(part, BaseMessage) and not isinstance(part, BaseMessageChunk) else part
        if isinstance(self.output, list) and not self.output:
            self.output = part
            return
        try:
            self.output = self.output + part
        except TypeError:
            self.output = part
