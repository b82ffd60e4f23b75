"""`rlhf keys`: who may call the service."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlhf.commands.release import DEFAULT_STORE, AsJson, StoreAt

if TYPE_CHECKING:
    from feedback_store import ApiKey

app = typer.Typer(help="API keys of the service: create, list, revoke.")


@app.command()
def create(
    scope: Annotated[
        list[str], typer.Option(help="chat, vote, review or admin (all of them); repeat it.")
    ],
    label: Annotated[str, typer.Option(help="Whose or what for; it stands in the list.")] = "key",
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Until it expires; never by itself.")
    ] = None,
    store: StoreAt = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Make a key and print its secret, this once: only its hash is kept.

    Example: `rlhf keys create --scope chat --scope vote --label web --days 90`
    """
    from pydantic import ValidationError

    from feedback_store import Store
    from rlhf.errors import UsageError

    with Store.open(store) as opened:  # a service's first key may come before its first answer
        try:
            valid_for = None if days is None else timedelta(days=days)
            key, secret = opened.create_api_key(scope, label, valid_for)
        except ValidationError as error:
            raise UsageError(
                f"--label {label!r}: 1 to 64 letters, digits, spaces and . _ : + / -"
            ) from error
        name = opened.name
    if as_json:
        typer.echo(json.dumps({**_row(key), "secret": secret}, ensure_ascii=False))
        return
    typer.echo(f"key {key.id} ({', '.join(key.scopes)}) for {name}, {_until(key)}", err=True)
    typer.echo("Its secret is shown this once; send it as `Authorization: Bearer …`:", err=True)
    typer.echo(secret)


@app.command("list")
def list_(store: StoreAt = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Every key that was made, without its secret, which nobody has.

    Example: `rlhf keys list --json`
    """
    from rlhf.commands.show import existing_store

    with existing_store(store) as opened:
        keys = opened.api_keys()
    if as_json:
        typer.echo(json.dumps([_row(key) for key in keys], ensure_ascii=False))
        return
    if not keys:
        typer.echo("no keys; `rlhf keys create --scope chat` makes the first")
    for key in keys:
        typer.echo(f"{key.id}  {','.join(key.scopes):<24}  {_until(key):<28}  {key.label}")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="A key's id, as `rlhf keys list` prints it.")],
    store: StoreAt = DEFAULT_STORE,
) -> None:
    """End a key; a running service knows within seconds.

    Example: `rlhf keys revoke 3f2a9c01`
    """
    from rlhf.commands.show import existing_store

    with existing_store(store) as opened:
        revoked = opened.revoke_api_key(key)
    typer.echo(f"key {revoked.id} ({revoked.label}): {_until(revoked)}")


def _row(key: ApiKey) -> dict[str, Any]:
    return key.model_dump(mode="json", exclude={"hash"})


def _until(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M} UTC"
    if key.expires_at is None:
        return "never expires"
    return f"expires {key.expires_at:%Y-%m-%d %H:%M} UTC"
