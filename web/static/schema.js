// A JSON schema, read for people: single fields of it as inputs, and all of it as a list.

import { element } from "./dom.js";

const DEPTH = 3;

/** Return the schema with references followed and "or nothing" taken off. */
function plain(root, node) {
  if (node?.$ref) return plain(root, { ...at(root, node.$ref), ...without(node) });
  const some = node?.anyOf?.filter((one) => one.type !== "null");
  if (some?.length === 1) return plain(root, { ...some[0], ...node, anyOf: undefined, optional: true });
  return node ?? {};
}

const at = (root, reference) => reference.slice(2).split("/").reduce((inner, name) => inner[name], root);

function without({ $ref, ...rest }) {
  return rest;
}

/** Return the schema of the field that `path` (with dots) names. */
export function fieldOf(root, path) {
  return path.split(".").reduce((node, name) => plain(root, plain(root, node).properties?.[name]), root);
}

/** Return an input for a field: long texts get a box, choices a list. */
export function inputFor(field, { id, long = false }) {
  if (field.enum) {
    return element("select", { id }, ...field.enum.map((value) => element("option", { value }, value)));
  }
  if (long) return element("textarea", { id, rows: 3 });
  const email = field.format === "email";
  const made = element("input", { id, type: email ? "email" : "text", autocomplete: "off", spellcheck: false });
  if (field.maxLength) made.maxLength = field.maxLength;
  return made;
}

/** Return the rows of a table that lists every field: its path, its type, its meaning. */
export function rows(root) {
  const listed = [];
  const walk = (node, path, depth) => {
    for (const [name, raw] of Object.entries(plain(root, node).properties ?? {})) {
      const field = plain(root, raw);
      const inner = field.type === "array" ? plain(root, field.items ?? {}) : field;
      const here = path ? `${path}.${name}` : name;
      const required = node.required?.includes(name);
      listed.push([here, kind(field, inner), field.description ?? "", required]);
      if (inner.properties && depth < DEPTH) walk(inner, field.type === "array" ? `${here}[]` : here, depth + 1);
    }
  };
  walk(root, "", 1);
  return listed.map(([path, is, meaning, required]) =>
    element(
      "tr",
      {},
      element("td", { class: "mono" }, path, required ? " *" : ""),
      element("td", {}, is),
      element("td", {}, meaning.split("\n")[0]),
    ),
  );
}

function kind(field, inner) {
  const one = inner.enum?.join(" | ") ?? inner.const ?? (inner.format === "date-time" ? "time" : inner.type) ?? "any";
  return field.type === "array" ? `list of ${one}` : String(one);
}
