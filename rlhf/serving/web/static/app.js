// What every page shares: words, elements, requests that survive a server's absence, markdown.

import DOMPurify from "./vendor/purify.es.mjs";
import MarkdownIt from "./vendor/markdown-it.esm.min.mjs";

const start = JSON.parse(document.getElementById("start").textContent);

/** The reader's language: "en" or "zh". */
export const language = start.language;

/** What this browser may do. */
export const scopes = () => new Set(start.scopes);

/** A text by its key ("chat.send"), with {names} filled in. */
export function t(key, values = {}) {
  const found = key.split(".").reduce((at, part) => at?.[part], start.words);
  if (typeof found !== "string") return key;
  return found.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** A text by its key, or another where there is none: for names that data brings. */
export function tOr(key, otherwise) {
  const found = t(key);
  return found === key ? otherwise : found;
}

const locale = language === "zh" ? "zh-CN" : "en-GB";
export const number = (x, digits = 0) =>
  x == null || !Number.isFinite(x) ? "–" : new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(x);
export const percent = (x, digits = 1) =>
  x == null || !Number.isFinite(x) ? "–" : new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: digits }).format(x);
export const when = (date) =>
  new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }).format(new Date(date));

/** An element; what is said in it is text, never HTML. `on…` are listeners, `class` the classes. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name === "dataset") Object.assign(made.dataset, value);
    else if (name === "value") made.value = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return made;
}

// Links may lead out, nothing is loaded from there, and no HTML of the text's own is taken.
const writer = new MarkdownIt({ html: false, linkify: false, breaks: true });
writer.disable("image");
DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName === "A") {
    node.setAttribute("rel", "noopener noreferrer nofollow");
    node.setAttribute("target", "_blank");
  }
});
const ALLOWED_TAGS = ["p", "br", "strong", "em", "s", "code", "pre", "ul", "ol", "li", "blockquote", "hr",
  "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "a", "#text"];

/** Markdown as nodes, sanitised. */
export function markdown(text) {
  let html;
  try {
    html = writer.render(String(text));
  } catch { // a text that the parser can't bear is shown as it is
    return el("p", {}, String(text));
  }
  const made = DOMPurify.sanitize(html, {
    RETURN_DOM_FRAGMENT: true, ALLOWED_TAGS, ALLOWED_ATTR: ["href", "start"],
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i, ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false,
  });
  for (const heading of made.querySelectorAll("h1,h2,h3,h4,h5,h6")) { // the page's outline is its own
    const plain = el("p", { class: "heading" });
    plain.append(...heading.childNodes);
    heading.replaceWith(plain);
  }
  for (const wide of made.querySelectorAll("pre,table")) {
    const box = el("div", { class: "wide", tabindex: 0 });
    wide.replaceWith(box);
    box.append(wide);
  }
  return made;
}

/** An answer other than a 2xx; status 0: there was none. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfter = null) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
let away = null;

/** Resolves when the server answers (again); meanwhile the page says that it is away. */
export function whenBack() {
  away ??= (async () => {
    const notice = document.getElementById("notice");
    notice.textContent = t("shell.away");
    notice.hidden = false;
    for (let wait = 500; ; wait = Math.min(wait * 1.5, 5000)) {
      await pause(wait);
      try {
        if ((await fetch("/healthz", { cache: "no-store" })).ok) break;
      } catch { /* still away */ }
    }
    notice.hidden = true;
    away = null;
    toast(t("shell.back"));
    document.dispatchEvent(new Event("back"));
  })();
  return away;
}

async function send(path, { method = "GET", body, headers = {}, signal } = {}) {
  const all = { "X-CSRF-Token": start.csrf, "Accept-Language": locale, ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method, signal, headers: all, credentials: "same-origin",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    whenBack();
    throw new ApiError(0, "away", t("shell.away"));
  }
  if (answer.ok) return answer;
  let told = {};
  try { told = (await answer.json()).error ?? {}; } catch { /* not ours */ }
  if (answer.status === 401 && !headers["X-Vote-Token"]) askToSignIn();
  const after = Number(answer.headers.get("Retry-After")) || null;
  throw new ApiError(answer.status, told.code, told.message ?? `HTTP ${answer.status}`, after);
}

/** JSON from the service. What only reads waits for a server that is away, and is asked again. */
export async function api(path, options = {}) {
  for (;;) {
    try {
      const answer = await send(path, options);
      return answer.status === 204 ? null : await answer.json();
    } catch (error) {
      if (error.status !== 0 || (options.method ?? "GET") !== "GET") throw error;
      await whenBack();
    }
  }
}

/** Post and read server-sent events; `onEvent` gets each one's JSON. Ends with the stream. */
export async function stream(path, body, onEvent, { signal, headers } = {}) {
  const answer = await send(path, { method: "POST", body, signal, headers });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let ended = false;
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      whenBack();
      throw new ApiError(0, "away", t("shell.away"));
    }
    if (part.done) break;
    rest += part.value;
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ")) continue;
      const data = event.slice(6);
      if (data === "[DONE]") ended = true;
      else {
        const value = JSON.parse(data);
        if (value.error) throw new ApiError(500, value.error.code, value.error.message);
        if (value.done) ended = true;
        onEvent(value);
      }
    }
  }
  if (!ended) throw new ApiError(0, "broken", t("chat.broken"));
}

/** A word at the foot of the page that goes by itself. */
export function toast(text) {
  const shown = el("div", { class: "toast" }, text);
  document.getElementById("toasts").append(shown);
  setTimeout(() => shown.remove(), 5000);
}

/** Keep what is typed over a reload, until `forget()` of what is returned. */
export function keep(field, name) {
  const key = `draft:${location.pathname}:${name}`;
  try { if (!field.value) field.value = sessionStorage.getItem(key) ?? ""; } catch { /* storage is off */ }
  field.addEventListener("input", () => {
    try { sessionStorage.setItem(key, field.value); } catch { /* storage is off or full */ }
  });
  return { forget: () => { try { sessionStorage.removeItem(key); } catch { /* storage is off */ } } };
}

/** Copy a text, and say whether that went well. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("shell.copied"));
    return true;
  } catch {
    toast(t("shell.not_copied"));
    return false;
  }
}

/** Show in `node` that something is awaited; resolves or rejects as the promise does. */
export async function busy(node, promise) {
  node.setAttribute("aria-busy", "true");
  const loading = el("p", { class: "loading" }, t("shell.loading"));
  const late = setTimeout(() => { if (!node.childElementCount) node.append(loading); }, 250);
  try {
    return await promise;
  } finally {
    clearTimeout(late);
    loading.remove();
    node.removeAttribute("aria-busy");
  }
}

/** Where there is nothing yet. */
export const empty = (text, ...more) => el("div", { class: "empty" }, el("p", {}, text), ...more);

/** Where something went wrong, with a way on. */
export function failed(error, retry) {
  const text = error.status === 403 ? t("shell.denied") : t("shell.failed", { message: error.message });
  return el("div", { class: "failed", role: "alert" }, el("p", {}, text),
    retry && el("button", { type: "button", onclick: retry }, t("shell.retry")));
}

// The shell's own controls.

function askToSignIn() {
  const dialog = document.getElementById("sign-in");
  if (!dialog.open) dialog.showModal();
}

function setUpSignIn() {
  const dialog = document.getElementById("sign-in");
  const [form, wrong, field] = ["form", ".wrong", "input"].map((part) => dialog.querySelector(part));
  dialog.querySelector("[value=cancel]").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    wrong.hidden = true;
    try {
      const answer = await fetch("/web/session", {
        method: "POST", credentials: "same-origin", body: JSON.stringify({ key: field.value }),
        headers: { "Content-Type": "application/json", "X-CSRF-Token": start.csrf },
      });
      if (answer.ok) return location.reload();
      wrong.textContent = t("shell.failed", { message: (await answer.json()).error.message });
    } catch {
      wrong.textContent = t("shell.away");
    }
    wrong.hidden = false;
    field.select();
  });
  const sign = document.getElementById("sign");
  sign.hidden = start.open;
  sign.textContent = t(start.signedIn ? "shell.sign_out" : "shell.sign_in");
  sign.addEventListener("click", async () => {
    if (!start.signedIn) return askToSignIn();
    await api("/web/session", { method: "DELETE" });
    location.reload();
  });
}

function setUpTools() {
  for (const item of document.querySelectorAll("[data-scope]")) {
    item.hidden = !start.scopes.includes(item.dataset.scope);
  }
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  document.getElementById("language").addEventListener("click", () => {
    const other = language === "zh" ? "en" : "zh";
    document.cookie = `rlhf_language=${other}; path=/; max-age=31536000; samesite=strict`;
    location.reload();
  });
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* storage is off */ }
    document.dispatchEvent(new Event("theme"));
  });
}

setUpTools();
setUpSignIn();
// An answer's link brings its own right.
if (!start.scopes.length && !document.body.classList.contains("page-answer")) askToSignIn();
