"""Reads a store's votes into parts that share no prompt, each small enough for memory.

    interactions ── by their prompt's hash ──▶ part 0 … part 255 ──▶ one `Part` after the other
    votes ───────── to their answer's part ──▶

All that a row depends on concerns one prompt and its trivial variants, so every part makes its rows
by itself; the counts, the newest moment and how far votes are believed are the whole store's. The
store is read once: what votes weigh is known when all are read, and holds when a part is.
"""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, TypeVar

from feedback_store.reading.streams import AnswerRow, ComparisonRow, FeedbackRow
from feedback_store.snapshots.evidence import Answer, Part, Preference, Prompt, Word
from feedback_store.snapshots.manifest import SnapshotRules, canonical
from feedback_store.snapshots.spool import Spool
from feedback_store.split import hash_of_turns, is_held_out
from feedback_store.store import Store
from feedback_store.trust import Draft, judged

Vote = TypeVar("Vote", Word, Preference)

PARTS = 256
# Where a part's records of each kind lie in the spool.
_ANSWERS, _WORDS, _PREFERENCES, PARTITIONS = 0, PARTS, 2 * PARTS, 3 * PARTS
# Where an interaction went, if not into a part.
_ELSEWHERE, _LEFT_OUT, _FIRST = 0, 1, 2
_HEARD = frozenset({"thumb", "rating", "correction"})
# Why a comment or a signal makes no row: nobody counts that.
_UNHEARD = "unheard"
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
        self.counts: Counter[str] = Counter()
        self.dropped: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.newest = 0
        """Of all that was read, in microseconds since the year 1."""
        self.aside = 0
        """How many answers and pairs the parts that were read hold out."""
        self._spool = spool
        # The answers to one prompt come close together.
        self._asked = lru_cache(maxsize=100)(_asked)
        # Two bytes a row of the store: by an interaction's seq, the part that it went to.
        self._part_of = array("H", bytes(2 * (watermark + 1)))
        # The votes that make no row whatever they weigh, by why.
        self._unused: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
        self._draft = (
            Draft(watermark, up=rules.rating_up, down=rules.rating_down)
            if rules.trust.enabled
            else None
        )
        self._read(store, watermark)
        ballots = None if self._draft is None else self._draft.finished(store)
        self._draft = None
        self.trust = judged(store, rules, watermark, ballots)
        for why, seqs in self._unused.items():
            reasons = self.dropped["votes"]
            reasons.update(self.trust.reasons.get(seq, why) for seq in seqs)
            del reasons[_UNHEARD]

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
            for word in self._believed(map(Word._make, self._spool.take(_WORDS + number))):
                part.word(word, self.trust.weight(word))
            choices = map(Preference._make, self._spool.take(_PREFERENCES + number))
            for choice in self._believed(choices):
                part.preference(choice, self.trust.weight(choice))
            part.close()
            self.aside += len(part.held_out.answers) + len(part.held_out.pairs)
            yield part

    def _believed(self, votes: Iterable[Vote]) -> Iterator[Vote]:
        """The votes that aren't held back."""
        for vote in votes:
            if held := self.trust.held(vote):
                self.dropped["votes"][held] += 1
            else:
                yield vote

    def _read(self, store: Store, watermark: int) -> None:
        answers: dict[str, int] = {}
        for answer in store.answer_rows(self.rules.project, watermark):
            answers[answer.id] = answer.seq
            self._answer(answer)
        for word in store.feedback_rows(answers, watermark):
            self._word(word)
        for comparison in store.comparison_rows(self.rules.project, answers, watermark):
            self._comparison(comparison)

    def _answer(self, row: AnswerRow) -> None:
        when = self._count("interactions", row.created_at)
        if self._draft:
            self._draft.answer(row)
        asked = self._asked(row.messages)
        if reason := _left_out(row, asked.length, self.rules):
            self.dropped["interactions"][reason] += 1
            self._part_of[row.seq] = _LEFT_OUT
            return
        part = int(asked.same[:2], 16)
        self._part_of[row.seq] = _FIRST + part
        held_out = is_held_out(row.conversation, self.rules.held_out, self.rules.salt)
        cut_off = row.finish_reason == "length"
        question = (row.seq, asked.same, cut_off, when, asked.messages, row.style)
        answered = (row.response, row.conversation, row.intent, row.policy, held_out)
        size = _RECORD_BYTES + 2 * (len(asked.messages) + len(row.response))
        self._spool.add(_ANSWERS + part, question + answered, size)

    def _word(self, row: FeedbackRow) -> None:
        when = self._count(row.kind, row.created_at)
        if self._is_not_asked_for(row):
            return
        value = self.metrics.to_scale(row)
        if self._draft:
            self._draft.word(row, value)
        part = self._part_of[row.answer]
        if part < _FIRST:
            self._unused["interaction_left_out"].append(row.seq)
        elif row.kind in _HEARD:
            said = (row.id, row.voter, row.metric, row.kind, value, row.text, when)
            size = _RECORD_BYTES + 2 * len(row.text or "")
            self._spool.add(
                _WORDS + part - _FIRST, (row.seq, row.simulated, row.answer, *said), size
            )
        else:
            self._unused[_UNHEARD].append(row.seq)

    def _comparison(self, row: ComparisonRow) -> None:
        when = self._count("comparison", row.created_at)
        if self._is_not_asked_for(row):
            return
        if self._draft:
            self._draft.choice(row)
        a, b = (_ELSEWHERE if x is None else self._part_of[x] for x in (row.a, row.b))
        if a < _FIRST or b < _FIRST:
            self._unused["interaction_left_out"].append(row.seq)
        elif a != b:
            self._unused["different_prompts"].append(row.seq)
        else:
            said = (row.a, row.b, row.id, row.voter, row.choice, row.shown_first, when)
            self._spool.add(
                _PREFERENCES + a - _FIRST, (row.seq, row.simulated, *said), _RECORD_BYTES
            )

    def _is_not_asked_for(self, row: FeedbackRow | ComparisonRow) -> bool:
        if unwanted := row.simulated and not self.rules.include_simulated:
            self.dropped["votes"]["simulated"] += 1
        return unwanted

    def _count(self, name: str, moment: datetime) -> int:
        when = (moment - _BEGINNING) // _MICROSECOND
        self.counts[name] += 1
        if when > self.newest:
            self.newest = when
        return when


class _Asked(NamedTuple):
    """What is asked of all interactions with the same messages."""

    messages: str
    """As canonical JSON."""
    same: str
    """The hash of their trivial variants."""
    length: int
    """How many characters they hold together."""


def _asked(messages: str) -> _Asked:
    turns = json.loads(messages)
    return _Asked(
        canonical(turns).decode(),
        hash_of_turns((turn["role"], turn["content"]) for turn in turns),
        sum(len(turn["content"]) for turn in turns),
    )


def _left_out(row: AnswerRow, length: int, rules: SnapshotRules) -> str | None:
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
    if rules.max_prompt_chars is not None and length > rules.max_prompt_chars:
        return "long_prompt"
    return None
