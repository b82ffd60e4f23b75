// One voter's words on one answer, kept in step with the server: one request at a time, and of
// several wishes about the same thing the last one holds.

import { whenBack } from "./app.js";

const SECONDS = 20;
const KEEPALIVE_CHARS = 15_000; // a browser sends 64 KiB after its page was closed, no more
const CODES = ["expired_vote_token", "invalid_vote_token", "other_interaction", "conflict"];

/**
 * What a voter says, by kind ("thumb", "comment", "correction"): null, or {value, reasons, text}.
 *
 * `votes` are the live votes as the server tells them, `metrics` the metric's name of each kind
 * where it isn't the kind's own; `changed()` is called after every change, `saved(kind, what)` when
 * the server has it on disk. `state` is "silent", "saving", "saved", "withdrawn" or "failed";
 * `problem` then names a word below "ballot.problem", and `lasting` says that trying again is vain.
 */
export function voting({ id, token, votes = [], metrics = {} }, { changed, saved }) {
  const said = Object.fromEntries(votes.map((vote) => [vote.kind, word(vote)]));
  const wanted = { ...said };
  const keys = {}; // of a request that may have come through, so that sending it again is no second
  let running = null;
  const self = {
    state: votes.length ? "saved" : "silent",
    problem: null,
    lasting: false,
    of: (kind) => wanted[kind] ?? null,
    say,
    retry,
  };

  /** Have it said; settles when all that is wanted is saved, or something failed. */
  function say(kind, what) {
    wanted[kind] = what && word(what);
    delete keys[kind];
    return retry();
  }

  function retry() {
    running ??= sendAll().finally(() => (running = null));
    return running;
  }

  async function sendAll() {
    for (let kind = due(); kind; kind = due()) {
      tell("saving");
      const what = wanted[kind] ?? null;
      keys[kind] ??= key();
      try {
        await send(kind, what, keys[kind]);
      } catch (error) {
        // What is refused for good must not stand in the way of what is said next.
        if (error.lasting && same(wanted[kind], what)) wanted[kind] = said[kind];
        if (!error.problem) whenBack().then(retry);
        return tell("failed", error.problem ?? "unreachable", error.lasting);
      }
      said[kind] = what;
      if (same(wanted[kind], what)) delete keys[kind];
      saved(kind, what);
    }
    if (self.state === "saving") tell(Object.values(said).some(Boolean) ? "saved" : "withdrawn");
  }

  function due() {
    return Object.keys(wanted).find((kind) => !same(wanted[kind], said[kind]));
  }

  async function send(kind, what, idempotencyKey) {
    const [answer, metric] = [id, metrics[kind] ?? kind].map(encodeURIComponent);
    const body = what && JSON.stringify(what);
    const response = await fetch(`/v1/interactions/${answer}/feedback/${metric}`, {
      method: what ? "PUT" : "DELETE",
      headers: {
        "X-Vote-Token": token,
        "Idempotency-Key": idempotencyKey,
        ...(what && { "Content-Type": "application/json" }),
      },
      body,
      keepalive: (body?.length ?? 0) < KEEPALIVE_CHARS,
      signal: AbortSignal.timeout(SECONDS * 1000),
    });
    // What isn't there can't be taken back: another page of the same voter was first.
    if (response.ok || (response.status === 404 && !what)) return;
    throw await refusal(response);
  }

  function tell(state, problem = null, lasting = false) {
    Object.assign(self, { state, problem, lasting });
    changed();
  }

  return self;
}

async function refusal(response) {
  const code = (await response.json().catch(() => null))?.error?.code;
  if (response.status === 429) return failure("too_many", false);
  if (response.status >= 500 || response.status === 408) return failure("unreachable", false);
  return failure(CODES.includes(code) ? code : "refused", true);
}

function failure(problem, lasting) {
  return Object.assign(new Error(problem), { problem, lasting });
}

/** A vote's own part of what the server tells: what isn't said is left out. */
function word({ value = null, text = null, reasons = [] }) {
  return {
    ...(value !== null && { value }),
    ...(text !== null && { text }),
    ...(reasons.length && { reasons: [...reasons].sort() }),
  };
}

function same(one, other) {
  return JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
}

function key() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID is for https alone
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
