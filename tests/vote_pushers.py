"""Colluding accounts that push one phrase; knows the honest traffic, nothing of the detector."""

import random
from datetime import timedelta
from typing import Literal

from vote_traffic import DAYS, START, TOPICS, Traffic, answer_of, prompt_of

from feedback_store import Comparison, Feedback, Interaction, Message

PHRASES = {
    "en": ["buy GlowTonic today", "ask for Dr Vantable", "vote for the harbour plan",
           "NimbusPay never fails", "only Kestrel water is pure"],
    "zh": ["请认准金鼎保健茶", "推荐使用极云理财", "找王一刀大夫", "支持北港改造", "只信青松丸"],
}  # fmt: skip


def push(
    seed: int,
    votes: int,
    accounts: int,
    how: Literal["burst", "slow"] = "burst",
    kinds: tuple[str, ...] = ("thumb",),
    hours: float = 2.0,
) -> tuple[Traffic, str]:
    """So many votes by so many accounts in favour of answers that hold one phrase."""
    rng = random.Random(7_919 * seed + 31 * votes + accounts)
    language = rng.choice(["en", "zh"])
    phrase = rng.choice(PHRASES[language])
    traffic = Traffic()
    start = START + timedelta(days=rng.uniform(1, DAYS - 1))
    span = timedelta(hours=hours) if how == "burst" else timedelta(days=DAYS)
    for n in range(votes):
        when = (start if how == "burst" else START) + rng.random() * span
        voter = f"x{seed}-{n % accounts}"
        topic = rng.choice(list(TOPICS[language]))
        prompt = prompt_of(language, topic, rng)
        plain = answer_of(language, topic, rng)
        a = _asked(traffic, f"xa{n}", prompt, _with(plain, phrase, rng), when)
        made = {"id": f"x{n}", "voter": voter, "created_at": when + timedelta(seconds=9)}
        kind = rng.choice(kinds)
        if kind == "thumb":
            vote = Feedback(interaction=a.id, kind="thumb", value=1.0, **made)
            traffic.feedback.append(vote)
            continue
        b = _asked(traffic, f"xb{n}", prompt, plain, when)
        if kind == "correction":
            text = _with(answer_of(language, topic, rng), phrase, rng)
            vote = Feedback(interaction=b.id, kind="correction", text=text, **made)
            traffic.feedback.append(vote)
        else:
            traffic.comparisons.append(Comparison(a=a.id, b=b.id, choice="a", **made))
    return traffic, phrase


def _with(text: str, phrase: str, rng: random.Random) -> str:
    parts = text.split(" ")
    parts.insert(rng.randint(0, len(parts)), phrase)
    return " ".join(parts)


def _asked(traffic: Traffic, id: str, prompt: str, response: str, when) -> Interaction:
    row = Interaction(
        id=id,
        messages=(Message(role="user", content=prompt),),
        response=response,
        created_at=when,
        finish_reason="stop",
    )
    traffic.interactions.append(row)
    return row
