import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from rlhf.evaluation.overlap import corpus_bleu, rouge, sentence_bleu

ZH = [
    ("请多休息，多喝水，注意保暖。", "请注意休息，多喝温水。"),
    ("建议您去医院检查血常规。", "建议去医院做血常规检查，必要时拍片。"),
    ("不知道", "您好，没有问题的"),
]
EN = [
    ("Please send us your order number today.", "Please send your order number to us."),
    ("It's late; the parcel left on Monday.", "The parcel left our store on Monday."),
]


@pytest.mark.parametrize(("pairs", "tokenize"), [(ZH, "zh"), (EN, "13a")])
def test_bleu_is_sacrebleu_s(pairs, tokenize):
    rows = [sentence_bleu(answer, reference) for answer, reference in pairs]
    for row, (answer, reference) in zip(rows, pairs, strict=True):
        oracle = sacrebleu.sentence_bleu(answer, [reference], tokenize=tokenize)
        assert row.score == pytest.approx(oracle.score)
    corpus = corpus_bleu(rows, range(len(rows)))
    answers, references = zip(*pairs, strict=True)
    oracle = sacrebleu.corpus_bleu(list(answers), [list(references)], tokenize=tokenize)
    assert corpus.mean == pytest.approx(oracle.score)
    assert corpus.low <= corpus.mean <= corpus.high and corpus.n == len(pairs)


def test_the_reference_s_language_chooses_the_tokenizer():
    assert sentence_bleu("hello", "请多喝水，用 OK 键确认").language == "zh"
    assert sentence_bleu("你好", "Press the 确认 key to go on").language == "en"


def test_a_corpus_of_one_conversation_has_no_interval():
    rows = [sentence_bleu(a, r) for a, r in ZH]
    assert corpus_bleu(rows, ["same"] * 3).low is None
    assert corpus_bleu([], []) is None


@given(st.lists(st.sampled_from(["the", "parcel", "left", "our", "on", "it"]), max_size=12))
def test_rouge_of_english_is_rouge_score_s(words):
    answer, reference = " ".join(words), EN[1][1]
    oracle = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"]).score(reference, answer)
    assert rouge(answer, reference) == {k: pytest.approx(v.fmeasure) for k, v in oracle.items()}


def test_rouge_sees_chinese():
    scores = rouge("多喝温水", "多喝水")
    assert scores["rouge1"] == pytest.approx(2 * (3 / 4) * 1 / (3 / 4 + 1))
    assert scores["rouge2"] == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert scores["rougeL"] == scores["rouge1"]
    assert rouge("多喝水", "多喝水")["rouge2"] == 1.0
    assert rouge("", "多喝水")["rouge1"] == 0.0
