"""Learning from rewards on the policy's own answers: PPO, RLOO, GRPO and REINFORCE++.

One loop for all of them; they differ in how a reward becomes an advantage. What is left out: a
model of its own for the value (a head on the policy's states has to do), and answers that are
older than a round. Details follow Huang et al. 2024, "The N implementation details of RLHF with
PPO".
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rewards import RewardSet
from rlhf.errors import StepFailed
from rlhf.models import load_tokenizer
from rlhf.packed import Group
from rlhf.policies import Policy, read_policy, save_policy
from rlhf.progress import Advance, progress
from rlhf.runs import Run
from rlhf.sampling import Completion, LocalSampler, Sampler
from rlhf.scoring import lend
from rlhf.tracking import tracked
from rlhf.training.checkpoints import last_complete
from rlhf.training.online.advantages import moments
from rlhf.training.online.alarms import alarm
from rlhf.training.online.backbone import Backbone, build_backbone
from rlhf.training.online.controllers import KlController, RunningMoments
from rlhf.training.online.experience import Answered, Experience, experience, explained_variance
from rlhf.training.online.journal import Journal
from rlhf.training.online.rollouts import (
    Answer,
    Question,
    chosen,
    questions,
    sample_row,
    score,
    seed_of,
    tell_answers,
)
from rlhf.training.online.settings import PpoSettings
from rlhf.training.online.state import Carried, load_state, save_state
from rlhf.training.online.tally import Tally
from rlhf.training.online.update import learn
from rlhf.training.stage import StageInputs, kept_or_trained

_SHOWN = 4  # answers of a round that are written down
# Figures of the last round that go into the policy's manifest.
_TOLD = ("step", "reward/total", "kl", "entropy", "length", "finished", "held_out/total")


def train_ppo(run: Run, settings: PpoSettings, inputs: StageInputs) -> Policy:
    """Train from `inputs.start`, which is also the reference; returns the saved policy."""
    return kept_or_trained(run, inputs, lambda: _trained(run, settings, inputs))


def _trained(run: Run, settings: PpoSettings, inputs: StageInputs) -> Policy:
    backbone = build_backbone(inputs.model, inputs.start, settings)
    tokenizer = load_tokenizer(inputs.model)
    with (
        reward_set(settings, inputs.base) as rewards,
        lend(inputs.model, backbone.model),
        tracked(settings.tracking, run.folder, inputs.group) as report_to,
        progress(settings.stage.upper(), total=settings.updates) as advance,
    ):
        accelerator = Accelerator(
            cpu=not torch.cuda.is_available(), log_with=report_to, project_dir=str(run.folder)
        )
        loop = make_loop(settings, inputs, backbone, tokenizer, rewards, accelerator)
        journal = Journal(run, accelerator, settings.model_dump(mode="json"))
        training = _Training(run, inputs, loop, tokenizer, journal)
        training.train(advance)
        return training.save()


def reward_set(settings: PpoSettings, base: Path | None) -> RewardSet:
    """The rewards, ready to score; answers that they fail on are counted by the loop."""
    return RewardSet(
        settings.rewards,
        base=base,
        normalise=settings.normalise,
        veto_score=settings.veto_score,
        max_invalid=1.0,
        timeout_s=settings.reward_timeout_s,
    )


# One round


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

    def round(self, update: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Ask, answer, reward, learn; the round's figures, and a few of its answers.

        `update` counts from 0. Raises `StepFailed` when there is no answer left to learn from.
        """
        settings, tally, clock = self.settings, Tally(), _Clock()
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
            answered = self._answered(kept)
            beta = self.kl.coefficient
            batch = experience(self.backbone, settings, answered, beta, self.reduce, tally)
        # 6. Steps on clipped losses.
        with clock("update"):
            learn(self.backbone, self.optimizer, settings, batch, update, beta, self.reduce, tally)
        # 7. The KL coefficient of the next round.
        figures = self._figures(tally, clock, batch, update)
        self.kl = self.kl.after(settings.kl, figures["kl"], settings.prompts * settings.samples)
        return figures, [sample_row(update + 1, a) for a in kept[:_SHOWN]]

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
        variance = max(0.0, means["squares"] - means["total"] ** 2)
        error = (variance / len(self.held_out)) ** 0.5
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
        if float(self.reduce(without)):
            reasons = [s.reason for a in answers for s in a.reward.scores if s.reason]
            why = f": {reasons[0]}" if reasons else ", because none applies"
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
        self, tally: Tally, clock: _Clock, batch: Experience, update: int
    ) -> dict[str, float]:
        """The round's row of `metrics.jsonl`."""
        tally.add("tokens", [float(batch.mask.sum())])
        means = tally.means(self.reduce, self.accelerator.device)
        if self.backbone.value is not None:
            means["explained_variance"] = explained_variance(means)
        tokens = means.pop("tokens") * self.accelerator.num_processes
        speeds = {f"tokens_per_second/{n}": tokens / s for n, s in clock.seconds.items()}
        own = {"step": update + 1, "kl_coefficient": self.kl.coefficient}
        return {**own, **means, **speeds}


class _Clock:
    """Seconds of each phase of a round."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[phase] = time.perf_counter() - began


def make_loop(
    settings: PpoSettings,
    inputs: StageInputs,
    backbone: Backbone,
    tokenizer: PreTrainedTokenizerBase,
    rewards: RewardSet,
    accelerator: Accelerator,
) -> Loop:
    """A loop before its first round."""
    held_out = questions(inputs.held_out, tokenizer, settings.max_prompt)
    return Loop(
        settings=settings,
        backbone=backbone,
        sampler=LocalSampler(backbone.model, tokenizer),
        rewards=rewards,
        train=questions(inputs.train, tokenizer, settings.max_prompt),
        held_out=held_out[: settings.held_out_prompts],
        accelerator=accelerator,
        kl=KlController(settings.kl.coefficient),
        moments=RunningMoments(),
        optimizer=_optimizer(backbone, settings),
    )


def _optimizer(backbone: Backbone, settings: PpoSettings) -> torch.optim.Optimizer:
    """AdamW without decay, with the eps of PPO's authors; the value head has its own rate."""
    trained = backbone.trained()
    policy = [p for name, p in trained.items() if not name.startswith("value.")]
    value = [p for name, p in trained.items() if name.startswith("value.")]
    groups: list[dict[str, Any]] = [{"params": policy, "lr": settings.learning_rate}]
    if value:
        groups.append({"params": value, "lr": settings.value_learning_rate})
    return torch.optim.AdamW(groups, eps=1e-5, weight_decay=0.0)


# All rounds


@dataclass
class _Training:
    """A loop in its run folder: figures, alarms and checkpoints."""

    run: Run
    inputs: StageInputs
    loop: Loop
    tokenizer: PreTrainedTokenizerBase
    journal: Journal

    def train(self, advance: Advance) -> None:
        """Go on from the last checkpoint to the end. Raises `StepFailed` for an alarm."""
        settings = self.loop.settings
        done = self._resume()
        advance(completed=done)
        for update in range(done, settings.updates):
            look = self.loop.held_out and update % settings.held_out_every == 0
            seen = self.loop.look() if look else {}  # before the round: of those who answer it
            figures, samples = self.loop.round(update)
            self.journal.add({**figures, **seen}, samples)
            advance(note=f"reward {figures['reward/total']:.3f}, KL {figures['kl']:.2f}")
            reason = alarm(self.journal.history, settings.alarms, self.loop.rewards.weights)
            if reason is not None:
                raise StepFailed(self._stopped(reason))
            if (update + 1) % settings.save_every == 0 and update + 1 < settings.updates:
                self._checkpoint(update + 1)
        self.journal.close()

    def save(self) -> Policy:
        """The policy as it is now, in the run's folder."""
        last = dict(self.journal.history[-1])
        if self.loop.held_out:
            last |= self.loop.look()
        folder = self.run.folder / "adapter"
        self._save(folder, last)
        return read_policy(folder)

    def _resume(self) -> int:
        """Rounds done by an earlier process."""
        loop = self.loop
        carried = load_state(self.run.folder, loop.backbone.trained(), loop.optimizer)
        if carried is not None:
            loop.kl, loop.moments = carried.kl, carried.rewards
        done = 0 if carried is None else carried.update
        self.journal.back_to(done)
        return done

    def _checkpoint(self, update: int) -> None:
        loop = self.loop
        self.journal.keep()
        policy = self.run.folder / ".policy-checkpoint"
        self._save(policy, self.journal.history[-1])
        if loop.accelerator.is_main_process:
            carried = Carried(update, loop.kl, loop.moments)
            trained = loop.backbone.trained()
            save_state(self.run.folder, carried, trained, loop.optimizer, policy)
        loop.accelerator.wait_for_everyone()

    def _save(self, folder: Path, figures: Mapping[str, float]) -> None:
        """Written by one process, and there for all when this ends."""
        told = {name: figures[name] for name in _TOLD if name in figures}
        about = {**self.inputs.about, "run": self.run.folder.name, "metrics": told}
        if self.loop.accelerator.is_main_process:
            save_policy(
                self.loop.backbone.model,
                self.tokenizer,
                folder,
                base_model=self.inputs.model.base_model,
                about=about,
            )
        self.loop.accelerator.wait_for_everyone()

    def _stopped(self, reason: str) -> str:
        self.journal.close()
        good = last_complete(self.run.folder)
        where = "before the first checkpoint" if good is None else f"last good: {good / 'policy'}"
        return (
            f"alarm in round {len(self.journal.history)}, {reason}; {where}; change the rewards "
            "or `kl`, or set this alarm to null under `alarms`"
        )
