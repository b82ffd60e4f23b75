"""A reward that was found, and the same reward with its parameters set."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewards.errors import BadParameter, RewardError
from rewards.running.signature import Signature, read_signature

RewardFn = Callable[..., Any]

FILE_MODULE = "rewards_file_"
"""Start of the module names that users' files are loaded under."""


@dataclass(frozen=True)
class RewardSpec:
    """A reward function and what is known of it.

    `params` are its parameters with their defaults; `source` is a reference that leads another
    process to the same function; `version` is declared, or the hash of the user's file.
    """

    name: str
    fn: RewardFn = field(repr=False)
    params: Mapping[str, object]
    veto: bool
    doc: str
    source: str
    version: str
    signature: Signature = field(repr=False)

    @property
    def shipped(self) -> bool:
        """Whether it comes with this project: it was tested, and ends by itself."""
        return self.source.partition(":")[0].partition(".")[0] in ("rewards", "rlhf")


def describe_reward(
    fn: RewardFn, name: str, *, source: str = "", veto: bool = False, version: str = "1"
) -> RewardSpec:
    """Build the spec of a function; a reward that can't be called without a loop is refused."""
    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__):
        raise RewardError(f"reward {name!r} is async; write it as a plain function")
    signature = read_signature(fn)
    return RewardSpec(
        name=name,
        fn=fn,
        params=signature.params,
        veto=veto,
        doc=inspect.getdoc(fn) or "",
        source=source or source_of(fn),
        version=version,
        signature=signature,
    )


def source_of(fn: RewardFn) -> str:
    """Return a reference that finds the function again in another process."""
    name = fn.__module__
    file = getattr(sys.modules.get(name), "__file__", None)  # a notebook has none
    if file and (name == "__main__" or name.startswith(FILE_MODULE)):
        return f"{file}:{fn.__qualname__}"
    return f"{name}:{fn.__qualname__}"


def bind(
    spec: RewardSpec, params: Mapping[str, Any] | None = None, *, base: Path | None = None
) -> RewardFn:
    """Return the reward with its parameters set, callable as TRL calls it.

    A parameter set here wins over a column of its name; a path is looked up from `base` first.
    Arguments that the function does not take are left out. Raises BadParameter.
    """
    checked = spec.signature.check(spec.name, params or {})
    given = {key: _located(value, base) for key, value in checked.items()}
    fn, signature = spec.fn, spec.signature
    if signature.factory:
        fn, given = _make(spec, given), {}
        signature = read_signature(fn)

    def bound(prompts: object, completions: object, **columns: Any) -> Any:
        rows = {"prompts": prompts, "completions": completions, **columns}
        return fn(**signature.accepted({**signature.without_clashes(rows), **given}))

    bound.__name__ = bound.__qualname__ = spec.name
    bound.__doc__ = spec.doc
    return bound


def _make(spec: RewardSpec, params: Mapping[str, Any]) -> RewardFn:
    try:
        fn = spec.fn(**params)
    except Exception as error:  # a user's code, or TRL's, refusing what it was given
        raise BadParameter(f"reward {spec.name!r}: {type(error).__name__}: {error}") from error
    if not callable(fn):
        raise RewardError(
            f"reward {spec.name!r} takes neither prompts nor completions, so it was called to"
            f" make the reward, and returned a {type(fn).__name__}"
        )
    made: RewardFn = fn
    return made


def located(path: Path, base: Path | None) -> Path:
    """Return the path from the configuration's folder where it exists there, else as it is."""
    return base / path if base and (base / path).exists() else path


def _located(value: Any, base: Path | None) -> Any:
    return located(value, base) if isinstance(value, Path) else value
