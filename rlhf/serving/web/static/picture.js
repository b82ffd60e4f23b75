// A lineage as a picture: things as cards in columns, lines from what went into what. On a phone
// the columns are a list, which is also what a screen reader is told.

import { el, number, t } from "./app.js";
import { name, subtitle } from "./things.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * Draw a graph of the service into `node`; `choose(id)` is called for a card that is chosen.
 * `focus` puts the keyboard on the chosen card.
 */
export function draw(node, graph, choose, focus) {
  const cards = new Map();
  const lines = document.createElementNS(SVG, "svg");
  lines.setAttribute("aria-hidden", "true");
  lines.setAttribute("class", "lines");
  const columns = graph.columns.map((column, at) => {
    const things = graph.nodes.filter((thing) => thing.column === at);
    if (!things.length) return null;
    return el("section", { class: "column", "aria-label": t(`lineage.column.${column}`) },
      el("h2", {}, t(`lineage.column.${column}`)),
      el("ul", {}, things.map((thing) => {
        const made = card(thing, thing.key === graph.chosen, choose);
        cards.set(thing.key, made);
        return el("li", {}, made, below(thing));
      })));
  });
  const canvas = el("div", { class: "canvas" }, lines, columns);
  node.replaceChildren(canvas);
  canvas.addEventListener("keydown", (event) => walk(event, graph, cards));
  const redraw = () => drawLines(lines, canvas, graph, cards);
  redraw();
  new ResizeObserver(redraw).observe(canvas);
  centre(node, cards.get(graph.chosen));
  if (focus) cards.get(graph.chosen)?.focus({ preventScroll: true });
}

function card(thing, chosen, choose) {
  const tainted = Boolean(thing.facts.tainted);
  const made = el("button", { type: "button", class: `thing kind-${thing.kind}${tainted ? " tainted" : ""}`, onclick: () => choose(thing.id) },
    el("span", { class: "small soft" }, t(`lineage.kind.${thing.kind}`)),
    el("b", { class: "text" }, name(thing)),
    subtitle(thing) && el("span", { class: "small text" }, subtitle(thing)),
    tainted && el("span", { class: "small bad" }, `⚠ ${t("lineage.tainted")}`));
  if (chosen) made.setAttribute("aria-current", "true");
  return made;
}

function below(thing) {
  const more = Object.values(thing.more).reduce((sum, count) => sum + count, 0);
  return more > 0 && el("span", { class: "small soft" }, t("lineage.more", { count: number(more) }));
}

/** Right and left along the lines, up and down within a column. */
function walk(event, graph, cards) {
  const [here] = [...cards].find(([, card]) => card === event.target) ?? [];
  if (!here || event.ctrlKey || event.altKey || event.metaKey) return;
  const at = (key) => graph.nodes.find((thing) => thing.key === key).column;
  const beside = (way) => graph.edges
    .flatMap(([from, to]) => (from === here ? [to] : to === here ? [from] : []))
    .filter((key) => Math.sign(at(key) - at(here)) === way);
  const column = graph.nodes.filter((thing) => thing.column === at(here)).map((thing) => thing.key);
  const place = column.indexOf(here);
  const near = { ArrowRight: beside(1), ArrowLeft: beside(-1), ArrowDown: [column[place + 1]], ArrowUp: [column[place - 1]] }[event.key];
  if (!near) return;
  event.preventDefault();
  const level = middle(cards.get(here));
  const reachable = near.filter((key) => cards.has(key));
  reachable.sort((a, b) => Math.abs(middle(cards.get(a)) - level) - Math.abs(middle(cards.get(b)) - level));
  cards.get(reachable[0])?.focus();
}

function middle(card) {
  const box = card.getBoundingClientRect();
  return box.top + box.height / 2;
}

function drawLines(svg, canvas, graph, cards) {
  const origin = canvas.getBoundingClientRect();
  svg.setAttribute("viewBox", `0 0 ${canvas.scrollWidth} ${canvas.scrollHeight}`);
  svg.style.width = `${canvas.scrollWidth}px`;
  svg.style.height = `${canvas.scrollHeight}px`;
  svg.replaceChildren(...graph.edges.filter(([from, to]) => cards.has(from) && cards.has(to)).map(([from, to]) => {
    const [a, b] = [from, to].map((key) => cards.get(key).getBoundingClientRect());
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", curve(a, b, origin));
    if (from === graph.chosen || to === graph.chosen) path.setAttribute("class", "own");
    return path;
  }));
}

/** From the right of one card to the left of another; within a column, or back, around the side. */
function curve(a, b, origin) {
  const [ya, yb] = [a, b].map((box) => box.top + box.height / 2 - origin.top);
  if (b.left >= a.right) {
    const [x, to] = [a.right - origin.left, b.left - origin.left];
    const bend = (to - x) / 2;
    return `M${x} ${ya}C${x + bend} ${ya} ${to - bend} ${yb} ${to} ${yb}`;
  }
  if (a.left >= b.right) { // an answer that the policy gave
    const [x, to] = [a.left - origin.left, b.right - origin.left];
    const bend = (x - to) / 2;
    return `M${x} ${ya}C${x - bend} ${ya} ${to + bend} ${yb} ${to} ${yb}`;
  }
  const [x, to, out] = [a.right - origin.left, b.right - origin.left, 26];
  return `M${x} ${ya}C${x + out} ${ya} ${to + out} ${yb} ${to} ${yb}`;
}

function centre(node, card) {
  if (!card) return;
  const [outer, inner] = [node.getBoundingClientRect(), card.getBoundingClientRect()];
  node.scrollLeft += inner.left + inner.width / 2 - outer.left - outer.width / 2;
  node.scrollTop += inner.top + inner.height / 2 - outer.top - outer.height / 2;
}
