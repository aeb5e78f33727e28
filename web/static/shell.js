// What all operators' pages share: the bar with the ways between them, who is signed in, and the
// switch for personal data.

import { ApiError, request } from "./api.js";
import { byId, element } from "./dom.js";

const PAGES = [
  ["Topics", "/streams"],
  ["Mesh", "/streams/mesh"],
  ["Dead letters", "/streams/deadletters"],
  ["Publish", "/streams/publish"],
  ["Conversation", "/streams/conversation"],
  ["Replay", "/replay"],
  ["Chat", "/"],
];

const UNMASK = "unmask";

let masking = false;

/**
 * Draw the bar into `#shell`; leads to the login when nobody is signed in. Returns the operator's
 * name. With `masking` the bar has the switch for personal data, and `changed()` is called when
 * it is switched: load everything again then.
 */
export async function begin({ masking: switchable = false, changed = () => {} } = {}) {
  masking = switchable;
  const { name } = await ask("/api/operator");
  const leave = element("button", { type: "button", class: "quiet" }, "Sign out");
  leave.addEventListener("click", signOut);
  byId("shell").replaceChildren(
    element(
      "a",
      { class: "mark", href: "/streams" },
      element("img", { src: "/static/icon.svg", alt: "", width: 28, height: 28 }),
      element("span", {}, "Actor Mesh"),
    ),
    element("nav", { "aria-label": "Pages" }, ...PAGES.map(link)),
    element(
      "div",
      { class: "who" },
      switchable ? unmaskSwitch(changed) : null,
      element("span", { class: "who-name", title: `Signed in as ${name}` }, name),
      leave,
    ),
  );
  byId("shell").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  return name;
}

/** Say whether personal data is asked for. */
export const unmasked = () => masking && sessionStorage.getItem(UNMASK) === "1";

/** Return `path` with `unmask=1` if personal data is asked for. */
export function withMasking(path) {
  if (!unmasked()) return path;
  return `${path}${path.includes("?") ? "&" : "?"}unmask=1`;
}

/**
 * Ask our API as `request` of api.js does. Reading asks for personal data when that is switched
 * on; who is no longer signed in is led to the login and comes back.
 */
export async function ask(path, options = {}) {
  try {
    const reading = (options.method ?? "GET") === "GET";
    return await request(reading ? withMasking(path) : path, options);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
      await new Promise(() => {}); // the page is left
    }
    throw error;
  }
}

/** Show `text` as the page's notice (`#notice`), or hide it; `tone` is "bad" or "good". */
export function notice(text, tone = "bad") {
  const box = byId("notice");
  box.textContent = text ?? "";
  box.dataset.tone = tone;
  box.hidden = !text;
}

function link([title, path]) {
  const here = location.pathname === path || (path === "/streams" && isTopic());
  const inside = path !== "/" && path !== "/streams" && location.pathname.startsWith(`${path}/`);
  return element("a", { href: path, ...(here || inside ? { "aria-current": "page" } : {}) }, title);
}

/** Whether this is a topic's own page, `/streams/<topic>`. */
function isTopic() {
  const here = `${location.pathname}/`;
  const other = PAGES.some(([, path]) => path !== "/" && path !== "/streams" && here.startsWith(`${path}/`));
  return location.pathname.startsWith("/streams/") && !other;
}

function unmaskSwitch(changed) {
  const box = element("input", { type: "checkbox", role: "switch", checked: unmasked() });
  box.addEventListener("change", () => {
    sessionStorage.setItem(UNMASK, box.checked ? "1" : "0");
    changed();
  });
  const title = "E-mail addresses, phone numbers, addresses and cards. Asking for them is written down.";
  return element("label", { class: "switch", title }, box, "Personal data");
}

async function signOut() {
  sessionStorage.removeItem(UNMASK);
  await request("/api/operator", { method: "DELETE" });
  location.assign("/login");
}
