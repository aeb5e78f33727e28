// One record, whole: its JSON, its headers, its bytes.

import { element } from "./dom.js";
import { bytes, moment } from "./figures.js";

const SHOWN = 200_000;

/** Return JSON as people read it, with its parts marked. Text stays text. */
function pretty(value) {
  const text = JSON.stringify(value, null, 2);
  if (text.length > SHOWN) {
    return [`${text.slice(0, SHOWN)}\n… ${bytes(text.length - SHOWN)} more: save the record to see all.`];
  }
  const parts = [];
  let last = 0;
  for (const found of text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g)) {
    parts.push(text.slice(last, found.index));
    const kind = found[2] ? "json-name" : found[1] ? "json-text" : "json-value";
    parts.push(element("span", { class: kind }, found[1] ?? found[0]), found[2] ?? "");
    last = found.index + found[0].length;
  }
  parts.push(text.slice(last));
  return parts;
}

/** Bytes in hexadecimal as rows of sixteen, with their text beside. */
function dump(hex) {
  const octets = hex.split(" ").filter(Boolean);
  const rows = [];
  for (let start = 0; start < octets.length; start += 16) {
    const row = octets.slice(start, start + 16);
    const text = row.map((octet) => {
      const code = parseInt(octet, 16);
      return code >= 32 && code < 127 ? String.fromCharCode(code) : "·";
    });
    rows.push(`${start.toString(16).padStart(6, "0")}  ${row.join(" ").padEnd(47)}  ${text.join("")}`);
  }
  return rows.join("\n");
}

function hexOf(raw, most = 4096) {
  const text = atob(raw);
  const octets = [];
  for (let index = 0; index < Math.min(text.length, most); index += 1) {
    octets.push(text.charCodeAt(index).toString(16).padStart(2, "0"));
  }
  return octets.join(" ");
}

function facts(record) {
  const rows = [
    ["Stored", moment(record.at)],
    record.sent_at ? ["Sent", moment(record.sent_at)] : null,
    ["Place", `partition ${record.partition}, offset ${record.offset}`],
    ["Key", record.key ?? "none"],
    record.message_id ? ["Id for de-duplication", record.message_id] : null,
    ["Size", bytes(record.size)],
  ].filter(Boolean);
  return element("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

function headers(record) {
  if (!record.headers.length) return null;
  return element(
    "section",
    {},
    element("h3", {}, "Headers"),
    element(
      "dl",
      { class: "facts" },
      ...record.headers.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
    ),
  );
}

function content(record) {
  if (record.form === "null") {
    return element("p", { class: "muted" }, "A tombstone: it deletes what there was under this key.");
  }
  const shown = record.form === "json" ? pretty(record.value) : [record.text];
  const section = element(
    "section",
    {},
    element("h3", {}, record.form === "json" ? "JSON" : "Text (this is not JSON)"),
    element("pre", { class: "record", tabIndex: 0, "aria-label": "Content" }, ...shown),
  );
  return section;
}

function rawBytes(record) {
  if (record.form === "null") return null;
  if (record.raw === null) {
    return element(
      "p",
      { class: "muted small" },
      "Raw bytes hold personal data: they are shown when you ask for it above, which is written down.",
    );
  }
  const file = element("a", { href: `data:application/octet-stream;base64,${record.raw}` }, "Save them");
  file.download = `${record.topic}-${record.partition}-${record.offset}.bin`;
  return element(
    "details",
    { open: record.form === "bytes" },
    element("summary", {}, `Raw bytes, the first ${bytes(Math.min(record.size, 4096))}`),
    element("pre", { class: "record", tabIndex: 0, "aria-label": "Raw bytes" }, dump(hexOf(record.raw))),
    element("p", { class: "small" }, file),
  );
}

/** Return everything about a record; `ways` are links that lead on from it. */
export function whole(record, ...ways) {
  return element("div", { class: "whole" }, facts(record), ways.length ? element("p", { class: "ways" }, ...ways) : null, content(record), headers(record), rawBytes(record));
}
