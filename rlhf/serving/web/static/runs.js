// Runs: the list with how each stands, or one run with curves that grow while it goes on.

import { api, busy, el, empty, failed, number, percent, t, tOr, when } from "./app.js";
import { chart } from "./chart.js";

const SECONDS = { list: 10, run: 3 };
const MOST_POINTS = 2000; // then the whole is asked for again, thinned
const page = document.getElementById("runs");
const query = new URLSearchParams(location.search);
const figureName = (name) => tOr(`runs.figure.${name}`, name);
const figure = (name, value) =>
  name === "win_rate" ? percent(value) : name === "promote" ? t(value ? "runs.promoted" : "runs.refused") : number(value, 4);
const runLink = (name) => `/runs?run=${encodeURIComponent(name)}`;
const state = (one) => el("span", { class: `tag state-${one.state}` }, t(`runs.state.${one.state}`));

/** Have these as a node's only children, without those that aren't. */
const put = (node, ...children) => node.replaceChildren(...children.flat().filter((child) => child != null && child !== false && child !== ""));

async function begin() {
  page.replaceChildren();
  const [show, path] = query.has("run")
    ? [showRun, `/web/runs/${encodeURIComponent(query.get("run"))}`] : [showList, listPath()];
  try {
    show(await busy(page, api(path)), path);
  } catch (error) {
    const text = error.status === 404 ? empty(t("runs.unknown"), back()) : failed(error, begin);
    page.replaceChildren(el("h1", {}, t("menu.runs")), text);
  }
}

/** Ask again and again while somebody looks; an error waits for the next time. */
function watch(seconds, ask) {
  const next = () => setTimeout(async () => {
    let more = true;
    if (!document.hidden) {
      try { more = await ask(); } catch (error) { more = error.status !== 404 && error.status !== 403; }
    }
    if (more) next();
  }, seconds * 1000);
  next();
}

// The list.

function listPath() {
  const asked = new URLSearchParams({ offset: query.get("offset") ?? "0", stage: query.get("stage") ?? "" });
  return `/web/runs?${asked}`;
}

function showList(found, path) {
  const list = el("ul", { class: "run-list" });
  const stage = el("select", { id: "stage" }, el("option", { value: "" }, t("runs.all")),
    found.stages.map((name) => el("option", { value: name, selected: name === query.get("stage") }, stageName(name))));
  stage.addEventListener("change", () => { location.search = new URLSearchParams({ stage: stage.value }); });
  put(page,
    el("div", { class: "row between" }, el("h1", {}, t("menu.runs")),
      found.stages.length > 1 && el("label", { class: "inline", for: "stage" }, t("runs.stage"), stage)),
    found.count ? list : empty(t("runs.none")), pager(found));
  const draw = (rows) => list.replaceChildren(...rows.map(line));
  draw(found.runs);
  let last = JSON.stringify(found.runs);
  watch(SECONDS.list, async () => {
    const fresh = await api(path);
    const text = JSON.stringify(fresh.runs);
    if (text !== last && !list.contains(document.activeElement)) draw(fresh.runs);
    last = text;
    return true;
  });
}

function line(run) {
  const figures = Object.entries(run.figures).map(([name, value]) =>
    el("span", {}, `${figureName(name)} `, el("b", {}, figure(name, value))));
  return el("li", { class: "card run" },
    el("div", { class: "row between" },
      el("a", { href: runLink(run.name) }, el("b", {}, stageName(run.stage)), " ", el("span", { class: "text small" }, run.name)),
      state(run)),
    el("p", { class: "soft small row" }, run.began && el("span", {}, when(run.began)), ...figures,
      run.policy && el("a", { href: `/lineage?id=${encodeURIComponent(run.policy)}` }, t("runs.policy", { id: run.policy.slice(0, 12) }))),
    run.problems.length > 0 && el("p", { class: "warn small text" }, run.problems[0]));
}

function pager(found) {
  const offset = Number(query.get("offset") ?? 0);
  const at = (to) => `/runs?${new URLSearchParams({ offset: Math.max(0, to), stage: query.get("stage") ?? "" })}`;
  return el("p", { class: "row between" },
    offset > 0 ? el("a", { class: "button", href: at(offset - found.page) }, t("runs.newer")) : el("span"),
    offset + found.page < found.count ? el("a", { class: "button", href: at(offset + found.page) }, t("runs.older")) : el("span"));
}

const stageName = (name) => tOr(`runs.stages.${name}`, name);
const back = () => el("p", {}, el("a", { class: "button", href: "/runs" }, t("runs.back")));

// One run.

function showRun(run, path) {
  const head = el("div", { class: "row" });
  const problems = el("ul", { class: "warn small" });
  const charts = el("div", { class: "charts" });
  const samples = el("section", { "aria-labelledby": "samples-title" });
  put(page,
    back(), el("h1", { class: "text" }, `${stageName(run.stage)} · ${run.name}`), head, problems,
    el("h2", { id: "charts-title" }, t("runs.charts")), charts, samples, ...folded(run));
  const curves = new Curves(charts);
  curves.take(run);
  drawHead(run);
  showSamples(samples, run.name, 0);
  if (run.state === "running") watch(SECONDS.run, grow);

  async function grow() {
    const asked = curves.size > MOST_POINTS ? path : `${path}?after=${encodeURIComponent(curves.next)}`;
    const more = await api(asked);
    if (more.from !== curves.next) curves.clear();
    curves.take(more);
    drawHead(more);
    return more.state === "running";
  }

  function drawHead(now) {
    put(head, state(now), now.began && el("span", { class: "soft" }, when(now.began)),
      now.policy && el("a", { href: `/lineage?id=${encodeURIComponent(now.policy)}` }, t("runs.policy", { id: now.policy })),
      el("a", { href: `/lineage?id=${encodeURIComponent(now.name)}` }, t("runs.lineage")),
      ...Object.entries(now.figures).map(([name, value]) => el("span", { class: "tag" }, `${figureName(name)} ${figure(name, value)}`)));
    problems.replaceChildren(...now.problems.map((text) => el("li", { class: "text" }, text)));
  }
}

/** All curves of a run by stage and chart; what comes later is put at their ends. */
class Curves {
  constructor(node) {
    this.node = node;
    this.next = "";
    this.size = 0;
    this.clear();
  }

  clear() {
    this.series = new Map();
    this.drawn ??= new Map();
    this.size = 0;
  }

  take(answer) {
    this.next = answer.next;
    for (const one of answer.series) {
      const key = JSON.stringify([one.stage, one.chart]);
      const chart = this.series.get(key) ?? this.series.set(key, new Map()).get(key);
      const known = chart.get(one.name) ?? chart.set(one.name, []).get(one.name);
      known.push(...one.points);
      this.size = Math.max(this.size, known.length);
    }
    this.draw();
  }

  draw() {
    for (const [key, names] of this.series) {
      const [stage, name] = JSON.parse(key);
      const series = [...names].map(([series, points]) => ({ name: series, label: label(series, name), points }));
      if (!series.some((one) => one.points.length > 1) || !series.some((one) => one.points.some(([, y]) => y))) continue;
      if (!this.drawn.has(key)) {
        const title = stage === "training" ? figureName(name) : `${stage}: ${figureName(name)}`;
        const made = chart(title, series);
        this.drawn.set(key, made);
        this.node.append(made.node);
      }
      this.drawn.get(key).grow(series);
    }
    if (!this.drawn.size) this.node.replaceChildren(empty(t("runs.no_curves")));
    else this.node.querySelector(":scope > .empty")?.remove();
  }
}

function label(series, chart) {
  if (series === chart) return t("runs.training");
  if (series.startsWith("eval_") || series.startsWith("held_out/")) return t("runs.held_out");
  return tOr(`runs.series.${series.split("/").at(-1)}`, series);
}

function folded(run) {
  const parts = [];
  const decision = run.decision;
  if (decision && Array.isArray(decision.reasons)) {
    const reasons = decision.reasons.map((one) => (one && typeof one === "object" ? one : { detail: String(one) }));
    parts.push(el("section", {}, el("h2", {}, t(decision.promote === true ? "runs.decided_promote" : "runs.decided_refuse")),
      el("ul", {}, reasons.map((one) => el("li", { class: one.passed === false ? "bad text" : "text" },
        `${one.passed === false ? "✗" : "✓"} ${one.detail ?? one.check ?? ""}`)))));
  }
  if (run.has_report) {
    const source = `/web/runs/${encodeURIComponent(run.name)}/report`;
    parts.push(el("section", {}, el("h2", {}, t("runs.report")),
      el("iframe", { class: "report", sandbox: true, src: source, title: t("runs.report"), loading: "lazy" }),
      el("p", {}, el("a", { href: source, target: "_blank", rel: "noopener" }, t("runs.report_alone")))));
  }
  const fold = (title, text) => text && el("details", { class: "card" }, el("summary", {}, title), el("pre", { class: "wide", tabindex: 0 }, text));
  const json = (value) => value && Object.keys(value).length > 0 && JSON.stringify(value, null, 2);
  parts.push(fold(t("runs.config"), run.config), fold(t("runs.manifest"), json(run.manifest)), fold(t("runs.learned_from"), json(run.learned_from)));
  return parts;
}

// What its policies said.

async function showSamples(node, name, offset) {
  const most = 5;
  try {
    const found = await api(`/web/runs/${encodeURIComponent(name)}/samples?${new URLSearchParams({ offset, most })}`);
    if (!found.count) return node.replaceChildren();
    const step = (to, key) => el("button", { type: "button", disabled: to < 0 || to >= found.count, onclick: () => showSamples(node, name, to) }, t(key));
    put(node,
      el("h2", { id: "samples-title" }, t("runs.samples", { count: number(found.count) })),
      found.problems.length > 0 && el("p", { class: "warn small text" }, found.problems[0]),
      ...found.samples.map(sample),
      el("p", { class: "row" }, step(offset - most, "runs.before"), step(offset + most, "runs.after"),
        el("span", { class: "soft small" }, `${number(offset + 1)}–${number(Math.min(offset + most, found.count))}`)));
  } catch (error) {
    node.replaceChildren(failed(error, () => showSamples(node, name, offset)));
  }
}

function sample(one) {
  const told = [one.update != null && t("runs.update", { number: one.update }), one.style && tOr(`styles.${one.style}`, one.style)];
  return el("article", { class: "card sample" },
    el("p", { class: "soft small" }, told.filter(Boolean).join(" · ")),
    el("p", { class: "text" }, el("b", {}, one.prompt)),
    el("div", { class: "sides" }, one.answers.map((answer) =>
      el("div", { class: answer.wins ? "side-by wins" : "side-by" },
        answer.by && el("p", { class: "small" }, t(`runs.by.${answer.by}`), answer.wins && el("b", { class: "good" }, ` ${t("runs.wins")}`)),
        el("p", { class: "text" }, answer.text || "–"), scores(answer.scores)))));
}

function scores(values) {
  const names = Object.keys(values);
  if (!names.length) return null;
  return el("details", { class: "small soft" },
    el("summary", {}, "total" in values ? t("runs.score", { value: number(values.total, 3) }) : t("runs.scores")),
    el("ul", {}, names.map((name) => el("li", {}, `${name} ${number(values[name], 4)}`))));
}

begin();
