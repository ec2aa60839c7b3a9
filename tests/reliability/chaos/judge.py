"""What is wrong with what was stored and with what readers saw, judged when all is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from tests.reliability.chaos.ledger import Ledger, Sight
from tests.reliability.chaos.plan import BOUND, BOUNDED, DAMAGED, LARGE, Append, Name
from tests.reliability.chaos.report import Report


class Judge:
    """Compares the final state with the ledger.

    Args:
        ledger: What was acknowledged, and what readers saw.
        report: Where flaws are noted.
        appends: All appends that were planned.
        final: The messages of each session in the end, oldest first.
        requests: The requests of each append and the faults that hit them.
    """

    def __init__(
        self,
        ledger: Ledger,
        report: Report,
        appends: Sequence[Append],
        final: Mapping[str, Sequence[Name]],
        requests: Mapping[tuple[int, int], object],
    ) -> None:
        self.requests = requests
        self.ledger = ledger
        self.report = report
        self.appends = appends
        self.final = final
        self.sizes = {append.identity: len(append.texts) for append in appends}
        self.places = {session: {name: at for at, name in enumerate(names)} for session, names in final.items()}
        self._reached = {session: self._reach(session) for session in final}

    def _reach(self, session: str) -> list[int]:
        """Return how long the conversation is at least, once its first so many acknowledged messages are known."""
        places = self.places[session]
        return [0, *accumulate((places.get(name, -1) + 1 for name in self.ledger.acknowledged[session]), max)]

    def judge(self) -> None:
        """Judge contents, order and what was seen."""
        for append in self.appends:
            self._judge_append(append)
        for session in self.final:
            self._judge_order(session)
        self._judge_bounded()
        for sight in self.ledger.sights:
            wrong = self._of_bounded(sight) if sight.session == BOUNDED else self._of(sight)
            if wrong:
                self.report.shown.append(f"{sight.way} of {sight.session} {wrong}")

    def _judge_append(self, append: Append) -> None:
        self.report.appends += 1
        there = self.final[append.session]
        counted = Counter(name for name in there if name.append == append.identity)
        counts = {counted[name] for name in append.names}
        is_expected = append.identity in self.ledger.spans
        if max(counts) > 1:
            self.report.doubled.append(f"{append.identity} in {append.session}")
        if not is_expected and counts != {0}:
            self.report.wrong.append(f"{append.identity} is stored in {append.session}, though said not to be")
        if append.session == BOUNDED:
            return
        if is_expected and 0 in counts:
            self.report.lost.append(f"{append.identity} in {append.session}")
        if counts == {1}:
            first = self.places[append.session][append.names[0]]
            if list(there[first : first + len(append.names)]) != append.names:
                self.report.torn.append(f"{append.identity} in {append.session}")

    def _judge_order(self, session: str) -> None:
        newest: dict[int, int] = {}
        for name in self.final[session]:
            if name.append in self.ledger.unknown or name.append in self.ledger.refused:
                continue
            if name.number < newest.get(name.writer, -1):
                self.report.disordered.append(f"{name.append} in {session}")
            newest[name.writer] = name.number

    def _judge_bounded(self) -> None:
        there = self.final[BOUNDED]
        if torn := self._torn(there):
            self.report.torn.append(f"{torn} in {BOUNDED}")
        known = len(set(self.ledger.acknowledged[BOUNDED]))
        if len(there) < min(BOUND, known):
            self.report.lost.append(f"{BOUNDED} has {len(there)} messages only")
        ended = [self.ledger.spans[name.append][1] for name in there if name.append in self.ledger.spans]
        first_ended = min(ended, default=0.0)
        for append in self.appends:
            span = self.ledger.spans.get(append.identity)
            # What began after one of these was stored is newer than that.
            if append.session == BOUNDED and span and span[0] > first_ended and not {*append.names} <= {*there}:
                self.report.lost.append(f"{append.identity} in {BOUNDED}")

    def _torn(self, names: Sequence[Name]) -> tuple[int, int] | None:
        """Return an append that is not whole and together; the oldest may lack its oldest messages."""
        if not names:
            return None
        for older, newer in pairwise(names):
            if newer.append != older.append and (newer.position != 0 or older.position != self._last(older)):
                return newer.append
            if newer.append == older.append and newer.position != older.position + 1:
                return newer.append
        return None if names[-1].position == self._last(names[-1]) else names[-1].append

    def _last(self, name: Name) -> int:
        return self.sizes[name.append] - 1

    def _of_bounded(self, sight: Sight) -> str:
        if sight.total is not None:
            return f"gave {sight.total}" if sight.total > BOUND else ""
        names = [self.ledger.names[number] for number in sight.names]
        if len({*names}) < len(names):
            return "showed a message twice"
        if len(names) > BOUND and not sight.way.startswith("page"):
            return f"showed {len(names)} messages"
        if torn := self._torn(names):
            return f"showed {torn} torn"
        return self._of_trimmed([self.places[BOUNDED].get(name) for name in names])

    @staticmethod
    def _of_trimmed(places: Sequence[int | None]) -> str:
        """Judge the places in the end of what was shown; None for what was trimmed since, the oldest first."""
        kept = [place for place in places if place is not None]
        trimmed = len(places) - len(kept)
        if any(place is not None for place in places[:trimmed]):
            return f"showed what is lost now, {places}"
        in_order = not kept or kept == list(range(kept[0], kept[0] + len(kept)))
        return "" if in_order and not (trimmed and kept and kept[0]) else f"showed another order, {places}"

    def _of(self, sight: Sight) -> str:
        reached = self._reached[sight.session][sight.known]
        most = len(self.final[sight.session])
        if sight.total is not None:
            known = len({*self.ledger.acknowledged[sight.session][: sight.known]})
            is_right = known <= sight.total <= most + self.ledger.damage[sight.session]
            return "" if is_right else f"gave {sight.total}, not {known} to {most}"
        if len({*sight.names}) < len(sight.names):
            return "showed a message twice"
        places = [self.places[sight.session].get(self.ledger.names[number], -1) for number in sight.names]
        if not places:
            return "showed nothing" if reached and sight.session not in DAMAGED else ""
        if places != list(range(places[0], places[0] + len(places))):
            return f"showed {_shortened(places)}, which is not one piece{self._misplaced(sight, places)}"
        if places[-1] + 1 < reached:
            return f"ended at {places[-1]}, though {reached - 1} was acknowledged before"
        return self._of_begin(sight, places)

    def _misplaced(self, sight: Sight, places: Sequence[int]) -> str:
        """Return the appends at whose beginning the order breaks, each with its requests and their faults."""
        breaks = [at for at in range(1, len(places)) if places[at] != places[at - 1] + 1]
        found = dict.fromkeys(self.ledger.names[sight.names[at]].append for at in breaks)
        return "".join(f"; {append}: {self.requests.get(append)}" for append in found)

    def _of_begin(self, sight: Sight, places: Sequence[int]) -> str:
        if sight.wanted is None:
            return "" if places[0] == 0 else f"began at {places[0]}"
        if sight.session in DAMAGED or places[0] == 0 or len(places) == sight.wanted:
            return ""
        # A page of large records may be shorter.
        return "" if sight.session == LARGE else f"showed {len(places)} of {sight.wanted} messages"


def _shortened(places: Sequence[int]) -> str:
    text = str(list(places))
    return text if len(text) < 120 else f"…{text[-120:]}"
