"""The dashboard's counts written out slowly: every live row, one after another."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

from feedback_store import Feedback, Interaction, Store
from feedback_store.reading.figures import Key
from rlhf.serving import answer_sample
from rlhf.serving.histogram import place

Counts = dict[Key, dict[str, Any]]


def counted(store: Store, project: str) -> Counts:
    """What has been counted so far, without the samples."""
    dimensions = ("all", "policy", "style", "intent", "language")
    wanted = [*dimensions, *(f"{name}/day" for name in dimensions), "arena"]
    rows = store.figures(project, wanted)
    return {Key(row.hour, row.dimension, row.name): row.counts for row in rows}


def by_hand(store: Store, project: str) -> Counts:
    """The same from the rows."""
    total: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    answers = {row.id: row for row in store.interactions(project=project)}

    def add(row: Any, about: list[Interaction], name: str, count: int = 1) -> None:
        hour = hour_of(row.created_at)
        told = f"simulated/{name}" if row.simulated else name
        for dimension, label in {pair for answer in about for pair in labels(answer)}:
            total[Key(hour, dimension, label)][told] += count
            total[Key(hour - hour % 24, f"{dimension}/day", label)][told] += count

    for answer in answers.values():
        for name, count in of_answer(answer):
            add(answer, [answer], name, count)
    for answer, counts in sampled(list(answers.values())):
        for name, count in counts.items():
            add(answer, [answer], name, count)
    for word in store.feedback(project=project):
        for name, count in of_word(store, word):
            add(word, [answers[word.interaction]], name, count)
    for choice in store.comparisons(project=project):
        a, b = answers[choice.a], answers[choice.b]
        add(choice, [a, b], "comparisons")
        add(choice, [a, b], f"comparisons/{choice.reason or 'none'}")
        reason = choice.reason or "none"
        told = f"simulated/{reason}" if choice.simulated else reason
        total[Key(0, "arena", contest(a, b, choice.choice, choice.shown_first))][told] += 1
    return {key: {n: c for n, c in counts.items() if c} for key, counts in total.items() if counts}


def hour_of(moment: datetime | None) -> int:
    assert moment is not None
    return int(moment.timestamp() // 3600)


def labels(answer: Interaction) -> list[tuple[str, str]]:
    text = answer.response
    language = "other"
    if not re.search("[\u3041-\u30ff\uac00-\ud7a3]", text):
        if re.search("[\u4e00-\u9fff]", text):
            language = "zh"
        elif re.search("[A-Za-z]", text):
            language = "en"
    named = {"policy": answer.policy, "style": answer.style, "intent": answer.intent}
    return [("all", ""), ("language", language), *((k, v or "") for k, v in named.items())]


def of_answer(answer: Interaction) -> list[tuple[str, int]]:
    found = [("answers", 1)]
    blocked = answer.blocked is not None or answer.finish_reason == "content_filter"
    ends = {"error": "error", "cancelled": "cancelled", "length": "cut"}
    if blocked:
        found.append(("blocked", 1))
    elif answer.finish_reason in ends:
        found.append((ends[answer.finish_reason], 1))
    if answer.first_token_ms is not None:
        found.append((f"first_token_ms/{place(answer.first_token_ms)}", 1))
    tokens, wait = answer.completion_tokens, answer.first_token_ms
    if tokens and answer.latency_ms:
        later = tokens if wait is None else tokens - 1
        spent = answer.latency_ms - (wait or 0)
        if later > 0 and spent > 0:
            found.append((f"tokens_per_s/{place(1000 * later / spent)}", 1))
    if is_whole(answer):
        found.append((f"characters/{place(len(answer.response))}", 1))
        if tokens:
            found.append((f"tokens/{place(tokens)}", 1))
    found.append(("prompt_tokens", answer.prompt_tokens or 0))
    found.append(("completion_tokens", tokens or 0))
    return found


def is_whole(answer: Interaction) -> bool:
    ended = answer.finish_reason in (None, "stop", "length")
    return ended and answer.blocked is None and answer.response != ""


def sampled(answers: list[Interaction]) -> list[tuple[Interaction, dict[str, int]]]:
    groups: defaultdict[tuple[int, bool], list[Interaction]] = defaultdict(list)
    for answer in filter(is_whole, answers):
        groups[hour_of(answer.created_at), answer.simulated].append(answer)
    found = []
    for members in groups.values():
        members.sort(key=lambda a: hashlib.blake2b(a.id.encode(), digest_size=8).hexdigest())
        for answer in members[: answer_sample.SAMPLE]:
            asked = [message.model_dump() for message in answer.messages]
            found.append((answer, answer_sample.score(asked, answer.response, answer.style or "")))
    return found


def of_word(store: Store, word: Feedback) -> list[tuple[str, int]]:
    if word.kind == "implicit":
        return [(f"signal/{word.metric}", 1)]
    found = [(f"{word.kind}s", 1)]
    if word.kind in ("thumb", "rating"):
        value = store.metrics.to_scale(word)
        up, down = (value > 0, value < 0) if word.kind == "thumb" else (value >= 4, value <= 2)
        found += [("up", 1)] * up + [("down", 1)] * down
        if word.kind == "rating":
            found.append(("rating_sum", round(1000 * value)))
    return found


def contest(a: Interaction, b: Interaction, choice: str, shown: str | None) -> str:
    swapped = (b.policy or "") < (a.policy or "")
    first, second = (b, a) if swapped else (a, b)
    names = {"a": "second", "b": "first"} if swapped else {"a": "first", "b": "second"}
    long, other = len(first.response), len(second.response)
    place = round(10 * (long - other) / (long + other)) + 10 if long + other else 10
    parts = (first.policy or "", second.policy or "", names.get(choice, choice))
    return "|".join((*parts, names.get(shown or "", ""), str(place)))
