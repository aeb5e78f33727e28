// The list of replays: start one, look at the totals of each, compare two, delete one.

import { byId, element } from "./dom.js";
import { ago, bytes, count, duration, moment } from "./figures.js";
import { bar, manner, state, timed, title } from "./replay_parts.js";
import { ask, begin, notice } from "./shell.js";

const AGAIN = 2000;
const AGAIN_IDLE = 10_000;

const chosen = new Set();
let shown = "";
let shelved = "";
let unwanted = null;

// ---- the list ----

function line({ about, summary, size }) {
  const id = about.run;
  const different = summary.turns - summary.verdicts.same;
  const box = element("input", { type: "checkbox", checked: chosen.has(id) });
  box.addEventListener("change", () => choose(id, box.checked));
  const remove = element("button", { type: "button", class: "quiet-ink small-button", disabled: about.state === "running" }, "Delete");
  remove.setAttribute("aria-label", `Delete the replay of ${moment(about.started_at)}`);
  remove.addEventListener("click", () => askToDelete(about));
  const told = [
    `${count(summary.turns)} turns${about.done !== null && about.state === "running" ? ` (${Math.floor(about.done * 100)} % read)` : ""}`,
    summary.turns ? (different ? `${count(different)} not the same` : "all the same") : null,
    summary.bad_lines ? `${count(summary.bad_lines)} bad lines` : null,
    summary.time_ratio && timed(about) ? `time × ${summary.time_ratio.toFixed(2)}` : null,
    summary.cost_ratio && timed(about) ? `cost × ${summary.cost_ratio.toFixed(2)}` : null,
    bytes(size),
  ];
  return element(
    "li",
    { class: "run", "data-run": id },
    element(
      "div",
      { class: "run-head" },
      element("a", { href: `/replay/${id}` }, title(about)),
      element("span", { class: "tags" }, state(about), element("span", { class: "tag" }, manner(about))),
    ),
    bar(summary.verdicts),
    element(
      "div",
      { class: "run-foot" },
      element("span", { class: "muted small", title: moment(about.started_at) }, [ago(about.started_at), ...told.filter(Boolean)].join(" · ")),
      element("label", { class: "switch small" }, box, "Compare"),
      remove,
    ),
  );
}

function choose(id, wanted) {
  if (wanted) chosen.add(id);
  else chosen.delete(id);
  byId("compare").disabled = chosen.size !== 2;
  byId("chosen").textContent = chosen.size ? `${chosen.size} chosen${chosen.size === 2 ? "" : "; choose two"}` : "";
}

async function list() {
  const told = await ask("/api/replay");
  notice(null);
  // The same list is not drawn again: the keyboard would lose its place.
  const form = JSON.stringify(told.runs) + Math.floor(Date.now() / 60_000);
  if (form !== shown) {
    const focus = document.activeElement?.closest("[data-run]")?.dataset.run;
    const place = focus && [...document.querySelectorAll(`[data-run="${focus}"] :is(a, input, button)`)].indexOf(document.activeElement);
    shown = form;
    byId("runs").replaceChildren(...told.runs.map(line));
    if (focus) document.querySelectorAll(`[data-run="${focus}"] :is(a, input, button)`)[place]?.focus({ preventScroll: true });
  }
  for (const id of [...chosen]) if (!told.runs.some((run) => run.about.run === id)) choose(id, false);
  byId("nothing").hidden = told.runs.length > 0;
  const offered = JSON.stringify([told.journal, told.recordings, told.can_start]);
  if (offered !== shelved) shelf(told);
  shelved = offered;
  return told;
}

async function compare() {
  // The older one is what the newer one is compared with.
  const [first, second] = [...chosen].sort();
  try {
    const { run } = await ask("/api/replay/compare", { method: "POST", body: { first, second } });
    location.assign(`/replay/${run}`);
  } catch (error) {
    notice(error.message);
  }
}

function askToDelete(about) {
  unwanted = about.run;
  byId("sure-what").textContent = `${title(about)}: replayed ${moment(about.started_at).slice(0, 19)}. What was recorded stays in the journal.`;
  byId("sure").showModal();
}

async function remove() {
  byId("sure").close();
  try {
    await ask(`/api/replay/${unwanted}`, { method: "DELETE" });
    await list();
  } catch (error) {
    notice(error.message);
  }
}

// ---- starting ----

function asked() {
  const mode = document.querySelector("input[name=mode]:checked").value;
  const seconds = Number(byId("since").value);
  const given = (id) => byId(id).value.trim() || null;
  return {
    source: byId("source").value,
    since: seconds ? new Date(Date.now() - seconds * 1000).toISOString() : null,
    session: given("session"),
    intent: given("intent"),
    outcome: given("outcome"),
    filter: given("filter"),
    mode: mode === "live" ? "live" : "recorded",
    live: mode === "some" ? [...byId("live").querySelectorAll("input:checked")].map((box) => box.value) : [],
    workers: Number(byId("workers").value),
    repeat: Number(byId("repeat").value),
  };
}

async function start(event) {
  event.preventDefault();
  byId("go").disabled = true;
  try {
    const { run } = await ask("/api/replay", { method: "POST", body: asked(), patience: 60_000 });
    location.assign(`/replay/${run}`);
  } catch (error) {
    notice(error.message);
    byId("notice").scrollIntoView({ block: "nearest" });
    byId(error.field ?? "")?.focus();
    byId("go").disabled = false;
  }
}

/** What can be replayed: the journal, and the recordings in the data folder. */
function shelf({ journal, recordings, can_start: can }) {
  const row = (name, what, told) => {
    const button = element("button", { type: "button", class: "quiet-ink small-button", hidden: !can }, "Replay");
    button.setAttribute("aria-label", `Replay ${what}`);
    button.addEventListener("click", () => {
      byId("starting").open = true;
      byId("source").value = name;
      byId("since").value = name === "journal" ? "86400" : "";
      byId("source").focus();
    });
    return element("li", {}, element("span", {}, element("b", {}, what), element("span", { class: "muted small" }, ` ${told.filter(Boolean).join(" · ")}`)), button);
  };
  const days = journal?.retention_seconds;
  byId("recordings").replaceChildren(
    row("journal", "The journal", journal ? [`${count(journal.messages)} turns`, journal.bytes === null ? null : bytes(journal.bytes), days ? `kept for ${duration(days)}` : null] : ["cannot be reached at the moment"]),
    ...recordings.map((one) => row(one.name, one.name, [bytes(one.size), ago(one.at)])),
  );
  const [first] = byId("source").options;
  const chosen = byId("source").value;
  byId("source").replaceChildren(first, ...recordings.map((one) => element("option", { value: one.name }, one.name)));
  byId("source").value = chosen;
}

function offer({ runs, can_start: can, actors, intents, workers_most: most }) {
  byId("starting").hidden = !can;
  byId("elsewhere").hidden = can;
  byId("starting").open = !runs.length;
  byId("workers").max = most;
  byId("intent").append(...intents.map((name) => element("option", { value: name }, name.replaceAll("_", " "))));
  byId("live").replaceChildren(
    ...actors.map((actor) =>
      element("label", { class: "switch small" }, element("input", { type: "checkbox", value: actor }), actor.replaceAll("_", " ")),
    ),
  );
}

byId("start").addEventListener("submit", start);
byId("start").addEventListener("change", () => {
  byId("live").hidden = document.querySelector("input[name=mode]:checked").value !== "some";
});
byId("compare").addEventListener("click", compare);
byId("keep").addEventListener("click", () => byId("sure").close());
byId("delete").addEventListener("click", remove);

await begin();
try {
  offer(await list());
} catch (error) {
  notice(error.message);
}

async function again() {
  let wait = AGAIN_IDLE;
  try {
    const told = document.hidden ? { runs: [] } : await list();
    if (told.runs.some(({ about }) => about.state === "running")) wait = AGAIN;
  } catch (error) {
    notice(error.message);
  }
  setTimeout(again, wait);
}

setTimeout(again, AGAIN);
