"""Glossaries: the right word of a field and the wrong ones, read from YAML and checked once."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rewards.errors import BadParameter
from rewards.texts.lexicon import Lexicon

DEFAULTS = Path(__file__).with_name("terminology.yaml")


class Entry(BaseModel):
    """One term as it is written; `terminology.yaml` explains the keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    term: str = Field(min_length=1)
    also: list[str] = []
    avoid: list[str] = []
    when: list[str] = []


@dataclass(frozen=True)
class Glossary:
    """A glossary ready to match; the group of each phrase is its entry's number."""

    right: Lexicon
    wrong: Lexicon
    asked: Lexicon


def load_glossary(glossary: Path | list[dict[str, Any]] | None = None) -> Glossary:
    """Return a glossary from a YAML file or a list of entries, the default one for None.

    Raises BadParameter with the file and the entry that can't be used.
    """
    if isinstance(glossary, list):
        return _from_text(json.dumps(glossary), "glossary")
    path = glossary or DEFAULTS
    if not path.is_file():
        raise BadParameter(f"no glossary at {path}")
    return _from_file(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _from_file(path: Path, _changed: int) -> Glossary:
    return _from_text(path.read_text(encoding="utf-8"), str(path))


@lru_cache(maxsize=16)
def _from_text(written: str, where: str) -> Glossary:
    try:
        data = yaml.safe_load(written)
    except yaml.YAMLError as error:
        raise BadParameter(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, list) or not data:
        raise BadParameter(f"{where}: expected a list of entries such as {{term: refund}}")
    entries = [_entry(item, number, where) for number, item in enumerate(data, start=1)]
    numbered = [(str(number), entry) for number, entry in enumerate(entries)]
    return Glossary(
        right=Lexicon({n: [e.term, *e.also] for n, e in numbered}),
        wrong=Lexicon({n: e.avoid for n, e in numbered}),
        asked=Lexicon({n: [e.term, *e.also, *e.when] for n, e in numbered}),
    )


def _entry(item: object, number: int, where: str) -> Entry:
    try:
        return Entry.model_validate(item)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise BadParameter(f"{where}: entry {number}: {key} {problem['msg']}") from None
