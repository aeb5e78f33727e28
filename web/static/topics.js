// The topics' page: looks again every two seconds for as long as somebody sees it.

import { byId, element, svg } from "./dom.js";
import { ago, bytes, count, duration } from "./figures.js";
import { ask, begin, notice } from "./shell.js";

const EVERY = 2000;
const SAMPLES = 45;
const COLOURS = 8;

const COLUMNS = [
  ["name", "Topic"],
  ["kind", "Kind"],
  ["messages", "Records"],
  ["bytes", "Size"],
  ["last_minute", "Last 60 s"],
  ["lag", "Lag"],
  [null, "Partitions"],
];

const opened = new Set();
const rates = new Map();
const order = { by: "name", up: true };
let seen = null;
let colours = new Map();

/** The last minute's figure, and how it came to it while this page was looking. */
function spark(topic) {
  const values = rates.get(topic.name) ?? [];
  const most = Math.max(1, ...values);
  const bars = values.map((value, index) => {
    const height = (value / most) * 20;
    return svg("rect", { x: index * 2, y: 20 - height, width: 1.4, height: Math.max(height, 0.6) });
  });
  const offset = (SAMPLES - values.length) * -2;
  return svg(
    "svg",
    { class: "spark", viewBox: `${offset} 0 ${SAMPLES * 2} 20`, width: 72, height: 18, "aria-hidden": "true" },
    ...bars,
  );
}

const colour = (worker) => (worker === null || worker === undefined ? "none" : String(colours.get(worker) ?? "none"));

function square(partition) {
  const readers = partition.readers;
  const owner = readers.find((reading) => reading.owner !== null)?.owner ?? null;
  const lag = readers.reduce((most, reading) => Math.max(most, reading.lag ?? 0), 0);
  const told = [
    `Partition ${partition.number}: ${count(partition.messages)} records`,
    owner ? `owned by ${owner}` : readers.length ? "owned by nobody just now" : null,
    lag ? `lag ${count(lag)}` : null,
  ].filter(Boolean);
  return element("span", {
    class: "square",
    title: told.join(", "),
    "data-worker": readers.length ? colour(owner) : "free",
    ...(lag ? { "data-lag": "" } : {}),
  });
}

function details(topic) {
  const heads = ["#", "Records", "First", "Last", "Last record", "Group", "Committed", "Lag", "Owner", "Standbys"];
  const rows = topic.partitions.flatMap((partition) => {
    const own = [
      partition.number,
      count(partition.messages),
      partition.first_offset ?? "–",
      partition.last_offset ?? "–",
      ago(partition.last_at),
    ];
    const readers = partition.readers.length ? partition.readers : [null];
    return readers.map((reading, index) =>
      row(
        ...(index ? own.map(() => "") : own),
        reading?.group ?? "–",
        reading?.committed ?? "–",
        count(reading?.lag),
        reading === null ? "–" : worker(reading.owner),
        reading?.standbys.length ? element("span", {}, ...reading.standbys.map(worker)) : "–",
      ),
    );
  });
  return element(
    "div",
    { class: "inner" },
    element(
      "p",
      { class: "muted small" },
      `${topic.compacted ? "Only the last record of each key stays" : `Records stay ${duration(topic.retention_seconds)}`}. Stream `,
      element("code", {}, topic.stream),
      topic.owner ? `, declared by ${topic.owner}.` : ".",
    ),
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...heads.map((head, index) => element("th", { class: figure(index) }, head)))),
      element("tbody", {}, ...rows),
    ),
  );
}

const figure = (index) => ([0, 1, 2, 3, 6, 7].includes(index) ? "figure" : "");

function row(...cells) {
  return element("tr", {}, ...cells.map((cell, index) => element("td", { class: figure(index) }, cell)));
}

function worker(name) {
  if (name === null) return element("span", { class: "muted" }, "nobody");
  return element("span", { class: "worker" }, element("i", { class: "square", "data-worker": colour(name) }), name);
}

function line(topic) {
  const open = opened.has(topic.name);
  const id = `partitions-${topic.name}`;
  const toggle = element(
    "button",
    { type: "button", class: "squares", "aria-expanded": String(open), "aria-controls": id, "aria-label": `Partitions of ${topic.name}` },
    ...topic.partitions.map(square),
  );
  toggle.dataset.topic = topic.name;
  toggle.addEventListener("click", () => {
    if (!opened.delete(topic.name)) opened.add(topic.name);
    draw();
  });
  const made = [
    element(
      "tr",
      { class: "topic" },
      element("th", { scope: "row" }, element("a", { href: `/streams/${encodeURIComponent(topic.name)}` }, topic.name)),
      element("td", {}, element("span", { class: "tag", "data-kind": topic.kind }, topic.kind)),
      element("td", { class: "figure", "data-label": "Records" }, count(topic.messages)),
      element("td", { class: "figure", "data-label": "Size" }, bytes(topic.bytes)),
      element("td", { class: "figure rate", "data-label": "Last 60 s" }, spark(topic), count(topic.last_minute)),
      element("td", { class: "figure", "data-label": "Lag", ...(topic.lag ? { "data-lag": "" } : {}) }, count(topic.lag)),
      element("td", {}, toggle),
    ),
  ];
  if (open) made.push(element("tr", { class: "opened" }, element("td", { id, colSpan: COLUMNS.length }, details(topic))));
  return made;
}

function heads() {
  return COLUMNS.map(([by, title], index) => {
    const numbers = index > 1 && index < 6 ? "figure" : "";
    if (by === null) return element("th", { scope: "col", class: numbers }, title);
    const sorted = order.by === by ? (order.up ? "ascending" : "descending") : "none";
    const button = element("button", { type: "button", class: "sort" }, title);
    button.dataset.by = by;
    button.addEventListener("click", () => {
      order.up = order.by === by ? !order.up : index < 2;
      order.by = by;
      draw();
    });
    return element("th", { scope: "col", class: numbers, "aria-sort": sorted }, button);
  });
}

function sorted(topics) {
  const value = (topic) => topic[order.by] ?? -1;
  const way = order.up ? 1 : -1;
  return topics.toSorted((a, b) => {
    const [left, right] = [value(a), value(b)];
    if (left === right) return a.name < b.name ? -1 : 1;
    return left < right ? -way : way;
  });
}

function groups() {
  return seen.groups.map((group) =>
    element(
      "div",
      { class: "panel group" },
      element(
        "h2",
        {},
        group.name,
        " ",
        element("span", { class: "muted small" }, `generation ${group.generation}`),
        group.rebalancing ? element("span", { class: "tag", "data-tone": "bad" }, "rebalancing") : null,
      ),
      group.members.length
        ? element(
            "ul",
            {},
            ...group.members.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map((member) =>
              element(
                "li",
                {},
                worker(member.name),
                element(
                  "span",
                  { class: "muted small" },
                  member.alive ? `${member.partitions} partitions, ${member.standbys} standbys` : "gone",
                ),
              ),
            ),
          )
        : element("p", { class: "muted" }, "No worker is there: nothing is worked on."),
    ),
  );
}

/** Draw what was seen last; the keyboard stays where it was. */
function draw() {
  if (seen === null) return;
  const { topic, by } = document.activeElement?.dataset ?? {};
  const at = document.activeElement?.getAttribute?.("href");
  byId("heads").replaceChildren(...heads());
  byId("topics").replaceChildren(...sorted(seen.topics).flatMap(line));
  const again = [...byId("box").querySelectorAll("a, button")].find(
    (one) =>
      (topic && one.dataset.topic === topic) || (by && one.dataset.by === by) || (at && one.getAttribute("href") === at),
  );
  again?.focus({ preventScroll: true });
  byId("workers").replaceChildren(...groups());
  const records = seen.topics.reduce((sum, each) => sum + each.messages, 0);
  byId("lead").textContent = seen.topics.length
    ? `${count(seen.topics.length)} topics with ${count(records)} records, ${bytes(seen.bytes)} in all.`
    : "There are no topics yet: no worker has run. Start one with `python app.py worker`.";
  byId("box").hidden = byId("legend").hidden = seen.topics.length === 0;
}

function note(overview) {
  seen = overview;
  const workers = overview.groups.flatMap((group) => group.members.map((member) => member.name)).toSorted();
  // Whoever has a colour keeps it for as long as they are there.
  colours = new Map([...colours].filter(([name]) => workers.includes(name)));
  for (const name of workers) {
    if (colours.has(name)) continue;
    const taken = new Set(colours.values());
    const free = [...Array(COLOURS).keys()].find((index) => !taken.has(index)) ?? colours.size % COLOURS;
    colours.set(name, free);
  }
  for (const topic of overview.topics) {
    const values = rates.get(topic.name) ?? [];
    rates.set(topic.name, [...values, topic.last_minute].slice(-SAMPLES));
  }
}

async function look() {
  try {
    note(await ask("/api/streams"));
    notice(null);
    byId("freshness").textContent = "Looks again every two seconds";
    draw();
  } catch (error) {
    notice(`${error.message} What you see below is from ${ago(seen?.at)}.`.replace(/ What you see below is from –\.$/, ""));
    byId("freshness").textContent = "";
  }
}

async function keepLooking() {
  for (;;) {
    if (document.visibilityState === "visible") await look();
    await new Promise((resolve) => {
      const timer = setTimeout(done, EVERY);
      document.addEventListener("visibilitychange", done, { once: true });
      function done() {
        clearTimeout(timer);
        document.removeEventListener("visibilitychange", done);
        resolve();
      }
    });
  }
}

await begin();
await keepLooking();
