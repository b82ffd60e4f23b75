// One answer, for whoever got its link: /answer#<interaction>:<token>. The token stays in the
// fragment, which no request and no log ever sees.

import { api, busy, el, empty, failed, markdown, t, tOr } from "./app.js";
import { ballot } from "./ballot.js";

const dialogue = document.getElementById("dialogue");
let shown = 0;

function link() {
  const text = decodeURIComponent(location.hash.slice(1));
  const at = text.lastIndexOf(":"); // an id may hold one, a token doesn't
  return at > 0 && at < text.length - 1 ? { id: text.slice(0, at), token: text.slice(at + 1) } : null;
}

async function show() {
  const turn = ++shown;
  dialogue.replaceChildren();
  let given = null;
  try { given = link(); } catch { /* a mangled link */ }
  if (!given) return dialogue.append(empty(t("answer.no_link")));
  try {
    const asked = api(`/web/answer/${encodeURIComponent(given.id)}`, { headers: { "X-Vote-Token": given.token } });
    const found = await busy(dialogue, asked);
    if (turn === shown) draw(found, given.token);
  } catch (error) {
    if (turn === shown) dialogue.replaceChildren(refused(error));
  }
}

function refused(error) {
  const told = tOr(`ballot.problem.${error.code}`, null) ?? (error.status === 404 ? t("answer.gone") : null);
  return told ? empty(told) : failed(error, show);
}

function draw(found, token) {
  const corrected = el("p", { class: "soft small", role: "status" });
  const tell = (text) => { corrected.textContent = text === null ? "" : t("answer.corrected"); };
  dialogue.replaceChildren(
    ...found.messages.map((message) => turn(message.role, message.content)),
    el("article", { class: "turn assistant", "aria-label": t("chat.assistant") },
      el("div", { class: "answer" }, markdown(found.response)),
      el("h2", {}, t("answer.ask")),
      ballot({ id: found.id, token, votes: found.votes, answer: found.response, metrics: found.metrics, onCorrected: tell }),
      corrected),
    el("p", { class: "soft small" }, t("answer.about")));
}

function turn(role, text) {
  const own = role === "user";
  return el("article", { class: `turn ${own ? "user" : "assistant earlier"}`, "aria-label": t(own ? "chat.you" : "chat.assistant") },
    own ? el("div", { class: "text" }, text) : el("div", { class: "answer" }, markdown(text)));
}

addEventListener("hashchange", show);
show();
