"""Which messages of a run's input and output are new: aligned with the known ones by id, then by role and text. Pure.

Transcripts come back altered. A front end resends role and content without ids, or only the last few messages. A
window is shorter than what the front end shows. Middleware redacts a message, replaces the oldest by a summary, or
trims. So a transcript is compared from its end backwards, and one message that differs does not make the others new.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, ToolMessage

_MOST_COMPARED = 50
"""How many messages are compared for each place at which a transcript may end; more are no further evidence."""

_ANSWERS = ("ai", "tool", "function")


def split_input(known: Sequence[BaseMessage], given: Sequence[BaseMessage]) -> Split:
    """Split an input into what repeats the known conversation and what is asked now.

    Args:
        known: The conversation as it was read: all of it, or a window.
        given: The input's messages.
    """
    end = _repeated(known, given)
    systems = [message for message in known if _role(message) == "system"]
    repeats = [_role(each) == "system" and any(_same(each, other) for other in systems) for each in given]
    if end == 0:
        # A prompt that is sent along with every question is no new message.
        asked = [message for message, repeated in zip(given, repeats, strict=True) if not repeated]
        return Split([], asked or list(given[-1:]))
    leading = [
        message
        for message, repeated in zip(given[:end], repeats, strict=False)
        if _role(message) == "system" and not repeated
    ]
    return Split(leading, list(given[end:]))


class Split(NamedTuple):
    """An input, split.

    Attributes:
        instructions: System messages before the repeated conversation that are not part of it: for the model only.
        asked: The messages after it: the new ones.
    """

    instructions: list[BaseMessage]
    asked: list[BaseMessage]


def split_output(known: Sequence[BaseMessage], output: Sequence[BaseMessage], fresh: Collection[str] = ()) -> int:
    """Return where the new messages of an output begin.

    Args:
        known: What the runnable was given, the question last.
        output: The messages of its output: the whole state, its end, or the reply alone.
        fresh: The ids of messages that are known to have been made in this run.
    """
    first_fresh = next((at for at, message in enumerate(output) if message.id in fresh), len(output))
    end = _given_back(known, output[:first_fresh])
    if not any(_role(message) in _ANSWERS for message in output[end:]):
        return end
    # Between the question and the first answer stands what was added for the model: context, a summary.
    return len(output) - len(list(dropwhile(lambda message: _role(message) not in _ANSWERS, output[end:])))


def rewritten(asked: Sequence[BaseMessage], output: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the question in the form that the output has it in, message by message; as asked where it has none.

    Args:
        asked: The messages of the question.
        output: The messages of the output before the new ones.
    """
    left, found = list(output), []
    for message in reversed(asked):
        at = next((at for at in reversed(range(len(left))) if _role(left[at]) == _role(message)), None)
        by_id = next((at for at in reversed(range(len(left))) if message.id and left[at].id == message.id), at)
        found.append(message if by_id is None else left[by_id])
        left = left if by_id is None else left[:by_id]
    return found[::-1]


@dataclass(slots=True)
class _Match:
    """How well a part of a transcript, up to its end, matches the end of the known conversation.

    Attributes:
        end: Where that part ends.
        ids: How many messages have the same id.
        exact: How many have the same role and text.
        unequal: How many have the same role, and another text.
        to_the_last: Whether the last known message is among the matched.
        answers: How many of the matched are answers.
        skipped: Whether known messages that a reader sees were passed over.
    """

    end: int
    ids: int = 0
    exact: int = 0
    unequal: int = 0
    to_the_last: bool = False
    answers: int = 0
    skipped: bool = False

    @property
    def equal(self) -> int:
        return self.ids + self.exact


def _repeated(known: Sequence[BaseMessage], given: Sequence[BaseMessage]) -> int:
    """Return how many messages of an input repeat the known conversation."""
    if not known or not given:
        return 0
    if given[-1].id and given[-1].id == known[-1].id:
        return len(given)
    # The last message is what is said now, though it may say what was said before.
    matches = [match for end in range(1, len(given)) if _is_repetition(match := _matched(known, given, end))]
    if matches:
        return max(matches, key=lambda match: (match.ids, match.exact, match.end)).end
    return len(known) if len(given) > len(known) and all(map(_same, known, given)) else 0


def _is_repetition(match: _Match) -> bool:
    """Tell whether a part of an input is a transcript; where that is not sure, it is taken to be new."""
    if match.ids:
        return True
    if match.skipped and (match.exact < 2 or match.unequal):
        return False
    return match.answers > 0 and match.exact > 0 and match.exact >= match.unequal


def _given_back(known: Sequence[BaseMessage], output: Sequence[BaseMessage]) -> int:
    """Return how many messages of an output are those that the runnable was given, or stand in their place."""
    if known and len(output) >= len(known) and all(map(_same, known, output)):
        return len(known)
    matches = [
        match for end in range(1, len(output) + 1) if _is_given_back(match := _matched(known, output, end), output)
    ]
    best = max(
        matches,
        key=lambda match: (match.ids, match.to_the_last, match.exact, match.unequal, -match.end),
        default=None,
    )
    return 0 if best is None else best.end


def _is_given_back(match: _Match, output: Sequence[BaseMessage]) -> bool:
    if not match.to_the_last:
        # The question was taken out, or it is a reply alone, whose answers may equal earlier ones.
        return match.equal >= 2 and match.equal > match.answers
    if match.equal:
        return True
    # All was rewritten, or it is a reply alone: that begins with an answer.
    answered = any(_role(message) in _ANSWERS for message in output[match.end :])
    return match.unequal > 0 and _role(output[0]) not in _ANSWERS and (answered or match.end == 1)


def _matched(known: Sequence[BaseMessage], given: Sequence[BaseMessage], end: int) -> _Match:
    """Compare `given[:end]`, whose last message must match, with the end of the known conversation, backwards."""
    match, at, place = _Match(end), end - 1, len(known) - 1
    for _ in range(_MOST_COMPARED):
        if at < 0 or place < 0:
            break
        found = _place_of(given[at], known, place)
        if found is None:
            if at == end - 1:
                return _Match(end)
            at -= 1  # added by others
            continue
        if found != place and any(map(_is_shown, known[found + 1 : place + 1])):
            match.skipped = True
        _count(match, given[at], known[found])
        match.to_the_last = match.to_the_last or found == len(known) - 1
        at, place = at - 1, found - 1
    return match


def _count(match: _Match, message: BaseMessage, other: BaseMessage) -> None:
    if message.id and message.id == other.id:
        match.ids += 1
    elif _same(message, other):
        match.exact += 1
    else:
        match.unequal += 1
    match.answers += _role(message) in _ANSWERS


def _place_of(message: BaseMessage, known: Sequence[BaseMessage], place: int) -> int | None:
    """Return the place of the known message that another stands for, `place` or before; None where there is none."""
    for at in range(place, max(-1, place - _MOST_COMPARED), -1):
        if _same(message, known[at]):
            return at
    # Rewritten: the next of its role, past those only that a front end does not show.
    for at in range(place, -1, -1):
        if _role(known[at]) == _role(message) and _is_shown(known[at]) == _is_shown(message):
            return at
        if _is_shown(known[at]):
            return None
    return None


def _is_shown(message: BaseMessage) -> bool:
    """Tell whether a front end that shows what people and the model say shows a message."""
    role = _role(message)
    if role in ("system", "tool", "function"):
        return False
    return not (isinstance(message, AIMessage) and message.tool_calls)


def _same(message: BaseMessage, other: BaseMessage) -> bool:
    if message.id and message.id == other.id:
        return True
    if _role(message) != _role(other):
        return False
    if (
        isinstance(message, ToolMessage)
        and isinstance(other, ToolMessage)
        and message.tool_call_id != other.tool_call_id
    ):
        return False
    if isinstance(message, AIMessage) and isinstance(other, AIMessage):
        return _same_answer(message, other)
    return bool(_said(message) == _said(other))


def _same_answer(message: AIMessage, other: AIMessage) -> bool:
    calls = [[(call["id"], call["name"]) for call in each.tool_calls] for each in (message, other)]
    if calls[0] and calls[1] and calls[0] != calls[1]:
        return False
    if text_of(message).split() != text_of(other).split():
        return False
    # A front end shows the text of an answer, without its calls.
    return calls[0] == calls[1] or bool(text_of(message).strip())


def _role(message: BaseMessage) -> str:
    kind = message.type.removesuffix("MessageChunk").lower()
    return f"chat {message.role}" if isinstance(message, ChatMessage) else kind


def _said(message: BaseMessage) -> Any:
    """Return what a message of a person or a tool says, whatever form its content has."""
    content = message.content
    if isinstance(content, str):
        return content.split()
    texts = [block if isinstance(block, str) else block.get("text") for block in content]
    is_text = [isinstance(block, str) or block.get("type") == "text" for block in content]
    return "".join(map(str, texts)).split() if all(is_text) else content


def text_of(message: BaseMessage) -> str:
    """Return the text of a message."""
    # A method in langchain-core 0.3, a property that is a str since 1.0.
    text: Any = message.text
    return str(text) if isinstance(text, str) else str(text())
