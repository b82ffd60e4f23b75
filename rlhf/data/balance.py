"""Where a data set is out of balance: thresholds in YAML, and one line for each that is crossed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from rlhf.config import Settings

Share = Annotated[float, Field(ge=0, le=1)]
Found = Mapping[str, Any]
Told = tuple[str, str]  # the check's name and its line

_FEW = 5  # rows; a share of fewer says nothing
_EXPECTED = 20  # rows that an empty cell would hold if intents and styles were independent


class CoverageThresholds(Settings):
    """What is warned of; shares are of all rows, and 0 or 1 at its end switches a warning off."""

    intents: tuple[str, ...] = ()
    """Intents that there must be."""
    intent_min: Share = 0.02
    """The least share of each intent (half of an even share where there are very many)."""
    intent_max: Share = 0.4
    """The largest share of one intent (1.5 times an even share where there are few)."""
    unlabelled_max: Share = 0.2
    """The largest share of rows without an intent, and without a style."""
    style_min: Share = 0.02
    """The least share of each style."""
    empty_cells: bool = True
    """Warn of an intent that never comes in a style that is common elsewhere."""
    stages: tuple[str, ...] = ("question", "counter_question", "confirmation", "summary")
    """Stages of a dialogue's path that there must be."""
    stage_min: Share = 0.005
    """The least share of rows with each stage."""
    user_max: Share = 0.05
    """The largest share of one user."""
    prompt_max: Share = 0.01
    """The largest share of one prompt."""
    duplicates_max: Share = 0.05
    """The largest share of rows that were duplicates (they are taken out all the same)."""
    rejected_max: Share = 0.01
    """The largest share of rows that could not be read."""
    languages: tuple[str, ...] = ()
    """Languages that there must be: `zh`, `en`."""
    language_min: Share = 0.02
    """The least share of each language, and the largest of text that is in none."""
    short_answer: int = Field(default=5, ge=0)
    """An answer of fewer characters is short."""
    long_answer: int = Field(default=4_000, ge=1)
    """An answer of more characters is long."""
    length_max: Share = 0.05
    """The largest share of short answers, and of long ones."""
    distinct_2_min: Share = 0.01
    """The least share of distinct word pairs among 50,000 words."""
    compliance_max: Share = 0.0
    """The largest share of sampled answers that break a compliance rule."""
    synthetic_max: Share = 0.3
    """The largest share of synthetic rows."""


def warnings(found: Found, limits: CoverageThresholds) -> list[dict[str, str]]:
    """What is out of balance, each with what to do about it."""
    if not found["rows"]:
        return [{"check": "rows", "line": "no rows; see the rejected ones for why"}]
    checks = (_intents, _styles, _stages, _users, _prompts, _languages, _lengths, _quality)
    return [
        {"check": check, "line": line} for some in checks for check, line in some(found, limits)
    ]


def _intents(found: Found, limits: CoverageThresholds) -> Iterator[Told]:
    intents, rows = found["intents"], found["rows"]
    yield from _unlabelled("intent", 1 - intents["named"] / rows, limits)
    shares = {entry["intent"]: entry["share"] for entry in intents["table"]}
    absent = [name for name in limits.intents if name not in shares]
    if absent:
        yield "intent", f"no row has the intent {_listed(absent)}; add dialogues of it"
    if not shares:
        return
    even = 1 / len(shares)
    low, high = min(limits.intent_min, even / 2), max(limits.intent_max, 1.5 * even)
    few = [f"{name} ({share:.1%})" for name, share in shares.items() if share < low]
    if few:
        yield (
            "intent",
            f"{len(few)} of {intents['distinct']} intents are under {low:.1%}: {_listed(few)}; "
            "add dialogues, augment them, or merge the intents",
        )
    for name, share in shares.items():
        if share > high and len(shares) > 1:
            yield (
                "intent",
                f"the intent {name} is {share:.1%} of the rows (over {high:.0%}); "
                "add others or keep fewer of it",
            )


def _styles(found: Found, limits: CoverageThresholds) -> Iterator[Told]:
    intents, rows = found["intents"], found["rows"]
    yield from _unlabelled("style", 1 - intents["styled"] / rows, limits)
    low = min(limits.style_min, 0.5 / max(1, len(intents["styles"])))
    few = [f"{n} ({s['share']:.1%})" for n, s in intents["styles"].items() if s["share"] < low]
    if few:
        yield "style", f"styles under {low:.1%}: {_listed(few)}; add answers in them or drop them"
    apart = list(_empty_cells(intents)) if limits.empty_cells else []
    if apart:
        yield (
            "style",
            f"intents that never come in a style: {_listed(apart)}; "
            "add such answers, or the policy will not learn the two together",
        )


def _empty_cells(intents: Found) -> Iterator[str]:
    """Intents with a style that they lack although both are common."""
    for entry in intents["table"]:
        lacking = [
            style
            for style, told in intents["styles"].items()
            if entry["rows"] * told["share"] >= _EXPECTED and style not in entry["styles"]
        ]
        if lacking:
            yield f"{entry['intent']} ({_listed(lacking)})"


def _unlabelled(label: str, share: float, limits: CoverageThresholds) -> Iterator[Told]:
    if share > limits.unlabelled_max:
        amount = "no row has" if share == 1.0 else f"{share:.1%} of the rows lack"
        yield (
            label,
            f"{amount} a label `{label}`; add the column, or allow it by `unlabelled_max`",
        )


def _stages(found: Found, limits: CoverageThresholds) -> Iterator[Told]:
    for stage in limits.stages:
        share = found["stages"].get(stage, {"share": 0.0})["share"]
        if share < limits.stage_min:
            amount = f"in {share:.2%} of the rows only" if share else "missing"
            yield (
                "stage",
                f"the path's stage `{stage}` is {amount}; "
                f"{_STAGE_ADVICE.get(stage, 'add dialogues that hold it')}",
            )


_STAGE_ADVICE = {
    "question": "add dialogues in which the user asks",
    "counter_question": "add answers that ask back for what is missing or offer the next step",
    "confirmation": "add dialogues in which what was understood is confirmed",
    "summary": "add answers that sum up at the end",
}


def _users(found: Found, limits: CoverageThresholds) -> Iterator[Told]:
    large = [u for u in found["users"]["largest"] if _above(u, limits.user_max)]
    if large:
        others = f" and {len(large) - 1} more are over {limits.user_max:.0%}" * (len(large) > 1)
        yield (
            "user",
            f"the user {large[0]['user']} wrote {large[0]['share']:.1%} of the rows{others}; "
            "keep fewer of theirs, or the policy learns one person's manner",
        )


def _prompts(found: Found, limits: CoverageThresholds) -> Iterator[Told]:
    large = [p for p in found["prompts"]["largest"] if _above(p, limits.prompt_max)]
    if large:
        text = large[0]["prompt"]
        told = text if len(text) <= 40 else text[:40] + "…"
        yield (
            "prompt",
            f"{len(large)} prompts are over {limits.prompt_max:.0%} each, the first "
            f"({large[0]['share']:.1%}): {told}; keep a few answers to each",
        )
    gone = found["duplicates"]["share"]
    if gone > limits.duplicates_max:
        yield (
            "duplicates",
            f"{gone:.1%} of what was read were duplicates; they are out, look where they come from",
        )


def _languages(found: Found, limits: CoverageThresholds) -> Iterator[Told]:
    shares = {name: told["share"] for name, told in found["languages"].items()}
    stray = shares.get("other", 0.0)
    if stray > limits.language_min:
        yield (
            "language",
            f"{stray:.1%} of the rows are neither Chinese nor English; "
            "take them out, or check the files' encoding",
        )
    for name in ("zh", "en"):
        share = shares.get(name, 0.0)
        # A tenth of the threshold is a stray row, not a language.
        present = share >= limits.language_min / 10 or name in limits.languages
        if present and share < limits.language_min:
            yield (
                "language",
                f"`{name}` is {share:.2%} of the rows: too few to learn it; add some, or drop them",
            )


def _lengths(found: Found, limits: CoverageThresholds) -> Iterator[Told]:
    short, long = (found["lengths"]["answer"][end] for end in ("short", "long"))
    if short > limits.length_max:
        yield (
            "length",
            f"{short:.1%} of the answers have fewer than {limits.short_answer} characters; "
            "take out what answers nothing",
        )
    if long > limits.length_max:
        yield (
            "length",
            f"{long:.1%} of the answers have more than {limits.long_answer} characters; "
            "cut them, or raise the stage's `max_length`",
        )


def _quality(found: Found, limits: CoverageThresholds) -> Iterator[Told]:
    words = found["vocabulary"]
    if words["words"] > 1_000 and words["distinct_2"] < limits.distinct_2_min:
        yield (
            "vocabulary",
            f"only {words['distinct_2']:.2%} of the word pairs are distinct; "
            "the answers repeat each other, add others",
        )
    broken = found["compliance"]
    if broken["share"] > limits.compliance_max:
        rules = [
            f"{rule} ({', '.join(told['sources'][:2])})" for rule, told in broken["rules"].items()
        ]
        yield (
            "compliance",
            f"{broken['rows']} of {found['sampled']} sampled answers break a rule: "
            f"{_listed(rules)}; mend or remove such answers",
        )
    made = sum(told["share"] for told in found["synthetic"].values())
    if made > limits.synthetic_max:
        yield "synthetic", f"{made:.1%} of the rows are synthetic; add real ones or make fewer"
    lost = sum(found["rejected"].values())
    if lost > limits.rejected_max * (lost + found["rows"]):
        yield (
            "rejected",
            f"{lost} rows could not be read; see `rejected.jsonl` for each one's reason",
        )


def _above(told: Mapping[str, Any], limit: float) -> bool:
    return bool(told["share"] > limit and told["rows"] >= _FEW)


def _listed(names: list[str], most: int = 6) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
