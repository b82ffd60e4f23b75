"""Open WebUI's feedback export: Admin Panel, Evaluations, Feedback, "Export as JSON".

An array of its `feedback` table's rows. `data` holds what the user said (`rating` 1 or -1,
`reason`, `comment`, `tags`, `details.rating` from 1 to 10) and of which model (`model_id`,
`sibling_model_ids`), `meta` where (`chat_id`, `message_id`, `arena`), and `snapshot.chat` the chat
as it was: `chat.history.messages`, a tree by `parentId` and `childrenIds`.

An answer that stood beside other models' answers is compared with each of them, as the tool's own
leaderboard does; an answer generated again by the same model is not. Sharing for the community and
the CSV export leave the snapshot out: nothing can be learned from those.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from feedback_store import Comparison, Feedback, Interaction
from rlhf.errors import DataError
from rlhf.exchange.entry import Entry, Origin, Row, asked, content, model_name, moment, person

_MAX_TURNS = 1_000
# What the interface folds into an answer's text that the model did not say to the user.
_FOLDED = tuple(
    f'<details type="{kind}"' for kind in ("reasoning", "code_interpreter", "tool_calls")
)


def open_webui(row: Row, origin: Origin) -> Entry:
    """One person's rating of one answer."""
    if row.get("type") != "rating":
        raise DataError(f"is of type {str(row.get('type'))[:20]!r}; only ratings are votes")
    data, meta = _object(row, "data"), _object(row, "meta")
    rating = _rating(data)
    chat = _Chat(row, meta, origin)
    rated = chat.message(meta.get("message_id"))
    answer = chat.answer(rated, data.get("model_id"))
    siblings = list(_siblings(chat, rated, data)) if data.get("sibling_model_ids") else []
    if rating == 0 and not siblings:
        raise DataError("`data.rating` is 0, a draw, and no other answer stands beside it")
    votes = tuple(_votes(row, data, rating, answer, origin))
    choices = tuple(_choice(row, rating, answer, other, origin) for other in siblings)
    return Entry((answer, *siblings), votes, choices)


def _object(row: Row, name: str) -> Row:
    value = row.get(name)
    if not isinstance(value, dict):
        raise DataError(f"`{name}` is missing; is this the export of Open WebUI's feedback?")
    return value


def _rating(data: Row) -> int:
    given = data.get("rating")
    if isinstance(given, bool) or str(given) not in ("1", "0", "-1"):
        raise DataError("`data.rating` is neither 1 nor -1")
    return int(str(given))


class _Chat:
    """The snapshot of a chat, and its answers as interactions."""

    def __init__(self, row: Row, meta: Row, origin: Origin) -> None:
        snapshot = row.get("snapshot")
        outer = snapshot.get("chat") if isinstance(snapshot, dict) else None
        # What the API calls a chat holds the title and owner, and the chat proper within.
        inner: Any = outer.get("chat", outer) if isinstance(outer, dict) else None
        history = inner.get("history") if isinstance(inner, dict) else None
        tree = history.get("messages") if isinstance(history, dict) else None
        if not isinstance(outer, dict) or not isinstance(tree, dict):
            raise DataError("has no snapshot of the chat; use the admin's JSON export of feedback")
        self._tree: dict[str, Any] = tree
        self._origin = origin
        self._user = person(row.get("user_id"))
        self._conversation = origin.id("chat", meta.get("chat_id") or outer.get("id"))
        self._system = _system(inner)

    def message(self, id: Any) -> Row:
        """A message of the tree by its id."""
        message = self._tree.get(id) if isinstance(id, str) else None
        if not isinstance(message, dict):
            raise DataError("the snapshot lacks the rated message")
        return message

    def answer(self, message: Row, model: Any = None) -> Interaction:
        """An assistant's message with all that led to it."""
        text = _unfolded(content(message.get("content"), "content"))
        if message.get("role") != "assistant" or not text.strip():
            raise DataError("the rated message is no answer with a text")
        prompt = asked(self._system + self._path(message.get("parentId")), "snapshot")
        named = message.get("selectedModelId") or model or message.get("model")
        return self._origin.interaction(
            conversation=self._conversation,
            turn=sum(turn["role"] == "user" for turn in prompt) - 1,
            messages=prompt,
            response=text,
            finish_reason="error" if message.get("error") else None,
            policy=model_name(named),
            user=self._user,
            created_at=moment(message.get("timestamp")),
        )

    def _path(self, id: Any) -> list[dict[str, str]]:
        turns: list[dict[str, str]] = []
        while id is not None:
            message = self.message(id)
            if len(turns) >= _MAX_TURNS:
                raise DataError(f"the chat has more than {_MAX_TURNS} turns, or runs in a circle")
            if any(_is_image(file) for file in message.get("files") or ()):
                raise DataError("the prompt holds an image, which can't be trained on here")
            text = content(message.get("content"), "content")
            role = message.get("role")
            if role not in ("user", "assistant", "system"):
                raise DataError("the snapshot holds a message without a known role")
            turns.append(
                {"role": role, "content": _unfolded(text) if role == "assistant" else text}
            )
            id = message.get("parentId")
        return turns[::-1]


def _is_image(file: Any) -> bool:
    return isinstance(file, dict) and file.get("type") == "image"


def _system(chat: Row) -> list[dict[str, str]]:
    params = chat.get("params")
    prompt = params.get("system") if isinstance(params, dict) else None
    return [{"role": "system", "content": prompt}] if isinstance(prompt, str) and prompt else []


def _unfolded(text: str) -> str:
    """The text without folded-in reasoning and tool output."""
    for opening in _FOLDED:
        while (start := text.find(opening)) >= 0 and (end := text.find("</details>", start)) >= 0:
            text = text[:start] + text[end + len("</details>") :].lstrip("\n")
    return text


def _siblings(chat: _Chat, rated: Row, data: Row) -> Iterator[Interaction]:
    """The other models' answers to the same turn, unless the same was said of them."""
    own = rated.get("selectedModelId") or data.get("model_id") or rated.get("model")
    children = chat.message(rated.get("parentId")).get("childrenIds")
    for id in children if isinstance(children, list) else ():
        other = chat.message(id)
        model = other.get("selectedModelId") or other.get("model")
        said = other.get("annotation")
        same = isinstance(said, dict) and said.get("rating") == data.get("rating")
        text = other.get("content")
        if id == rated.get("id") or model == own or same or other.get("error"):
            continue
        if isinstance(text, str) and _unfolded(text).strip():
            yield chat.answer(other)


def _voter(row: Row, origin: Origin) -> str:
    return person(row.get("user_id")) or origin.voter


def _said_at(row: Row) -> dict[str, Any]:
    return {"created_at": moment(row.get("updated_at") or row.get("created_at"))}


def _votes(
    row: Row, data: Row, rating: int, answer: Interaction, origin: Origin
) -> Iterator[Feedback]:
    about = {"interaction": answer.id, "voter": _voter(row, origin), **_said_at(row)}
    # The tool changes a row in place, so its own id alone would hide a changed mind.
    revision = (row.get("id"), row.get("updated_at"))
    if rating:
        reasons = [data.get("reason"), *(f"tag:{tag}" for tag in data.get("tags") or ())]
        given = [reason for reason in reasons if isinstance(reason, str) and reason][:32]
        named = origin.id("thumb", *revision, answer.id, rating)
        yield origin.feedback(id=named, kind="thumb", value=float(rating), reasons=given, **about)
    comment = data.get("comment")
    if isinstance(comment, str) and comment.strip():
        named = origin.id("comment", *revision, answer.id, comment)
        yield origin.feedback(id=named, kind="comment", text=comment, **about)
    details = data.get("details")
    scale = details.get("rating") if isinstance(details, dict) else None
    if isinstance(scale, int | float) and not isinstance(scale, bool):
        # The thumb in finer steps: as a rating it would count one word twice.
        named = origin.id("scale", *revision, answer.id, scale)
        yield origin.feedback(id=named, kind="implicit", value=float(scale), **about)


def _choice(
    row: Row, rating: int, answer: Interaction, other: Interaction, origin: Origin
) -> Comparison:
    return origin.comparison(
        id=origin.id("choice", row.get("id"), row.get("updated_at"), answer.id, other.id, rating),
        a=answer.id,
        b=other.id,
        voter=_voter(row, origin),
        choice={1: "a", 0: "tie", -1: "b"}[rating],
        reason="arena",
        **_said_at(row),
    )
