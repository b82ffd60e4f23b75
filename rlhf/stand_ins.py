"""Stand-in users ask a loop's policy and vote, where a loop is tried out without people."""

from __future__ import annotations

from pathlib import Path

from feedback_store import Store
from rlhf.cycle_settings import LoopConfig
from rlhf.data.records import read_all
from rlhf.models import load_tokenizer
from rlhf.policies import Policy, base_policy, load_policy
from rlhf.sampling import LocalSampler
from rlhf.simulate import Session, simulate


def ask_simulated_users(
    config: LoopConfig, base: Path, store: Store, policy: Policy | None, tag: str
) -> int:
    """Stand-in users ask the policy and vote; returns the votes cast."""
    if config.simulate is None:
        return 0
    asked = policy or base_policy(config.base_model)
    model = config.model_settings()
    records = read_all(config.dialogue_paths(base))
    session = Session(
        store=store,
        sampler=LocalSampler(load_policy(model, asked), load_tokenizer(model)),
        policy=asked.id,
        template_hash=asked.manifest.get("template_hash"),
        project=config.project,
        tag=tag,
        base=base,
    )
    return simulate(session, config.simulate, records)
