"""How well rewards and mixes agree with what users voted, and where they do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from rlhf.data.records import Record
from rlhf.lab.accuracy import Agreement, Flags, Floats, auc, pair_accuracy
from rlhf.lab.calibration import Calibration, calibrate_pairs, calibrate_thumbs
from rlhf.lab.layout import Pairs, Thumbs, lay_out
from rlhf.lab.mix import Mix, Scores, answers_of, pooled
from rlhf.lab.traits import language_of, spearman, spearman_matrix, traits
from rlhf.lab.unlearned import scored_unlearned

Slices = Mapping[str, Mapping[str, Agreement]]

_MOST_VALUES = 8
_MOST_DISPUTED = 5
_FEWEST = 10


@dataclass(frozen=True)
class Dispute:
    """A vote that a score contradicts; `size` is how many deviations of the score lie between."""

    record: Record
    size: float
    scores: tuple[float, ...]
    """Of the chosen and the rejected answer, or of the one that was voted on."""


@dataclass(frozen=True)
class Subject:
    """A reward or a mix against the votes; what cannot be said is None."""

    name: str
    kind: str
    """`reward` or `mix`."""
    applies: float
    invalid: float
    pairs: Agreement | None
    thumbs: Agreement | None
    calibration: Mapping[str, Calibration]
    slices: Slices
    """Pair accuracy (AUC where there are no pairs) by group and its value."""
    bias: Mapping[str, float | None]
    """Rank correlation of the score with traits of the answer."""
    disputes: tuple[Dispute, ...] = field(repr=False)


@dataclass(frozen=True)
class Comparison:
    """All that `rlhf rewards compare` tells."""

    pairs: int
    thumbs: int
    conversations: int
    longer_chosen: float | None
    """Share of pairs whose chosen answer is the longer one: what length alone would reach."""
    subjects: tuple[Subject, ...]
    correlations: list[list[float | None]]
    """Rank correlations of the subjects' scores, in their order."""
    notes: tuple[str, ...]


def compare(
    records: Sequence[Record], mixes: Mapping[str, Mix], notes: Sequence[str] = ()
) -> Comparison:
    """Each component of the mixes alone, then each mix of more than one."""
    pool = pooled(mixes.values())
    scores = scored_unlearned(records, pool)
    return _Against(records, scores, mixes, notes).comparison()


class _Against:
    """The votes, and what all subjects are held against."""

    def __init__(
        self,
        records: Sequence[Record],
        scores: Scores,
        mixes: Mapping[str, Mix],
        notes: Sequence[str],
    ) -> None:
        self.records, self.scores, self.mixes, self.notes = records, scores, mixes, notes
        self.pairs, self.thumbs = lay_out(records)
        self.answers = answers_of(records)
        self.traits = traits(self.answers)
        self.slices = dict(_slices(self.pairs, self.thumbs, self.traits))

    def comparison(self) -> Comparison:
        columns = dict(self._columns())
        longer = self.pairs.differences(self.traits["length"])
        weights = self.pairs.weights
        return Comparison(
            pairs=len(self.pairs.records),
            thumbs=len(self.thumbs.records),
            conversations=len({r.conversation for r in self.records}),
            longer_chosen=_half_ties(longer, weights) if len(weights) else None,
            subjects=tuple(
                self._subject(name, kind, values, invalid)
                for (name, kind), (values, invalid) in columns.items()
            ),
            correlations=spearman_matrix(np.stack([v for v, _ in columns.values()], axis=1)),
            notes=tuple(self.notes),
        )

    def _columns(self) -> Iterator[tuple[tuple[str, str], tuple[Floats, Flags]]]:
        """Each subject's scores of all answers, and where they failed."""
        for at, label in enumerate(self.scores.labels):
            yield (label, "reward"), (self.scores.raw[:, at], self.scores.invalid[:, at])
        pool = pooled(self.mixes.values())
        for name, mix in self.mixes.items():
            if len(mix.rewards) > 1:
                part = self.scores.of(mix, pool, self.answers)
                total = part.totals(mix.normalise, mix.veto_score)
                yield (name, "mix"), (total, np.asarray(part.invalid.any(axis=1)))

    def _subject(self, name: str, kind: str, values: Floats, invalid: Flags) -> Subject:
        return Subject(
            name=name,
            kind=kind,
            applies=float((~np.isnan(values)).mean()),
            invalid=float(invalid.mean()),
            pairs=self._accuracy(values),
            thumbs=self._auc(values),
            calibration=dict(self._calibrations(values)),
            slices=self._by_group(values),
            bias={trait: spearman(values, found) for trait, found in self.traits.items()},
            disputes=tuple(_disputes(values, self.pairs, self.thumbs)),
        )

    def _accuracy(self, values: Floats, kept: Flags | None = None) -> Agreement | None:
        d, w, g = self.pairs.differences(values), self.pairs.weights, self.pairs.groups
        if kept is not None:
            d, w, g = d[kept], w[kept], g[kept]
        return pair_accuracy(d, w, g)

    def _auc(self, values: Floats, kept: Flags | None = None) -> Agreement | None:
        t = self.thumbs
        s, up, w, g = values[t.at], t.up, t.weights, t.groups
        if kept is not None:
            s, up, w, g = s[kept], up[kept], w[kept], g[kept]
        return auc(s, up, w, g)

    def _calibrations(self, values: Floats) -> Iterator[tuple[str, Calibration]]:
        p, t = self.pairs, self.thumbs
        of_pairs = calibrate_pairs(p.differences(values), p.weights, p.groups)
        if of_pairs is not None:
            yield "pairs", of_pairs
        of_thumbs = calibrate_thumbs(values[t.at], t.up.astype(np.float64), t.weights, t.groups)
        if of_thumbs is not None:
            yield "thumbs", of_thumbs

    def _by_group(self, values: Floats) -> dict[str, dict[str, Agreement]]:
        measure = self._accuracy if len(self.pairs.records) else self._auc
        found: dict[str, dict[str, Agreement]] = {}
        for (group, value), kept in self.slices.items():
            told = measure(values, kept)
            if told is not None:
                found.setdefault(group, {})[value] = told
        return found


def _slices(
    pairs: Pairs, thumbs: Thumbs, found: Mapping[str, Floats]
) -> Iterator[tuple[tuple[str, str], Flags]]:
    """Parts of the pairs (of the single votes where there are no pairs), by what they share."""
    records = pairs.records or thumbs.records
    for group, values in (
        ("intent", [r.intent or "" for r in records]),
        ("style", [r.style or "" for r in records]),
        ("language", [language_of(r) for r in records]),
    ):
        counts = Counter(values)
        if len(counts) > 1:
            for value, count in counts.most_common(_MOST_VALUES):
                if count >= _FEWEST:
                    yield (group, value or "not named"), np.array([v == value for v in values])
    if pairs.records:
        for trait, more, less in (
            ("length", "chosen is longer", "chosen is shorter"),
            ("format", "chosen has more format", "chosen has less format"),
        ):
            difference = pairs.differences(found[trait])
            for name, kept in ((more, difference > 0), (less, difference < 0)):
                if kept.sum() >= _FEWEST:
                    yield (trait, name), kept


def _disputes(values: Floats, pairs: Pairs, thumbs: Thumbs) -> Iterator[Dispute]:
    """Where the score is surest of the opposite of what was voted, each conversation once."""
    spread = float(np.nanstd(values)) if not np.isnan(values).all() else 0.0
    if spread == 0.0:
        return
    middle = float(np.nanmean(values))
    apart = np.nan_to_num(-pairs.differences(values)) / spread
    off = np.nan_to_num(values[thumbs.at] - middle) * np.where(thumbs.up, -1.0, 1.0) / spread
    sizes = np.concatenate([apart, off])
    records = [*pairs.records, *thumbs.records]
    places = [*zip(pairs.chosen, pairs.rejected, strict=True), *((at,) for at in thumbs.at)]
    told: set[str] = set()
    for at in np.argsort(-sizes, kind="stable").tolist():
        if sizes[at] <= 0 or len(told) == _MOST_DISPUTED:
            return
        if records[at].conversation not in told:
            told.add(records[at].conversation)
            yield Dispute(
                records[at], float(sizes[at]), tuple(float(values[i]) for i in places[at])
            )


def _half_ties(differences: Floats, weights: Floats) -> float:
    return float(np.average(0.5 + 0.5 * np.sign(differences), weights=weights))


def document(comparison: Comparison) -> dict[str, Any]:
    """For a script: figures only, none of the texts."""
    told = {k: getattr(comparison, k) for k in ("pairs", "thumbs", "conversations")}
    subjects = []
    for subject in comparison.subjects:
        figures = {
            key: asdict(value) if isinstance(value := getattr(subject, key), Agreement) else value
            for key in ("name", "kind", "applies", "invalid", "pairs", "thumbs", "bias")
        }
        figures["calibration"] = {
            votes: {"ece": c.ece, "bins": [list(b) for b in c.bins]}
            for votes, c in subject.calibration.items()
        }
        figures["slices"] = {
            group: {value: asdict(told) for value, told in values.items()}
            for group, values in subject.slices.items()
        }
        subjects.append(figures)
    return {
        **told,
        "longer_chosen": comparison.longer_chosen,
        "subjects": subjects,
        "correlations": comparison.correlations,
        "notes": list(comparison.notes),
    }
