"""What an encoder makes of texts: embeddings to compare, or the probability of a label.

Any model that transformers can load, from a folder or the hub; code that a model brings along is
never run. Rewards import this file where a model is asked for, so that the others need no torch.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from rewards.errors import BadParameter, nearest

_AT_ONCE = 32
_LONGEST = 512  # tokens; what stands beyond is not read


def cosines(a: Sequence[str], b: Sequence[str], model: str) -> list[float]:
    """Return the cosine of each pair of texts, in [-1, 1]; 0 where a text is empty."""
    texts = list(dict.fromkeys([*a, *b]))  # a question is often asked for several answers
    if not texts:
        return []
    places = {text: at for at, text in enumerate(texts)}
    vectors = embed(texts, model)
    left = vectors[[places[text] for text in a]]
    right = vectors[[places[text] for text in b]]
    found: list[float] = (left * right).sum(-1).clamp(-1, 1).tolist()
    return found


def embed(texts: Sequence[str], model: str) -> torch.Tensor:
    """Return unit vectors, shape (texts, width), the zero vector for an empty text.

    A vector is the mean of the last hidden states over the text's tokens: Reimers and Gurevych
    2019, "Sentence-BERT".
    """
    parts = []
    for output, mask in _run(AutoModel, texts, model):
        weights = mask.unsqueeze(-1).float()
        mean = (output.last_hidden_state.float() * weights).sum(1) / weights.sum(1)
        parts.append(torch.nn.functional.normalize(mean, dim=-1).cpu())
    empty = torch.tensor([not text.strip() for text in texts])
    return torch.cat(parts).masked_fill(empty.unsqueeze(-1), 0.0)


def probabilities(texts: Sequence[str], model: str, label: str) -> list[float]:
    """Return each text's probability of a label, apart from the others where labels may join."""
    config = _load(AutoModelForSequenceClassification, model)[1].config
    places = {str(name).lower(): int(place) for name, place in config.label2id.items()}
    if label.lower() not in places:
        raise BadParameter(f"the model {model!r} has no label {label!r}; {nearest(label, places)}")
    apart = config.problem_type == "multi_label_classification" or config.num_labels == 1
    found: list[float] = []
    for output, _ in _run(AutoModelForSequenceClassification, texts, model):
        logits = output.logits.float()
        shares = logits.sigmoid() if apart else logits.softmax(-1)
        found.extend(shares[:, places[label.lower()]].tolist())
    return found


def _run(kind: Any, texts: Sequence[str], model: str) -> Iterator[tuple[Any, torch.Tensor]]:
    """Yield the model's output and attention mask, batch after batch."""
    tokenizer, encoder = _load(kind, model)
    for start in range(0, len(texts), _AT_ONCE):
        batch = tokenizer(
            [text or " " for text in texts[start : start + _AT_ONCE]],
            padding=True,
            truncation=True,
            max_length=min(_LONGEST, tokenizer.model_max_length),
            return_tensors="pt",
        ).to(encoder.device)
        with torch.inference_mode():
            yield encoder(**batch), batch["attention_mask"]


@lru_cache(maxsize=4)
def _load(kind: Any, model: str) -> tuple[Any, Any]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        encoder = kind.from_pretrained(model)
    except (OSError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise BadParameter(f"can't load the model {model!r}: {line}") from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, encoder.eval()
