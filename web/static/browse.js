// A topic's page: search, follow, look at one record.

import { ApiError } from "./api.js";
import { byId, element } from "./dom.js";
import { bytes, count, duration, moment } from "./figures.js";
import { lines } from "./lines.js";
import { whole } from "./record.js";
import { ask, begin, notice, withMasking } from "./shell.js";

const PAGE = 100;
const SAVED = 10_000;
const KEPT = 500; // rows that following keeps
const SUGGESTED = {
  mailbox: ["payload.text", "payload.intent.name", "payload.sentiment.label", "slip.steps[0]"],
  journal: ["payload.text", "payload.intent.name", "payload.response.text", "trace[-1].actor"],
  replies: ["state", "intent", "response"],
  "dead letters": ["payload.text", "error.text", "slip.steps[0]"],
  audit: ["operator", "action", "target"],
  changelog: ["state", "turns", "updated_at"],
};
const REASONS = {
  limit: () => "There may be more.",
  records: () => "That is as many as one search looks at.",
  bytes: () => "That is as much as one search reads.",
  seconds: () => "A search takes half a minute at most.",
};

const name = decodeURIComponent(location.pathname.split("/").pop());
const api = `/api/streams/${encodeURIComponent(name)}`;
const form = byId("search");
let running = null; // what stops the search
let socket = null; // what follows
let columns = [];
let opened = null;

/** Split at the commas that stand outside of brackets and quotes. */
function split(text) {
  const parts = [""];
  let depth = 0;
  let quote = null;
  for (const char of text) {
    if (quote) quote = char === quote ? null : quote;
    else if ("'\"`".includes(char)) quote = char;
    else if ("([{".includes(char)) depth += 1;
    else if (")]}".includes(char)) depth -= 1;
    if (char === "," && depth === 0 && quote === null) parts.push("");
    else parts[parts.length - 1] += char;
  }
  return parts.map((part) => part.trim()).filter(Boolean);
}

/** What the form says, as the API takes it. */
function wanted() {
  const query = new URLSearchParams();
  for (const field of ["order", "offset", "partition", "key", "text", "where"]) {
    const value = form.elements[field].value.trim();
    if (value && !(field === "order" && value === "newest")) query.set(field, value);
  }
  const at = form.elements.at.value;
  if (at) query.set("at", new Date(at).toISOString());
  for (const column of split(form.elements.columns.value)) query.append("column", column);
  return query;
}

/** Fill the form from the page's own address, which is what a link to a search is. */
function restore() {
  const query = new URLSearchParams(location.search);
  for (const field of ["order", "offset", "partition", "key", "text", "where"]) {
    if (query.has(field)) form.elements[field].value = query.get(field);
  }
  if (query.has("at")) {
    const at = new Date(query.get("at"));
    if (!Number.isNaN(at.getTime())) {
      form.elements.at.value = new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
    }
  }
  if (["offset", "at", "partition", "key", "column"].some((field) => query.has(field))) showRare();
  if (query.has("column")) form.elements.columns.value = query.getAll("column").join(", ");
}

/** Show the ways to choose that a phone hides at first. */
const showRare = () => byId("rare").setAttribute("aria-expanded", "true");

function remember(query) {
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

/** What a place to begin means depends on the direction. */
function nameStart() {
  const newest = form.elements.order.value === "newest";
  byId("offset-label").textContent = newest ? "Up to offset" : "From offset";
  byId("at-label").textContent = newest ? "Before" : "Since";
}

function updateSave() {
  const query = wanted();
  query.set("limit", SAVED);
  query.set("download", "1");
  byId("save").href = withMasking(`${api}/records?${query}`);
}

// ---- rows

function heads() {
  const titles = columns.length ? columns : ["Content"];
  const fixed = [["", ""], ["Offset", "figure"], ["#", "figure"], ["Stored", ""], ["Key", ""]];
  byId("heads").replaceChildren(
    ...fixed.map(([title, kind]) =>
      element("th", { scope: "col", class: kind }, title || element("span", { class: "visually-hidden" }, "Show")),
    ),
    ...titles.map((title) => element("th", { scope: "col", class: columns.length ? "mono" : "" }, title)),
    element("th", { scope: "col", class: "figure" }, "Size"),
  );
}

function row(record) {
  const toggle = element("button", {
    type: "button",
    class: "toggle",
    "aria-expanded": "false",
    "aria-label": `Record ${record.offset}`,
  });
  const cells = columns.length
    ? record.columns.map((text) => element("td", { class: "value" }, text))
    : [element("td", { class: "value mono" }, record.form === "null" ? element("span", { class: "muted" }, "deleted") : record.preview)];
  const made = element(
    "tr",
    { class: "row" },
    element("td", { class: "opener" }, toggle),
    element("td", { class: "figure" }, record.offset),
    element("td", { class: "figure" }, record.partition),
    element("td", { class: "stored" }, moment(record.at)),
    element("td", { class: "key mono", title: record.key ?? "" }, record.key ?? element("span", { class: "muted" }, "none")),
    ...cells,
    element("td", { class: "figure" }, bytes(record.size)),
  );
  made.addEventListener("click", (event) => {
    if (getSelection().isCollapsed || event.target === toggle) open(made, toggle, record);
  });
  return made;
}

async function open(line, toggle, record) {
  const was = opened;
  close();
  if (was?.line === line) return;
  toggle.setAttribute("aria-expanded", "true");
  const cell = element("td", { colSpan: 6 + Math.max(columns.length, 1) }, element("p", { class: "muted" }, "Fetching …"));
  const detail = element("tr", { class: "detail" }, cell);
  line.after(detail);
  opened = { line, toggle, detail };
  try {
    const found = await ask(`${api}/records/${record.offset}`);
    cell.replaceChildren(whole(found, ...ways(found)));
  } catch (error) {
    cell.replaceChildren(element("p", { class: "field-error" }, error.message));
  }
}

function close() {
  if (opened === null) return;
  opened.toggle.setAttribute("aria-expanded", "false");
  opened.detail.remove();
  opened = null;
}

function ways(record) {
  const found = [];
  const session = record.value?.session_id;
  if (session) {
    found.push(element("a", { href: `/streams/conversation/${encodeURIComponent(session)}` }, "The whole conversation"));
  }
  if (record.key !== null && !record.key.includes("•")) {
    const same = new URLSearchParams({ key: record.key });
    found.push(element("a", { href: `${location.pathname}?${same}` }, "All records with this key"));
  }
  if (record.value?.slip) {
    const from = new URLSearchParams({ topic: record.topic, offset: record.offset });
    found.push(element("a", { href: `/streams/publish?${from}` }, "Publish a copy"));
  }
  const copy = element("button", { type: "button", class: "link" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(record.form === "json" ? JSON.stringify(record.value, null, 2) : (record.text ?? ""));
    copy.textContent = "Copied";
  });
  // Browsers have no clipboard for pages that came over plain HTTP from elsewhere.
  if (record.form !== "null" && navigator.clipboard) found.push(copy);
  return found;
}

function clear() {
  opened = null;
  byId("records").replaceChildren();
  byId("more").hidden = true;
  byId("box").hidden = true;
  byId("progress").hidden = true;
  byId("where-error").textContent = byId("columns-error").textContent = "";
  for (const field of ["where", "columns"]) form.elements[field].removeAttribute("aria-invalid");
  notice(null);
}

function complain(error) {
  if (error instanceof ApiError && error.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    return;
  }
  const field = { where: "where", column: "columns" }[error.field];
  if (!field) {
    notice(error.message);
    return;
  }
  if (field === "columns") showRare();
  byId(`${field}-error`).textContent = error.message;
  const input = form.elements[field];
  input.setAttribute("aria-invalid", "true");
  input.focus();
  const { position } = error.told ?? {};
  if (field === "where" && typeof position === "number") input.setSelectionRange(position, position + 1);
}

// ---- searching

async function search({ goOn = null } = {}) {
  stop();
  unfollow();
  const query = wanted();
  if (goOn === null) {
    clear();
    columns = query.getAll("column");
    heads();
    remember(query);
    updateSave();
  } else {
    query.set("offset", goOn);
    query.delete("at");
  }
  query.set("limit", PAGE);
  byId("more").hidden = true;
  const own = (running = new AbortController());
  byId("stop").hidden = false;
  byId("state").textContent = "Searching …";
  let found = 0;
  let last = null;
  try {
    for await (const line of lines(withMasking(`${api}/records?${query}`), own.signal)) {
      if (running !== own) return;
      if (line.type === "record") {
        found += 1;
        byId("box").hidden = false;
        byId("records").append(row(line.record));
      } else if (line.type === "progress") {
        last = line.progress;
        show(last);
      } else if (line.type === "end") {
        end(line);
      } else {
        notice(line.message);
        byId("state").textContent = "";
      }
    }
    if (own.signal.aborted) {
      byId("state").textContent = last
        ? `Stopped: looked at ${count(last.scanned)} of ${count(last.total)} records, found ${count(found)}.`
        : "Stopped.";
    }
  } catch (error) {
    byId("state").textContent = "";
    complain(error);
  } finally {
    if (running === own) {
      running = null;
      byId("stop").hidden = byId("progress").hidden = true;
    }
  }
}

function show(progress) {
  byId("progress").hidden = false;
  byId("progress").value = progress.total ? progress.scanned / progress.total : 1;
  const at = progress.at ? `, at ${moment(progress.at)}` : "";
  byId("state").textContent =
    `Looked at ${count(progress.scanned)} of ${count(progress.total)} records${at}; found ${count(progress.found)}.`;
}

function end({ reason, go_on: goOn, progress }) {
  const looked = `Looked at ${count(progress.scanned)} of ${count(progress.total)} records, found ${count(progress.found)}.`;
  if (goOn === null) {
    byId("state").textContent = progress.total ? `${looked} That is all.` : "There are no records here.";
    return;
  }
  byId("state").textContent = `${looked} ${REASONS[reason]()}`;
  byId("more").hidden = false;
  byId("more").onclick = () => search({ goOn });
}

function stop() {
  running?.abort();
}

// ---- following

function follow() {
  stop();
  clear();
  const query = wanted();
  columns = query.getAll("column");
  heads();
  remember(query);
  updateSave();
  for (const field of ["order", "offset", "at"]) query.delete(field);
  const address = new URL(withMasking(`${api}/tail?${query}`), location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const own = (socket = new WebSocket(address));
  let [seen, shown, dropped] = [0, 0, 0];
  pressed(true);
  byId("state").textContent = "Connecting …";
  own.addEventListener("message", (event) => {
    if (socket !== own) return;
    const told = JSON.parse(event.data);
    if (told.type === "error") {
      notice(told.message);
      return;
    }
    seen += told.seen;
    shown += told.records.length;
    dropped += told.dropped;
    const added = told.records.map(row).toReversed();
    if (told.dropped) added.push(gap(told.dropped));
    byId("records").prepend(...added);
    trim();
    byId("box").hidden = shown + dropped === 0;
    byId("state").textContent =
      `Following: ${count(seen)} records came, ${count(shown)} shown` +
      (dropped ? `, ${count(dropped)} passed over because they came faster than this page shows.` : ".");
  });
  own.addEventListener("close", () => {
    if (socket !== own) return;
    socket = null;
    pressed(false);
    byId("state").textContent = "Following has ended. Press “Follow live” to begin again.";
  });
}

function gap(dropped) {
  return element(
    "tr",
    { class: "gap" },
    element("td", { colSpan: 6 + Math.max(columns.length, 1) }, `${count(dropped)} records passed over`),
  );
}

function trim() {
  const rows = byId("records").children;
  while (rows.length > KEPT) {
    if (opened && (opened.detail === rows[rows.length - 1] || opened.line === rows[rows.length - 1])) close();
    rows[rows.length - 1].remove();
  }
}

function unfollow() {
  if (socket === null) return;
  const own = socket;
  socket = null;
  own.close();
  pressed(false);
}

function pressed(on) {
  byId("follow").setAttribute("aria-pressed", String(on));
  byId("follow").textContent = on ? "Stop following" : "Follow live";
}

// ---- the topic

async function describe() {
  const overview = await ask("/api/streams");
  const topic = overview.topics.find((each) => each.name === name);
  if (!topic) {
    byId("lead").textContent = "There is no such topic.";
    return;
  }
  const kept = topic.compacted ? "only the last of each key stays" : `they stay ${duration(topic.retention_seconds)}`;
  byId("lead").textContent =
    `${topic.kind[0].toUpperCase()}${topic.kind.slice(1)}: ${count(topic.messages)} records in ` +
    `${topic.partitions.length} partitions, ${count(topic.last_minute)} in the last minute; ${kept}.`;
  byId("partition").append(
    ...topic.partitions.map((each) => element("option", { value: String(each.number) }, `${each.number} (${count(each.messages)})`)),
  );
  const suggestions = SUGGESTED[topic.kind] ?? [];
  if (!location.search) form.elements.columns.value = suggestions.slice(0, 3).join(", ");
  byId("suggestions").replaceChildren(
    ...(suggestions.length ? ["Try "] : []),
    ...suggestions.flatMap((text, index) => {
      const button = element("button", { type: "button", class: "link mono" }, text);
      button.addEventListener("click", () => {
        const there = split(form.elements.columns.value);
        if (!there.includes(text)) form.elements.columns.value = [...there, text].join(", ");
        if (socket) follow();
        else search();
      });
      return [index ? ", " : "", button];
    }),
  );
}

document.title = `${name} · Actor Mesh`;
byId("name").textContent = name;
await begin({ masking: true, changed: () => (socket ? follow() : search()) });
try {
  await describe();
} catch (error) {
  notice(error.message);
}
restore();
nameStart();
updateSave();
form.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
form.addEventListener("input", () => {
  updateSave();
  nameStart();
});
byId("rare").addEventListener("click", () => {
  showRare();
  byId("offset").focus();
});
byId("stop").addEventListener("click", stop);
byId("follow").addEventListener("click", () => {
  if (socket === null) return follow();
  unfollow();
  byId("state").textContent = "Stopped following.";
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    stop();
    close();
  }
});
await search();
