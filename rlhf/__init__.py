"""A loop that turns users' feedback into better dialogue policies, and proves each step."""

__version__ = "0.1.0"
