"""The parent's side: a stranger's reward as one more executor, whose file is never run here."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rewards.errors import BadParameter, RewardError, UnknownReward
from rewards.running.executor import DEFAULT_TIMEOUT_S, START_TIMEOUT_S, Columns, sendable
from rewards.running.outcome import Outcome
from rewards.running.signature import Signature, to_json
from rewards.running.spec import RewardSpec, located
from rewards.sandbox.channel import Lost
from rewards.sandbox.halves import by_halves
from rewards.sandbox.limits import Limits
from rewards.sandbox.process import Confined
from rewards.sandbox.reply import clean, largest, read_rows
from rewards.texts.text import Turn

# A part of a batch that is tried again has its share of the time, and time to import torch.
_LEAST_S = 5.0


def stranger(ref: str, base: Path | None = None) -> RewardSpec:
    """Describe `path.py:function` from its place and bytes alone; its code runs in a `Sandbox`."""
    file, colon, function = ref.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise BadParameter(
            f"reward {ref!r}: only a file runs in a sandbox; name `path.py:function`"
        )
    path = located(Path(file), base).resolve()
    if not path.is_file():
        raise UnknownReward(f"no file {path} for the reward {ref!r}")
    return RewardSpec(
        name=function,
        fn=_not_here,
        params={},
        veto=False,
        doc="",
        source=f"{path}:{function}",
        version=hashlib.sha256(path.read_bytes()).hexdigest()[:12],
        signature=Signature({}, frozenset(), open=True, factory=False, types={}),
    )


def _not_here(**_: object) -> NoReturn:
    raise RewardError("this reward runs in its sandbox only")


class Sandbox:
    """Calls a stranger's reward in a confined process; see `confine` for the walls.

    As with `OwnProcess`, a batch is killed after `timeout_s`, and whatever the reward does, rows
    are invalid; which ones is found by scoring the halves of the batch apart. Between batches the
    process is stopped. Close it, or use it with `with`.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        base: Path | None = None,
    ) -> None:
        limits = limits or Limits()
        read = tuple(located(path, base).resolve() for path in limits.read)
        self._limits = limits.model_copy(update={"read": read})
        self._timeout_s = timeout_s
        self._base = base
        self._texts: dict[str, str] = {}  # each file's, as it was when it was first run
        self._process: Confined | None = None
        self._loaded = ""  # the reward that was loaded last, as the request for it

    def load(self, spec: RewardSpec, params: Mapping[str, Any]) -> None:
        """Run the file now, to be told of mistakes before any answer is scored."""
        try:
            self._start(spec, params)
        except Lost as lost:
            self.close()
            raise RewardError(f"can't load the reward {spec.source!r}: {lost}") from None

    def score(
        self,
        spec: RewardSpec,
        params: Mapping[str, Any],
        prompts: Sequence[Turn],
        completions: Sequence[Turn],
        columns: Columns,
    ) -> list[Outcome]:
        def part(start: int, stop: int) -> list[Outcome]:
            share = self._timeout_s * (stop - start) / len(completions)
            some = slice(start, stop)
            rows = {"prompts": prompts[some], "completions": completions[some]}
            shown = {name: column[some] for name, column in columns.items()}
            return self._ask(spec, params, rows, shown, max(share, _LEAST_S))

        return by_halves(part, len(completions))

    def _ask(
        self,
        spec: RewardSpec,
        params: Mapping[str, Any],
        rows: Mapping[str, Sequence[Turn]],
        columns: Columns,
        timeout_s: float,
    ) -> list[Outcome]:
        """Score a part of a batch. Raises Lost, the process being gone."""
        try:
            process = self._start(spec, params)
            sent = sendable(spec.name, process.chosen(columns))
            batch = {name: list(turns) for name, turns in rows.items()} | {"columns": sent}
            count = len(batch["prompts"])
            answer = process.ask(batch, min(timeout_s, self._timeout_s), largest(count))
            return read_rows(answer, count, batch)
        except TimeoutError:
            self.close()
            raise Lost(f"timed out after {self._timeout_s:g} s") from None
        except Lost:
            self.close()
            raise

    def close(self) -> None:
        if self._process:
            self._process.close()
        self._process = None

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, spec: RewardSpec, params: Mapping[str, Any]) -> Confined:
        """Return a process that has loaded this reward. Raises Lost, and RewardError at first.

        What could be loaded once and now can't has failed on these rows, not on the user.
        """
        file, _, function = spec.source.rpartition(":")
        base = str(self._base) if self._base else None
        request = {"file": file, "function": function, "params": dict(params), "base": base}
        wanted = to_json(request)
        again = wanted == self._loaded
        if self._process and again:
            return self._process
        self.close()
        if spec.source not in self._texts:
            self._texts[spec.source] = _text(Path(file), spec)
        started = {**request, "text": self._texts[spec.source]}
        self._process = Confined(spec.name, self._limits)
        try:
            answer = self._process.ask(started, START_TIMEOUT_S, largest(1))
        except TimeoutError:
            raise Lost(f"was not loaded after {START_TIMEOUT_S:g} s") from None
        error = answer.get("error")
        if error is not None:
            self.close()
            raise Lost(clean(error)) if again else RewardError(clean(error))
        self._process.takes = answer.get("columns")
        self._loaded = wanted
        return self._process


def _text(path: Path, spec: RewardSpec) -> str:
    """The file's text, which must still be what was described."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise RewardError(f"can't read the reward {spec.source!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RewardError(f"can't load the reward {spec.source!r}: it is not UTF-8 text") from None
    if hashlib.sha256(data).hexdigest()[:12] != spec.version:
        raise RewardError(f"the reward {spec.source!r} has just been changed; start anew")
    return text
