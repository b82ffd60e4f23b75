"""What may be voted on: each metric's name, what it holds, in what range, and which way is better.

    - {name: helpful, kind: thumb}
    - {name: stars, kind: rating, range: [1, 10]}
    - {name: harm, kind: rating, range: [0, 1], better: lower}

A store takes votes on declared metrics alone; one that nobody declared anything for takes a metric
for each kind, of the kind's name, and the signals that the pages give (`copied`, `regenerated`).
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Protocol, Self

import yaml
from pydantic import TypeAdapter, ValidationError, model_validator

from feedback_store.errors import Refused, Unavailable
from feedback_store.fields import Label, Number, Record
from feedback_store.schema import Feedback

MetricKind = Literal["thumb", "rating", "comment", "correction", "implicit"]

STARS = (1.0, 5.0)


class Valued(Protocol):
    """A vote, whole or as a row of the table."""

    @property
    def metric(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def value(self) -> float | None: ...


class Metric(Record):
    """One thing that people are asked, or that is noticed of them."""

    name: Label
    kind: MetricKind
    range: tuple[Number, Number] | None = None
    """What a value may be; a rating's is 1 to 5 by itself, an implicit signal's is open."""
    better: Literal["higher", "lower"] = "higher"
    """Lower: an up vote, or a large value, speaks against the answer."""

    @model_validator(mode="after")
    def _a_range_where_there_are_values(self) -> Self:
        if self.range is None:
            return self
        if self.kind not in ("rating", "implicit"):
            raise ValueError(f"a {self.kind} has no range")
        if not self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)} is empty: the lower end comes first")
        return self

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The range that holds, declared or the kind's own."""
        return STARS if self.range is None and self.kind == "rating" else self.range

    @property
    def plain(self) -> bool:
        """Whether its values mean what its kind's mean by themselves."""
        return self.better == "higher" and (self.kind != "rating" or self.bounds == STARS)

    def to_scale(self, value: float) -> float:
        """A value on its kind's own scale, more being better: a thumb's ±1, a rating's 1 to 5."""
        if self.plain:
            return value
        if self.kind == "thumb":
            return -value
        low, high = self.bounds or STARS
        stars = 1 + 4 * (value - low) / (high - low)
        return stars if self.better == "higher" else 6 - stars

    def from_scale(self, stars: float) -> float:
        """The value that `to_scale` brings to so many stars."""
        low, high = self.bounds or STARS
        return low + (high - low) * ((stars if self.better == "higher" else 6 - stars) - 1) / 4

    def check(self, word: Feedback) -> None:
        """Refuse a word that this metric can't hold."""
        if word.kind != self.kind:
            raise Refused(f"{word.id}: metric {self.name} holds a {self.kind}, not a {word.kind}")
        if word.value is None or (bounds := self.bounds) is None:
            return
        if not bounds[0] <= word.value <= bounds[1]:
            raise Refused(
                f"{word.id}: metric {self.name} lies between {bounds[0]:g} and {bounds[1]:g}, "
                f"not {word.value:g}"
            )


KINDS: tuple[MetricKind, ...] = ("thumb", "rating", "comment", "correction", "implicit")
SIGNALS = ("copied", "regenerated")
DEFAULTS = (
    *(Metric(name=kind, kind=kind) for kind in KINDS),
    *(Metric(name=name, kind="implicit") for name in SIGNALS),
)


class Metrics:
    """The metrics of a store: those that take votes, and those that did once."""

    def __init__(
        self, declared: Iterable[Metric] = DEFAULTS, retired: Iterable[Metric] = ()
    ) -> None:
        self._declared = {metric.name: metric for metric in declared}
        self._known = {metric.name: metric for metric in retired} | self._declared
        # Most are: a million votes shouldn't work it out each.
        self._plain = {name: metric.kind for name, metric in self._known.items() if metric.plain}

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Metrics out of a YAML file: a list, by itself or under the key `metrics`."""
        try:
            found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise Unavailable(f"{path}: can't be read ({error.strerror})") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise Refused(f"{path}: not YAML ({' '.join(str(error).split())})") from error
        return cls.parse(found.get("metrics") if isinstance(found, dict) else found, str(path))

    @classmethod
    def parse(cls, found: object, where: str) -> Self:
        """Metrics out of a list of plain values."""
        try:
            metrics = TypeAdapter(tuple[Metric, ...]).validate_python(found)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "metrics"
            raise Refused(f"{where}: {place}: {first['msg']}") from error
        names = [metric.name for metric in metrics]
        if twice := {name for name in names if names.count(name) > 1}:
            raise Refused(f"{where}: metric {min(twice)} is declared twice")
        if not metrics:
            raise Refused(f"{where}: no metric is declared")
        return cls(metrics)

    def __iter__(self) -> Iterator[Metric]:
        """Those that take votes."""
        return iter(self._declared.values())

    def known(self) -> Iterator[Metric]:
        """All that votes were ever taken on."""
        return iter(self._known.values())

    def check(self, word: Feedback) -> None:
        """Refuse what isn't declared, and what its metric can't hold."""
        metrics = self._known if word.withdrawn else self._declared
        if (metric := metrics.get(word.metric)) is None:
            # A cutoff of 0 always names one.
            nearest = get_close_matches(word.metric, self._declared, n=1, cutoff=0.0)
            raise Refused(
                f"{word.id}: metric {word.metric} isn't declared; the nearest is {nearest[0]}"
            )
        metric.check(word)

    def to_scale(self, word: Valued) -> float:
        """A vote's value on its kind's own scale, more being better (`Metric.to_scale`)."""
        value = word.value or 0.0
        if self._plain.get(word.metric) == word.kind:
            return value
        metric = self._known.get(word.metric)
        return metric.to_scale(value) if metric and metric.kind == word.kind else value
