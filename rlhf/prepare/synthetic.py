"""Synthetic rows behind the training rows that they are made from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rlhf.config import existing_path
from rlhf.data.augmentation import AugmentSettings, Reworder, augmented
from rlhf.data.coverage import Coverage
from rlhf.errors import UsageError
from rlhf.prepare.folder import Folder
from rlhf.prepare.lines import encode
from rlhf.prepare.settings import PrepareConfig

_AT_ONCE = 1_000


def with_paths(config: PrepareConfig, base: Path) -> PrepareConfig:
    """The configuration with the paths of its parts' files as they are found from here."""
    changes: dict[str, Any] = {}
    if config.clean and config.clean.phrases:
        found = existing_path(config.clean.phrases, base)
        changes["clean"] = config.clean.model_copy(update={"phrases": found})
    if config.augment and config.augment.templates:
        found = existing_path(config.augment.templates, base)
        changes["augment"] = config.augment.model_copy(update={"templates": found})
    return config.model_copy(update=changes)


def add_synthetic(config: PrepareConfig, folder: Folder, coverage: Coverage) -> int:
    """Append them to the training rows, and count them; none where nothing asks for them.

    The rows that they are made from are held in memory meanwhile.
    """
    if config.augment is None:
        return 0
    folder.train.flush()
    folder.held_out.flush()
    rows = list(_rows(Path(folder.train.name)))
    aside = _rows(Path(folder.held_out.name))
    reworder = _reworder(config.augment, config)
    count = 0
    made = augmented(rows, config.augment, config.seed, reworder=reworder, held_out=aside)
    while some := list(islice(made, _AT_ONCE)):
        folder.train.writelines(map(encode, some))
        coverage.add(some)
        count += len(some)
    return count


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from map(json.loads, file)


def _reworder(settings: AugmentSettings, config: PrepareConfig) -> Reworder | None:
    if settings.paraphrase is None:
        return None
    if config.base_model is None:
        raise UsageError("augment.paraphrase: needs a model; name one as `base_model`")
    from rlhf.data.paraphrase import reworder  # torch, which nothing else here needs
    from rlhf.models import ModelSettings, load_base, load_tokenizer
    from rlhf.sampling import LocalSampler

    model = ModelSettings(base_model=config.base_model)
    return reworder(LocalSampler(load_base(model), load_tokenizer(model)), settings.paraphrase)
