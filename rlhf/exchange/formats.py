"""The formats that can be imported: a new one is a file beside this and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from rlhf.exchange.dialogue import dialogue
from rlhf.exchange.entry import Importer, Origin
from rlhf.exchange.langfuse import langfuse, langfuse_rows
from rlhf.exchange.mapped import mapped, mapped_rows
from rlhf.exchange.open_webui import open_webui
from rlhf.exchange.openai_chat import openai_chat
from rlhf.exchange.trl import trl


class Format(NamedTuple):
    """How a JSON value of the file splits into rows, and what a row becomes."""

    entry: Importer
    rows: Callable[[Any, Origin], Iterable[Any]] = lambda value, origin: (value,)


FORMATS: Final[dict[str, Format]] = {
    "dialogue": Format(dialogue),
    "trl": Format(trl),
    "openai": Format(openai_chat),
    "open-webui": Format(open_webui),
    "langfuse": Format(langfuse, lambda value, origin: langfuse_rows(value)),
    "mapping": Format(mapped, lambda value, origin: mapped_rows(value, origin.mapping)),
}
