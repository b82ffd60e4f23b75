"""Scores without hindsight: a reward model knows the votes that it has learned.

What it says of them is no evidence. Their answers have the scores of models that have not learned
them (`folds` of `rlhf train`), or none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from feedback_store import load_snapshot
from rewards import Component, labels_of
from rewards.curve import curved
from rlhf.data.records import Record
from rlhf.files import sha256_file
from rlhf.lab.accuracy import Floats, Ints
from rlhf.lab.mix import Scores, answers_of, scored
from rlhf.lab.votes import is_snapshot
from rlhf.learned import answer_id, read_learned
from rlhf.policies import read_policy

Known = Mapping[str, float | None]


def scored_unlearned(records: Sequence[Record], components: Sequence[Component]) -> Scores:
    """As `mix.scored`; a reward model is not asked about votes that it has learned."""
    known = {at: of for at, c in enumerate(components) if (of := _known(c)) is not None}
    if not known:
        return scored(records, components)
    answers = [_ids(record) for record in records]
    ends = np.cumsum([0, *map(len, answers)])
    by = [frozenset(at for at, of in known.items() if _knows(of, ids)) for ids in answers]
    whole = _empty(int(ends[-1]), components)
    for silent in dict.fromkeys(by):
        part = [i for i, who in enumerate(by) if who == silent]
        rows = np.concatenate([np.arange(ends[i], ends[i + 1]) for i in part])
        asked = [at for at in range(len(components)) if at not in silent]
        if asked:
            records_of, components_of = [records[i] for i in part], [components[at] for at in asked]
            _put(whole, rows, np.array(asked), scored(records_of, components_of))
        for at in silent:
            told = [known[at].get(name) for i in part for name in answers[i]]
            whole.raw[rows, at] = _through(components[at], told)
    return whole


def hindsight(
    components: Sequence[Component], votes: str, records: Sequence[Record]
) -> Iterator[str]:
    """A note for each reward model that has learned some of the votes."""
    name = _content(votes)
    for component in components:
        if component.name != "reward_model":
            continue
        label, known = component.label or component.name, _known(component)
        if known is not None:
            learned = [ids for record in records if _knows(known, ids := _ids(record))]
            if learned:
                told = sum(all(known.get(i) is not None for i in ids) for ids in learned)
                yield _told(label, len(learned), told)
        elif name is not None and _manifest(component).get("data") == name:
            yield (
                f"{label} was trained on {votes}; only votes that its training kept aside "
                "(--unseen) say how good it is"
            )


def _told(label: str, learned: int, told: int) -> str:
    if told == learned:
        return f"{label} has learned {learned} of the votes: its folds answer for it there"
    return (
        f"{label} has learned {learned} of the votes; {learned - told} of them say nothing of it "
        "(train it with `folds` to have them count)"
    )


def _known(component: Component) -> Known | None:
    if component.name != "reward_model":
        return None
    return read_learned(Path(component.params["path"]))


def _manifest(component: Component) -> Mapping[str, object]:
    return read_policy(Path(component.params["path"])).manifest


def _content(votes: str) -> str | None:
    path = Path(votes)
    if path.is_file():
        return sha256_file(path)
    return load_snapshot(path).id if is_snapshot(path) else None


def _ids(record: Record) -> list[str]:
    return [answer_id(answer.prompt, answer.text) for answer in answers_of([record])]


def _knows(known: Known, ids: Sequence[str]) -> bool:
    return any(name in known for name in ids)


def _empty(answers: int, components: Sequence[Component]) -> Scores:
    shape = answers, len(components)
    return Scores(
        labels=labels_of(components),
        raw=np.full(shape, np.nan),
        invalid=np.zeros(shape, dtype=bool),
        weights=np.tile([c.weight for c in components], (answers, 1)),
        veto=np.array([bool(c.veto) for c in components]),
    )


def _put(whole: Scores, rows: Ints, columns: Ints, found: Scores) -> None:
    place = np.ix_(rows, columns)
    whole.raw[place], whole.invalid[place] = found.raw, found.invalid
    whole.weights[place], whole.veto[columns] = found.weights, found.veto


def _through(component: Component, told: Sequence[float | None]) -> Floats:
    values = told if component.curve is None else curved(told, component.curve)
    return np.array([np.nan if v is None else v for v in values])
