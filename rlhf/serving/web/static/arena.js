// Arena: one question, two answers side by side, a choice made blind, and then who was who.

import { api, el, failed, keep, markdown, scopes, stream, t, tOr } from "./app.js";
import { showStandings } from "./standings.js";

const [past, stage, told, prompt, style, send, stop, anew] =
  ["past", "round", "told", "prompt", "style", "send", "stop", "new"].map((id) => document.getElementById(id));
const draft = keep(prompt, "prompt");

const SIDES = ["left", "right"];
const NAMES = { left: "A", right: "B" };
// By the key beside the number: left and right are on the arrows too.
const CHOICES = [["a", "vote_left"], ["b", "vote_right"], ["tie", "vote_tie"], ["both_bad", "vote_bad"]];
const ARROWS = { ArrowLeft: "a", ArrowRight: "b" };
const KEPT = "arena";

/** The conversation: what was said before, and the round that is on the screen. */
let talk = { id: null, past: [], round: null };
let underWay = null;

const newSide = () => ({ text: "", id: null, token: null, finish: null });

/** Draw two answers to a question. A round is "drawing", "open", "voted", "withdrawn" or "broken". */
async function play(question) {
  const round = { question, left: newSide(), right: newSide(), state: "drawing" };
  const here = talk;
  here.round = round;
  const stopper = new AbortController();
  setUnderWay(stopper);
  show();
  stage.scrollIntoView({ block: "start" });
  const body = { messages: [...said(here), { role: "user", content: question }], style: style.value };
  if (here.id) body.conversation = here.id;
  try {
    await stream("/web/arena", body, (event) => take(round, event, here), { signal: stopper.signal });
  } catch (error) {
    round.state = "broken";
    round.error = error.name === "AbortError" ? null : error;
  }
  if (underWay === stopper) setUnderWay(null);
  if (talk !== here) return;
  if (round.state === "open") {
    draft.forget();
    told.textContent = t("arena.choose");
  } else {
    giveBack(question);
  }
  save();
  show();
  if (round.state === "open" && document.activeElement === prompt && !prompt.value) {
    stage.querySelector(".votes").focus(); // so that the keys choose at once
  }
}

function take(round, event, here) {
  if (event.done) {
    for (const side of SIDES) Object.assign(round[side], event[side]);
    here.id = event.conversation;
    round.state = "open";
    return;
  }
  const side = round[event.side];
  if (event.finish) {
    Object.assign(side, { id: event.id, finish: event.finish });
    side.node?.removeAttribute("aria-busy");
    side.body?.classList.remove("under-way");
  } else {
    side.text += event.text;
    side.body?.replaceChildren(markdown(side.text));
  }
}

/** What was typed comes back where it can be sent again. */
function giveBack(question) {
  if (prompt.value.trim()) return;
  prompt.value = question;
  prompt.dispatchEvent(new Event("input"));
}

/** The dialogue so far: of each round the answer that went on. */
function said({ past: rounds }) {
  return rounds.flatMap(({ question, answer }) => [
    { role: "user", content: question }, { role: "assistant", content: answer },
  ]);
}

/** The preferred answer goes on; of two alike, the left one. */
const winner = (round) => (round.choice === "b" ? round.right : round.left).text;

const tokens = (round) => ({ "X-Vote-Token": `${round.left.token},${round.right.token}` });
const pair = (round) => `a=${encodeURIComponent(round.left.id)}&b=${encodeURIComponent(round.right.id)}`;

async function vote(choice) {
  const { round } = talk;
  if (round?.state !== "open" || round.sending) return;
  round.sending = true;
  round.error = null;
  show();
  try {
    await api("/v1/comparisons", {
      method: "POST", headers: tokens(round),
      body: { a: round.left.id, b: round.right.id, choice, shown_first: "a", reason: "arena" },
    });
    Object.assign(round, { state: "voted", choice });
    told.textContent = t("arena.voted");
  } catch (error) {
    if (error.code === "blind_choice_stands") round.state = "voted"; // made before, on another page
    else round.error = error;
  }
  round.sending = false;
  save();
  show();
  if (round.state !== "voted") return;
  await reveal(round);
  stage.querySelector(".result")?.focus();
  boardSoon();
}

async function reveal(round) {
  try {
    round.who = await api(`/web/arena/reveal?${pair(round)}`, { headers: tokens(round) });
    round.choice = round.who.choice;
  } catch (error) {
    if (error.code === "no_choice_yet") round.state = "withdrawn";
    else round.unknown = error;
  }
  save();
  if (talk.round === round) show();
}

async function withdraw(round) {
  try {
    await api(`/v1/comparisons?${pair(round)}`, { method: "DELETE", headers: tokens(round) });
  } catch (error) {
    if (error.status !== 404) { // it is gone already
      round.error = error;
      return show();
    }
  }
  round.error = null;
  round.state = "withdrawn";
  told.textContent = t("arena.withdrawn");
  save();
  show();
  stage.querySelector(".result")?.focus();
  boardSoon();
}

function show() {
  const { round } = talk;
  past.replaceChildren(...talk.past.flatMap(({ question, answer }) => [
    el("article", { class: "turn user text", "aria-label": t("chat.you") }, question),
    el("article", { class: "turn assistant", "aria-label": t("chat.assistant") }, el("div", { class: "answer" }, markdown(answer))),
  ]));
  stage.replaceChildren(...(round ? shown(round) : []));
  anew.hidden = !round && !talk.past.length;
  const waits = round?.state === "open";
  send.disabled = waits;
  send.title = waits ? t("arena.choose_first") : "";
}

function shown(round) {
  const parts = [
    el("article", { class: "turn user text", "aria-label": t("chat.you") }, round.question),
    el("div", { class: "columns" }, SIDES.map((side) => column(round, side))),
  ];
  if (round.state === "broken") {
    parts.push(round.error ? failed(round.error, () => again(round)) : el("p", { class: "soft" }, t("arena.stopped")));
  }
  if (round.state === "open") parts.push(votes(round));
  if (round.state === "open" && round.error) parts.push(failed(round.error));
  if (round.state === "voted" || round.state === "withdrawn") parts.push(result(round));
  return parts;
}

function column(round, name) {
  const side = round[name];
  const letter = NAMES[name];
  const drawing = round.state === "drawing" && !side.finish;
  const won = round.choice === (name === "left" ? "a" : "b") && round.state === "voted";
  const title = `arena-${name}`;
  side.body = el("div", { class: `answer${drawing ? " under-way" : ""}` });
  if (side.text) side.body.append(markdown(side.text));
  side.node = el("article", { class: `card side-by-side${won ? " won" : ""}`, "aria-labelledby": title, "aria-busy": drawing ? "true" : null },
    el("div", { class: "row between" }, el("h2", { id: title }, t("arena.answer", { letter })), identity(round, name)),
    side.body);
  if (side.finish === "length" || side.finish === "content_filter") {
    side.node.append(el("p", { class: "soft small" }, t(`chat.${side.finish}`)));
  }
  return side.node;
}

/** Who it was, once that is told. */
function identity(round, name) {
  const who = round.who?.[name === "left" ? "a" : "b"];
  if (!who) return null;
  return el("span", { class: "tag", title: who.policy, dataset: { policy: who.policy } },
    who.role ? `${tOr(`arena.role.${who.role}`, who.role)} · ` : "", who.policy.slice(0, 20));
}

function votes(round) {
  const buttons = CHOICES.map(([choice, word], number) => el("button", {
    type: "button", class: "vote", dataset: { choice }, disabled: Boolean(round.sending), "aria-keyshortcuts": String(number + 1),
    onclick: () => vote(choice),
  }, t(`arena.${word}`), el("kbd", { "aria-hidden": "true" }, String(number + 1))));
  return el("div", { class: "votes", role: "group", "aria-label": t("arena.choose"), tabindex: "-1" }, buttons);
}

function result(round) {
  const parts = [];
  if (round.state === "withdrawn") {
    parts.push(el("p", {}, t("arena.withdrawn")));
  } else {
    const word = CHOICES.find(([choice]) => choice === round.choice)?.[1];
    parts.push(el("p", { class: "good" }, t("arena.chosen", { choice: word ? t(`arena.${word}`) : "" })));
    if (round.who && round.who.a.policy === round.who.b.policy) parts.push(el("p", {}, t("arena.same_policy")));
    parts.push(el("p", { class: "soft small" }, t("arena.blind")));
    if (round.unknown) parts.push(failed(round.unknown, () => { round.unknown = null; reveal(round); }));
    if (round.error) parts.push(failed(round.error, () => withdraw(round)));
    parts.push(el("div", { class: "row" },
      el("button", { type: "button", onclick: () => withdraw(round) }, t("arena.withdraw"))));
  }
  parts.push(el("p", { class: "soft small" }, t("arena.go_on")));
  return el("div", { class: "card result", tabindex: "-1" }, parts);
}

function again(round) {
  if (prompt.value.trim() === round.question) {
    prompt.value = "";
    draft.forget();
  }
  play(round.question);
}

function begin() {
  underWay?.abort();
  talk = { id: null, past: [], round: null };
  save();
  show();
}

function setUnderWay(stopper) {
  underWay = stopper;
  send.hidden = Boolean(stopper);
  stop.hidden = !stopper;
}

// A reload keeps the round: what was drawn can still be chosen between, and the dialogue goes on.

function save() {
  const { round } = talk;
  const sides = round && Object.fromEntries(SIDES.map((side) => {
    const { text, id, token, finish } = round[side];
    return [side, { text, id, token, finish }];
  }));
  const { question, state, choice, who } = round ?? {};
  const kept = { ...talk, round: round && state !== "drawing" ? { question, state, choice, who, ...sides } : null };
  try { sessionStorage.setItem(KEPT, JSON.stringify(kept)); } catch { /* storage is off or full */ }
}

function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    if (kept?.past) talk = kept;
  } catch { /* storage is off */ }
  if (talk.round?.state === "voted" && !talk.round.who) reveal(talk.round);
}

function board() {
  const section = document.getElementById("leaderboard");
  const allowed = scopes().has("review") || (section.dataset.public === "yes" && scopes().has("chat"));
  section.hidden = !allowed;
  if (allowed) showStandings(document.getElementById("standings"));
}

// A choice is counted some seconds after it was made.
const boardSoon = () => setTimeout(board, 3_000);

document.getElementById("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = prompt.value.trim();
  const { round } = talk;
  if (!text || underWay || round?.state === "open") return;
  if (round && round.state !== "broken") talk.past.push({ question: round.question, answer: winner(round) });
  prompt.value = "";
  play(text);
});
prompt.addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  document.getElementById("composer").requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.repeat) return;
  if (event.target.closest("input, textarea, select, dialog, .wide")) return;
  const choice = ARROWS[event.key] ?? CHOICES[Number(event.key) - 1]?.[0];
  if (choice && talk.round?.state === "open") {
    event.preventDefault();
    vote(choice);
  }
});
stop.addEventListener("click", () => underWay?.abort());
anew.addEventListener("click", () => { begin(); prompt.focus(); });
document.addEventListener("back", () => {
  const { round } = talk;
  if (round?.unknown) { round.unknown = null; reveal(round); }
  else if (round?.state === "open" && round.error) { round.error = null; show(); }
});
try { style.value = sessionStorage.getItem("style") ?? style.value; } catch { /* storage is off */ }
style.addEventListener("change", () => { try { sessionStorage.setItem("style", style.value); } catch { /* storage is off */ } });

restore();
show();
board();
