// What changed in a JSON value, place by place, and the small parts that such details are made of.

import { element } from "./dom.js";

const SIGNS = { added: "+", changed: "±", removed: "−" };

/** A value as it is written; `tone` is "before" or "after". */
export function value(content, tone) {
  const text = typeof content === "string" ? content : JSON.stringify(content, null, 2);
  return element("pre", { class: "value", "data-tone": tone }, text);
}

/** One change as an item of a list: `{kind, path, before, after}`. */
export function changed(change) {
  return element(
    "li",
    { class: "change", "data-kind": change.kind },
    element(
      "p",
      {},
      element("b", { "aria-hidden": "true" }, SIGNS[change.kind]),
      element("span", { class: "visually-hidden" }, `${change.kind} `),
      element("code", {}, change.path),
    ),
    change.kind === "added" ? null : value(change.before, "before"),
    change.kind === "removed" ? null : value(change.after, "after"),
  );
}

/** A name and what is told of it, for a list of facts. */
export function fact(name, ...told) {
  return [element("dt", {}, name), element("dd", {}, ...told)];
}

/** A small mark. */
export function tag(text, tone = "") {
  return element("span", { class: "tag", "data-tone": tone }, text);
}
