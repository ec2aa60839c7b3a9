"""Which messages of a run's input and output are new: aligned with the known ones by id, then by role and text. Pure.

Transcripts come back altered. A front end resends role and content without ids, or only the last few messages. A
window is shorter than what the front end shows. Middleware redacts a message, replaces the oldest by a summary, or
trims. So a transcript is compared from its end backwards, and one message that differs does not make the others new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, RemoveMessage, ToolMessage

_MOST_COMPARED = 50
"""How many messages are compared for each place at which a transcript may end; more are no further evidence."""

_ANSWERS = ("ai", "tool", "function")


def split_input(known: Sequence[BaseMessage], given: Sequence[BaseMessage]) -> Split:
    """Split an input into what repeats the known conversation and what is asked now.

    Args:
        known: The conversation as it was read: all of it, or a window.
        given: The input's messages.
    """
    if len(given) == 1:
        is_last = bool(known) and given[0].id is not None and given[0].id == known[-1].id
        return Split([], [] if is_last else list(given))
    views, given_views = _views(known), _views(given)
    end = _repeated(views, given_views)
    prompts = {view.said for view in views if view.role == "system"}
    repeats = [view.role == "system" and view.said in prompts for view in given_views]
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
    has_ids = len(known) <= first_fresh and all(map(_same_id, known, output))
    end = len(known) if has_ids else _given_back(_views(known), _views(output[:first_fresh]))
    # Between the question and the first answer stands what was added for the model: context, a summary.
    return next((at for at in range(end, len(output)) if _role(output[at]) in _ANSWERS), end)


def rewritten(
    asked: Sequence[BaseMessage], output: Sequence[BaseMessage], emitted: Sequence[BaseMessage] = ()
) -> list[BaseMessage]:
    """Return the question in the form that a run gave it, message by message; as asked where it gave it none.

    Args:
        asked: The messages of the question.
        output: The messages of the output before the new ones.
        emitted: What a graph's nodes gave back.
    """
    by_id = {message.id: message for message in (*emitted, *output) if message.id and _is_said(message)}
    left, found = [message for message in output if _is_said(message)], []
    for message in reversed(asked):
        # Without ids, the last of its role stands for it.
        at = next((at for at in reversed(range(len(left))) if _role(left[at]) == _role(message)), None)
        same_role = message if at is None else left[at]
        left = left if at is None else left[:at]
        found.append(by_id.get(message.id, same_role) if message.id else same_role)
    return found[::-1]


def _is_said(message: BaseMessage) -> bool:
    # LangChain marks what its middleware puts in place of messages.
    return not isinstance(message, RemoveMessage) and "lc_source" not in message.additional_kwargs


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
        skipped: Whether known messages that a reader sees were skipped.
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


def _same_id(message: BaseMessage, other: BaseMessage) -> bool:
    return message.id is not None and message.id == other.id


def _repeated(known: Sequence[_View], given: Sequence[_View]) -> int:
    """Return how many messages of an input repeat the known conversation."""
    if not known or not given:
        return 0
    if given[-1].id and given[-1].id == known[-1].id:
        return len(given)
    # The last message is what is said now, though it may say what was said before.
    matches = [match for match in _matches(known, given[:-1]) if _is_repetition(match)]
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


def _given_back(known: Sequence[_View], output: Sequence[_View]) -> int:
    """Return how many messages of an output are those that the runnable was given, or stand in their place."""
    if known and len(output) >= len(known) and all(map(_same, known, output)):
        return len(known)
    matches = [match for match in _matches(known, output) if _is_given_back(match, output)]
    best = max(
        matches,
        key=lambda match: (match.ids, match.to_the_last, match.exact, match.unequal, -match.end),
        default=None,
    )
    return 0 if best is None else best.end


def _is_given_back(match: _Match, output: Sequence[_View]) -> bool:
    if not match.to_the_last:
        # The question was removed, or it is a reply alone, whose answers may equal earlier ones.
        return match.equal >= 2 and match.equal > match.answers
    if match.equal:
        return True
    # All was rewritten, or it is a reply alone: that begins with an answer.
    answered = any(message.answers for message in output[match.end :])
    return match.unequal > 0 and not output[0].answers and (answered or match.end == 1)


def _matches(known: Sequence[_View], given: Sequence[_View]) -> list[_Match]:
    """Compare each part of a transcript, from its beginning to some message, with the end of what is known."""
    marks = {mark for message in known for mark in message.marks}
    return [_matched(known, given, end, marks) for end in _ends(known, given)]


def _ends(known: Sequence[_View], given: Sequence[_View]) -> Iterable[int]:
    """Return where a transcript may end; of a long one, where one of its last two messages is among the newest known.

    Without that, comparing would take time with the square of its length.
    """
    ends = range(1, len(given) + 1)
    if len(given) <= 2 * _MOST_COMPARED:
        return ends
    newest = {mark for message in known[-_MOST_COMPARED:] for mark in message.marks}
    found = [not newest.isdisjoint(message.marks) for message in given]
    return [end for end in ends if found[end - 1] or (end > 1 and found[end - 2])]


def _matched(known: Sequence[_View], given: Sequence[_View], end: int, marks: set[Any]) -> _Match:
    """Compare `given[:end]`, whose last message must match, with the end of what is known, backwards."""
    match, at, place = _Match(end), end - 1, len(known) - 1
    for _ in range(_MOST_COMPARED):
        if at < 0 or place < 0:
            break
        found = _place_of(given[at], known, place, marks)
        if found is None:
            if at == end - 1:
                return _Match(end)
            at -= 1  # added by others
            continue
        if found != place and any(each.is_shown for each in known[found + 1 : place + 1]):
            match.skipped = True
        _count(match, given[at], known[found])
        match.to_the_last = match.to_the_last or found == len(known) - 1
        at, place = at - 1, found - 1
    return match


def _count(match: _Match, message: _View, other: _View) -> None:
    if message.id and message.id == other.id:
        match.ids += 1
    elif _same(message, other):
        match.exact += 1
    else:
        match.unequal += 1
    match.answers += message.answers


def _place_of(message: _View, known: Sequence[_View], place: int, marks: set[Any]) -> int | None:
    """Return the place of the known message that another stands for, `place` or before; None where there is none."""
    if not marks.isdisjoint(message.marks):
        for at in range(place, max(-1, place - _MOST_COMPARED), -1):
            if _same(message, known[at]):
                return at
    # Rewritten: the next of its role, past those only that a front end does not show.
    for at in range(place, -1, -1):
        if known[at].role == message.role and known[at].is_shown == message.is_shown:
            return at
        if known[at].is_shown:
            return None
    return None


class _View(NamedTuple):
    """What of a message is compared.

    Attributes:
        role: Who says it.
        id: Its id, or None.
        said: What it says, whatever form its content has and however it is spaced.
        calls: The ids and names of the tool calls it makes, or the id of the one it answers.
    """

    role: str
    id: str | None
    said: Any
    calls: tuple[Any, ...]

    @property
    def answers(self) -> bool:
        """Whether it is what a model or a tool says."""
        return self.role in _ANSWERS

    @property
    def is_shown(self) -> bool:
        """Whether a front end shows it that shows what people and the model say."""
        return self.role not in ("system", "tool", "function") and not self.calls

    @property
    def marks(self) -> tuple[Any, ...]:
        """Of what two messages have one in common, if they are the same."""
        return (self.id, self.said, self.calls) if self.calls else (self.id or self.said, self.said)


def _views(messages: Sequence[BaseMessage]) -> list[_View]:
    return [_View(_role(message), message.id, _said(message), _calls(message)) for message in messages]


def _same(message: _View, other: _View) -> bool:
    if message.id and message.id == other.id:
        return True
    if message.role != other.role or message.said != other.said:
        return False
    # A front end shows the text of an answer, without its calls.
    is_text = message.role == "ai" and bool(message.said) and not (message.calls and other.calls)
    return message.calls == other.calls or is_text


def _role(message: BaseMessage) -> str:
    kind = message.type.removesuffix("MessageChunk").lower()
    return f"chat {message.role}" if isinstance(message, ChatMessage) else kind


def _calls(message: BaseMessage) -> tuple[Any, ...]:
    if isinstance(message, ToolMessage):
        return (message.tool_call_id,)
    return tuple((call["id"], call["name"]) for call in message.tool_calls) if isinstance(message, AIMessage) else ()


def _said(message: BaseMessage) -> str:
    if isinstance(message, AIMessage) or isinstance(message.content, str):
        return " ".join(text_of(message).split())
    texts = [block if isinstance(block, str) else block.get("text") for block in message.content]
    is_text = [isinstance(block, str) or block.get("type") == "text" for block in message.content]
    return " ".join("".join(map(str, texts)).split()) if all(is_text) else repr(message.content)


def text_of(message: BaseMessage) -> str:
    """Return the text of a message."""
    # A method in langchain-core 0.3, a property that is a str since 1.0.
    text: Any = message.text
    return str(text) if isinstance(text, str) else str(text())
