"""Policies: a base model with what training added to it. Give a LoRA, load, save, verify.

A policy is a folder: the weights (a LoRA adapter, or a whole model), their configuration and
`policy.json`, which names the policy by the hash of both and lists the sha256 of every file.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.chat import template_hash
from rlhf.config import Settings
from rlhf.errors import PolicyError, UsageError
from rlhf.files import content_id, publish_folder, sha256_file, write_json
from rlhf.models import ModelSettings, load_base, quiet_transformers

POLICY_FILE = "policy.json"
Kind = Literal["base", "lora", "full", "reward"]
Task = Literal["CAUSAL_LM", "SEQ_CLS"]


class LoraSettings(Settings):
    """Low-rank adaptation (Hu et al. 2021)."""

    r: int = 16
    """Rank of the update."""
    alpha: int = 32
    """The update is scaled by alpha / r."""
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    """Names of the linear layers that get an update."""
    dropout: float = 0.1
    """Dropout on the update's input, in SFT; policy stages turn it off."""


@dataclass(frozen=True)
class Policy:
    """What `policy.json` says, and where it lies. A bare base model has no folder and no id."""

    id: str | None
    kind: Kind
    base_model: str
    folder: Path | None
    manifest: Mapping[str, Any]

    @property
    def label(self) -> str:
        """For people: the id, or the base model's name."""
        return self.id or self.base_model

    @property
    def public_name(self) -> str:
        """For strangers: the same, without the path of a base model in a folder."""
        if self.id is None and Path(self.base_model).exists():
            return Path(self.base_model).name
        return self.label


# Files without which a policy of that kind is none.
_EXPECTED: dict[Kind, set[str]] = {
    "base": set(),
    "lora": {"adapter_config.json", "adapter_model.safetensors"},
    "full": {"config.json", "tokenizer_config.json"},
    "reward": {"adapter_config.json", "adapter_model.safetensors"},
}

# A reward model's scores depend on these keys of its manifest too, so they are part of its name.
_SCORED_WITH = ("centre", "dtype", "quantize")


def base_policy(base_model: str) -> Policy:
    """The base model itself as the policy a first stage starts from."""
    return Policy(None, "base", base_model, None, {})


def load_policy(settings: ModelSettings, policy: Policy, *, trainable: bool = False) -> Any:
    """The policy's model: the base, the base with its adapter, or the fully trained weights."""
    check_base(settings, policy)
    if policy.kind == "reward":
        raise PolicyError(
            f"policy {policy.label} is a reward model: it scores answers and gives none; name it "
            f"under rewards, as {{name: reward_model, params: {{path: {policy.folder}}}}}"
        )
    if policy.folder is None:
        return load_base(settings)
    verify_policy(policy)
    if policy.kind == "full":
        return load_base(settings.model_copy(update={"base_model": str(policy.folder)}))
    model = PeftModel.from_pretrained(
        load_base(settings), str(policy.folder), is_trainable=trainable
    )
    model.train(trainable)
    return model


def check_base(settings: ModelSettings, policy: Policy) -> None:
    """Raise `PolicyError` where the policy stands on another base model than the settings name."""
    if policy.base_model != settings.base_model:
        raise PolicyError(
            f"policy {policy.label} was trained on {policy.base_model}, and `base_model` is "
            f"{settings.base_model}; name that base, or another project or store"
        )


def add_lora(
    model: PreTrainedModel, lora: LoraSettings, seed: int, task: Task = "CAUSAL_LM"
) -> Any:
    """A fresh adapter: A random by `seed`, B zero, so that it changes nothing yet.

    With `SEQ_CLS` the model's scalar head is trained and saved beside it.
    """
    torch.manual_seed(seed)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        target_modules=list(lora.target_modules),
        lora_dropout=lora.dropout,
        task_type=task,
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        names = ", ".join(lora.target_modules)
        raise UsageError(
            f"lora.target_modules: this model has no layers named {names}; name its linear layers"
        ) from error


def save_policy(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    base_model: str,
    about: Mapping[str, Any],
) -> Policy:
    """Write a policy's folder whole; `about` is its lineage (parent, snapshot, run, metrics).

    Raises `PolicyError` when a weight is not finite: such a policy is never written.
    """
    trained = [n for n, p in model.named_parameters() if p.requires_grad and not _finite(p)]
    if trained:
        raise PolicyError(f"training gave weights that are not finite ({trained[0]}); not saved")
    kind = _kind_of(model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".policy-", dir=folder.parent))
    try:
        with quiet_transformers():
            if kind != "full":
                model.save_pretrained(aside, selected_adapters=["default"])
                _canonical_adapter_config(aside / "adapter_config.json", base_model)
            else:
                model.save_pretrained(aside)
                tokenizer.save_pretrained(aside)
        (aside / "README.md").unlink(missing_ok=True)
        files = {p.name: sha256_file(p) for p in sorted(aside.iterdir())}
        manifest = {
            "id": _id_of(kind, base_model, files, about),
            "kind": kind,
            "base_model": base_model,
            "files": files,
            "template_hash": template_hash(tokenizer),
            **about,
        }
        write_json(aside / POLICY_FILE, manifest)
        publish_folder(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return read_policy(folder)


def _kind_of(model: Any) -> Kind:
    if not isinstance(model, PeftModel):
        return "full"
    return "reward" if model.peft_config["default"].task_type == "SEQ_CLS" else "lora"


def _id_of(
    kind: Kind, base_model: str, files: Mapping[str, str], manifest: Mapping[str, Any]
) -> str:
    """A policy's name: the hash of what its answers, or its scores, are made of."""
    named: dict[str, Any] = {"kind": kind, "base_model": base_model, "files": dict(files)}
    if kind == "reward":
        named |= {key: manifest.get(key) for key in _SCORED_WITH}
    return content_id(named, 16)


def _finite(parameter: torch.Tensor) -> bool:
    return bool(torch.isfinite(parameter).all())


def _canonical_adapter_config(path: Path, base_model: str) -> None:
    """PEFT writes sets in changing order and the base's local path: both would change the hash."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for key, value in config.items():
        if isinstance(value, list):
            config[key] = sorted(value, key=str)
    config["base_model_name_or_path"] = base_model
    write_json(path, config)


def read_policy(folder: Path) -> Policy:
    """What stands in a policy's folder; `verify_policy` checks that its files are those."""
    path = folder / POLICY_FILE
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["kind"] not in ("lora", "full", "reward"):
            raise ValueError(manifest["kind"])
        return Policy(manifest["id"], manifest["kind"], manifest["base_model"], folder, manifest)
    except OSError as error:
        raise PolicyError(f"{folder}: is not a policy's folder (no {POLICY_FILE})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PolicyError(f"{path}: is damaged; restore it from a backup") from error


def verify_policy(policy: Policy) -> None:
    """Raise `PolicyError` unless every file has the sha256 that the policy's name was made of."""
    if policy.folder is None:
        return
    files: Mapping[str, str] = policy.manifest.get("files", {})
    if not _EXPECTED[policy.kind] <= set(files) or any("/" in name for name in files):
        raise PolicyError(f"policy {policy.id}: its manifest was changed; restore it or roll back")
    for name, digest in files.items():
        path = policy.folder / name
        if not path.exists():
            raise PolicyError(f"policy {policy.id}: {path} is missing; restore it or roll back")
        if sha256_file(path) != digest:
            raise PolicyError(
                f"policy {policy.id}: {path} is not the file that was saved (its sha256 differs); "
                "restore it from a backup or roll back to another policy"
            )
    name = _id_of(policy.kind, policy.base_model, files, policy.manifest)
    unknown = {p.name for p in policy.folder.iterdir()} - set(files) - {POLICY_FILE}
    if name != policy.id or unknown:
        raise PolicyError(f"policy {policy.id}: its manifest was changed; restore it or roll back")
