// What the pages of replays share: verdicts as people read them, and totals as pictures.

import { element, svg } from "./dom.js";
import { count, moment } from "./figures.js";
import { milliseconds } from "./hops.js";

/** The verdicts from the best to the worst, each with its tone. */
export const VERDICTS = ["same", "similar", "not recorded", "different", "failed"];

/** Return a verdict as a mark. */
export const mark = (verdict) =>
  element("span", { class: "tag verdict", "data-verdict": verdict.replaceAll(" ", "-") }, verdict);

/** Return counts by verdict as a stacked bar; `of` is the whole, by default their sum. */
export function bar(counts, { of = null, what = "turns" } = {}) {
  const parts = VERDICTS.map((verdict) => [verdict, counts[verdict] ?? 0]).filter(([, many]) => many > 0);
  const whole = of ?? parts.reduce((sum, [, many]) => sum + many, 0);
  const told = parts.map(([verdict, many]) => `${count(many)} ${verdict}`).join(", ");
  let from = 0;
  const drawn = parts.map(([verdict, many]) => {
    // What is rare is what one looks for: it is never thinner than can be seen.
    const width = Math.max((many / whole) * 100, 0.8);
    const x = Math.min(from, 100 - width);
    from += (many / whole) * 100;
    return svg(
      "rect",
      { x: `${x}%`, width: `${width}%`, height: "100%", "data-verdict": verdict.replaceAll(" ", "-") },
      svg("title", {}, `${count(many)} ${verdict}`),
    );
  });
  return svg(
    "svg",
    { class: "stack-bar", width: "100%", height: 14, role: "img", "aria-label": told ? `${what}: ${told}` : `no ${what}` },
    ...drawn,
  );
}

/** Return a share of the largest as a plain bar. */
export function share(many, most) {
  const width = many ? Math.max((many / most) * 100, 1) : 0;
  return svg(
    "svg",
    { class: "stack-bar", width: "100%", height: 8, "aria-hidden": "true" },
    svg("rect", { width: `${width}%`, height: "100%", "data-verdict": "different" }),
  );
}

const MONEY = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumSignificantDigits: 3 });

/** What a turn or a replay took, by name: how to say it. */
const SPENT = {
  work_ms: ["Work", milliseconds],
  cost_usd: ["Model", (value) => (value === null ? "–" : MONEY.format(value))],
  tokens: ["Tokens", count],
};

/** Return what was spent on both sides as a pair of bars each; nothing that neither side knows. */
export function spent(recorded, replayed) {
  const known = Object.entries(SPENT).filter(([name]) => recorded[name] !== null || replayed[name] !== null);
  return known.map(([name, [title, say]]) => {
    const [old, now] = [recorded[name], replayed[name]];
    const most = Math.max(old ?? 0, now ?? 0);
    const line = (side, value) =>
      element(
        "div",
        { class: "spent-line" },
        element("span", { class: "muted" }, side),
        share(value ?? 0, most),
        element("span", { class: "figure" }, say(value)),
      );
    const times = old && now !== null ? ` × ${(now / old).toFixed(2)}` : "";
    return element("div", {}, element("p", { class: "label" }, `${title}${times}`), line("recorded", old), line("now", now));
  });
}

/** What a run replayed, in words. */
export function title({ source, request }) {
  if (!request) return source;
  if (request.what_if) return `What if, in turn ${request.what_if.message_id} of conversation ${request.what_if.session_id}`;
  const file = source.split("/").at(-1);
  const of = request.session ? `Conversation ${request.session}` : source === "journal" ? "The journal" : file;
  const only = [
    request.session && source !== "journal" ? `in ${file}` : null,
    request.since ? `since ${moment(request.since).slice(0, 16)}` : null,
    request.until ? `until ${moment(request.until).slice(0, 16)}` : null,
    request.intent?.replaceAll("_", " "),
    request.outcome?.replaceAll("_", " "),
    request.filter,
    request.repeat > 1 ? `${request.repeat} times each` : null,
  ].filter(Boolean);
  return [of, ...only].join(", ");
}

/** Whether the time that a replay took says something: recorded answers come at once. */
export const timed = (about) => about.mode !== "recorded" || about.live.length > 0;

/** How a replay was answered, in words. */
export function manner(about) {
  if (about.mode === "compared") return "two replays";
  if (about.mode === "live") return "all ask for real";
  const asking = about.live.map((actor) => actor.replaceAll("_", " ")).join(", ");
  return asking ? `${asking} ${about.live.length === 1 ? "asks" : "ask"} for real` : "answers from the recording";
}

const STATES = { running: "", ended: "good", interrupted: "bad" };

/** The state of a run as a mark. */
export const state = (about) =>
  element("span", { class: "tag", "data-tone": STATES[about.state], title: about.problem }, about.state);
