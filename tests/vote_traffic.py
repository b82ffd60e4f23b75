"""A fortnight of honest votes, as various as a small public service sees them.

Three languages with a daily rhythm each, popular prompts with a few answers that many judge and
unlike ones that nobody else asks, people who vote once and people who come back to their topics in
sessions, tastes that differ, one wave of newcomers.
"""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from feedback_store import Comparison, Feedback, Interaction, Message

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 14

TOPICS = {
    "zh": {
        "退款": ["怎么申请退款", "退款多久到账", "订单取消后钱在哪里", "部分退款可以吗"],
        "物流": ["快递到哪里了", "能换一个地址吗", "包裹破损怎么办", "可以自提吗"],
        "感冒": ["咳嗽三天了吃什么药", "发烧要不要去医院", "孩子流鼻涕怎么办", "喉咙痛怎么缓解"],
        "血压": ["血压有点高正常吗", "降压药漏服了怎么办", "低盐饮食怎么做", "早上量还是晚上量"],
        "数学": ["怎么解二次方程", "导数是什么意思", "概率题总是错", "几何辅助线怎么添"],
        "英语": ["怎么背单词", "时态分不清", "口语怎么练", "作文怎么开头"],
    },
    "en": {
        "billing": ["why was I charged twice", "change my card", "where is my invoice", "cancel"],
        "login": ["I forgot my password", "the code never arrives", "account locked", "new phone"],
        "sleep": ["I cannot fall asleep", "is coffee after lunch bad", "waking at four", "naps"],
        "knee": ["my knee hurts after running", "ice or heat", "how long to rest", "brace or not"],
        "algebra": ["factor this polynomial", "what is a vector", "matrix inverse", "word problem"],
        "history": ["causes of the first world war", "who was Hannibal", "silk road", "printing"],
    },
    "es": {
        "envíos": ["dónde está mi paquete", "cambiar la dirección", "llegó roto", "plazo de envío"],
        "dolor": ["me duele la cabeza", "dolor de espalda", "cuánto reposo necesito", "qué tomo"],
    },
}
STOCK = {
    "zh": ["您好，", "感谢您的提问。", "建议您先确认一下情况。", "如果没有好转，请及时就医。",
           "希望对您有帮助。", "请提供订单号。", "一般需要三到五个工作日。", "可以分几步来看。",
           "首先检查设置，", "然后再试一次。", "注意多喝水和休息。", "具体情况因人而异。"],
    "en": ["Thanks for asking.", "Let me help you with that.", "First, check the settings.",
           "It usually takes three to five days.", "If it gets worse, see a doctor.",
           "Here is one way to think about it.", "Try again after a restart.",
           "Let me know if that helps.", "It depends on the details.", "Take it step by step."],
    "es": ["Gracias por su pregunta.", "Primero revise los datos.", "Suele tardar unos días.",
           "Si empeora, consulte a un médico.", "Espero que le sirva.", "Depende del caso."],
}  # fmt: skip
FILLER = {
    "zh": "时间方法问题原因结果计划数据步骤环境习惯食物运动心情工作学习家庭城市天气价格质量",
    "en": "time plan cause water light result table choice habit week simple early paper number "
    "green model story change small field garden window summer answer record measure",
    "es": "tiempo plan causa agua luz mesa hábito semana papel número verde modelo historia campo",
}
PEAK = {"zh": 13, "en": 20, "es": 22}  # UTC hours


@dataclass
class Traffic:
    """Records to store, and who is who."""

    interactions: list[Interaction] = field(default_factory=list)
    feedback: list[Feedback] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def votes(self) -> int:
        return len(self.feedback) + len(self.comparisons)


def words(language: str, rng: random.Random, count: int) -> str:
    """Some filler, so that answers differ."""
    if language == "zh":
        return "".join(rng.choice(FILLER["zh"]) for _ in range(2 * count)) + "。"
    return " ".join(rng.choice(FILLER[language].split()) for _ in range(count)).capitalize() + "."


def prompt_of(language: str, topic: str, rng: random.Random) -> str:
    """A prompt that few others ask in these words."""
    asked = rng.choice(TOPICS[language][topic])
    return f"{asked} {words(language, rng, rng.randint(3, 8))}"


def answer_of(language: str, topic: str, rng: random.Random) -> str:
    """An answer made of stock phrases, the topic and filler."""
    parts = rng.sample(STOCK[language], rng.randint(2, 4))
    parts.insert(rng.randint(1, len(parts)), f"{topic} {words(language, rng, rng.randint(4, 12))}")
    return " ".join(parts)


def moment(language: str, rng: random.Random, day: int | None = None) -> datetime:
    """When somebody of this language is awake."""
    day = rng.randrange(DAYS) if day is None else day
    hour = rng.gauss(PEAK[language], 3.5) % 24
    return START + timedelta(days=day, hours=hour)


class Honest:
    """Draws votes until there are enough."""

    def __init__(self, seed: int, votes: int = 2_000, single: float = 0.45) -> None:
        self.rng = random.Random(seed)
        self.traffic = Traffic()
        self.popular = [self._popular(n) for n in range(30)]
        self.single_voters: set[str] = set()
        people = 0
        while self.traffic.votes < votes:
            people += 1
            voter = f"p{seed}-{people}"
            once = self.rng.random() < single / (single + (1 - single) / 8)
            count = 1 if once else 2 + int(self.rng.paretovariate(1.2) * 2.5)
            count = min(count, 40, votes - self.traffic.votes)
            if count == 1:
                self.single_voters.add(voter)
            self._person(voter, count)

    def _popular(self, n: int) -> tuple[str, str, str, list[tuple[str, float]]]:
        language = self.rng.choices(["zh", "en", "es"], [9, 8, 2])[0]
        topic = self.rng.choice(list(TOPICS[language]))
        prompt = self.rng.choice(TOPICS[language][topic]) + ("？" if language == "zh" else "?")
        answers = [(answer_of(language, topic, self.rng), self.rng.betavariate(5, 2))
                   for _ in range(self.rng.randint(2, 4))]  # fmt: skip
        return language, topic, f"{prompt}{n}", answers

    def _person(self, voter: str, count: int) -> None:
        rng = self.rng
        language = rng.choices(["zh", "en", "es"], [9, 8, 2])[0]
        topics = rng.sample(list(TOPICS[language]), min(2, len(TOPICS[language])))
        mood = min(0.97, max(0.2, rng.gauss(0.0, 0.12) + 0.5)) - 0.5
        # One person in seven comes with the wave of the ninth day.
        wave = rng.random() < 0.15
        left = count
        while left:
            when = moment(language, rng, 9 if wave else None)
            for _ in range(min(left, rng.randint(1, 6))):
                when += timedelta(minutes=rng.expovariate(0.3))
                self._vote(voter, language, rng.choice(topics), when, mood)
                left -= 1

    def _vote(self, voter: str, language: str, topic: str, when: datetime, mood: float) -> None:
        rng = self.rng
        known = [one for one in self.popular if one[0] == language]
        if known and rng.random() < 0.35:
            rank = min(int(rng.paretovariate(1.0)) - 1, len(known) - 1)
            _, topic, prompt, answers = known[rank]
            (first, quality), (second, other) = rng.sample(answers, 2)
        else:
            prompt = prompt_of(language, topic, rng)
            first, second = (answer_of(language, topic, rng) for _ in range(2))
            quality, other = rng.betavariate(5, 2), rng.betavariate(5, 2)
        kind = rng.choices(["thumb", "rating", "correction", "choice"], [75, 8, 5, 12])[0]
        a = self._asked(voter, prompt, first, when)
        chance = min(0.98, max(0.02, quality + mood))
        made = {"id": f"v{a.id}", "voter": voter, "created_at": when + timedelta(seconds=30)}
        if kind == "thumb":
            up = rng.random() < chance
            said = Feedback(interaction=a.id, kind="thumb", value=1.0 if up else -1.0, **made)
        elif kind == "rating":
            stars = float(rng.choice([4, 5]) if rng.random() < chance else rng.choice([1, 2]))
            said = Feedback(interaction=a.id, kind="rating", value=stars, **made)
        elif kind == "correction":
            said = Feedback(interaction=a.id, kind="correction", **made,
                            text=f"{first} {words(language, rng, 6)}")  # fmt: skip
        else:
            b = self._asked(voter, prompt, second, when)
            choice = "a" if rng.random() < quality / (quality + other) else "b"
            self.traffic.comparisons.append(Comparison(a=a.id, b=b.id, choice=choice, **made))
            return
        self.traffic.feedback.append(said)

    def _asked(self, voter: str, prompt: str, response: str, when: datetime) -> Interaction:
        row = Interaction(
            id=f"i{len(self.traffic.interactions)}",
            messages=(Message(role="user", content=prompt),),
            response=response,
            created_at=when,
            finish_reason="stop",
        )
        self.traffic.interactions.append(row)
        return row
