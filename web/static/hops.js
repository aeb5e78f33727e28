// One hop of a conversation as a strip of its sequence diagram: an arrow between two actors, what
// became of it, and how long it waited and worked on the clock of its turn.
//
// Places are in percent, so a strip is as wide as there is room, and nothing is drawn again when
// the window changes.

import { svg } from "./dom.js";

const HEIGHT = 44;
const LINE = 27;

/** What a hop looks like: "plain", "turned", "again", "bad", "open", "held" or "hand". */
export function tone(step) {
  if (["failed", "dead"].includes(step.outcome) || step.guardrail === "refused") return "bad";
  if (step.outcome === "retry" || step.attempt > 1) return "again";
  if (step.by_hand) return "hand";
  if (step.outcome === "open") return "open";
  if (["waits", "repeated"].includes(step.outcome)) return "held";
  return step.outcome === "rerouted" ? "turned" : "plain";
}

const SIGNS = { added: "+", changed: "±", removed: "−" };

/** The payload's slots that a hop changed, each once, with what it did to them. */
export function slots(step) {
  const found = new Map();
  for (const { path, kind } of step.difference) {
    const [slot] = path.split(/[.[]/);
    found.set(slot, slot === path ? SIGNS[kind] : SIGNS.changed);
  }
  return [...found].map(([slot, sign]) => `${sign} ${slot}`);
}

/** A time in milliseconds as people read it. */
export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 9.95) return `${value.toFixed(1)} ms`;
  if (value < 999.5) return `${Math.round(value)} ms`;
  return value < 99_950 ? `${(value / 1000).toFixed(1)} s` : `${Math.round(value / 60_000)} min`;
}

/** What is out of the ordinary about a hop, in a few words; nothing for most. */
export function remark(step) {
  if (step.guardrail === "refused") return "refused the reply";
  switch (step.outcome) {
    case "retry":
      return `try ${step.attempt} failed`;
    case "failed":
      return "failed";
    case "dead":
      return "dead letter";
    case "waits":
      return "waits for the turn before";
    case "repeated":
      return "came again, not worked on twice";
    case "open":
      return step.working ? "at work" : "waits, or is being worked on";
    case "rerouted":
      return step.route?.length ? `on to ${words(step.route[0])}` : "";
    default:
      return step.attempt > 1 ? `try ${step.attempt}` : "";
  }
}

/** An actor's name as people say it. */
export const words = (actor) => actor.replaceAll("_", " ");

/**
 * Return the strip of a message from one actor to another.
 *
 * `columns` are the diagram's actors; `label` stands at the arrow's head, `lost` ends it in a cross.
 */
export function strip(columns, from, to, { look = "plain", label = "", lost = false, working = false } = {}) {
  const place = (name) => ((columns.indexOf(name) + 0.5) / columns.length) * 100;
  const [start, end] = [place(from), place(to)];
  const itself = from === to;
  const rightward = end > start;
  const last = end > 74;
  const parts = columns.map((name) => rail(place(name)));
  if (itself) parts.push(at(end, loop()));
  else parts.push(arrow(start, end), at(end, head(rightward, lost)));
  parts.push(at(end, svg("rect", { class: working ? "box working" : "box", x: -5, y: LINE - 1, width: 10, height: 13, rx: 3 })));
  if (label) {
    // Beyond the head where there is room, else above the arrow's end.
    const beyond = itself ? (last ? -1 : 1) : rightward ? (last ? 0 : 1) : end < 12 ? 0 : -1;
    const dx = beyond === 0 ? (rightward ? -12 : 12) : beyond * (itself ? 40 : 12);
    const anchor = (beyond || (rightward ? -1 : 1)) > 0 ? "start" : "end";
    parts.push(at(end, svg("text", { x: dx, y: beyond ? LINE + 4 : LINE - 8, "text-anchor": anchor }, label)));
  }
  return svg("svg", { class: "strip", "data-look": look, width: "100%", height: HEIGHT, "aria-hidden": "true" }, ...parts);
}

function rail(x) {
  return svg("line", { class: "rail", x1: `${x}%`, x2: `${x}%`, y1: 0, y2: HEIGHT });
}

function arrow(start, end) {
  return svg("line", { class: "arrow", x1: `${start}%`, x2: `${end}%`, y1: LINE, y2: LINE });
}

/** Put a drawing around x = 0 at a place in percent. */
function at(x, drawing) {
  return svg("svg", { x: `${x}%`, overflow: "visible" }, drawing);
}

function head(rightward, lost) {
  const way = rightward ? -1 : 1;
  if (lost) return svg("path", { class: "cross", d: `M-6,${LINE - 6} L6,${LINE + 6} M6,${LINE - 6} L-6,${LINE + 6}` });
  const tip = way * 5;
  return svg("path", { class: "tip", d: `M${tip},${LINE} l${way * 9},-5 v10 z` });
}

function loop() {
  const path = `M5,${LINE - 12} h22 v14 h-16`;
  return svg("g", {}, svg("path", { class: "arrow", d: path }), svg("path", { class: "tip", d: `M6,${LINE + 2} l9,-5 v10 z` }));
}

/** Return the hop on its turn's clock: hollow while it waited, full while it was worked on. */
export function clock(step, began, ended) {
  const whole = Math.max(1, ended - began);
  const place = (time) => Math.min(100, Math.max(0, ((time - began) / whole) * 100));
  const started = step.started_at ? Date.parse(step.started_at) + fraction(step.started_at) : null;
  const worked = step.working_ms ?? 0;
  const waited = step.waiting_ms ?? 0;
  const sent = started === null ? Date.parse(step.sent_at) : started - waited;
  const parts = [];
  const bar = (kind, from, to) => {
    const width = Math.max(place(to) - place(from), kind === "worked" ? 0.8 : 0);
    parts.push(svg("rect", { class: kind, x: `${Math.min(place(from), 99.2)}%`, width: `${width}%`, y: 17, height: 12, rx: 2 }));
  };
  bar("waited", sent, started ?? (step.ended_at ? Date.parse(step.ended_at) : ended));
  if (started !== null) bar("worked", started, started + worked);
  return svg("svg", { class: "clock", width: "100%", height: HEIGHT, "aria-hidden": "true" }, ...parts);
}

/** The microseconds of a time, in milliseconds: a Date keeps whole milliseconds only. */
function fraction(text) {
  const digits = /\.\d{3}(\d+)/.exec(text)?.[1] ?? "";
  return digits ? Number(`0.${digits}`) : 0;
}
