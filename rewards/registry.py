"""Find a reward by name, plug-in, file or import path.

    @reward("brevity")
    def brevity(prompts, completions, *, target_tokens=60, **columns): ...

The built-in rewards use the same decorator. A package adds its own with the entry point group
`rlhf.rewards`; a file needs no more than `path.py:function` in the configuration.
"""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import wraps
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from rewards.errors import RewardError, UnknownReward, nearest
from rewards.running.spec import FILE_MODULE, RewardFn, RewardSpec, describe_reward, located

Fn = TypeVar("Fn", bound=RewardFn)

GROUP = "rlhf.rewards"
BUILT_IN = (
    "citation",
    "compliance",
    "empathy",
    "format",
    "http",
    "judge",
    "length",
    "question",
    "readability",
    "relevance",
    "repetition",
    "style",
    "terminology",
    "toxicity",
)

_registered: dict[str, RewardSpec] = {}


def reward(
    name: str | None = None, *, veto: bool = False, version: str = "1"
) -> Callable[[Fn], Fn]:
    """Register a reward function under a name, its own by default."""

    def register(fn: Fn) -> Fn:
        spec = describe_reward(fn, name or fn.__name__, veto=veto, version=version)
        known = _registered.get(spec.name)
        if known and known.source != spec.source:
            raise RewardError(
                f"reward {spec.name!r} exists already, from {known.source};"
                f" register {spec.source} under another name"
            )
        _registered[spec.name] = spec
        if spec.signature.factory:
            return fn  # it is called with parameters alone

        @wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            # A trainer that calls this directly passes every column of the data set, and one
            # of them may be called `low` or `target` too.
            return fn(*args, **spec.signature.without_clashes(kwargs))

        return cast(Fn, call)

    return register


def resolve(ref: str, base: Path | None = None) -> RewardSpec:
    """Find the reward that a configuration names.

    `ref` is a registered name, an entry point, `path.py:function` (from `base`, the folder of the
    configuration file, then from the working folder), or an import path with `:` or `.`.
    Raises UnknownReward where it leads nowhere, RewardError where its code can't be loaded.
    """
    _load_built_ins()
    if ref in _registered:
        return _registered[ref]
    plugins = {point.name: point for point in entry_points(group=GROUP)}
    if ref in plugins:
        return _from_plugin(plugins[ref])
    if ".py:" in ref:
        return _from_file(ref, base)
    if ":" in ref or "." in ref:
        return _from_import(ref)
    raise UnknownReward(f"no reward {ref!r}; {nearest(ref, {*_registered, *plugins})}")


def list_rewards() -> list[RewardSpec]:
    """Return every reward known by name: built in, plugged in, or registered by a loaded file."""
    _load_built_ins()
    plugins = [_from_plugin(point) for point in entry_points(group=GROUP)]
    known = {spec.name: spec for spec in [*plugins, *_registered.values()]}
    return sorted(known.values(), key=lambda spec: spec.name)


def _load_built_ins() -> None:
    for module in BUILT_IN:
        importlib.import_module(f"rewards.{module}")


def _from_plugin(point: EntryPoint) -> RewardSpec:
    return describe_loaded(point.load, point.value, name=point.name)


def _from_file(ref: str, base: Path | None) -> RewardSpec:
    file, _, function = ref.rpartition(":")
    path = located(Path(file), base).resolve()
    if not path.is_file():
        raise UnknownReward(f"no file {path} for the reward {ref!r}")
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]

    def load() -> object:
        return _member(_run_file(path, version), function, ref)

    return describe_loaded(load, f"{path}:{function}", name=function, version=version)


def _from_import(ref: str) -> RewardSpec:
    module, _, function = ref.rpartition(":" if ":" in ref else ".")

    def load() -> object:
        return _member(importlib.import_module(module), function, ref)

    return describe_loaded(load, f"{module}:{function}", name=function)


def _run_file(path: Path, version: str) -> ModuleType:
    # Named by place and content: loaded once, and anew when the user has edited it.
    place = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"{FILE_MODULE}{place}_{version}"
    if name in sys.modules:
        return sys.modules[name]
    plan = importlib.util.spec_from_file_location(name, path)
    assert plan is not None and plan.loader is not None, path
    module = importlib.util.module_from_spec(plan)
    sys.modules[name] = module
    try:
        plan.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _member(module: ModuleType, function: str, ref: str) -> object:
    try:
        return getattr(module, function)
    except AttributeError:
        known = [key for key in vars(module) if not key.startswith("_")]
        raise UnknownReward(
            f"no function {function!r} for the reward {ref!r}; {nearest(function, known)}"
        ) from None


def describe_loaded(
    load: Callable[[], object], source: str, *, name: str, version: str = "1"
) -> RewardSpec:
    """Load a function and describe it; one that the decorator knows keeps what it declared."""
    try:
        fn = load()
    except RewardError:
        raise
    except ModuleNotFoundError as error:
        raise UnknownReward(f"can't import the reward {source!r}: {error}") from error
    except Exception as error:  # a user's module may do anything at import
        raise RewardError(
            f"can't load the reward {source!r}: {type(error).__name__}: {error}"
        ) from error
    if not callable(fn):
        raise RewardError(f"{source} is a {type(fn).__name__}, not a reward function")
    plain = inspect.unwrap(fn)
    for spec in _registered.values():
        if spec.fn is plain:
            return spec
    return describe_reward(fn, name, source=source, version=version)
