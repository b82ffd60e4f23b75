"""Answers from a vLLM server, on machines that have a GPU for it."""

from rlhf.vllm.sampler import VllmSampler

__all__ = ["VllmSampler"]
