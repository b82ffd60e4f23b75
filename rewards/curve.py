"""A monotone curve that a score goes through before it is weighed.

    {name: length, weight: 0.5, curve: [[0.0, 0.0], [0.4, 0.9], [1.0, 1.0]]}

Straight between its points and level beyond them; `rlhf rewards fit --curves` learns it from votes.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import AfterValidator

Points = tuple[tuple[float, float], ...]


def _monotone(points: Points) -> Points:
    if len(points) < 2 or not all(math.isfinite(v) for point in points for v in point):
        raise ValueError("a curve has two points or more, all finite")
    x, y = zip(*points, strict=True)
    if any(b <= a for a, b in pairwise(x)):
        raise ValueError("a curve's points go from small scores to large ones")
    steps = [b - a for a, b in pairwise(y)]
    if min(steps) < 0:
        raise ValueError("a curve never falls; a negative weight turns it round")
    return points


Curve = Annotated[Points, AfterValidator(_monotone)]


def curved(raw: Sequence[float | None], points: Points) -> tuple[float | None, ...]:
    """The scores through the curve; None stays None.

    >>> curved([0.0, None, 0.5, 7.0], ((0.0, 0.0), (1.0, 3.0)))
    (0.0, None, 1.5, 3.0)
    """
    x, y = zip(*points, strict=True)
    values = np.interp(np.array(raw, dtype=np.float64), x, y).tolist()
    return tuple(None if r is None else v for r, v in zip(raw, values, strict=True))
