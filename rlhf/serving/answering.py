"""One answer from its order to its record, in a task that outlives the request.

    drawn ──▶ screened ──▶ shown ──▶ recorded ──▶ the client's last chunk
      ╰─ client gone, time over, engine lost ─────▶ recorded as such

Whoever listens takes texts from a queue; nobody need listen for the record to be made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from feedback_store import printable
from rlhf.errors import DataError
from rlhf.serving.engines import Ask, EngineFailed, Piece
from rlhf.serving.problems import Problem
from rlhf.serving.recording import Finish, Order, Outcome, interaction_of
from rlhf.serving.service import Service
from rlhf.serving.storage import Storage

log = logging.getLogger(__name__)

NOT_IN_TIME = "no answer in time; send the same again when there is less to do"


class Answer:
    """One answer under way."""

    def __init__(
        self, service: Service, storage: Storage, order: Order, template_hash: str | None
    ) -> None:
        self.order = order
        self.outcome = Outcome()
        self.failure: Exception | None = None
        self._service = service
        self._storage = storage
        self._template_hash = template_hash
        self._texts: asyncio.Queue[str | None] = asyncio.Queue()
        asked = (m["content"] for m in reversed(order.messages) if m["role"] == "user")
        self._prompt = next(asked, "")
        self._stream = service.screen.stream(self._prompt)
        self._drawing = True
        self._began = time.perf_counter()
        self.task = asyncio.create_task(self._run())

    async def next(self) -> str | None:
        """The next text to show, an empty one when drawing has begun; None once all is recorded.

        Raises what the answer failed of.
        """
        text = await self._texts.get()
        if text is None:
            self._texts.put_nowait(None)
            if self.failure is not None:
                raise self.failure
            return None
        return text

    def stop(self) -> None:
        """The client went away: stop drawing and record what is there. Does nothing later on."""
        if self._drawing and not self.task.cancelling():
            self.task.cancel()

    async def _run(self) -> None:
        arm, outcome = self.order.arm, self.outcome
        try:
            with self._service.traffic.lease(arm):
                outcome.finish = await self._drawn()
            outcome.latency_ms = self._elapsed()
            self._service.traffic.finished(
                arm,
                error=outcome.finish == "error",
                blocked=bool(outcome.blocked),
                first_token_ms=outcome.first_token_ms,
            )
            await self._record()
            self._count()
        except Exception as error:
            self.failure = error
            if not isinstance(error, DataError):
                log.error("answer %s was not recorded: %s", self.order.id, type(error).__name__)
        finally:
            self._texts.put_nowait(None)

    async def _drawn(self) -> Finish:
        """Draw until there is an end, of whatever kind; raises for turns that can't be asked."""
        try:
            try:
                finish: Finish = await self._draw()
            finally:
                self._drawing = False
            return await self._screened(finish)
        except asyncio.CancelledError:
            self._this_task().uncancel()
            self.outcome.response = self.outcome.text
            return "cancelled"
        except DataError:
            raise
        except Exception as error:
            told = str(error) if isinstance(error, EngineFailed | Problem) else ""
            log.warning("answer %s broke off: %s %s", self.order.id, type(error).__name__, told)
            self.failure = error
            self.outcome.response = self.outcome.text
            return "error"

    async def _draw(self) -> Finish:
        try:
            async with asyncio.timeout(self._service.config.limits.seconds):
                return await self._pieces()
        except TimeoutError:
            if not self.outcome.pieces:
                headers = {"Retry-After": "5"}
                raise Problem(503, NOT_IN_TIME, code="timeout", headers=headers) from None
            return "length"

    async def _pieces(self) -> Finish:
        order = self.order
        ask = Ask(
            id=order.id,
            messages=order.messages,
            style=order.style,
            policy=order.arm.policy.label,
            sampling=order.sampling,
            seed=order.seed,
            stop=order.stop,
        )
        pieces = cast(AsyncGenerator[Piece, None], self._service.engine.answer(ask))
        async with aclosing(pieces):
            async for piece in pieces:
                self._take(piece)
                if order.streams:
                    self._show(await self._stream.feed(printable(piece.text)))
                if piece.finish_reason is not None:
                    return piece.finish_reason
        raise EngineFailed("the engine ended an answer without a reason")

    def _take(self, piece: Piece) -> None:
        outcome = self.outcome
        if piece.prompt_tokens is not None:
            outcome.prompt_tokens = piece.prompt_tokens
        if not (piece.text or piece.token_ids):
            return
        if outcome.first_token_ms is None:
            outcome.first_token_ms = self._elapsed()
            self._texts.put_nowait("")  # all went well so far, though nothing is shown yet
        outcome.text += printable(piece.text)
        outcome.token_ids.extend(piece.token_ids)
        outcome.pieces += 1

    def _show(self, text: str) -> None:
        if text:
            self.outcome.response += text
            self._texts.put_nowait(text)

    async def _screened(self, finish: Finish) -> Finish:
        """Show what is left, or the refusal in its place; returns the end that it comes to."""
        outcome = self.outcome
        if self.order.streams:
            rest = await self._stream.end()
            outcome.blocked = self._stream.broken
        else:
            rest = outcome.text
            outcome.blocked = await self._service.screen.check(self._prompt, rest)
        if not outcome.blocked:
            self._show(rest)
            return finish
        refusal = self._service.screen.refusal(self.order.messages)
        self._show(f"\n\n{refusal}" if outcome.response else refusal)
        return "content_filter"

    async def _record(self) -> None:
        outcome, order = self.outcome, self.order
        project = self._service.config.project
        interaction = interaction_of(project, order, outcome, self._template_hash)
        # With `wait`, as votes are stored: calls of one kind share their commit's work.
        await self._storage.run(lambda store: store.append(interactions=[interaction], wait=True))
        self._storage.remember(order.id)

    def _count(self) -> None:
        outcome = self.outcome
        self._service.telemetry.answered(
            self.order.arm.role,
            outcome.finish,
            blocked=bool(outcome.blocked),
            first_token_ms=outcome.first_token_ms,
            prompt_tokens=outcome.prompt_tokens,
            completion_tokens=outcome.completion_tokens,
        )

    def _elapsed(self) -> float:
        return round((time.perf_counter() - self._began) * 1000, 3)

    @staticmethod
    def _this_task() -> asyncio.Task[object]:
        task = asyncio.current_task()
        assert task is not None
        return task


class Answers:
    """All answers under way in one service."""

    def __init__(self, service: Service, storage: Storage, template_hash: str | None) -> None:
        self._service = service
        self._storage = storage
        self._template_hash = template_hash
        self._under_way: set[Answer] = set()

    def __len__(self) -> int:
        return len(self._under_way)

    def check_room(self) -> None:
        """Raise `Problem` 429 where too many wait already."""
        if len(self) >= self._service.config.limits.waiting:
            message = f"{len(self)} answers are under way; come back in a moment"
            headers = {"Retry-After": "1"}
            raise Problem(429, message, code="too_many_answers", headers=headers)

    def begin(self, order: Order) -> Answer:
        """Start drawing."""
        answer = Answer(self._service, self._storage, order, self._template_hash)
        self._under_way.add(answer)
        self._service.telemetry.under_way.inc()
        answer.task.add_done_callback(lambda _: self._end(answer))
        return answer

    def _end(self, answer: Answer) -> None:
        self._under_way.discard(answer)
        self._service.telemetry.under_way.dec()

    async def drain(self, seconds: float) -> None:
        """Let answers come to their end for so long, then stop them; all are recorded."""
        tasks = {answer.task for answer in self._under_way}
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for answer in list(self._under_way):
            answer.stop()
        if left := {answer.task for answer in self._under_way}:
            await asyncio.wait(left, timeout=seconds)
