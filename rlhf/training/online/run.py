"""All rounds of a run, in its folder: going on where it stopped, figures, alarms, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from rewards import RewardSet
from rlhf.errors import AlarmRaised
from rlhf.models import load_tokenizer
from rlhf.policies import Policy, read_policy, save_policy
from rlhf.progress import Advance, progress
from rlhf.runs import Run
from rlhf.sampling import LocalSampler, Sampler
from rlhf.scoring import lend
from rlhf.tracking import tracked
from rlhf.training.checkpoints import last_complete
from rlhf.training.online.alarms import alarm
from rlhf.training.online.backbone import Backbone, build_backbone
from rlhf.training.online.controllers import KlController, RunningMoments
from rlhf.training.online.journal import Journal
from rlhf.training.online.rollouts import questions
from rlhf.training.online.settings import PpoSettings
from rlhf.training.online.state import Carried, load_state, save_state
from rlhf.training.ppo import Loop
from rlhf.training.stage import StageInputs, kept_or_trained
from rlhf.vllm import VllmSampler

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
            cpu=not torch.cuda.is_available(),
            log_with=report_to or None,
            project_dir=str(run.folder),
        )
        loop = make_loop(settings, inputs, backbone, tokenizer, rewards, accelerator)
        journal = Journal(run, accelerator, settings.model_dump(mode="json"))
        training = _Training(run, inputs, loop, tokenizer, journal)
        try:
            training.train(advance)
            return training.save()
        finally:
            if isinstance(loop.sampler, VllmSampler):
                loop.sampler.close()


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
        sampler=_sampler(settings, backbone, tokenizer),
        rewards=rewards,
        train=questions(inputs.train, tokenizer, settings.max_prompt),
        held_out=held_out[: settings.held_out_prompts],
        accelerator=accelerator,
        kl=KlController(settings.kl.coefficient),
        moments=RunningMoments(),
        optimizer=_optimizer(backbone, settings),
    )


def _sampler(
    settings: PpoSettings, backbone: Backbone, tokenizer: PreTrainedTokenizerBase
) -> Sampler:
    if settings.vllm is None:
        return LocalSampler(backbone.model, tokenizer)
    server = settings.vllm
    return VllmSampler(
        server.url,
        backbone.model,
        tokenizer,
        server.adapters,
        server.base_name,
        server.api_key_env,
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


@dataclass
class _Training:
    """A loop in its run folder: figures, alarms and checkpoints."""

    run: Run
    inputs: StageInputs
    loop: Loop
    tokenizer: PreTrainedTokenizerBase
    journal: Journal

    def train(self, advance: Advance) -> None:
        """Go on from the last checkpoint to the end. Raises `AlarmRaised`."""
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
                why = f" ({self.loop.trouble})" if self.loop.trouble else ""
                raise AlarmRaised(self._stopped(reason + why))
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
