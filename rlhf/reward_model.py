"""`reward_model`: what a model that was trained on preferences thinks of an answer.

Declared as an entry point, so that configurations name it like the built-in rewards, and given to
TRL's trainers by a call: `reward_funcs=[reward_model(Path("runs/…/adapter"))]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rewards.texts.text import Turn, completion_text


def reward_model(path: Path) -> Callable[..., list[float]]:
    """Score of a model that `stage: reward_model` has trained; 0 is an average answer.

    `path` is the model's folder, which `rlhf train` prints. The style asked for is read from the
    column `style`; without that column a prompt is taken to hold its control already.

    >>> score = reward_model(Path("runs/reward_model-…/adapter"))  # doctest: +SKIP
    >>> score(["Where is my parcel?"], ["It arrives today."], style=["caring"])  # doctest: +SKIP
    [0.83]
    """
    # Here, not above: to list the rewards takes no torch.
    from rlhf.chat import styled, turns
    from rlhf.scoring import reward_model_at

    model = reward_model_at(path)

    def score(prompts: Sequence[Turn], completions: Sequence[Turn], **columns: Any) -> list[float]:
        asked: list[Any] = [turns(p) if isinstance(p, str) else list(p) for p in prompts]
        if "style" in columns:
            asked = [styled(p, style) for p, style in zip(asked, columns["style"], strict=True)]
        return model.scores(asked, [completion_text(c) for c in completions])

    score.__name__ = "reward_model"  # what TRL logs it by
    return score
