// Chat: ask, read the answer as it comes, say what you think of it.

import { api, ApiError, copy, el, empty, failed, keep, markdown, scopes, stream, t, toast, tOr } from "./app.js";
import { ballot } from "./ballot.js";

const [turns, prompt, style, send, stop, list, side] =
  ["turns", "prompt", "style", "send", "stop", "conversations", "side"].map((id) => document.getElementById(id));
const draft = keep(prompt, "prompt");

/** What is on the screen: the conversation's id, and its exchanges in order. */
let talk = { id: null, exchanges: [] };
let underWay = null;

// One question with its answers: the first one, and others that were asked for.
class Exchange {
  constructor(question, messages) {
    this.question = question;
    this.messages = messages; // what the policy is asked: all before, and the question
    this.answers = [];
    this.at = 0;
    this.choices = new Map();
    this.node = el("article", { class: "turn assistant", "aria-label": t("chat.assistant") });
  }

  get answer() { return this.answers[this.at]; }

  show() {
    this.node.replaceChildren();
    const answer = this.answer;
    if (!answer) return;
    const body = el("div", { class: `answer${answer.underWay ? " under-way" : ""}` });
    if (answer.response) body.append(markdown(answer.response));
    else if (answer.underWay) body.append(el("p", { class: "soft" }, t("chat.thinking")));
    this.node.toggleAttribute("aria-busy", Boolean(answer.underWay));
    this.node.append(body);
    answer.body = body;
    if (!answer.underWay) this.node.append(...this.below(answer));
  }

  below(answer) {
    const parts = [];
    if (answer.error) {
      parts.push(failed(answer.error, () => draw(this, this.at)));
      return parts;
    }
    const note = ["cancelled", "length", "content_filter"].includes(answer.finish) && t(`chat.${answer.finish}`);
    if (note) parts.push(el("p", { class: "soft small" }, note));
    if (answer.finish === "error") parts.push(el("p", { class: "soft small" }, t("chat.broken")));
    if (answer.solicited && !answer.votes.length) parts.push(el("p", { class: "asked" }, t("chat.solicited")));
    parts.push(this.footer(answer));
    if (answer.token) {
      parts.push(ballot({
        id: answer.id, token: answer.token, votes: answer.votes, answer: answer.response,
      }));
    }
    if (this.at > 0 && answer.token && this.answers[this.at - 1].token) parts.push(this.which());
    return parts;
  }

  footer(answer) {
    const footer = el("footer");
    if (this.answers.length > 1) {
      const go = (by) => { this.at += by; this.show(); };
      footer.append(
        el("button", { type: "button", "aria-label": t("chat.previous"), disabled: this.at === 0, onclick: () => go(-1) }, "‹"),
        el("span", { class: "soft small" }, t("chat.version", { at: this.at + 1, of: this.answers.length })),
        el("button", { type: "button", "aria-label": t("chat.following"), disabled: this.at === this.answers.length - 1, onclick: () => go(1) }, "›"));
    }
    footer.append(
      el("button", { type: "button", onclick: async () => { if (await copy(answer.response)) signal(answer, "copied"); } }, t("chat.copy")),
      el("button", { type: "button", disabled: Boolean(underWay), onclick: () => regenerate(this), dataset: { idle: "" } }, t("chat.regenerate")));
    if (answer.style) footer.append(el("span", { class: "tag" }, t("chat.in_style", { style: styleName(answer.style) })));
    if (answer.policy && scopes().has("review")) footer.append(el("span", { class: "tag", title: answer.policy }, t("chat.by", { policy: answer.policy.slice(0, 12) })));
    return footer;
  }

  // After another answer: which of the two is better teaches more than either's thumb.
  which() {
    const [before, answer] = [this.answers[this.at - 1], this.answer];
    const key = [before.id, answer.id].sort().join();
    const box = el("div", { class: "which", role: "group", "aria-label": t("chat.better") }, el("span", {}, t("chat.better")));
    const chosen = this.choices.get(key);
    for (const [choice, word] of [["a", "better_new"], ["b", "better_old"], ["tie", "better_same"]]) {
      box.append(el("button", {
        type: "button", "aria-pressed": String(chosen === choice),
        onclick: async () => {
          try {
            await api("/v1/comparisons", {
              method: "POST", headers: { "X-Vote-Token": `${answer.token},${before.token}` },
              body: { a: answer.id, b: before.id, choice, shown_first: "b", reason: "regenerate" },
            });
            this.choices.set(key, choice);
            this.show();
            toast(t("chat.thanks"));
          } catch (error) { box.append(failed(error)); }
        },
      }, t(`chat.${word}`)));
    }
    return box;
  }
}

const styleName = (name) => name.split("+").map((part) => tOr(`styles.${part}`, part)).join(" + ");

/** Something that says a little of an answer without a word; lost is no harm. */
function signal(answer, metric) {
  if (!answer.token) return;
  api(`/v1/interactions/${answer.id}/feedback/${metric}`, {
    method: "PUT", headers: { "X-Vote-Token": answer.token }, body: { value: 1 },
  }).catch(() => {});
}

/** Draw an answer into one of the exchange's places. */
async function draw(exchange, place) {
  const answer = { response: "", votes: [], underWay: true };
  exchange.answers[place] = answer;
  exchange.at = place;
  const stopper = new AbortController();
  setUnderWay(stopper);
  exchange.show();
  const body = {
    model: "champion", stream: true, style: style.value, messages: exchange.messages,
    turn: exchange.messages.filter((message) => message.role === "user").length - 1,
  };
  if (talk.id) body.conversation = talk.id;
  const here = talk;
  try {
    await stream("/v1/chat/completions", body, (chunk) => take(answer, chunk, here, exchange), { signal: stopper.signal });
  } catch (error) {
    if (error.name === "AbortError") answer.finish = "cancelled";
    else if (answer.id && answer.response) answer.finish = "error";
    else answer.error = error;
  }
  answer.underWay = false;
  if (answer.id && !answer.token) await recover(answer, here);
  if (underWay === stopper) setUnderWay(null);
  exchange.show();
  if (talk === here) follow();
  showList();
}

function take(answer, chunk, here, exchange) {
  answer.id = chunk.id;
  answer.policy = chunk.model;
  if (!here.id) {
    here.id = chunk.id;
    if (here === talk) nameInAddress(here.id);
  }
  const [choice] = chunk.choices;
  if (chunk.feedback) Object.assign(answer, { token: chunk.feedback.token, solicited: chunk.feedback.solicited, style: chunk.style });
  if (!choice) return;
  if (choice.finish_reason) answer.finish = choice.finish_reason;
  if (choice.delta.content) {
    answer.response += choice.delta.content;
    const atEnd = isAtEnd();
    if (exchange.answer === answer) answer.body.replaceChildren(markdown(answer.response));
    if (atEnd) follow();
  }
}

// An answer that was stopped is recorded all the same; its token is with the conversation.
async function recover(answer, here) {
  for (const wait of [100, 400, 1500, 3000, 6000]) {
    await new Promise((done) => setTimeout(done, wait));
    try {
      const told = await api(`/web/conversations/${here.id}`);
      const found = told.answers.find((one) => one.id === answer.id);
      if (found) return Object.assign(answer, { token: found.token, style: found.style, response: found.response || answer.response, finish: found.finish });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) return;
    }
  }
}

function regenerate(exchange) {
  signal(exchange.answer, "regenerated");
  draw(exchange, exchange.answers.length);
}

function ask(text) {
  const messages = [...said(), { role: "user", content: text }];
  const exchange = new Exchange(text, messages);
  add(exchange);
  draft.forget();
  prompt.value = "";
  fit();
  draw(exchange, 0);
}

/** The dialogue so far, by the answers that are on the screen. */
function said() {
  const last = talk.exchanges.at(-1);
  if (!last) return [];
  const response = last.answer?.response;
  return response ? [...last.messages, { role: "assistant", content: response }] : last.messages.slice(0, -1);
}

function add(exchange) {
  if (!talk.exchanges.length) turns.replaceChildren();
  talk.exchanges.push(exchange);
  turns.append(el("article", { class: "turn user text", "aria-label": t("chat.you") }, exchange.question), exchange.node);
  exchange.show();
  follow();
}

const isAtEnd = () => turns.scrollHeight - turns.scrollTop - turns.clientHeight < 80;
const follow = () => { turns.scrollTop = turns.scrollHeight; };

function setUnderWay(stopper) {
  underWay = stopper;
  send.hidden = Boolean(stopper);
  stop.hidden = !stopper;
  for (const button of turns.querySelectorAll("[data-idle]")) button.disabled = Boolean(stopper);
}

function begin() {
  underWay?.abort();
  talk = { id: null, exchanges: [] };
  turns.replaceChildren(el("div", { class: "welcome" }, el("h2", {}, t("chat.welcome")), el("p", { class: "soft" }, t("chat.welcome_more"))));
  mark();
  nameInAddress(null);
}

/** So that a reload, or a bookmark, comes back to this conversation. */
function nameInAddress(id) {
  window.history.replaceState(null, "", id ? `/?conversation=${encodeURIComponent(id)}` : "/");
}

async function open(id) {
  underWay?.abort();
  closeSide();
  const opened = { id, exchanges: [] };
  talk = opened;
  mark();
  try {
    const told = await api(`/web/conversations/${encodeURIComponent(id)}`);
    if (talk !== opened) return;
    turns.replaceChildren();
    for (const exchange of exchangesOf(told)) add(exchange);
    nameInAddress(id);
  } catch (error) {
    turns.replaceChildren(failed(error, () => open(id)));
  }
}

// Answers to the same messages are one exchange's.
function exchangesOf(told) {
  const found = new Map();
  for (const answer of told.answers) {
    const key = JSON.stringify(answer.messages);
    if (!found.has(key)) found.set(key, new Exchange(answer.messages.at(-1).content, answer.messages));
    found.get(key).answers.push(answer);
  }
  for (const exchange of found.values()) {
    exchange.at = exchange.answers.length - 1;
    for (const { a, b, choice } of told.choices) {
      const place = (id) => exchange.answers.findIndex((answer) => answer.id === id);
      const newer = place(a) > place(b);
      exchange.choices.set([a, b].sort().join(), choice === "tie" || newer ? choice : choice === "a" ? "b" : "a");
    }
  }
  return found.values();
}

let next = null;

async function showList(more = false) {
  if (!scopes().has("chat")) return;
  try {
    const told = await api(`/web/conversations${more && next ? `?before=${next}` : ""}`);
    next = told.next;
    if (!more) list.replaceChildren();
    list.querySelector(".more")?.remove();
    for (const one of told.conversations) {
      list.append(el("button", { type: "button", dataset: { id: one.id }, title: one.title, onclick: () => open(one.id) }, el("span", {}, one.title || "…")));
    }
    if (!list.childElementCount) list.append(empty(t("chat.none")));
    if (next) list.append(el("button", { type: "button", class: "more soft", onclick: () => showList(true) }, t("chat.more")));
    mark();
  } catch (error) {
    list.replaceChildren(failed(error, () => showList()));
  }
}

function mark() {
  for (const button of list.querySelectorAll("[data-id]")) button.setAttribute("aria-current", String(button.dataset.id === talk.id));
}

function fit() {
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

function closeSide() {
  side.classList.remove("open");
  document.getElementById("side-open").setAttribute("aria-expanded", "false");
}

document.getElementById("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = prompt.value.trim();
  if (text && !underWay) ask(text);
});
prompt.addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  document.getElementById("composer").requestSubmit();
});
prompt.addEventListener("input", fit);
stop.addEventListener("click", () => underWay?.abort());
document.getElementById("new").addEventListener("click", () => { begin(); closeSide(); prompt.focus(); });
document.getElementById("side-open").addEventListener("click", (event) => {
  side.classList.add("open");
  event.currentTarget.setAttribute("aria-expanded", "true");
  document.getElementById("new").focus();
});
document.getElementById("side-close").addEventListener("click", closeSide);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeSide(); });
document.addEventListener("pointerdown", (event) => {
  if (side.classList.contains("open") && !side.contains(event.target)) closeSide();
});
document.addEventListener("back", () => showList());
style.value = sessionStorage.getItem("style") ?? style.value;
style.addEventListener("change", () => sessionStorage.setItem("style", style.value));

const wanted = new URLSearchParams(location.search).get("conversation");
if (wanted) open(wanted);
else begin();
fit();
showList();
