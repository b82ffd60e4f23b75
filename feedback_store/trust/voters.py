"""Each voter's weight: how often they are right, where others or known answers tell."""

import numpy as np

from feedback_store.trust.ballots import CHOICE, THUMB, Ballots
from feedback_store.trust.bradley_terry import bradley_terry
from feedback_store.trust.reliability import Floats, dawid_skene, hits, standing

# Two voters who differ don't tell which of them is right.
_JUDGED_BY = 3
# A weight needs no more digits than its interval has.
_STEPS, _TOLERANCE = 50, 1e-4


def voter_weights(ballots: Ballots, gold: dict[int, bool]) -> Floats:
    """A weight in [0, 1] for each voter; 1 for those of whom nothing bad is known.

    Thumbs are judged by Dawid–Skene and known answers (`gold`, by their interaction's `seq`),
    choices by Bradley–Terry.
    """
    size = len(ballots.voters)
    right, judged = np.zeros(size), np.zeros(size)
    for voter, chance in (_thumbs(ballots, gold), _choices(ballots)):
        right += np.bincount(voter, weights=chance, minlength=size)
        judged += np.bincount(voter, minlength=size)
    return standing(right, judged)


def _thumbs(ballots: Ballots, gold: dict[int, bool]) -> tuple[np.ndarray, Floats]:
    """The voters of the thumbs that can be judged, and P(each was right)."""
    known = {int(ballots.gave[seq]): up for seq, up in gold.items() if ballots.gave[seq] >= 0}
    thumbs = ballots.kind == THUMB
    told = np.bincount(ballots.text[thumbs], minlength=ballots.size) >= _JUDGED_BY
    told[list(known)] = True
    rows = thumbs & told[ballots.text]
    places, item = np.unique(ballots.text[rows], return_inverse=True)
    names, voter = np.unique(ballots.voter[rows], return_inverse=True)
    up = ballots.sign[rows] > 0
    answers = {place: known[text] for place, text in enumerate(places.tolist()) if text in known}
    fit = dawid_skene(item, voter, up, gold=answers, steps=_STEPS, tolerance=_TOLERANCE)
    return names[voter], hits(item, voter, up, fit.items)


def _choices(ballots: Ballots) -> tuple[np.ndarray, Floats]:
    """The same of the choices between answers that several chose or passed over."""
    rows = ballots.kind == CHOICE
    winner, loser = ballots.text[rows], ballots.rejected[rows]
    counts = np.bincount(np.concatenate([winner, loser]), minlength=ballots.size)
    told = (counts[winner] >= _JUDGED_BY) & (counts[loser] >= _JUDGED_BY)
    winner, loser, voter = winner[told], loser[told], ballots.voter[rows][told]
    _, answers = np.unique(np.concatenate([winner, loser]), return_inverse=True)
    winner, loser = answers[: len(winner)], answers[len(winner) :]
    names, voter = np.unique(voter, return_inverse=True)
    fit = bradley_terry(winner, loser, voter, steps=_STEPS, tolerance=_TOLERANCE)
    gap = fit.strengths[winner] - fit.strengths[loser]
    return names[voter], np.asarray(1 / (1 + np.exp(-gap)))
