"""YAML in, frozen settings out; a misspelt key is told with the nearest known one.

`Settings` is the base of every model here and in the other rooms; `load` reads a file, expands
`${NAME:-default}` from the environment and applies `key.sub=value` overrides; `validate` builds
the settings.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from rlhf.errors import UsageError


class Settings(BaseModel):
    """Frozen, unknown keys refused, every key documented by the string under it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


S = TypeVar("S", bound=BaseModel)

# Some lines of nested aliases can stand for billions of values.
_MOST_NODES = 100_000
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader with two of its surprises gone: 2e-4 is a number, a key comes once."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As YAML's; a value that looks like a date or number and is none is told with its line."""
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(
                None, None, str(error), node.start_mark
            ) from error


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
    value = _read_yaml(text, where)
    if not isinstance(value, dict):
        raise UsageError(f"{where}: must hold `key: value` lines, found {type(value).__name__}")
    try:
        if _nodes(value, {}) > _MOST_NODES:
            raise UsageError(f"{where}: its aliases make too much of it; write out what is meant")
        expanded: dict[str, Any] = _expand(value, where)
    except RecursionError as error:  # a chain of aliases
        raise UsageError(f"{where}: is nested too deeply") from error
    return expanded


def _read_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        told = f"the character {text[error.position]!r} is not allowed; remove it"
        raise UsageError(f"{where}:{line}: is not valid YAML: {told}") from error
    except yaml.MarkedYAMLError as error:
        place = f"{where}:{error.problem_mark.line + 1}" if error.problem_mark else where
        raise UsageError(f"{place}: is not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{where}: is not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UsageError(f"{where}: is nested too deeply") from error


def _nodes(value: Any, known: dict[int, int]) -> int:
    """How many values there are once every alias is written out; each is looked at once."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_nodes(item, known) for item in inner)
    return known[id(value)]


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
    """`lora.r=8` or `stages.0.beta=0.2` sets one key, deep inside; the value is read as YAML."""
    result: dict[str, Any] = dict(values)
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            raise UsageError(f"`{override}`: an override has the form key=value")
        where = f"`{override}`"
        result = _with(result, key.split("."), _read_yaml(text, where), where)
    return result


def _with(node: Any, keys: list[str], value: Any, where: str) -> Any:
    """A copy of `node` in which the value stands under the keys."""
    if not keys:
        return value
    key, *rest = keys
    if isinstance(node, list):
        if not re.fullmatch("[0-9]{1,9}", key) or int(key) >= len(node):
            raise UsageError(f"{where}: no entry `{key}` in a list of {len(node)}; count from 0")
        index = int(key)
        return [*node[:index], _with(node[index], rest, value, where), *node[index + 1 :]]
    below = node if isinstance(node, Mapping) else {}
    return {**below, key: _with(below.get(key), rest, value, where)}


def validate(model: type[S], values: Mapping[str, Any], where: str) -> S:
    """Build the settings; the first few mistakes become one line."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        told = [_explain(model, dict(e)) for e in error.errors()[:3]]
        raise UsageError(f"{where}: " + "; ".join(told)) from error


def _explain(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    location, own = _place(model, error["loc"])
    key = ".".join(str(part) for part in location)
    told = str(error["msg"]).removeprefix("Value error, ")
    if not key:
        return told
    if error["type"] == "missing":
        return f"`{key}`: {told}"
    if error["type"] not in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"`{key}`: {told} (found {_short(error['input'])})"
    last, everywhere = str(location[-1]), sorted(known_keys(model))
    near = [n for known in (sorted(own), everywhere) for n in _nearest(last, known)]
    if not near:
        return f"unknown key `{key}`; known here: {', '.join(sorted(own))}"
    if near[0] == last:
        return f"unknown key `{key}`; `{last}` belongs to another part, check the indentation"
    return f"unknown key `{key}`; did you mean `{near[0]}`?"


def _nearest(key: str, known: list[str]) -> list[str]:
    return difflib.get_close_matches(key, known, n=1, cutoff=0.5)


def _place(model: type[Any], loc: Sequence[str | int]) -> tuple[list[str | int], set[str]]:
    """Where the user wrote what an error is about, and the keys of the model it is in.

    Pydantic puts the tag of a union's member into an error's place, as in
    `stages.0.dpo.beta`; users never wrote it.
    """
    written: list[str | int] = []
    here, inner = [model], [model]
    for part in loc:
        tagged = [m for m in inner if part in _tags(m)] if len(inner) > 1 else []
        if tagged:
            inner = tagged
            continue
        written.append(part)
        if isinstance(part, str):
            here = inner
            inner = [m for h in here if part in _fields(h) for m in _models_in(_fields(h)[part])]
    return written, {key for h in here for key in _fields(h)}


def _tags(model: type[Any]) -> set[Any]:
    literals = [a for a in _fields(model).values() if get_origin(a) is Literal]
    return {tag for annotation in literals for tag in get_args(annotation)}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def known_keys(model: type[Any]) -> set[str]:
    """Every key that stands anywhere in a settings tree of models and dataclasses."""
    keys: set[str] = set()
    for name, annotation in _fields(model).items():
        keys.add(name)
        for inner in _models_in(annotation):
            keys |= known_keys(inner)
    return keys


def _fields(model: type[Any]) -> dict[str, Any]:
    """Keys and their types, as the user writes them."""
    if issubclass(model, BaseModel):
        return {f.alias or name: f.annotation for name, f in model.model_fields.items()}
    hints = get_type_hints(model)
    return {field.name: hints[field.name] for field in dataclasses.fields(model)}


def _models_in(annotation: Any) -> list[type[Any]]:
    if isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)
    ):
        return [annotation]
    return [m for arg in get_args(annotation) for m in _models_in(arg)]


# Over-long rather than too short: a password may itself hold `/` or `@`.
_PASSWORD = re.compile(r"(?<=://)([^/?#@:\s]*):\S*@")
_SECRET_QUERY = re.compile(r"([?&][^=&#\s]*(?:password|token|key|secret)=)[^&#\s]+", re.IGNORECASE)
# Trainers' names for entries of the vocabulary.
_VOCABULARY = {"bos_token", "eos_token", "pad_token", "unk_token"}


def redacted_dump(settings: BaseModel) -> dict[str, Any]:
    """The settings as JSON values with their secrets masked: what may be written to disk."""
    dumped: dict[str, Any] = _masked(settings.model_dump(mode="json"))
    return dumped


def _masked(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _masked(item, str(name).lower()) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, key) for item in value]
    if not isinstance(value, str) or not value:
        return value
    named = key.endswith(("_key", "_token", "password")) and key not in _VOCABULARY
    if key == "webhook" or named:
        return "***"
    return _SECRET_QUERY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", value))


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
