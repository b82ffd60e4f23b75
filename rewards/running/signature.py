"""What a reward function takes: which arguments are parameters and which are columns.

An argument with a default is a parameter, one without is a column. A callable that takes neither
prompts nor completions (`trl.rewards.get_soft_overlong_punishment`) is a factory: it is called
with its parameters once and returns the reward.
"""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from rewards.errors import BadParameter, nearest


class _Required:
    def __repr__(self) -> str:
        return "(required)"


REQUIRED = _Required()
"""Stands as the default of a factory's parameter that has none."""

_ROWS = {"prompts", "completions", "completion_ids"}
# What TRL's trainers pass besides columns; a default there does not make it a parameter.
_TRAINER = {"trainer_state", "log_extra", "log_metric", "environments"}


@dataclass(frozen=True)
class Signature:
    """The arguments of one reward function."""

    params: Mapping[str, object]
    columns: frozenset[str]
    open: bool  # takes **columns
    factory: bool
    types: Mapping[str, TypeAdapter[Any]]

    def check(self, reward: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters in the types that the reward declares, or raise BadParameter."""
        for key in params:
            if key not in self.params:
                raise BadParameter(
                    f"reward {reward!r} has no parameter {key!r}; {nearest(key, self.params)}"
                )
        missing = [k for k, v in self.params.items() if v is REQUIRED and k not in params]
        if missing:
            raise BadParameter(f"reward {reward!r} needs the parameter {missing[0]!r}")
        return {key: self._convert(reward, key, value) for key, value in params.items()}

    def accepted(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the arguments that the function can be called with."""
        if self.open:
            return dict(arguments)
        names = self.columns | self.params.keys()
        return {key: value for key, value in arguments.items() if key in names}

    def without_clashes(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Drop a column that has a parameter's name and could not be its value."""
        return {k: v for k, v in arguments.items() if not (k in self.types and self._clash(k, v))}

    def _convert(self, reward: str, key: str, value: Any) -> Any:
        # JSON's strict mode is what YAML means: a list may become a tuple and a string a path,
        # but "60" is no number.
        try:
            return self.types[key].validate_json(to_json(value), strict=True)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise BadParameter(
                f"reward {reward!r}: parameter {key!r} can't be {value!r}: {problem}"
            ) from None
        except TypeError:
            raise BadParameter(
                f"reward {reward!r}: parameter {key!r} is a {type(value).__name__};"
                " parameters are values that YAML can hold"
            ) from None

    def _clash(self, key: str, value: Any) -> bool:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False
        try:
            self.types[key].validate_python(list(value[:1]), strict=True)
        except ValidationError:
            return True
        return False


def read_signature(fn: Callable[..., Any]) -> Signature:
    """Read a reward function's arguments."""
    arguments = inspect.signature(fn).parameters
    named = {
        name: argument.default
        for name, argument in arguments.items()
        if argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY)
    }
    is_open = any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values())
    factory = not is_open and not named.keys() & _ROWS
    empty = inspect.Parameter.empty
    params = {
        name: REQUIRED if default is empty else default
        for name, default in named.items()
        if name not in _ROWS | _TRAINER and (factory or default is not empty)
    }
    hints = _hints(fn)
    types = {name: _adapter(hints.get(name), default) for name, default in params.items()}
    return Signature(params, frozenset(named.keys() - params.keys()), is_open, factory, types)


def to_json(value: object) -> str:
    """Write a value as JSON; a path as its text. Raises TypeError for what JSON can't hold."""
    return json.dumps(value, default=_path_text)


def _path_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    while isinstance(fn, partial):
        fn = fn.func
    target: Any = fn
    if inspect.isclass(fn):
        target = target.__init__
    elif not inspect.isroutine(fn):
        target = type(fn).__call__
    try:
        return get_type_hints(target)
    except NameError:  # a name imported for the type checker only: nothing to check against
        return {}


def _adapter(hint: Any, default: object) -> TypeAdapter[Any]:
    if hint is None:
        hint = _hint_of(default)
    try:
        return TypeAdapter(hint)
    except PydanticUserError:  # a class that pydantic can't build from YAML values
        return TypeAdapter(Any)


def _hint_of(default: object) -> Any:
    """Guess an unannotated parameter's type from its default."""
    if isinstance(default, bool):
        return bool
    if isinstance(default, int | float):
        return int | float
    return str if isinstance(default, str) else Any
