"""What others do to conversations while writers and readers are at work."""

from __future__ import annotations

import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from chatstash import ChatstashError, Store
from chatstash.history.doctor.diagnosis import Damage, Finding, Repair
from chatstash.history.doctor.doctor import Doctor
from chatstash.history.records.generation import without_generation
from chatstash.history.records.identity import has_id, identity
from chatstash.history.scripts.loading import SCRIPTS
from chatstash.langchain.messages import why_unreadable
from chatstash.local import LocalUpstash
from tests.conftest import command
from tests.reliability.chaos.ledger import Ledger
from tests.reliability.chaos.plan import DAMAGED, SESSIONS, Name
from tests.reliability.chaos.watch import UNHARMED

_CONTENT = re.compile(r"<(\d+)/(\d+)/(\d+)>(?: edited \d+;)?")

# Edits duplicates, too: the oldest counts, and a late one must not bring the old text back.
_EDIT = UNHARMED.decode() + SCRIPTS.composed("""
--- @include "generation"
local edited = 0
for place, raw in ipairs(call('LRANGE', KEYS[1], 0, -1)) do
  if identity(raw) == ARGV[1] then
    local ending = string.sub(raw, #without_generation(raw))
    call('LSET', KEYS[1], place - 1, string.sub(ARGV[2], 1, -2) .. ending)
    edited = edited + 1
  end
end
if edited > 0 then increase_generation() end
return edited
""")

_NEWEST = f"{UNHARMED.decode()}return redis.call('LRANGE', KEYS[1], 0, 20)"

_DAMAGE = f"""{UNHARMED.decode()}
local how, record, place = ARGV[1], ARGV[2], tonumber(ARGV[3])
if how ~= 'LINSERT' then return redis.call(how, KEYS[1], record) end
local length = redis.call('LLEN', KEYS[1])
if length == 0 then return 0 end
local neighbour = redis.call('LINDEX', KEYS[1], place % length)
return redis.call('LINSERT', KEYS[1], 'BEFORE', neighbour, record)
"""


class Meddlers:
    """A doctor, an editor, a program that damages, and what lets held requests go; each a thread's work.

    Args:
        upstash: The server.
        ledger: Where what they do is noted.
        seed: Decides what they choose.
        most_damage: How many records are damaged at most.
        kept_held: How many of the newest held requests stay held.
        look: Reads a session, which a late request may just have changed.
    """

    def __init__(
        self,
        upstash: LocalUpstash,
        ledger: Ledger,
        seed: int,
        *,
        most_damage: int,
        kept_held: int,
        look: Callable[[str], None],
    ) -> None:
        self.upstash = upstash
        self.ledger = ledger
        self.seed = seed
        self.most_damage = most_damage
        self.kept_held = kept_held
        self.look = look
        self.done = threading.Event()
        self.did: Counter[str] = Counter()

    @property
    def works(self) -> list[Callable[[], None]]:
        """The work of each thread; it ends once `done` is set."""
        return [self.repair, self.edit, self.damage, self.release]

    def repair(self) -> None:
        """Repair all conversations again and again."""
        with Store(self.upstash.url, self.upstash.token, timeout=6, retries=6, max_request_bytes=100_000) as store:
            chances = random.Random(f"repair/{self.seed}")
            doctor = Doctor(store, why_unreadable, abandoned_after=0)
            while not self.done.wait(chances.uniform(0.2, 1.5)):
                self.repair_once(doctor)
            doctor.close()

    def repair_once(self, doctor: Doctor) -> None:
        """Repair all conversations, as far as the faults let it."""
        try:
            for key in list(doctor.list_keys()):
                doctor.repair(doctor.examine(key.decode()), self._repaired(key.decode().partition(":")[2]))
                self.did["conversations examined"] += 1
        except ChatstashError as error:
            self.did[f"doctor stopped by {type(error).__name__}"] += 1

    def _repaired(self, session: str) -> Callable[[Finding], None]:
        def note(finding: Finding) -> None:
            self.did["duplicates quarantined"] += finding.damage is Damage.DUPLICATE
            self.did["other repairs"] += finding.damage is not Damage.DUPLICATE
            self.ledger.damage[session] += finding.repair is Repair.INSERT_RESULT

        return note

    def edit(self) -> None:
        """Edit the text of some new record of some session, in place, again and again."""
        chances = random.Random(f"edit/{self.seed}")
        version = 0
        while not self.done.wait(0.05):
            version += 1
            session = chances.choice(SESSIONS)
            key = f"message_store:{session}"
            newest = [raw.encode() for raw in command(self.upstash, "EVAL", _NEWEST, 1, key)]
            mine = [raw for raw in newest if has_id(raw) and _CONTENT.search(raw.decode())]
            if mine:
                self._edit(session, key, chances.choice(mine), version)

    def _edit(self, session: str, key: str, raw: bytes, version: int) -> None:
        text = without_generation(raw).decode()
        found = _CONTENT.search(text)
        assert found
        name = Name(*map(int, found.groups()))
        edited = f"{text[: found.start()]}<{found[1]}/{found[2]}/{found[3]}> edited {version};{text[found.end() :]}"
        if command(self.upstash, "EVAL", _EDIT, 1, key, identity(raw).decode(), edited):
            self.ledger.edits[session][name] = version
            self.did["edits"] += 1

    def damage(self) -> None:
        """Put what is no message, or a call or result alone, into some sessions."""
        chances = random.Random(f"damage/{self.seed}")
        for number in range(self.most_damage):
            if self.done.wait(0.05):
                return
            session = chances.choice(DAMAGED)
            # Counted first: a reader may see it before the reply is here.
            self.ledger.damage[session] += 1
            how = chances.choice(["LPUSH", "RPUSH", "LINSERT"])
            record = _damaged(chances, number)
            command(self.upstash, "EVAL", _DAMAGE, 1, f"message_store:{session}", how, record, chances.randrange(1000))
            self.did["damaged"] += 1

    def release(self) -> None:
        """Let held requests go on, oldest first, at random moments."""
        chances = random.Random(f"release/{self.seed}")
        while not self.done.wait(chances.uniform(0.02, 0.4)):
            held = self.upstash.held[: -self.kept_held or None]
            if held:
                self._release(held[: chances.randint(1, len(held))])

    def _release(self, some: Sequence[tuple[str, ...]]) -> None:
        self.did["released meanwhile"] += self.upstash.release(len(some))
        for session in {session for commands in some for session in SESSIONS if f":{session}" in commands[0]}:
            self.look(session)

    def release_all(self) -> None:
        """Let all that is held go on."""
        while held := len(self.upstash.held):
            self.did["released at the end"] += self.upstash.release(held)


def _damaged(chances: random.Random, number: int) -> str:
    result = {"type": "tool", "data": {"content": "alone", "tool_call_id": f"nobody-{number}"}}
    call = {"name": "tool", "args": {}, "id": f"call-{number}", "type": "tool_call"}
    asking = {"type": "ai", "data": {"content": "", "tool_calls": [call]}}
    return chances.choice([f"damaged {number}", '{"type":', json.dumps(result), json.dumps(asking)])
