"""The service: answers and votes over HTTP.

client ──▶ app ──▶ traffic (which policy) ──▶ engine (a process of its own) ──▶ tokens
            │                                                                     │
            ╰──▶ store ◀── interaction, with policy, style, sampling and times ◀──╯
"""
