// The mesh's page: looks again every two seconds for as long as somebody sees it, and follows one
// conversation as it hops.

import { byId, element } from "./dom.js";
import { ago, count } from "./figures.js";
import { Graph, edgeKey, rate } from "./graph.js";
import { milliseconds, words } from "./hops.js";
import { ask, begin, notice } from "./shell.js";

const EVERY = 2000;
const PACE = 260; // the eye follows no hop that takes a millisecond: they are shown one by one
const tall = matchMedia("(max-width: 56rem)");
const still = matchMedia("(prefers-reduced-motion: reduce)");

let seen = null;
let chosen = null;

const graph = new Graph(byId("picture"), {
  chosen: (kind, key) => {
    chosen = [kind, key];
    tell(chosen);
  },
  pointed: (kind, key) => tell(kind === null ? chosen : [kind, key]),
});

// ---- what is looked at ----

function fact(name, told) {
  return [element("dt", {}, name), element("dd", {}, told)];
}

const times = (value) => (value ? `${milliseconds(value.p50)} in the median, ${milliseconds(value.p95)} at most in 95 of 100` : "not known");

function nodeDetail(node) {
  const actor = node.topic !== null && node.name !== "customer" && node.name !== "dead_letters";
  const link = node.topic ? element("a", { href: node.name === "dead_letters" ? "/streams/deadletters" : `/streams/${encodeURIComponent(node.topic)}` }, node.topic) : "–";
  return [
    element("h2", {}, words(node.name)),
    element(
      "dl",
      {},
      ...fact("Last 60 s", `${count(node.last_minute)} records`),
      ...(node.lag === null ? [] : fact("Lag", node.lag ? `${count(node.lag)} records wait or are being worked on` : "none")),
      ...(actor ? fact("Worked", times(node.worked)) : []),
      ...(actor ? fact("Waited before", times(node.waited)) : []),
      ...(actor ? fact("Of hops looked at", `${count(node.hops)}: ${count(node.failures)} failed, ${count(node.retries)} were tried again`) : []),
      ...fact("Topic", link),
    ),
  ];
}

function edgeDetail(edge) {
  const kinds = { step: "The next step", retry: "Another try", failure: "Where a failure turned to" };
  return [
    element("h2", {}, `${words(edge.source)} → ${words(edge.target)}`),
    element(
      "dl",
      {},
      ...fact("What it is", kinds[edge.kind]),
      ...fact("Last 60 s", rate(edge.per_minute) || "nothing"),
      ...fact("Waited", times(edge.waited)),
      ...fact("Of hops looked at", count(edge.hops)),
    ),
  ];
}

function tell(what) {
  const [kind, key] = what ?? [null, null];
  const found = kind === "node" ? seen?.nodes.find((node) => node.name === key) : seen?.edges.find((edge) => edgeKey(edge) === key);
  byId("aside").hidden = !found;
  if (!found) return;
  byId("aside").replaceChildren(...(kind === "node" ? nodeDetail(found) : edgeDetail(found)));
}

// ---- the whole ----

function draw() {
  if (seen === null) return;
  graph.show(seen, tall.matches);
  const behind = seen.nodes.filter((node) => node.behind);
  const turns = seen.nodes.find((node) => node.name === "conversation")?.last_minute ?? 0;
  byId("lead").textContent = [
    `${count(turns)} message${turns === 1 ? "" : "s"} in the last minute.`,
    behind.length ? `Behind: ${behind.map((node) => `${words(node.name)} by ${count(node.lag)}`).join(", ")}.` : "Nobody is behind.",
    seen.turns ? `Times and ways are those of the newest ${count(seen.turns)} turn${seen.turns === 1 ? "" : "s"}, the oldest of them ${ago(seen.since)}.` : "No turn has ended yet, so no ways are known.",
  ].join(" ");
  tell(chosen);
}

async function look() {
  try {
    seen = await ask("/api/streams/mesh");
    notice(null);
    byId("freshness").textContent = "Looks again every two seconds";
    draw();
  } catch (error) {
    notice(seen ? `${error.message} What you see below is from ${ago(seen.at)}.` : error.message);
    byId("freshness").textContent = "";
  }
}

// ---- one conversation ----

const OVERTAKEN = 200; // a reply may be here before the news of the last hop

const ended = new Set();
let source = null;
let playing = Promise.resolve();
let last = { turn: null, actor: "customer", began: 0 };

function say(text, session = null) {
  const link = session ? element("a", { href: `/streams/conversation/${encodeURIComponent(session)}`, class: "mono" }, session) : null;
  byId("followed").replaceChildren(...[text, link].filter(Boolean));
}

function stop() {
  source?.close();
  source = null;
  byId("stop").hidden = true;
  graph.at(null);
}

function note(actor, after) {
  byId("hopped").append(element("li", {}, words(actor), element("span", { class: "muted small" }, after)));
}

/** Show a hop after those before it, however fast they came. */
function play(step) {
  const came = performance.now();
  playing = playing.then(async () => {
    if (source === null) return;
    await step(came);
    await new Promise((passed) => setTimeout(passed, PACE));
  });
}

function hopped({ message_id: turn, actor }) {
  if (ended.has(turn)) return;
  play(async (came) => {
    if (turn !== last.turn) {
      byId("hopped").replaceChildren();
      last = { turn, actor: "customer", began: came };
    }
    await graph.hop(last.actor, actor, still.matches);
    graph.at(actor);
    note(actor, `+${milliseconds(came - last.began)}`);
    last.actor = actor;
  });
}

function replied({ message_id: turn, state }, session, came) {
  ended.add(turn);
  play(async () => {
    await graph.hop(last.actor, "customer", still.matches);
    graph.at(null);
    note("reply", `+${milliseconds(came - last.began)}`);
    say(`${state.replaceAll("_", " ")}. Waiting for the next message of `, session);
  });
}

function follow(session) {
  stop();
  byId("hopped").replaceChildren();
  last = { turn: null, actor: "customer", began: 0 };
  const query = session ? `?${new URLSearchParams({ session })}` : "";
  let followed = session;
  say(session ? "Waiting for the next message of " : "Waiting for the next message, whoever writes it.", session || null);
  source = new EventSource(`/api/streams/mesh/live${query}`);
  byId("stop").hidden = false;
  source.addEventListener("session", (event) => {
    followed = JSON.parse(event.data).session_id;
    byId("session").value = followed;
    say("Following ", followed);
  });
  source.addEventListener("progress", (event) => hopped(JSON.parse(event.data)));
  source.addEventListener("reply", (event) => {
    setTimeout(replied, OVERTAKEN, JSON.parse(event.data), followed, performance.now());
  });
  source.addEventListener("error", async () => {
    if (source?.readyState !== EventSource.CLOSED) return;
    stop();
    try {
      await ask("/api/operator");
      say("This session cannot be followed: is it the id of one?");
    } catch (error) {
      say(error.message);
    }
  });
}

byId("follow").addEventListener("submit", (event) => {
  event.preventDefault();
  follow(byId("session").value.trim());
});

byId("stop").addEventListener("click", () => {
  stop();
  say("Stopped.");
});

tall.addEventListener("change", draw);

await begin();
await look();
setInterval(() => document.hidden || look(), EVERY);
document.addEventListener("visibilitychange", () => document.hidden || look());
const asked = new URLSearchParams(location.search).get("session");
if (asked) {
  byId("session").value = asked;
  follow(asked);
}
