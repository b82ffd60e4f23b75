"""How many numbers a model has, and how many of them training moves: by its config alone."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from rlhf.errors import UsageError
from rlhf.models import ModelSettings, locate_base, quiet_transformers
from rlhf.policies import LoraSettings, add_lora

_NUMBERED = re.compile(r"^(?:.*\.)?\d+\.")


@dataclass(frozen=True)
class Recipe:
    """What is trained of a model."""

    lora: LoraSettings | None
    """None: every weight."""
    scores: bool = False
    """A scalar head in the place of the vocabulary, as a reward model has."""
    dtype: str = "float32"
    """Numbers of a frozen base; weights that move are float32."""
    checkpointing: bool = False


@dataclass(frozen=True)
class Parameters:
    """Counts of one model."""

    total: int
    trainable: int
    linear: int
    """Weights of the layers that `quantize: 4bit` packs: all linear ones but the head."""
    layer: int
    """Weights of one layer of the base."""
    head: int
    """Weights that a hidden state meets on its way to the logits or the score."""

    @property
    def share(self) -> float:
        """The trainable part of all."""
        return self.trainable / self.total


def read_config(settings: ModelSettings) -> Any:
    """The model's config; raises `UsageError` where there is none."""
    where = locate_base(settings.base_model)
    try:
        with quiet_transformers():
            return AutoConfig.from_pretrained(where, trust_remote_code=settings.trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"base_model: {settings.base_model} has no config: {reason}") from error


def layers_of(config: Any) -> int:
    """Layers of the decoder."""
    return int(config.get_text_config().num_hidden_layers)


def cut(config: Any, layers: int, vocabulary: int | None = None) -> Any:
    """The config of a model with fewer layers, and with fewer words if asked."""
    smaller = copy.deepcopy(config)
    text = smaller.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    if vocabulary is not None:
        text.vocab_size = min(vocabulary, text.vocab_size)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            setattr(text, name, None)
    return smaller


def build(config: Any, recipe: Recipe) -> Any:
    """A model with random weights, or none on the device `meta`, as the recipe trains it."""
    dtype = torch.float32 if recipe.lora is None else getattr(torch, recipe.dtype)
    try:
        with quiet_transformers():
            if recipe.scores:
                config.num_labels = 1
                model = AutoModelForSequenceClassification.from_config(config, dtype=dtype)
            else:
                model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    except (ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"base_model: no model can be built of its config: {reason}") from error
    if recipe.lora is None:
        return model.requires_grad_(True)
    return add_lora(model, recipe.lora, 0, "SEQ_CLS" if recipe.scores else "CAUSAL_LM")


def on_each_layer(recipe: Recipe) -> Recipe:
    """The adapter as if it were on all layers, where it names some by their numbers.

    A model of a few layers has no `20.self_attn.q_proj`. What is tried is more than what is
    trained, so times are bounds from above.
    """
    if recipe.lora is None:
        return recipe
    names = dict.fromkeys(_NUMBERED.sub("", name) for name in recipe.lora.target_modules)
    lora = recipe.lora.model_copy(update={"target_modules": tuple(names)})
    return replace(recipe, lora=lora)


def parameters(config: Any, recipe: Recipe) -> Parameters:
    """Counted on a model without weights; nothing of its size is held."""
    bare = replace(recipe, lora=None)
    with torch.device("meta"):
        model = build(copy.deepcopy(config), recipe)
        whole, thinner = (build(cut(config, layers_of(config) - less), bare) for less in (0, 1))
    base = model.get_base_model() if recipe.lora is not None else model
    head = base.score if recipe.scores else base.get_output_embeddings()
    trained = [p for p in model.parameters() if p.requires_grad]
    layer = _count(whole) - _count(thinner)
    linear = sum(
        m.weight.numel()
        for m in base.modules()
        if isinstance(m, nn.Linear) and m.weight is not head.weight and not m.weight.requires_grad
    )
    return Parameters(
        total=_count(model),
        trainable=sum(p.numel() for p in trained),
        linear=linear,
        layer=layer,
        head=_count(head),
    )


def _count(module: nn.Module) -> int:
    """A tied weight counts once."""
    return sum(p.numel() for p in module.parameters())
