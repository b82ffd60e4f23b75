"""What is told of a run: how it stands, what it made, its figures, and what its policies said."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from rlhf.evaluation.curves import rank
from rlhf.runs import BEGUN, MANIFEST, trainer_since
from rlhf.serving.run_curves import METRICS
from rlhf.serving.run_folders import RunFolder, Unreadable, finite, lines, plain

State = Literal["running", "finished", "failed"]

SAMPLES: Final = "samples.jsonl"
REPORT: Final = "report.html"
_QUIET_S: Final = 300.0
"""A run that wrote nothing for so long, and that no trainer is seen to work on, has failed."""
_KEY_FIGURES: Final = 4
_TAIL: Final = 200_000
_CYCLES: Final = "cycle-*.json"


@dataclass(frozen=True)
class Summary:
    """One line of the list of runs."""

    name: str
    stage: str
    began: str | None
    ended: str | None
    state: State
    policy: str | None
    figures: dict[str, float]
    problems: list[str]


class Watch:
    """Tells runs that go on from those that ended without a word; made anew for every look."""

    def __init__(self, root: Path) -> None:
        self._since = trainer_since(root)
        self._now = time.time()

    def goes_on(self, run: RunFolder) -> bool:
        """Whether somebody still works on an unfinished run."""
        try:
            touched = run.touched()
        except OSError:
            return False
        if self._since is not None and touched >= self._since - 1:
            return True
        return self._now - touched < _QUIET_S


def summary(run: RunFolder, watch: Watch) -> Summary:
    """A run in one line; what can't be read is among its problems."""
    problems: list[str] = []
    manifest = _document(run, MANIFEST, problems)
    done = bool(manifest) or (run.stage == "loop" and _last_cycle_done(run, problems))
    state: State = "finished" if done else "running" if watch.goes_on(run) else "failed"
    return Summary(
        name=run.name,
        stage=run.stage,
        began=run.began,
        ended=_text(manifest.get("finished")),
        state=state,
        policy=_text(manifest.get("policy")),
        figures=_figures(run, manifest, problems),
        problems=problems,
    )


def details(run: RunFolder) -> dict[str, Any]:
    """Configuration, manifest, what it learned from, and the gate's decision, as plain JSON."""
    problems: list[str] = []
    told: dict[str, Any] = {"manifest": plain(_document(run, MANIFEST, problems)) or None}
    told["learned_from"] = plain(_document(run, BEGUN, problems))
    told["decision"] = plain(_document(run, "decision.json", problems)) or None
    try:
        told["config"] = run.text("config.yaml", 200_000)
    except (Unreadable, OSError) as error:
        told["config"] = None
        problems.append(str(error))
    told["has_report"] = _is_there(run, REPORT)
    told["problems"] = problems
    return told


def samples(run: RunFolder, offset: int, most: int) -> dict[str, Any]:
    """A page of what the policies said; the last rows are the newest."""
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    count = 0
    try:
        for line in lines(run, SAMPLES):
            if line.value is None:
                problems.append(f"{SAMPLES}: line {count + 1}: {line.problem}")
            elif offset <= count < offset + most:
                rows.append(_sample(line.value))
            count += 1
    except Unreadable as error:
        problems.append(str(error))
    return {"samples": rows, "count": count, "problems": problems[:5]}


def _sample(row: Mapping[str, Any]) -> dict[str, Any]:
    """A question with its answers: one of a training round, or two side by side."""
    prompt = row.get("prompt")
    if not isinstance(prompt, str):
        turns = row.get("messages")
        prompt = "\n\n".join(_said(turn) for turn in turns) if isinstance(turns, list) else ""
    sides = [side for side in ("candidate", "champion") if isinstance(row.get(side), str)]
    answers = [
        {
            "by": side,
            "text": plain(row[side]),
            "wins": row.get("verdict") == side,
            "scores": _scores(row.get(f"{side}_scores")),
        }
        for side in sides
    ]
    if isinstance(row.get("answer"), str):
        scores = {"total": row.get("total"), **_scores(row.get("scores"))}
        answers.append({"by": None, "text": plain(row["answer"]), "scores": _scores(scores)})
    told = {key: plain(row.get(key)) for key in ("update", "style", "finished", "verdict")}
    return {"prompt": plain(prompt), "answers": answers, **told}


def _said(turn: object) -> str:
    return str(turn.get("content", "")) if isinstance(turn, dict) else ""


def _scores(value: object) -> dict[str, float]:
    found = value.items() if isinstance(value, dict) else ()
    numbers = {str(name)[:100]: finite(score) for name, score in list(found)[:60]}
    return {name: number for name, number in numbers.items() if number is not None}


def _figures(run: RunFolder, manifest: Mapping[str, Any], problems: list[str]) -> dict[str, float]:
    """The few that are worth most: of the manifest, the decision, or the last rows so far."""
    found = _scores(manifest.get("metrics")) or _decided(run) or _last_row(run, problems)
    names = sorted(found, key=lambda name: rank(name.removeprefix("eval_")))
    return {name: found[name] for name in names[:_KEY_FIGURES]}


def _decided(run: RunFolder) -> dict[str, float]:
    if run.stage != "evaluate":
        return {}
    decision = _document(run, "decision.json", [])
    win = decision.get("win")
    rate = finite(win.get("rate")) if isinstance(win, dict) else None
    found = {"win_rate": rate, "promote": finite(int(decision.get("promote") is True))}
    return {name: number for name, number in found.items() if number is not None}


def _last_row(run: RunFolder, problems: list[str]) -> dict[str, float]:
    try:
        with run.open(METRICS) as file:
            size = file.seek(0, 2)
        last: dict[str, float] = {}
        for line in lines(run, METRICS, max(0, size - _TAIL)):
            last |= _scores(line.value)
    except FileNotFoundError:
        return {}
    except Unreadable as error:
        problems.append(str(error))
        return {}
    return {name: value for name, value in last.items() if name != "epoch"}


def _last_cycle_done(run: RunFolder, problems: list[str]) -> bool:
    names = sorted(path.name for path in run.path.glob(_CYCLES))
    return bool(names) and _document(run, names[-1], problems).get("done") is True


def _document(run: RunFolder, name: str, problems: list[str]) -> dict[str, Any]:
    try:
        return run.document(name) or {}
    except Unreadable as error:
        problems.append(str(error))
    except OSError as error:
        problems.append(f"{name}: {error.strerror}")
    return {}


def _is_there(run: RunFolder, name: str) -> bool:
    try:
        run.open(name).close()
    except (Unreadable, FileNotFoundError):
        return False
    return True


def _text(value: object) -> str | None:
    return value[:200] if isinstance(value, str) else None
