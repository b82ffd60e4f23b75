"""What a stranger's reward may use, and which wall users may do without."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """The settings under `sandbox:` of a reward; `sandbox: true` takes them as they are here."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    memory_mb: int = Field(default=4096, ge=256)
    """Address space in MiB. Python takes 100, torch 600 on a CPU and some 20,000 with CUDA."""
    threads: int = Field(default=64, ge=1, le=4096)
    """Threads at one time; other processes it can't start."""
    scratch_mb: int = Field(default=16, ge=1)
    """Size of `/scratch`, the only folder that it can write; its content is memory."""
    read: tuple[Path, ...] = ()
    """Files and folders that it may read, from the configuration's folder, besides Python's."""
    without: Literal["namespaces", "landlock"] | None = None
    """The one wall to do without, where a machine has it not; see docs/rewards.md."""
