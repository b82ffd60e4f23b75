"""A reward's weight that depends on the row: on the style, intent or mood asked for.

    weights_by: {column: style, weights: {caring: 1.5, formal: 0.2, default: 1.0}}

So one policy learns several styles: each row is pulled by what its own column asks for.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rewards.errors import BadParameter, nearest
from rewards.style import parse_style

_DEFAULT = "default"
_STYLES = ("formal", "concise", "caring")


class WeightsBy(BaseModel):
    """Weights by a column's value; a row of another value, or none, has the default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str = Field(min_length=1)
    """The column that decides, such as style, intent or mood."""
    weights: dict[str, float] = Field(min_length=1)
    """A weight for each value, and `default` for all others (else the component's own weight)."""

    @field_validator("weights")
    @classmethod
    def _finite(cls, weights: dict[str, float]) -> dict[str, float]:
        for value, weight in weights.items():
            if not math.isfinite(weight):
                raise ValueError(f"the weight of {value!r} is {weight}; give a finite number")
        return {value.strip().lower(): weight for value, weight in weights.items()}

    @model_validator(mode="after")
    def _known_styles(self) -> "WeightsBy":
        if self.column == "style":
            for value in self.weights.keys() - {_DEFAULT}:
                if not parse_style(value):
                    raise ValueError(f"no style {value!r}; {nearest(value, _STYLES)}")
        return self

    @property
    def mean(self) -> float:
        """The weight of one row in the mean, were all values alike frequent."""
        return fmean(self.weights.values())

    def of(self, value: object, otherwise: float) -> float:
        """Return the weight of one value; several styles ("专业且关怀") have the mean of theirs.

        >>> by = WeightsBy(column="style", weights={"caring": 1.5, "formal": 0.5})
        >>> by.of("关怀", 1.0), by.of("专业且关怀", 1.0), by.of("concise", 2.0), by.of(None, 2.0)
        (1.5, 1.0, 2.0, 2.0)
        """
        otherwise = self.weights.get(_DEFAULT, otherwise)
        if not isinstance(value, str):
            return otherwise
        if self.column == "style":
            return self._of_styles(value, otherwise)
        return self.weights.get(value.strip().lower(), otherwise)

    def _of_styles(self, value: str, otherwise: float) -> float:
        by_style = {s: w for v, w in self.weights.items() for s in parse_style(v)}
        asked = parse_style(value)
        return fmean(by_style.get(style, otherwise) for style in asked) if asked else otherwise


def row_weights(
    label: str, weight: float, by: WeightsBy | None, columns: Mapping[str, Sequence[Any]]
) -> float | list[float]:
    """Return each row's weight, or the one of all. Raises BadParameter for a missing column."""
    if by is None:
        return weight
    if by.column not in columns:
        raise BadParameter(
            f"reward {label!r}: its weights depend on the column {by.column!r};"
            f" {nearest(by.column, columns)}"
        )
    values = [v if isinstance(v, str) else None for v in columns[by.column]]
    of = {value: by.of(value, weight) for value in set(values)}
    return [of[value] for value in values]
