"""YAML in, frozen settings out; a misspelt key is told with the nearest known one.

`Settings` is the base of every model here and in the other rooms; `load` reads a file, expands
`${NAME:-default}` from the environment, applies `key.sub=value` overrides and validates.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from rlhf.errors import UsageError


class Settings(BaseModel):
    """Frozen, unknown keys refused, every key documented by the string under it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


S = TypeVar("S", bound=BaseModel)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader with two of its surprises gone: 2e-4 is a number, a key comes once."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys: set[str] = set()
    for key_node, _ in node.value:
        key = str(key_node.value)
        if key in keys:
            line = key_node.start_mark.line + 1
            raise UsageError(f"line {line}: the key `{key}` stands twice; keep one")
        keys.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a YAML mapping; raises `UsageError` naming file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    return apply_overrides(_parse(text, str(path)), overrides)


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UsageError(f"{where}:{line}: is not valid YAML: {error.problem}") from error
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{where}: must hold `key: value` lines, found {type(value).__name__}")
    expanded: dict[str, Any] = _expand(value, where)
    return expanded


def _expand(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, where) for item in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], match[2])
        if found is None:
            raise UsageError(f"{where}: the environment variable {match[1]} is not set; set it")
        return found

    return _VARIABLE.sub(variable, value)


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`lora.r=8` sets one key, deep inside; the value is read as YAML."""
    result: dict[str, Any] = dict(values)
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            raise UsageError(f"`{override}`: an override has the form key=value")
        node = result
        *parents, last = key.split(".")
        for parent in parents:
            below = node.get(parent)
            node[parent] = dict(below) if isinstance(below, Mapping) else {}
            node = node[parent]
        try:
            node[last] = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError as error:
            raise UsageError(f"`{override}`: the value is not valid YAML") from error
    return result


def validate(model: type[S], values: Mapping[str, Any], where: str) -> S:
    """Build the settings; the first few mistakes become one line."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        told = [_explain(model, dict(e)) for e in error.errors()[:3]]
        raise UsageError(f"{where}: " + "; ".join(told)) from error


def _explain(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    location = [part for part in error["loc"] if not _is_tag(part)]
    key = ".".join(str(part) for part in location)
    if error["type"] != "extra_forbidden":
        return f"`{key}`: {error['msg']} (found {_short(error['input'])})"
    known = sorted(known_keys(model))
    last = str(location[-1])
    near = difflib.get_close_matches(last, known, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else "see --help for the known keys"
    return f"unknown key `{key}`; {hint}"


def _is_tag(part: object) -> bool:
    """Pydantic puts the names of union members into an error's place; users never wrote them."""
    return isinstance(part, str) and part in {"sft", "dpo", "kto", "reward", "votes", "llm"}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def known_keys(model: type[BaseModel]) -> set[str]:
    """Every key that stands anywhere in a settings tree."""
    keys: set[str] = set()
    for name, field in model.model_fields.items():
        keys.add(field.alias or name)
        for inner in _models_in(field.annotation):
            keys |= known_keys(inner)
    return keys


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models_in(arg)]


def resolve_path(path: str | Path, base: Path) -> Path:
    """An input's path: beside the configuration file, else from the current folder."""
    given = Path(path).expanduser()
    beside = base / given
    if given.is_absolute() or beside.exists() or not given.exists():
        return given if given.is_absolute() else beside
    return given


def existing_path(path: str | Path, base: Path) -> Path:
    """As `resolve_path`; raises `UsageError` when neither place has it."""
    found = resolve_path(path, base)
    if not found.exists():
        raise UsageError(f"{path}: no such file, neither in {base} nor in the current folder")
    return found
