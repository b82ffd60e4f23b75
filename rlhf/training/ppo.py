"""Learning from rewards on the policy's own answers: PPO, RLOO, GRPO and REINFORCE++.

One loop for all of them; they differ in how a reward becomes an advantage. What is left out: a
model of its own for the value (a head on the policy's states has to do), and answers that are
older than a round. Details follow Huang et al. 2024, "The N implementation details of RLHF with
PPO".
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from rewards import RewardSet
from rlhf.errors import StepFailed
from rlhf.packed import Group
from rlhf.sampling import Completion, Sampler
from rlhf.training.online.advantages import moments
from rlhf.training.online.backbone import Backbone
from rlhf.training.online.controllers import KlController, RunningMoments
from rlhf.training.online.experience import Answered, Experience, experience, explained_variance
from rlhf.training.online.rollouts import (
    Answer,
    Question,
    chosen,
    sample_row,
    score,
    seed_of,
    tell_answers,
)
from rlhf.training.online.settings import PpoSettings
from rlhf.training.online.tally import Tally, standard_error
from rlhf.training.online.update import learn

_SHOWN = 4  # answers of a round that are written down


@dataclass
class Loop:
    """What a run works with, and the few numbers that it carries from round to round."""

    settings: PpoSettings
    backbone: Backbone
    sampler: Sampler
    rewards: RewardSet
    train: list[Question]
    held_out: list[Question]
    accelerator: Accelerator
    kl: KlController
    moments: RunningMoments
    optimizer: torch.optim.Optimizer
    trouble: str | None = None
    """What the last round's first failure of a reward said."""

    def round(self, update: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Ask, answer, reward, learn; the round's figures, and a few of its answers.

        `update` counts from 0. Raises `StepFailed` when there is no answer left to learn from.
        """
        tally, clock = Tally(), Clock()
        answers, batch = self.gather(update, tally, clock)
        # 6. Steps on clipped losses.
        with clock("update"):
            beta = self.kl.coefficient
            learn(
                self.backbone,
                self.optimizer,
                self.settings,
                batch,
                update,
                beta,
                self.reduce,
                tally,
            )
        # 7. Figures, and the KL coefficient of the next round.
        figures = self._figures(tally, clock, batch, update)
        episodes = self.settings.prompts * self.settings.samples
        self.kl = self.kl.after(self.settings.kl, figures["kl"], episodes)
        return figures, [sample_row(update + 1, a) for a in answers[:_SHOWN]]

    def gather(self, update: int, tally: Tally, clock: Clock) -> tuple[list[Answer], Experience]:
        """The round's answers, and what the update is to know of them."""
        # 1. The round's prompts, of which each process has its share.
        asked = self._asked(update)
        # 2. Several answers to each, by the policy as it is.
        with clock("rollout"):
            drawn = self._drawn([q for _, q in asked], update)
        # 3. What they are worth. One without a valid reward is counted and left out.
        with clock("reward"):
            rewarded = score(self.rewards, [q for _, q in asked], drawn)
        answers = [
            Answer(q, place, completion, reward)
            for (place, q), completion, reward in zip(asked, drawn, rewarded, strict=True)
        ]
        tell_answers(answers, self.rewards, tally)
        kept = self._kept(answers)
        # 4. What policy, value and reference say of each token, before anything moves.
        # 5. From rewards and KL to advantages.
        with clock("experience"):
            beta = self.kl.coefficient
            answered = self._answered(kept)
            batch = experience(self.backbone, self.settings, answered, beta, self.reduce, tally)
        return kept, batch

    def reduce(self, values: Tensor) -> Tensor:
        """Summed over all processes."""
        summed: Tensor = self.accelerator.reduce(values, "sum")
        return summed

    def look(self) -> dict[str, float]:
        """Reward on the held-out prompts, answered with the same random numbers each time."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine, tally = self.held_out[rank::world], Tally()
        seed = seed_of(self.settings.seed, "held-out", rank)
        drawn = self.sampler.sample([q.prompt for q in mine], self.settings.sampling, seed=seed)
        rewarded = score(self.rewards, mine, drawn)
        totals = [r.total for r in rewarded if r.total is not None]
        tally.add("total", totals)
        tally.add("squares", [t * t for t in totals])
        tally.add("length", [len(c.token_ids) for c in drawn])
        means = tally.means(self.reduce, self.accelerator.device)
        if "total" not in means:
            return {}
        error = standard_error(means["total"], means["squares"], len(self.held_out))
        return {
            "held_out/total": means["total"],
            "held_out/se": error,
            "held_out/length": means["length"],
        }

    def _asked(self, update: int) -> list[tuple[int, Question]]:
        """This process's questions with their places in the round, each as often as answered."""
        settings = self.settings
        picked = chosen(len(self.train), settings.prompts, update, settings.seed)
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine = list(enumerate(picked))[rank::world]
        return [(place, self.train[i]) for place, i in mine for _ in range(settings.samples)]

    def _drawn(self, asked: Sequence[Question], update: int) -> list[Completion]:
        seed = seed_of(self.settings.seed, "answers", update, self.accelerator.process_index)
        return self.sampler.sample([q.prompt for q in asked], self.settings.sampling, seed=seed)

    def _kept(self, answers: Sequence[Answer]) -> list[Answer]:
        """Those that have a reward; every process must have one, or all stop."""
        kept = [a for a in answers if a.reward.total is not None]
        without = torch.tensor([0.0 if kept else 1.0], device=self.accelerator.device)
        reasons = [s.reason for a in answers for s in a.reward.scores if s.reason]
        self.trouble = reasons[0] if reasons else None
        if float(self.reduce(without)):
            why = f": {self.trouble}" if reasons else ", because none applies"
            raise StepFailed(f"rewards: no answer of the round has one{why}")
        return kept

    def _answered(self, kept: Sequence[Answer]) -> Answered:
        """The answers by their prompts, with rewards as the advantages take them."""
        places = sorted({a.place for a in kept})
        by_place = {place: [a for a in kept if a.place == place] for place in places}
        groups = [
            Group(found[0].question.ids, [a.completion.token_ids for a in found])
            for found in by_place.values()
        ]
        ordered = [a for found in by_place.values() for a in found]
        raw = torch.tensor([self._worth(a) for a in ordered], dtype=torch.float64)
        drawn = None
        if all(a.completion.logprobs is not None for a in ordered):
            drawn = [torch.tensor(a.completion.logprobs) for a in ordered]
        return Answered(groups, places, self._whitened(raw), drawn)

    def _worth(self, answer: Answer) -> float:
        assert answer.reward.total is not None
        unfinished = answer.completion.finish_reason != "stop"
        return answer.reward.total - unfinished * self.settings.missing_eos_penalty

    def _whitened(self, scores: Tensor) -> Tensor:
        """Centred and scaled by all that were seen so far, and clipped."""
        if self.settings.whiten_rewards:
            scores = scores.to(self.accelerator.device)
            count = float(self.reduce(scores.new_tensor([float(len(scores))])))
            self.moments = self.moments.with_batch(count, *moments(scores, self.reduce))
            scores = (scores - self.moments.mean) / max(self.moments.deviation, 1e-6)
        if self.settings.reward_clip is not None:
            scores = scores.clamp(-self.settings.reward_clip, self.settings.reward_clip)
        return scores.float()

    def _figures(
        self, tally: Tally, clock: Clock, batch: Experience, update: int
    ) -> dict[str, float]:
        """The round's row of `metrics.jsonl`."""
        tally.add("tokens", [float(batch.mask.sum())])
        means = tally.means(self.reduce, self.accelerator.device)
        if self.backbone.value is not None:
            means["explained_variance"] = explained_variance(means)
        tokens = means.pop("tokens") * self.accelerator.num_processes
        speeds = {f"tokens_per_second/{n}": tokens / s for n, s in clock.seconds.items()}
        freedom = self.settings.prompts - 1
        errors = {
            f"{name}_se": standard_error(means[name], means.pop(f"{name}_squared"), freedom)
            for name in ("length", "finished")
        }
        own = {"step": update + 1, "kl_coefficient": self.kl.coefficient}
        return {**own, **means, **errors, **speeds}


class Clock:
    """Seconds of each phase of a round."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[phase] = time.perf_counter() - began
