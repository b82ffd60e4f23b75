"""Ballots while they are read: the answers first, then what is said of them."""

import hashlib
import json
from array import array

import numpy as np
from numpy.typing import NDArray

from feedback_store.reading.streams import AnswerRow, ComparisonRow, FeedbackRow, Streams
from feedback_store.trust.ballots import CHOICE, COLUMNS, CORRECTION, THUMB, Ballots, Ints

SAMPLE = 10_000
"""So many texts are enough to find a phrase that is pushed."""
# Of a text in the sample; a phrase that many push stands nearer to the beginning.
_SAMPLED_CHARS = 4_000
_DIGEST = 12
_NOWHERE = -1

Bytes = NDArray[np.uint8]


class Draft:
    """Takes rows in the order of their streams; a text is its hash until all are read."""

    def __init__(self, upto: int, *, up: float = 4.0, down: float = 2.0) -> None:
        """Up to a watermark; ratings from `up` on count as up, those until `down` as down."""
        self._up, self._down = up, down
        # So many numbers a row, one row after the other; of texts their places below.
        self._rows = array("q")
        self._voters: dict[str, int] = {}
        # The texts' places by interaction, and by place the row that tells the text: an
        # interaction's `seq`, or that of a correction, negated.
        self._place = array("i", [_NOWHERE]) * (upto + 1)
        self._source = array("q")
        self._consent = bytearray()
        # The hashes of a text's prompt and of both, one after the other.
        self._names = bytearray()
        self._prompts: dict[bytes, str] = {}

    def answer(self, row: AnswerRow) -> None:
        """Take an interaction."""
        self._place[row.seq] = len(self._source)
        if not row.consent:
            self._name(row.seq, bytes(_DIGEST), bytes(_DIGEST), consent=False)
            return
        prompt = _digest(row.messages, row.style or "")
        self._name(row.seq, prompt, _digest(prompt.hex(), row.response))
        if prompt not in self._prompts:
            self._prompts[prompt] = _last_words(row.messages)

    def word(self, row: FeedbackRow, value: float) -> None:
        """Take a vote on an interaction, with its value on its kind's own scale."""
        place = self._place[row.answer]
        if row.simulated or not self._consent[place]:
            return
        if row.kind == "correction":
            start = 2 * _DIGEST * place
            prompt = bytes(self._names[start : start + _DIGEST])
            self._add(row, CORRECTION, 1, len(self._source), place)
            self._name(-row.seq, prompt, _digest(prompt.hex(), row.text or ""))
        elif row.kind == "thumb":
            self._thumb(row, (value > 0) - (value < 0), place)
        elif row.kind == "rating":
            self._thumb(row, (value >= self._up) - (value <= self._down), place)

    def choice(self, row: ComparisonRow) -> None:
        """Take a choice between two interactions."""
        if row.simulated or row.choice not in ("a", "b"):
            return
        a, b = (_NOWHERE if side is None else self._place[side] for side in (row.a, row.b))
        favoured, rejected = (a, b) if row.choice == "a" else (b, a)
        self._add(row, CHOICE, 1, favoured, rejected)

    def finished(self, store: Streams, sample: int = SAMPLE) -> Ballots:
        """The ballots; at most about `sample` of the texts are kept, read from the store again."""
        rows = np.asarray(self._rows, np.int64).reshape(-1, len(COLUMNS))
        made = {name: rows[:, place].copy() for place, name in enumerate(COLUMNS)}
        used = np.unique(rows[:, [COLUMNS.index("text"), COLUMNS.index("rejected")]])
        used = used[used >= 0]
        share = min(1.0, sample / max(1, len(used)))
        told = used[np.frombuffer(self._consent, np.uint8)[used] > 0]
        names = np.frombuffer(self._names, np.uint8).reshape(-1, 2, _DIGEST)
        texts, text_of = _ranked(names[:, 1], told)
        prompts, prompt_of = _ranked(names[:, 0], told)
        voters = sorted(self._voters)
        rank = np.empty(len(voters), np.int64)
        rank[[self._voters[name] for name in voters]] = np.arange(len(voters))
        made["voter"] = rank[made["voter"]]
        made["prompt"] = prompt_of[made["text"]]
        for side in ("text", "rejected"):
            made[side] = text_of[made[side]]
        source = np.asarray(self._source, np.int64)
        answers = told[source[told] > 0]
        gave = np.full(len(self._place), -1, np.int64)
        gave[source[answers]] = text_of[answers]
        order = _order(made)
        return Ballots(
            **{name: column[order] for name, column in made.items()},
            voters=voters,
            size=len(texts),
            prompts=[self._prompts[names[place, 0].tobytes()] for place in prompts],
            texts=_sample(store, source[texts], _drawn(names[texts, 1], share)),
            gave=gave,
        )

    def _thumb(self, row: FeedbackRow, sign: int, place: int) -> None:
        if sign:
            self._add(row, THUMB, sign, place, _NOWHERE)

    def _add(
        self, row: FeedbackRow | ComparisonRow, kind: int, sign: int, text: int, rejected: int
    ) -> None:
        voter = self._voters.setdefault(row.voter, len(self._voters))
        when = int(row.created_at.timestamp())
        self._rows.extend((row.seq, voter, when, kind, sign, text, rejected))

    def _name(self, source: int, prompt: bytes, text: bytes, *, consent: bool = True) -> None:
        self._source.append(source)
        self._consent.append(consent)
        self._names += prompt
        self._names += text


def _ranked(names: Bytes, places: Ints) -> tuple[Ints, Ints]:
    """The places' different names in order, each by one of its places; each place's rank, or -1.

    Place -1, which is nowhere, has rank -1 too.
    """
    spelled = np.ascontiguousarray(names[places]).view(f"S{_DIGEST}").reshape(-1)
    _, first, rank = np.unique(spelled, return_index=True, return_inverse=True)
    ranks = np.full(len(names) + 1, -1, np.int64)
    ranks[places] = rank
    return places[first], ranks


def _order(made: dict[str, Ints]) -> Ints:
    """The votes that count, by voter and text."""
    names = ("when", "rejected", "sign", "kind", "text", "voter")
    order = np.lexsort([made[name] for name in names])
    # A choice tells nothing whose other side nobody may learn from.
    whole = (made["text"] >= 0) & ((made["kind"] != CHOICE) | (made["rejected"] >= 0))
    # Nor does a text chosen over itself.
    whole &= made["text"] != made["rejected"]
    return np.asarray(order[whole[order]])


def _sample(store: Streams, sources: Ints, drawn: NDArray[np.bool_]) -> dict[int, str]:
    """The texts that are drawn, by their ranks."""
    ranks = {int(sources[rank]): int(rank) for rank in np.flatnonzero(drawn)}
    found = {
        ranks[seq]: response[:_SAMPLED_CHARS]
        for seq, response in store.responses_of(seq for seq in ranks if seq > 0)
    }
    for seq, words in store.texts_of(-seq for seq in ranks if seq < 0):
        found[ranks[-seq]] = words[:_SAMPLED_CHARS]
    return dict(sorted(found.items()))


def _digest(*parts: str) -> bytes:
    made = hashlib.blake2b(digest_size=_DIGEST)
    for part in parts:
        data = part.encode()
        made.update(len(data).to_bytes(8, "big"))
        made.update(data)
    return made.digest()


def _drawn(names: Bytes, share: float) -> NDArray[np.bool_]:
    """Which texts are in a sample, by the first 48 bits of their names."""
    return np.asarray(names[:, :6] @ 256 ** np.arange(5, -1, -1) < share * 2**48)


def _last_words(messages: str) -> str:
    said = [message["content"] for message in json.loads(messages) if message["role"] == "user"]
    return str(said[-1]) if said else ""
