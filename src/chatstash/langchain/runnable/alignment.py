"""The new messages of a run's input and output, found by alignment: by id, then by role and text. Pure.

Transcripts come back altered. A front end resends role and content without ids, or only the last few messages. A
window is shorter than the transcript of the front end. Middleware redacts a message, replaces the oldest by a summary,
or trims. So a transcript is compared from its end backwards, and one message that differs does not make others new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage, RemoveMessage

from chatstash.langchain.runnable.message_views import MessageView, views

_MAX_COMPARED = 50
"""How many messages are compared for each possible end of a transcript; more would be no further evidence."""


class AlignedInput(NamedTuple):
    """An input, aligned with the history: its messages after the repeated history, and its system messages before."""

    instructions: list[BaseMessage]
    new: list[BaseMessage]


def align_input(history: Sequence[BaseMessage], given: Sequence[BaseMessage]) -> AlignedInput:
    """Separate the new messages of an input from those that repeat the history, which may be a window.

    System messages before the repeated history that are not in it are instructions: only for the model.
    """
    if len(given) == 1:
        is_last = bool(history) and given[0].id is not None and given[0].id == history[-1].id
        return AlignedInput([], [] if is_last else list(given))
    known, seen = views(history), views(given)
    end = _end_of_repetition(known, seen)
    prompts = {view.text for view in known if view.role == "system"}
    is_prompt = [view.role == "system" and view.text in prompts for view in seen]
    if end == 0:
        # A prompt that is sent along with every input is not new.
        new = [message for message, repeated in zip(given, is_prompt, strict=True) if not repeated]
        return AlignedInput([], new or list(given[-1:]))
    instructions = [given[at] for at in range(end) if seen[at].role == "system" and not is_prompt[at]]
    return AlignedInput(instructions, list(given[end:]))


def start_of_reply(
    sent: Sequence[BaseMessage], output: Sequence[BaseMessage], generated_ids: Collection[str] = ()
) -> int:
    """Return the index of the first new message of an output: of a whole state, of its end, or of the reply alone."""
    generated = next((at for at, message in enumerate(output) if message.id in generated_ids), len(output))
    has_ids = len(sent) <= generated and all(
        message.id is not None and message.id == other.id for message, other in zip(sent, output, strict=False)
    )
    end = len(sent) if has_ids else _end_of_sent(views(sent), views(output[:generated]))
    # Messages between the input and the first answer were added for the model: context, a summary.
    after = views(output[end:])
    return end + next((at for at, view in enumerate(after) if view.is_answer), 0)


def rewritten_input(
    new_input: Sequence[BaseMessage], output: Sequence[BaseMessage], updates: Sequence[BaseMessage] = ()
) -> list[BaseMessage]:
    """Return the new messages of an input as the run rewrote them, in its output or in a graph's updates."""
    by_id = {message.id: message for message in (*updates, *output) if message.id and _is_from_input(message)}
    candidates = [message for message in output if _is_from_input(message)]
    roles = [view.role for view in views(candidates)]
    found = []
    for message, view in zip(reversed(new_input), reversed(views(new_input)), strict=True):
        # Without ids, the last message of the same role is the rewritten one.
        at = max((at for at, role in enumerate(roles) if role == view.role), default=None)
        same_role, roles = (message, roles) if at is None else (candidates[at], roles[:at])
        found.append(by_id.get(message.id, same_role) if message.id else same_role)
    return found[::-1]


def _is_from_input(message: BaseMessage) -> bool:
    # LangChain marks the messages that its middleware adds.
    return not isinstance(message, RemoveMessage) and "lc_source" not in message.additional_kwargs


@dataclass(slots=True)
class _Match:
    """How well a transcript, up to the index `end`, matches the end of the known messages.

    Counts the messages with the same id, with the same role and text (exact), and with the same role only (unequal).
    """

    end: int
    ids: int = 0
    exact: int = 0
    unequal: int = 0
    answers: int = 0  # of all these
    has_last: bool = False
    skips_visible: bool = False  # passed over known messages that a front end shows

    def add(self, view: MessageView, other: MessageView) -> None:
        if view.id and view.id == other.id:
            self.ids += 1
        elif view.matches(other):
            self.exact += 1
        else:
            self.unequal += 1
        self.answers += view.is_answer


def _end_of_repetition(known: Sequence[MessageView], given: Sequence[MessageView]) -> int:
    """Return how many messages of an input repeat the known ones."""
    if not known or not given:
        return 0
    if given[-1].id and given[-1].id == known[-1].id:
        return len(given)
    # The last message is new, even if its text is not.
    matches = [match for match in _matches(known, given[:-1]) if _is_repetition(match)]
    if matches:
        return max(matches, key=lambda match: (match.ids, match.exact, match.end)).end
    return len(known) if len(given) > len(known) and _begins_with(given, known) else 0


def _is_repetition(match: _Match) -> bool:
    """Tell whether a part of an input is a transcript; in doubt, it is new."""
    if match.ids:
        return True
    if match.skips_visible and (match.exact < 2 or match.unequal):
        return False
    return match.answers > 0 and match.exact > 0 and match.exact >= match.unequal


def _end_of_sent(known: Sequence[MessageView], output: Sequence[MessageView]) -> int:
    """Return how many messages of an output are those that were sent, or replace them."""
    if known and len(output) >= len(known) and _begins_with(output, known):
        return len(known)
    matches = [match for match in _matches(known, output) if _is_sent(match, output)]
    best = max(matches, key=lambda match: (match.ids, match.has_last, match.exact, match.unequal), default=None)
    return 0 if best is None else best.end


def _is_sent(match: _Match, output: Sequence[MessageView]) -> bool:
    equal = match.ids + match.exact
    if not match.has_last:
        # The input was removed; or this is only a reply, whose answers may equal earlier ones.
        return equal >= 2 and equal > match.answers
    if equal:
        return True
    # All was rewritten; or this is only a reply, which begins with an answer.
    is_answered = any(view.is_answer for view in output[match.end :])
    return match.unequal > 0 and not output[0].is_answer and (is_answered or match.end == 1)


def _begins_with(transcript: Sequence[MessageView], known: Sequence[MessageView]) -> bool:
    return all(view.matches(other) for view, other in zip(known, transcript, strict=False))


def _matches(known: Sequence[MessageView], given: Sequence[MessageView]) -> list[_Match]:
    """Compare each part of a transcript, from its start to some message, with the end of the known messages."""
    marks = {mark for view in known for mark in view.marks}
    return [_match(known, given, end, marks) for end in _ends(known, given)]


def _ends(known: Sequence[MessageView], given: Sequence[MessageView]) -> Iterable[int]:
    """Return the possible ends of a repetition.

    In a long transcript, one of its last two messages must be among the newest known. Otherwise comparing would take
    time in proportion to the square of its length.
    """
    ends = range(1, len(given) + 1)
    if len(given) <= 2 * _MAX_COMPARED:
        return ends
    newest = {mark for view in known[-_MAX_COMPARED:] for mark in view.marks}
    is_new = [newest.isdisjoint(view.marks) for view in given]
    return [end for end in ends if not all(is_new[max(0, end - 2) : end])]


def _match(known: Sequence[MessageView], given: Sequence[MessageView], end: int, marks: set[Any]) -> _Match:
    """Compare `given[:end]`, whose last message must match, with the end of the known messages, backwards."""
    match, place = _Match(end), len(known) - 1
    for view in reversed(given[max(0, end - _MAX_COMPARED) : end]):
        if place < 0:
            break
        found = _place_of(view, known, place, marks)
        if found is None:
            if view is given[end - 1]:
                return match
            continue  # a message of another writer
        match.skips_visible |= any(each.is_visible for each in known[found + 1 : place + 1])
        match.add(view, known[found])
        match.has_last |= found == len(known) - 1
        place = found - 1
    return match


def _place_of(view: MessageView, known: Sequence[MessageView], place: int, marks: set[Any]) -> int | None:
    """Return the index, at most `place`, of the known message that a message repeats; None without one."""
    if not marks.isdisjoint(view.marks):
        for at in range(place, max(-1, place - _MAX_COMPARED), -1):
            if view.matches(known[at]):
                return at
    # Rewritten: the next one of its role, past those that a front end does not show.
    for at in range(place, -1, -1):
        if known[at].role == view.role and known[at].is_visible == view.is_visible:
            return at
        if known[at].is_visible:
            return None
    return None
