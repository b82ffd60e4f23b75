"""Votes by what they could push together: an answer, a cluster of prompts, a phrase."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feedback_store.trust.ballots import Ballots, Ints
from feedback_store.trust.phrases import shingles

Flags = NDArray[np.bool_]

LEAST = 6
_LEAST_SHARE = 0.001
# A phrase in more of the votes than this is how the policy speaks.
_RARE = 0.5
# So many votes are looked at together, which bounds the memory that it takes.
_CHUNK = 2**18


@dataclass(frozen=True)
class Runs:
    """Votes by the thing that they speak of, one thing's after the other's, in their order."""

    votes: Ints
    starts: Ints
    """Where each thing's begin, and the end."""

    @classmethod
    def of(cls, votes: Ints, thing: Ints, count: int) -> "Runs":
        """Votes in any order, with the number of each one's thing."""
        span = int(votes.max(initial=0)) + 1
        keys = np.sort(thing * span + votes)
        return cls(keys % span, np.searchsorted(keys, np.arange(count + 1) * span))

    def __getitem__(self, thing: int) -> Ints:
        return self.votes[self.starts[thing] : self.starts[thing + 1]]

    @cached_property
    def sizes(self) -> Ints:
        """How many votes each thing has."""
        return np.diff(self.starts)

    @cached_property
    def thing(self) -> Ints:
        """Each vote's thing."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def only(self, things: Ints) -> "Runs":
        """Those of some things, which are numbered anew."""
        sizes = self.sizes[things]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)
        return Runs(self.votes[np.repeat(self.starts[things], sizes) + within], starts)


class Things(NamedTuple):
    """Things of a kind with the votes on both their sides, and which sides are large enough."""

    kind: str
    what: Sequence[str]
    sides: tuple[Runs, Runs]
    """In favour, and not."""
    large: Flags
    """(things, 2)"""


def things(ballots: Ballots, clusters: Ints) -> Iterator[Things]:
    """All that votes could push together."""
    if not len(ballots):
        return
    least = max(LEAST, int(_LEAST_SHARE * len(ballots)))
    yield _keyed("answer", ballots, ballots.text, least)
    yield _keyed("prompt", ballots, clusters[ballots.prompt], least)
    yield from _phrases(ballots, least)


def _keyed(kind: str, ballots: Ballots, key: Ints, least: int) -> Things:
    """Things by a key of each vote; a choice or a correction is for the text that it favours."""
    often = np.bincount(key) >= least
    thing = np.cumsum(often) - 1
    votes = np.flatnonzero(often[key])
    count = int(often.sum())
    sides = _runs(votes, thing[key[votes]], ballots.sign[votes] > 0, count)
    large = np.stack([side.sizes >= least for side in sides], axis=1)
    return Things(kind, [""] * count, sides, large)


def _phrases(ballots: Ballots, least: int) -> Iterator[Things]:
    """The phrases of the texts, those in nearly every text left out."""
    sampled = np.zeros(ballots.size + 1, bool)
    sampled[list(ballots.texts)] = True
    known = sampled[ballots.text] & (sampled[ballots.rejected] | (ballots.rejected < 0))
    least = max(LEAST, int(least * float(known.mean())))
    most = max(least + 1, int(_RARE * known.sum()))
    chosen = _by_text(ballots.text, known, ballots.size)
    rejected = _by_text(ballots.rejected, known & (ballots.rejected >= 0), ballots.size)
    heard = chosen.sizes + rejected.sizes
    found = shingles(ballots.texts, heard, least=least)
    weights = [int(heard[texts].sum()) for texts in found.texts]
    rare = [
        place
        for place, texts in enumerate(found.texts)
        if len(texts) >= LEAST and weights[place] <= 2 * most
    ]
    for chunk in _chunks(rare, weights):
        texts = np.concatenate([found.texts[place] for place in chunk])
        phrase = np.repeat(np.arange(len(chunk)), [len(found.texts[place]) for place in chunk])
        up, down = (_spoken(by_text, texts, phrase) for by_text in (chosen, rejected))
        sides = _chosen_or_not(ballots, *up, *down, len(chunk))
        large = [
            (side.sizes >= least) & (side.sizes <= most) & (_texts_of(ballots, side) >= LEAST)
            for side in sides
        ]
        words = [found.words[place] for place in chunk]
        yield Things("phrase", words, sides, np.stack(large, axis=1))


def _by_text(text: Ints, rows: Flags, size: int) -> Runs:
    votes = np.flatnonzero(rows)
    return Runs.of(votes, text[votes], size)


def _chunks(places: list[int], weights: list[int]) -> Iterator[list[int]]:
    chunk: list[int] = []
    held = 0
    for place in places:
        if chunk and held + weights[place] > _CHUNK:
            yield chunk
            chunk, held = [], 0
        chunk.append(place)
        held += weights[place]
    if chunk:
        yield chunk


def _spoken(by_text: Runs, texts: Ints, phrase: Ints) -> tuple[Ints, Ints]:
    """The votes on texts, each with the phrase that its text holds."""
    return by_text.only(texts).votes, np.repeat(phrase, by_text.sizes[texts])


def _chosen_or_not(
    ballots: Ballots, chosen: Ints, for_: Ints, rejected: Ints, against: Ints, count: int
) -> tuple[Runs, Runs]:
    """Both sides of phrases, from the votes on texts that hold them and those that reject such."""
    votes, thing = np.concatenate([chosen, rejected]), np.concatenate([for_, against])
    up = np.concatenate([ballots.sign[chosen] > 0, np.zeros(len(rejected), bool)])
    # Texts on both sides of a choice share the phrase: it says nothing of it.
    _, place, often = np.unique(
        thing * len(ballots) + votes, return_inverse=True, return_counts=True
    )
    once = often[place] == 1
    return _runs(votes[once], thing[once], up[once], count)


def _runs(votes: Ints, thing: Ints, up: Flags, count: int) -> tuple[Runs, Runs]:
    return Runs.of(votes[up], thing[up], count), Runs.of(votes[~up], thing[~up], count)


def _texts_of(ballots: Ballots, side: Runs) -> Ints:
    """How many texts each thing's votes are on."""
    pairs = np.sort(side.thing * ballots.size + ballots.text[side.votes])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return np.bincount(pairs // ballots.size, minlength=len(side.sizes))
