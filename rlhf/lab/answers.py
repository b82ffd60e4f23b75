"""Several answers to each prompt, drawn once and kept in a run folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.evaluation.likelihood import logprobs_of_several
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import Policy, load_policy
from rlhf.progress import progress
from rlhf.runs import Run, discard, open_run
from rlhf.sampling import Completion, LocalSampler, Prompt, Sampling
from rlhf.training.online.rollouts import Question, questions

_FILE = "samples.jsonl"
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Asked:
    """Whom to ask what, and how: one run folder for equal ones."""

    model: ModelSettings
    policy: Policy
    rows: Rows
    samples: int
    sampling: Sampling
    seed: int
    snapshot: str | None = None
    """Where the prompts come from, if they were users'."""
    max_prompt: int = 512

    def key(self) -> dict[str, Any]:
        """What the run is found again by."""
        return {
            **self.model.model_dump(mode="json", exclude={"trust_remote_code"}),
            "policy": self.policy.label,
            "rows": list(self.rows),
            "samples": self.samples,
            "sampling": self.sampling.as_dict(),
            "seed": self.seed,
            "max_prompt": self.max_prompt,
        }


@dataclass(frozen=True)
class Answers:
    """As many answers to each question as to any other; `nll` is a token's, by the policy."""

    run: Run
    policy: str
    asked: list[Question]
    drawn: list[list[Completion]]
    nll: list[list[float | None]]
    kept: bool
    """Whether they were there already."""


def answers_of(root: Path, asked: Asked) -> Answers:
    """Ask, or read what an earlier run of the same asking has kept."""
    key = asked.key()
    run = open_run(root, "preview", key, {k: v for k, v in key.items() if k != "rows"})
    kept = run.finished()
    if not kept:
        if run.manifest is not None:
            discard(run)
        run.begin({"parent": asked.policy.id, "snapshot": asked.snapshot, "data": None})
        run.write_samples(_ask(asked))
        run.finish({"policy": asked.policy.label}, [_FILE])
    lines = (run.folder / _FILE).read_text(encoding="utf-8").split("\n")
    return _read(run, asked.policy.label, [json.loads(line) for line in lines if line], kept)


def _ask(asked: Asked) -> Iterator[dict[str, Any]]:
    """Rows of `samples.jsonl`: a question and its answers."""
    tokenizer = load_tokenizer(asked.model)
    found = questions(asked.rows, tokenizer, asked.max_prompt)
    model = load_policy(asked.model, asked.policy)
    prompts = [q.prompt for q in found for _ in range(asked.samples)]
    with progress("answers", total=len(prompts)) as advance:
        sampler = LocalSampler(model, tokenizer, advance)
        flat = sampler.sample(prompts, asked.sampling, seed=asked.seed)
    n = asked.samples
    drawn = [flat[i * n : (i + 1) * n] for i in range(len(found))]
    ids = [[c.token_ids for c in several] for several in drawn]
    logprobs = logprobs_of_several(model, tokenizer, [q.prompt for q in found], ids)
    for question, several, rows in zip(found, drawn, logprobs, strict=True):
        answers = [
            {
                "text": c.text,
                "token_ids": list(c.token_ids),
                "finish_reason": c.finish_reason,
                "nll": -float(row.mean()) if len(row) else None,
            }
            for c, row in zip(several, rows, strict=True)
        ]
        yield {"prompt": list(question.prompt.messages), **question.columns, "answers": answers}


def _read(run: Run, policy: str, rows: Rows, kept: bool) -> Answers:
    asked, drawn, nll = [], [], []
    for row in rows:
        columns = {k: v for k, v in row.items() if k not in ("prompt", "answers")}
        asked.append(Question(Prompt(tuple(row["prompt"]), row["style"]), [], columns))
        drawn.append(
            [
                Completion(a["text"], tuple(a["token_ids"]), a["finish_reason"])
                for a in row["answers"]
            ]
        )
        nll.append([a["nll"] for a in row["answers"]])
    return Answers(run, policy, asked, drawn, nll, kept)
