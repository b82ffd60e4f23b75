"""`rlhf chat`: a conversation with a policy on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rlhf.chat import STYLES, Messages
from rlhf.commands.show import existing_store
from rlhf.config import load, validate
from rlhf.cycle_settings import LoopConfig
from rlhf.models import load_tokenizer
from rlhf.policies import base_policy, load_policy
from rlhf.release import champion, find
from rlhf.sampling import LocalSampler, Prompt


def talk(config: Path, overrides: Sequence[str], policy_id: str | None, style: str | None) -> None:
    """Read turns until an empty one; nothing of it is stored."""
    settings = validate(LoopConfig, load(config, overrides), str(config))
    with existing_store(settings.store) as store:
        policy = find(store, policy_id) if policy_id else champion(store, settings.project)
    policy = policy or base_policy(settings.base_model)
    model = settings.model_settings()
    sampler = LocalSampler(load_policy(model, policy), load_tokenizer(model))
    console = Console()
    console.print(f"[dim]{policy.label}; /style {'|'.join(STYLES)}; an empty line ends[/dim]")
    messages: Messages = []
    seed = 0
    while (text := _asked(console)).strip():
        if text.startswith("/style"):
            style = text.removeprefix("/style").strip() or None
            continue
        messages.append({"role": "user", "content": text})
        prompt = Prompt(tuple(messages), style)
        seed += 1
        answer = sampler.sample([prompt], settings.evaluation.sampling, seed=seed)[0]
        messages.append({"role": "assistant", "content": answer.text})
        console.print(answer.text, markup=False)


def _asked(console: Console) -> str:
    """What was typed; nothing at the end of the input."""
    try:
        return console.input("[bold]you:[/bold] ")
    except EOFError:
        console.print()
        return ""
