"""Embeddings and labels, with tiny random models against a plain loop over single texts."""

from pathlib import Path

import pytest
import torch
from tokenizers import BertWordPieceTokenizer
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizerFast,
)

from rewards import BadParameter, bind, resolve
from rewards.relevance import relevance
from rewards.services.encoder import cosines, embed, probabilities
from rewards.toxicity import toxicity

TEXTS = ["退款三天到账", "the refund takes three days", "sunny", "", "refund " * 900]
CHARS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"退款三天到账",
    *"abcdefghijklmnopqrstuvwxyz",
]
CHARS += [f"##{char}" for char in "abcdefghijklmnopqrstuvwxyz"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A random encoder and a random classifier."""
    torch.manual_seed(0)
    base = tmp_path_factory.mktemp("encoders")
    words = BertWordPieceTokenizer(vocab={char: at for at, char in enumerate(CHARS)})
    tokenizer = BertTokenizerFast(tokenizer_object=words._tokenizer, model_max_length=64)
    labels = {"id2label": {0: "fine", 1: "toxic"}, "label2id": {"fine": 0, "toxic": 1}}
    config = BertConfig(
        vocab_size=len(CHARS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        initializer_range=0.5,
        **labels,
    )
    for name, model in [("e", BertModel(config)), ("c", BertForSequenceClassification(config))]:
        model.save_pretrained(base / name)
        tokenizer.save_pretrained(base / name)
    return str(base / "e"), str(base / "c")


def one_by_one(folder, text):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    ids = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
    with torch.no_grad():
        mean = model.eval()(**ids).last_hidden_state[0].mean(0)
    return mean / mean.norm()


def test_embeddings_in_a_batch_are_those_of_single_texts(folders):
    vectors = embed(TEXTS, folders[0])
    for text, vector in zip(TEXTS, vectors, strict=True):
        if text:
            torch.testing.assert_close(vector, one_by_one(folders[0], text), atol=1e-5, rtol=0)
    assert not vectors[3].any()


def test_cosines_pair_texts_row_by_row(folders):
    vectors = embed(TEXTS, folders[0])
    expected = [float(vectors[0] @ vectors[at]) for at in range(5)]
    assert cosines([TEXTS[0]] * 5, TEXTS, folders[0]) == pytest.approx(expected, abs=1e-5)
    assert cosines([], [], folders[0]) == []


def test_relevance_by_a_model(folders, tmp_path):
    scores = relevance([TEXTS[0]] * 2, [TEXTS[0], ""], model=folders[0])
    assert scores == [pytest.approx(1.0, abs=1e-5), 0.0]
    with pytest.raises(BadParameter, match="can't load the model"):
        relevance(["?"], ["x"], model=tmp_path)


def test_toxicity_takes_the_worse_of_words_and_model(folders):
    heard = probabilities(TEXTS, folders[1], "toxic")
    assert toxicity(["?"] * 5, TEXTS, model=folders[1]) == pytest.approx([-p for p in heard])
    assert toxicity(["?"], ["Kill yourself."], model=folders[1]) == [-1.0]
    model = AutoModelForSequenceClassification.from_pretrained(folders[1]).eval()
    ids = AutoTokenizer.from_pretrained(folders[1])(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        assert heard[0] == pytest.approx(float(model(**ids).logits.softmax(-1)[0, 1]), abs=1e-5)
    with pytest.raises(BadParameter, match="no label 'toxik'; did you mean 'toxic'"):
        toxicity(["?"], ["x"], model=folders[1], label="toxik")


def test_a_models_folder_is_found_beside_the_configuration(folders):
    bound = bind(resolve("relevance"), {"model": "e"}, base=Path(folders[0]).parent)
    assert bound(["sunny"], ["sunny"]) == [pytest.approx(1.0, abs=1e-5)]
