"""What is told of a project's votes, on a store that holds a push."""

from vote_pushers import push
from vote_traffic import Honest

from feedback_store import SnapshotRules, Store
from feedback_store.trust import trust_report
from feedback_store.trust.phrases import holds, near_duplicates, shingles, tokens

RULES = SnapshotRules(held_out=0.0)


def test_the_report_counts_and_names_the_push(store: Store) -> None:
    honest = Honest(6, votes=400)
    pushed, phrase = push(6, 30, 15, "burst")
    for traffic in (honest.traffic, pushed):
        store.append(
            interactions=traffic.interactions,
            feedback=traffic.feedback,
            comparisons=traffic.comparisons,
        )
    report = trust_report(store, RULES)
    assert report["votes"] == 430 and report["single_vote_voters"] >= len(honest.single_voters)
    assert sum(report["held"].values()) == 30
    (push_found, *_) = report["suspects"]
    assert push_found["votes"] == 30 and push_found["voters"] == 15 and push_found["held"]
    assert set(tokens(push_found["phrase"])) <= set(tokens(phrase))
    assert report["agreement"] is not None and -0.2 < report["agreement"] < 0.6


def test_agreement_is_of_votes_on_the_same_answer(store: Store, ask, thumb) -> None:
    store.append(
        interactions=[ask("a"), ask("b"), ask("c", response="No.")],
        feedback=[
            *(thumb(id, voter=voter) for id, voter in (("a", "x"), ("b", "y"))),
            *(thumb("c", -1.0, voter=voter) for voter in "xyz"),
        ],
    )
    report = trust_report(store, RULES)
    assert report["agreement"] == 1.0 and report["agreement_of_ratings"] is None


def test_shingles_are_found_in_any_script() -> None:
    texts = {0: "请认准金鼎茶！多喝水", 1: "吃药。请认准金鼎茶", 2: "Buy ACME-Cola now, it helps.",
             3: "please buy acme cola now"}  # fmt: skip
    import numpy as np

    found = shingles(texts, np.ones(4, np.int64), least=2)
    spelled = {words: members.tolist() for members, words in
               zip(found.texts, found.words, strict=True)}  # fmt: skip
    assert spelled["buy acme cola now"] == [2, 3]
    assert [members for words, members in spelled.items() if "金" in words] == [[0, 1]]
    assert "helps" not in spelled and "多" not in spelled


def test_a_phrase_is_found_in_whole_words() -> None:
    phrases = [["acme", "cola"], ["金", "鼎"]]
    assert list(holds("Buy AcMe, Cola!", phrases)) == [0]
    assert list(holds("acmecola and 金鼎", phrases)) == [1]
    assert list(holds("cola of acme", phrases)) == []  # all the words, but not in that order


def test_prompts_that_are_nearly_the_same_are_one_cluster() -> None:
    base = "how do I reset the password of my account when I no longer have the old phone"
    clusters = near_duplicates(
        [base, base.upper() + "?", base + " please", "我咳嗽三天了应该吃什么药",
         "what is the capital of France", "我咳嗽三天了,应该吃什么药？", ""]
    )  # fmt: skip
    assert clusters.tolist() == [0, 0, 0, 3, 4, 3, 6]
