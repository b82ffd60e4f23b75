"""Other people's columns under our names: paths into a row, values and defaults in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from rlhf.config import Settings
from rlhf.errors import DataError

Path = str | list[str | int]
"""Keys and places from the row inwards: `a.b.0`, or a list where a key holds a dot."""
Value = str | int | float | bool | None


class Turns(Settings):
    """How a foreign list of messages names its parts."""

    role: str = "role"
    """The key that says who speaks."""
    content: str = "content"
    """The key that says what."""
    roles: dict[str, Literal["system", "user", "assistant"]] = Field(default_factory=dict)
    """Foreign names of roles: `{human: user, gpt: assistant}`."""

    def renamed(self, turn: Any) -> Any:
        """A turn under the usual names; what is no turn stays, to be refused later."""
        if not isinstance(turn, dict):
            return turn
        role = turn.get(self.role)
        return {"role": self.roles.get(str(role), role), "content": turn.get(self.content)}


class Columns(Settings):
    """Where in a row the fields of a dialogue are; a field that is left out has its own name."""

    prompt: Path | None = None
    """What was asked: text (`用户:`/`User:` begin turns) or a list of messages."""
    completion: Path | None = None
    """What was answered: text, or a list with one message."""
    messages: Path | None = None
    """The whole dialogue; its last turn is the answer. Instead of prompt and completion."""
    chosen: Path | None = None
    """The better answer; with `rejected`, instead of completion."""
    rejected: Path | None = None
    """The worse answer."""
    label: Path | None = None
    """Whether the answer was liked: true or false, after `values.label`."""
    style: Path | None = None
    """The style that was asked for."""
    intent: Path | None = None
    """What the user wanted."""
    user: Path | None = None
    """Who asked."""
    conversation: Path | None = None
    """What groups the turns of one conversation."""
    weight: Path | None = None
    """How much the row counts."""


class Layout(Settings):
    """How a foreign file is read."""

    fields: Columns = Columns()
    """Which columns are which of our fields; the others are read under their own names."""
    values: dict[str, dict[str, Value]] = Field(default_factory=dict)
    """By field: a column's values, and what they mean here. A value that is missing stays."""
    defaults: dict[str, Value] = Field(default_factory=dict)
    """By field: what holds where a row says nothing."""
    turns: Turns = Turns()
    """How lists of messages name their parts."""

    def row(self, row: Any) -> Any:
        """A foreign row under our names; what is no object stays, to be refused later."""
        if not isinstance(row, dict):
            return row
        paths = {name: path for name, path in self.fields if path is not None}
        # Where an answer is mapped, another column that happens to have one of our names is none.
        result = {} if paths.keys() & _ANSWERS else dict(row)
        for name in Columns.model_fields:
            if name in paths or (name in row and name not in _ANSWERS):
                found = at(row, paths.get(name, [name]))
                value = valued(found, name, self.values, self.defaults)
                result[name] = self._talk(value)
            elif name in self.defaults:
                result[name] = self.defaults[name]
        missing = [name for name in paths if name in _ANSWERS and result[name] is None]
        if missing:
            raise DataError(f"has nothing where the layout looks for `{missing[0]}`")
        return result

    def _talk(self, value: Any) -> Any:
        return [self.turns.renamed(t) for t in value] if isinstance(value, list) else value


_ANSWERS = {"prompt", "completion", "messages", "chosen", "rejected", "label"}


def at(row: Any, path: Path) -> Any:
    """What lies at a path; None where it leads nowhere."""
    here = row
    for step in path.split(".") if isinstance(path, str) else path:
        if isinstance(here, dict):
            here = here.get(str(step))
        elif isinstance(here, list) and str(step).lstrip("-").isdecimal():
            place = int(step)
            here = here[place] if -len(here) <= place < len(here) else None
        else:
            return None
    return here


def valued(
    found: Any, name: str, values: Mapping[str, Mapping[str, Value]], defaults: Mapping[str, Value]
) -> Any:
    """A column's value by what it means here, or the field's default where there is none."""
    if found is None or found == "":
        return defaults.get(name)
    if isinstance(found, dict | list):
        return found
    return values.get(name, {}).get(spelled(found), found)


def spelled(value: Any) -> str:
    """A value as YAML's keys spell it; 1.0 is 1, however the number was written."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
