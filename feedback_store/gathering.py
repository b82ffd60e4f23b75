"""Reads a store's votes into parts that share no prompt, each small enough for memory.

    interactions ── by their prompt's hash ──▶ part 0 … part 255 ──▶ one `Part` after the other
    votes ───────── to their answer's part ──▶

All that a row depends on concerns one prompt and its trivial variants, so every part makes its rows
by itself; the counts and the newest moment are the whole store's.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from feedback_store.evidence import Answer, Part, Preference, Prompt, Word
from feedback_store.manifest import SnapshotRules, canonical
from feedback_store.split import hash_of_turns, is_held_out
from feedback_store.spool import Spool
from feedback_store.store import Store
from feedback_store.streams import AnswerRow, ComparisonRow, FeedbackRow
from feedback_store.trust import trust_as_of

PARTS = 256
# Where a part's records of each kind lie in the spool.
_ANSWERS, _WORDS, _PREFERENCES, PARTITIONS = 0, PARTS, 2 * PARTS, 3 * PARTS
# Where an interaction went, if not into a part.
_ELSEWHERE, _LEFT_OUT, _FIRST = 0, 1, 2
_HEARD = frozenset({"thumb", "rating", "correction"})
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# What a record of a few short fields takes in memory.
_RECORD_BYTES = 600


class Gathering:
    """Reads a store up to a watermark; `parts` gives the evidence."""

    def __init__(self, store: Store, rules: SnapshotRules, watermark: int, spool: Spool) -> None:
        """`spool` has `PARTITIONS` and is this gathering's alone."""
        self.rules = rules
        self.metrics = store.metrics
        self.trust = trust_as_of(store, rules, watermark)
        self.counts: Counter[str] = Counter()
        self.dropped: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.newest = 0
        """Of all that was read, in microseconds since the year 1."""
        self.aside = 0
        """How many answers and pairs the parts that were read hold out."""
        self._spool = spool
        # Two bytes a row of the store: by an interaction's seq, the part that it went to.
        self._part_of = array("H", bytes(2 * (watermark + 1)))
        for answer in store.answer_rows(rules.project, watermark):
            self._answer(answer)
        for word in store.feedback_rows(rules.project, watermark):
            self._word(word)
        for comparison in store.comparison_rows(rules.project, watermark):
            self._comparison(comparison)

    def parts(self) -> Iterator[Part]:
        """The evidence, a part at a time; it can be read once."""
        for number in range(PARTS):
            part = Part(self.rules, self.counts, self.dropped)
            prompts: dict[tuple[str, str | None], Prompt] = {}
            for record in self._spool.take(_ANSWERS + number):
                seq, same, cut_off, when, messages, style, *rest = record
                prompt = prompts.get((messages, style))
                if prompt is None:
                    prompt = prompts[messages, style] = Prompt.of(messages, style)
                part.answer(seq, Answer(prompt, *rest), same, cut_off, when)
            for record in self._spool.take(_WORDS + number):
                part.word(Word._make(record))
            for record in self._spool.take(_PREFERENCES + number):
                part.preference(Preference._make(record))
            part.close()
            self.aside += len(part.held_out.answers) + len(part.held_out.pairs)
            yield part

    def _answer(self, row: AnswerRow) -> None:
        when = self._count("interactions", row.created_at)
        if reason := _left_out(row, self.rules):
            self.dropped["interactions"][reason] += 1
            self._part_of[row.seq] = _LEFT_OUT
            return
        same = hash_of_turns((turn["role"], turn["content"]) for turn in row.messages)
        part = int(same[:2], 16)
        self._part_of[row.seq] = _FIRST + part
        messages = canonical(row.messages).decode()
        held_out = is_held_out(row.conversation, self.rules.held_out, self.rules.salt)
        asked = (row.seq, same, row.finish_reason == "length", when, messages, row.style)
        answered = (row.response, row.conversation, row.intent, row.policy, held_out)
        size = _RECORD_BYTES + 2 * (len(messages) + len(row.response))
        self._spool.add(_ANSWERS + part, asked + answered, size)

    def _word(self, row: FeedbackRow) -> None:
        when = self._count(row.kind, row.created_at)
        part = self._part_of[row.answer]
        if row.simulated and not self.rules.include_simulated:
            self.dropped["votes"]["simulated"] += 1
        elif held := self.trust.held(row):
            self.dropped["votes"][held] += 1
        elif part < _FIRST:
            self.dropped["votes"]["interaction_left_out"] += 1
        elif row.kind in _HEARD:
            value, weight = self.metrics.to_scale(row), self.trust.weight(row)
            word = Word(*row[1:6], value, row.text, when, weight)
            size = _RECORD_BYTES + 2 * len(row.text or "")
            self._spool.add(_WORDS + part - _FIRST, tuple(word), size)

    def _comparison(self, row: ComparisonRow) -> None:
        when = self._count("comparison", row.created_at)
        a, b = (_ELSEWHERE if x is None else self._part_of[x] for x in (row.a, row.b))
        if row.simulated and not self.rules.include_simulated:
            self.dropped["votes"]["simulated"] += 1
        elif held := self.trust.held(row):
            self.dropped["votes"][held] += 1
        elif row.a is None or row.b is None or a < _FIRST or b < _FIRST:
            self.dropped["votes"]["interaction_left_out"] += 1
        elif a != b:
            self.dropped["votes"]["different_prompts"] += 1
        else:
            self._spool.add(
                _PREFERENCES + a - _FIRST, (*row[1:7], when, self.trust.weight(row)), _RECORD_BYTES
            )

    def _count(self, name: str, moment: datetime) -> int:
        when = (moment - _BEGINNING) // _MICROSECOND
        self.counts[name] += 1
        if when > self.newest:
            self.newest = when
        return when


def _left_out(row: AnswerRow, rules: SnapshotRules) -> str | None:
    """Why an interaction can't be learnt from, if it can't."""
    if not row.consent:
        return "no_consent"
    if row.simulated and not rules.include_simulated:
        return "simulated"
    if row.finish_reason in ("cancelled", "error"):
        return "unfinished"
    if row.finish_reason == "content_filter":
        return "blocked"
    if not row.response.strip():
        return "empty"
    if rules.max_prompt_chars is not None:
        length = sum(len(turn["content"]) for turn in row.messages)
        if length > rules.max_prompt_chars:
            return "long_prompt"
    return None
