"""The formats that can be imported: a new one is a file beside this and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from rlhf.data.columns import at
from rlhf.errors import DataError
from rlhf.exchange.dialogue import dialogue
from rlhf.exchange.entry import Importer, Origin
from rlhf.exchange.langfuse import langfuse, langfuse_rows
from rlhf.exchange.mapped import mapped
from rlhf.exchange.open_webui import open_webui
from rlhf.exchange.openai_chat import openai_chat
from rlhf.exchange.trl import trl


def _as_it_is(value: Any) -> Iterable[Any]:
    return (value,)


class Format(NamedTuple):
    """What a row becomes; how one value of the file splits into rows; where a page holds them."""

    entry: Importer
    rows: Callable[[Any], Iterable[Any]] = _as_it_is
    within: Callable[[Origin], Sequence[str]] = lambda origin: ()
    always_within: bool = False
    """Whether a document without such a list is refused, not taken as a row."""


FORMATS: Final[dict[str, Format]] = {
    "dialogue": Format(dialogue),
    "trl": Format(trl),
    "openai": Format(openai_chat),
    "open-webui": Format(open_webui),
    "langfuse": Format(langfuse, langfuse_rows, lambda origin: ("data",)),
    "mapping": Format(
        mapped, within=lambda origin: origin.mapping.path_to_rows, always_within=True
    ),
}


def rows_of(value: Any, inner: bool, format: Format, origin: Origin) -> list[Any]:
    """The rows of one value of a file; raises `DataError` where a page lacks its list."""
    within = format.within(origin)
    found = at(value, list(within)) if within and not inner else None
    if isinstance(found, list):
        return [row for each in found for row in format.rows(each)]
    if within and not inner and format.always_within:
        raise DataError("has no list at the mapping's `rows`")
    return list(format.rows(value))
