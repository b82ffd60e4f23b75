"""Who votes: a key's holder, who speaks for many, or the bearer of the token of one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from rlhf.serving.access import Access, Denied, admit
from rlhf.serving.problems import Problem
from rlhf.serving.service import Service

KEY_PREFIX = "rk_"
TOKEN_HEADER = "X-Vote-Token"

BEARER = HTTPBearer(scheme_name="api_key", auto_error=False)
TOKEN = APIKeyHeader(
    name=TOKEN_HEADER,
    scheme_name="vote_token",
    description="The token that came with an answer: for its voter and that answer alone.",
    auto_error=False,
)


@dataclass(frozen=True)
class Voice:
    """Somebody who may vote."""

    caller: str
    """A key's id, an address, or a token's voter."""
    voter: str | None = None
    """Whom a token speaks for; a key's holder says it himself."""
    alone: bool = False
    """No keys exist and the server is on loopback: whoever is here is one person."""

    def votes_as(self, named: str | None, service: Service) -> str:
        """The voter's pseudonym; raises `Problem` where the request names none, or another."""
        if self.voter is None:
            if not named and not self.alone:
                message = "voter: name who votes, as a key speaks for many"
                raise Problem(422, message, code="missing_voter", param="voter")
            return service.store.pseudonym(named or "local")
        if named and service.store.pseudonym(named) != self.voter:
            message = "voter: the token speaks for another; leave it out"
            raise Problem(403, message, code="other_voter", param="voter")
        return self.voter

    def own_key(self, request: Request) -> str | None:
        """The request's idempotency key, apart from the same one of somebody else."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return None
        if not 1 <= len(key) <= 128:
            message = f"Idempotency-Key: 1 to 128 characters, not {len(key)}"
            raise Problem(400, message, code="bad_idempotency_key", param="Idempotency-Key")
        return f"{self.caller}:{key}"


def may_vote(*named: str) -> Callable[..., Awaitable[Voice]]:
    """A FastAPI dependency: who votes on the interactions that these path or query names hold.

    A key of scope `vote`, or for each of the interactions its token (joined by commas in the
    header X-Vote-Token, or one as `Authorization: Bearer`), all of one voter.
    """

    async def voice(
        request: Request,
        # Read from the headers below; named here for the OpenAPI page.
        _key: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
        _token: Annotated[str | None, Security(TOKEN)],
    ) -> Voice:
        given = request.path_params | dict(request.query_params)
        return await voice_of(request, [str(given.get(name, "")) for name in named])

    return voice


async def voice_of(request: Request, interactions: Sequence[str]) -> Voice:
    """Who votes on these interactions; raises `Denied`."""
    service: Service = request.app.state.service
    if tokens := tokens_of(request):
        return _by_tokens(service, tokens, interactions)
    access: Access = service.access
    if access.stale:
        await asyncio.to_thread(access.refresh)
    caller = admit(request, "vote")
    request.state.key_id = None if caller.open else caller.id  # for the log
    return Voice(caller.id, alone=caller.open)


def tokens_of(request: Request) -> list[str]:
    """The vote tokens that a request brings."""
    tokens = request.headers.get(TOKEN_HEADER, "")
    if not tokens:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        # A token has a dot within; what hasn't is a key, be it a wrong one.
        if scheme.lower() == "bearer" and "." in secret and not secret.startswith(KEY_PREFIX):
            tokens = secret
    return [token.strip() for token in tokens.split(",")] if tokens else []


def refuse_forged(service: Service, tokens: Sequence[str]) -> None:
    """Raise `Denied` for a token that isn't this service's or has expired, whatever it is of."""
    for token in tokens:
        try:
            service.tokens.read(token, "")
        except Denied as error:
            if error.status != 403:  # it is another answer's than none
                raise


def _by_tokens(service: Service, tokens: Sequence[str], interactions: Sequence[str]) -> Voice:
    if len(tokens) != len(interactions):
        refuse_forged(service, tokens)
        message = f"{TOKEN_HEADER}: {len(interactions)} answers take as many tokens"
        raise Problem(403, message, code="wrong_number_of_tokens")
    voters = {
        service.tokens.read(token, interaction)
        for token, interaction in zip(tokens, interactions, strict=True)
    }
    if len(voters) != 1:
        message = f"{TOKEN_HEADER}: these tokens are of different voters"
        raise Problem(403, message, code="other_voter")
    voter = voters.pop()
    service.access.pace(voter, "vote")
    return Voice(voter, voter)
