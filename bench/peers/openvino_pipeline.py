"""OpenVINO GenAI's continuous batching driven by its own Python interface, with its own text."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from rlhf.models import gguf_of


@contextmanager
def pipeline_stream(base_model: str, most: int) -> Iterator[Any]:
    """A stream of texts for each question; one thread steps the pipeline for all."""
    import openvino_genai as genai

    pipeline = genai.ContinuousBatchingPipeline(
        str(gguf_of(base_model)), genai.SchedulerConfig(), "CPU", {}
    )
    tokenizer = pipeline.get_tokenizer()
    asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stop = threading.Event()

    def draw() -> None:
        under_way: list[tuple[Any, list[int], Any]] = []
        number = 0
        while not stop.is_set():
            while not under_way or not asked.empty():
                try:
                    prompt, config, tell = asked.get(timeout=0.1)
                except queue.Empty:
                    break
                under_way.append((pipeline.add_request(number, prompt, config), [], tell))
                number += 1
            if under_way:
                pipeline.step()
                under_way = [one for one in under_way if _tell(one, tokenizer, genai)]

    async def stream(question: str, seed: int) -> AsyncIterator[str]:
        config = genai.GenerationConfig()
        config.max_new_tokens, config.do_sample = most, True
        config.temperature, config.top_p, config.rng_seed = 0.7, 0.95, seed
        config.set_eos_token_id(tokenizer.get_eos_token_id())
        turns = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True)
        loop, texts = asyncio.get_running_loop(), asyncio.Queue[str | None]()
        asked.put((prompt, config, lambda text: loop.call_soon_threadsafe(texts.put_nowait, text)))
        while (text := await texts.get()) is not None:
            yield text

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield stream
    finally:
        stop.set()
        thread.join()


def _tell(one: tuple[Any, list[int], Any], tokenizer: Any, genai: Any) -> bool:
    """Pass on what was drawn; False once the answer has ended."""
    handle, ids, tell = one
    while handle.can_read():
        before = tokenizer.decode(ids) if ids else ""
        ids += handle.read()[0].generated_ids
        tell(tokenizer.decode(ids)[len(before) :])
    if handle.get_status() == genai.GenerationStatus.RUNNING:
        return True
    tell(None)
    return False
