// The dead letters' page: find them, choose some, open one.

import { byId, element } from "./dom.js";
import { fateTag, LetterSheet } from "./letter.js";
import { ManySheet } from "./redrive_many.js";
import { named } from "./route.js";
import { ask, begin, notice } from "./shell.js";
import { settled } from "./problems.js";

const LOOK_EVERY = 10_000;
const MOST_CHOSEN = 200;

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

const chosen = new Set();
const FILTERS = ["reason", "topic", "since", "state"];
let shown = [];
let before = null;
let looked = 0;
let routes = {};
let asked = 0;

const sheet = new LetterSheet({
  changed: refreshOne,
  closed: (offset) => {
    remember(null);
    // The list may have been drawn anew meanwhile: back to the same letter in it.
    byId("letters").querySelector(`[data-letter="${offset}"]`)?.focus();
  },
});
const many = new ManySheet({
  done: () => {
    chosen.clear();
    load();
  },
});

// ---- reading ----

function query(from) {
  const parameters = new URLSearchParams();
  for (const name of ["reason", "topic"]) {
    if (byId(name).value) parameters.set(name, byId(name).value);
  }
  if (byId("since").value) {
    parameters.set("since", new Date(Date.now() - Number(byId("since").value) * 1000).toISOString());
  }
  if (from !== null) parameters.set("before", from);
  return `/api/streams/deadletters?${parameters}`;
}

function wanted(letter) {
  const state = byId("state").value;
  if (state === "open") return letter.became === null;
  if (state === "redriven") return letter.redrives.length > 0;
  return true;
}

async function load({ older = false } = {}) {
  const mine = (asked += 1);
  if (!older && !shown.length) byId("freshness").textContent = "Reading …";
  try {
    const told = await ask(query(older ? before : null));
    if (mine !== asked) return;
    shown = older ? [...shown, ...told.letters] : told.letters;
    looked = older ? looked + told.looked : told.looked;
    before = told.before;
    routes = told.routes;
    if (byId("topic").options.length === 1) {
      byId("topic").append(...told.mailboxes.map((topic) => element("option", { value: topic }, named(topic))));
      byId("topic").value = new URLSearchParams(location.search).get("topic") ?? "";
    }
    notice(null);
    draw();
  } catch (error) {
    if (mine === asked) notice(error.message);
  }
}

async function refreshOne(offset) {
  const told = await ask(`/api/streams/deadletters/${offset}`).catch(() => null);
  const place = shown.findIndex((letter) => letter.offset === offset);
  if (!told || place < 0) return;
  shown[place] = { ...shown[place], redrives: told.redrives, became: told.became, again: told.again, aside: told.aside };
  draw();
}

// ---- showing ----

function draw() {
  const letters = shown.filter(wanted);
  const { letter: opened, pick: picked } = document.activeElement?.dataset ?? {};
  const there = new Set(letters.map((letter) => letter.offset));
  for (const offset of chosen) if (!there.has(offset)) chosen.delete(offset);
  byId("letters").replaceChildren(...letters.map(line));
  if (opened) byId("letters").querySelector(`[data-letter="${opened}"]`)?.focus();
  if (picked) byId("letters").querySelector(`[data-pick="${picked}"]`)?.focus();
  const filtered = FILTERS.some((name) => byId(name).value);
  byId("nothing").hidden = letters.length > 0;
  byId("nothing-said").textContent = filtered ? "No such letters here." : "No dead letters.";
  byId("nothing-hint").textContent = filtered
    ? "Try another filter, or look further back."
    : "Whatever an actor cannot work on would lie here, with its bytes and the reason.";
  byId("more").hidden = before === null;
  byId("looked").textContent = `${looked} letters looked through`;
  byId("freshness").textContent = `As of ${new Date().toLocaleTimeString()}`;
  drawChosen(letters);
}

function line(letter) {
  const pick = element("input", {
    type: "checkbox",
    checked: chosen.has(letter.offset),
    "data-pick": String(letter.offset),
    "aria-label": `Choose letter ${letter.offset}`,
  });
  pick.addEventListener("change", () => choose(letter.offset, pick.checked));
  const from = letter.topic ? named(letter.topic) : "unknown";
  const open = element(
    "button",
    { type: "button", class: "letter-open", "data-letter": String(letter.offset) },
    element("strong", {}, letter.reason || "No reason was noted"),
    element("span", { class: "muted" }, `${letter.offset} · ${from} · ${TIME.format(new Date(letter.buried_at))} · ${letter.session_id ?? "no session"}`),
    letter.text ? element("span", { class: "muted" }, `“${letter.text.slice(0, 160)}”`) : null,
  );
  open.addEventListener("click", () => show(letter.offset));
  return element("li", {}, pick, open, fateTag(letter));
}

function drawChosen(letters) {
  const open = letters.slice(0, MOST_CHOSEN);
  byId("all").checked = open.length > 0 && open.every((letter) => chosen.has(letter.offset));
  byId("all").indeterminate = chosen.size > 0 && !byId("all").checked;
  byId("all").disabled = !open.length;
  byId("count").textContent = chosen.size ? `${chosen.size} chosen` : "Choose all";
  byId("many").disabled = !chosen.size;
}

function choose(offset, yes) {
  if (yes && chosen.size < MOST_CHOSEN) chosen.add(offset);
  else chosen.delete(offset);
  draw();
}

function chooseAll() {
  const letters = shown.filter(wanted).slice(0, MOST_CHOSEN);
  chosen.clear();
  if (byId("all").checked) letters.forEach((letter) => chosen.add(letter.offset));
  draw();
}

function show(offset) {
  remember(offset);
  sheet.open(offset);
}

/** Keep filters and the open letter in the address, to be sent to a colleague. */
function remember(offset) {
  const parameters = new URLSearchParams();
  for (const name of FILTERS) if (byId(name).value) parameters.set(name, byId(name).value);
  if (offset !== null) parameters.set("letter", offset);
  const text = parameters.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

// ---- beginning ----

async function open() {
  await begin({ masking: true, changed: () => load() });
  const given = new URLSearchParams(location.search);
  for (const name of FILTERS) if (name !== "topic") byId(name).value = given.get(name) ?? "";
  const again = settled(() => load());
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("input", ({ target }) => {
    remember(null);
    if (target.name === "state") draw();
    else again();
  });
  byId("all").addEventListener("change", chooseAll);
  byId("many").addEventListener("click", () => many.open([...chosen].sort((a, b) => a - b), routes));
  byId("older").addEventListener("click", () => load({ older: true }));
  await load();
  if (byId("topic").value) await load();
  if (/^\d+$/.test(given.get("letter") ?? "")) show(Number(given.get("letter")));
  setInterval(() => {
    const quiet = !document.hidden && !sheet.dialog.open && !many.dialog.open && !chosen.size;
    if (quiet && shown.length <= 50) load();
  }, LOOK_EVERY);
}

open();
