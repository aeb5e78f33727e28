// One replay: its totals as a picture, its progress while it goes on, and only what changed.

import { byId, element } from "./dom.js";
import { ago, count, moment } from "./figures.js";
import { milliseconds } from "./hops.js";
import { settled } from "./problems.js";
import { bar, manner, mark, share, spent, timed, title, VERDICTS } from "./replay_parts.js";
import { ask, begin, notice } from "./shell.js";

const AGAIN = 3000;
const FILTERS = ["aspect", "actor", "intent", "text"];
const words = (name) => name.replaceAll("_", " ");

const run = decodeURIComponent(location.pathname.split("/")[2]);
const query = new URLSearchParams(location.search);

let source = null;
let known = null;
let last = null; // of the list: behind what the next page begins
let asking = 0;
let stopping = false;

// ---- totals ----

function head({ about, summary }) {
  byId("title").textContent = title(about);
  document.title = `${title(about)} · Replay · Actor Mesh`;
  const took = about.ended_at ? `, took ${milliseconds(Date.parse(about.ended_at) - Date.parse(about.started_at))}` : "";
  byId("lead").textContent = [
    `${moment(about.started_at).slice(0, 19)} (${ago(about.started_at)})${took}`,
    manner(about),
    about.code ? `code ${about.code}` : null,
    about.state === "interrupted" ? `interrupted: ${about.problem || "nobody said why."} ${known.can_repeat ? `Go on with python app.py replay --resume ${about.run}` : ""}` : null,
  ]
    .filter(Boolean)
    .join(" · ");
  const running = about.state === "running";
  byId("under-way").hidden = !running;
  byId("stop").hidden = false;
  byId("again").hidden = running || !known.can_repeat;
  if (!running) return;
  const seconds = Math.max(0.5, (Date.now() - Date.parse(about.started_at)) / 1000);
  const rate = summary.turns / seconds;
  byId("progress").removeAttribute("value");
  // All was read before the last turns have ended.
  if (about.done !== null) byId("progress").value = Math.min(about.done, 0.99);
  const left = about.done ? (seconds * (1 - about.done)) / about.done : null;
  byId("pace").textContent = [
    `${count(summary.turns)} turns`,
    rate ? `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} a second` : null,
    about.done === null ? null : `${Math.floor(about.done * 100)} % read`,
    left && !stopping ? `about ${milliseconds(left * 1000)} left` : null,
    stopping ? "it stops when what is under way has ended …" : null,
  ]
    .filter(Boolean)
    .join(", ");
}

/** A total that is also a filter. */
function choice(name, value, heading, ...drawn) {
  const button = element("button", { type: "button", class: "bar-row", "aria-pressed": String(query.get(name) === value) }, heading, ...drawn);
  button.addEventListener("click", () => filter(name, query.get(name) === value ? "" : value));
  return element("li", {}, button);
}

function totals({ about, summary, aspects }) {
  byId("totals").hidden = summary.turns === 0;
  byId("whole").replaceChildren(bar(summary.verdicts));
  byId("verdicts").replaceChildren(
    ...VERDICTS.map((verdict) => {
      const many = summary.verdicts[verdict] ?? 0;
      const button = element(
        "button",
        { type: "button", class: "count", "aria-pressed": String(query.get("verdict") === verdict), "data-verdict": verdict.replaceAll(" ", "-"), disabled: !many },
        element("b", {}, count(many)),
        " ",
        verdict,
      );
      button.addEventListener("click", () => filter("verdict", query.get("verdict") === verdict ? "" : verdict));
      return button;
    }),
  );
  const rows = aspects
    .map((aspect) => [aspect, summary.aspects[aspect] ?? {}])
    .filter(([, counts]) => Object.entries(counts).some(([verdict, many]) => verdict !== "same" && many));
  byId("aspects").replaceChildren(
    ...rows.map(([aspect, { same, ...counts }]) => {
      const many = Object.values(counts).reduce((sum, each) => sum + each, 0);
      return choice("aspect", aspect, element("span", {}, aspect), bar(counts, { of: summary.turns, what: aspect }), element("span", { class: "figure" }, count(many)));
    }),
    ...(rows.length ? [] : [element("li", { class: "muted" }, "Nothing.")]),
  );
  const actors = Object.entries(summary.diverging).sort(([, a], [, b]) => b - a);
  byId("actors").replaceChildren(
    ...actors.map(([actor, many]) => choice("actor", actor, element("span", {}, words(actor)), share(many, actors[0][1]), element("span", { class: "figure" }, count(many)))),
    ...(actors.length ? [] : [element("li", { class: "muted" }, "Nowhere.")]),
  );
  byId("spent").replaceChildren(...spent(summary.recorded, summary.replayed));
  if (!byId("spent").childElementCount) byId("spent").append(element("p", { class: "muted" }, "Not known."));
  else if (!timed(about))
    byId("spent").append(element("p", { class: "muted small" }, "Recorded answers come at once and cost nothing now: the time is that of our own code."));
  options("aspect", aspects);
  options("actor", actors.map(([actor]) => actor));
  options("intent", Object.keys(summary.intents).filter((name) => name !== "none" && !name.startsWith("(")).sort());
}

function options(name, values) {
  const select = byId(name);
  const there = [...select.options].slice(1).map((option) => option.value);
  const asked = query.get(name);
  const wanted = asked && !values.includes(asked) ? [...values, asked] : values;
  if (there.join() !== wanted.join())
    select.replaceChildren(select.options[0], ...wanted.map((value) => element("option", { value }, words(value))));
  select.value = asked ?? "";
}

// ---- turns ----

function row(turn) {
  const where = new URLSearchParams(query);
  where.set("attempt", turn.attempt);
  const other = Object.entries(turn.aspects).filter(([, verdict]) => verdict !== "same");
  return element(
    "li",
    { class: "turn-row", "data-verdict": turn.verdict.replaceAll(" ", "-") },
    element("a", { href: `/replay/${run}/${turn.position}?${where}` }, turn.said || "(no words)"),
    element(
      "p",
      { class: "tags" },
      mark(turn.verdict),
      turn.attempt > 1 ? element("span", { class: "tag" }, `attempt ${turn.attempt}`) : null,
      ...other.map(([aspect, verdict]) =>
        element(
          "span",
          { class: "tag", "data-verdict": verdict.replaceAll(" ", "-"), title: `${aspect}: ${verdict}` },
          aspect === "reply" && turn.score !== null && verdict !== "not recorded" ? `reply ${turn.score.toFixed(2)}` : aspect,
        ),
      ),
    ),
    element("p", { class: "muted small" }, [turn.reason, turn.leading, turn.intent && words(turn.intent)].filter(Boolean).join(" · ")),
  );
}

async function load(more = false) {
  const mine = (asking += 1);
  const wanted = new URLSearchParams(query);
  wanted.delete("unmask");
  if (more && last) {
    wanted.set("position", last.position);
    wanted.set("attempt", last.attempt);
  }
  try {
    const told = await ask(`/api/replay/${run}/turns?${wanted}`);
    if (mine !== asking) return;
    notice(null);
    const rows = told.turns.map(row);
    if (more) byId("turns").append(...rows);
    else byId("turns").replaceChildren(...rows);
    last = told.turns.at(-1) ?? last;
    if (more) rows[0]?.querySelector("a").focus();
    const filtered = ["verdict", ...FILTERS].some((name) => query.get(name));
    byId("changed").hidden = false;
    byId("count").textContent = told.count ? `${count(told.count)} ${filtered ? "of these" : "that are not the same"}` : "";
    byId("more").hidden = !told.more;
    byId("nothing").hidden = told.count > 0;
    byId("nothing").firstElementChild.textContent = filtered
      ? "No turn is like this."
      : known?.about.state === "running"
        ? "All turns are the same so far."
        : known?.summary.turns
          ? "All turns came out the same."
          : "There was no turn to replay.";
  } catch (error) {
    if (mine === asking && error.status !== 404) notice(error.message);
  }
}

function filter(name, value) {
  if (value) query.set(name, value);
  else query.delete(name);
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
  last = null;
  if (known) totals(known);
  load();
}

// ---- following ----

const soon = settled(() => last === null && load(), 200);

function tell(told) {
  const before = known?.summary.turns;
  known = { ...known, ...told };
  head(known);
  totals(known);
  // Who has begun to look through the turns is not to lose the place.
  if (known.summary.turns !== before && byId("turns").childElementCount < 50 && !byId("turns").contains(document.activeElement)) {
    last = null;
    soon();
  }
}

function follow() {
  source?.close();
  setTimeout(() => {
    if (known || !byId("notice").hidden) return;
    byId("lead").textContent = "";
    byId("under-way").hidden = false;
    byId("stop").hidden = true;
    byId("pace").textContent = "Starting a mesh of today’s code …";
  }, 400);
  source = new EventSource(`/api/replay/${run}/live`);
  source.addEventListener("run", (event) => {
    notice(null);
    tell(JSON.parse(event.data));
  });
  source.addEventListener("gone", (event) => {
    source.close();
    byId("lead").textContent = "";
    byId("under-way").hidden = true;
    notice(JSON.parse(event.data).message);
  });
  source.addEventListener("ended", () => {
    source.close();
    // Who asks what would follow wants to see that one turn.
    if (known?.about.request?.what_if && known.summary.turns === 1) openTheTurn();
    last = null;
    load();
    badLines();
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) return;
    ask("/api/operator").then(() => setTimeout(follow, AGAIN), (error) => {
      notice(error.message);
      setTimeout(follow, AGAIN);
    });
  });
}

async function openTheTurn() {
  const { turns } = await ask(`/api/replay/${run}/turns?all=1`);
  if (turns.length === 1) location.replace(`/replay/${run}/${turns[0].position}`);
}

async function badLines() {
  const { bad_lines: lines, summary } = await ask(`/api/replay/${run}`);
  byId("bad").hidden = lines.length === 0;
  byId("bad-title").textContent = `${count(summary.bad_lines)} line${summary.bad_lines === 1 ? "" : "s"} held no turn`;
  byId("bad-lines").replaceChildren(...lines.map((line) => element("li", {}, element("span", { class: "mono" }, `${line.number}`), ` ${line.reason}`)));
}

async function stop() {
  byId("stop").disabled = true;
  try {
    await ask(`/api/replay/${run}/stop`, { method: "POST", body: {} });
    stopping = true;
    if (known) head(known);
  } catch (error) {
    notice(error.message);
    byId("stop").disabled = false;
  }
}

async function again() {
  byId("again").disabled = true;
  try {
    const { run: next } = await ask(`/api/replay/${run}/again`, { method: "POST", body: {}, patience: 60_000 });
    location.assign(`/replay/${next}`);
  } catch (error) {
    notice(error.message);
    byId("again").disabled = false;
  }
}

for (const name of FILTERS.slice(0, 3)) byId(name).addEventListener("change", () => filter(name, byId(name).value));
byId("text").value = query.get("text") ?? "";
byId("text").addEventListener("input", settled(() => filter("text", byId("text").value.trim())));
byId("filters-of-turns").addEventListener("submit", (event) => event.preventDefault());
byId("more").addEventListener("click", () => load(true));
byId("again").addEventListener("click", again);
byId("stop").addEventListener("click", stop);

await begin({ masking: true, changed: () => filter("", "") });
follow();
