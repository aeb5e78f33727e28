// The line: the stops that a message has made on its way through the mesh, one an actor.
// Only what has happened is drawn. Nobody knows the stops to come, not even the mesh.

import { doing, done } from "./words.js";
import { element } from "./dom.js";

const SLOW_AFTER = 20_000;

/** The growing line under a message that is being worked on. */
export class Line {
  #slow = null;

  constructor(box) {
    this.box = box;
    this.stops = element("div", { class: "stops", "aria-hidden": "true" });
    this.phrase = element("p", { class: "phrase" });
    this.patience = element("p", { class: "patience", hidden: true });
    box.append(this.stops, this.phrase, this.patience);
  }

  /** Show where `entry` is. */
  show(entry, withHuman) {
    this.box.hidden = false;
    while (this.stops.childElementCount > entry.route.length) this.stops.lastElementChild.remove();
    while (this.stops.childElementCount < entry.route.length) {
      const actor = entry.route[this.stops.childElementCount];
      this.stops.append(element("span", { class: "stop", title: done(actor), "data-actor": actor }));
    }
    const last = entry.route.at(-1);
    if (entry.sent === "waiting") this.phrase.textContent = "Waiting to be sent";
    else if (last) this.phrase.textContent = doing(last);
    else this.phrase.textContent = withHuman ? "With our team" : "Received";
    this.box.classList.toggle("moving", entry.sent === "accepted" && !withHuman);
    this.#hurry(entry, withHuman);
  }

  /** Take it away: nothing is being worked on. */
  hide() {
    this.box.hidden = true;
    this.patience.hidden = true;
    this.stops.replaceChildren();
    clearTimeout(this.#slow);
  }

  #hurry(entry, withHuman) {
    clearTimeout(this.#slow);
    this.patience.hidden = true;
    if (entry.sent !== "accepted" || withHuman) return;
    this.#slow = setTimeout(() => {
      this.patience.textContent =
        "This takes longer than usual. Your message is safe: the reply appears here, also if you reload the page.";
      this.patience.hidden = false;
    }, SLOW_AFTER);
  }
}

/** The same line folded up, for a reply that has arrived. */
export function travelled(route, took) {
  if (!route.length) return null;
  const steps = `${route.length} ${route.length === 1 ? "step" : "steps"}`;
  const time = took !== null && took < 60_000 ? ` in ${(took / 1000).toFixed(1)} s` : "";
  const folded = element(
    "details",
    { class: "travelled" },
    element(
      "summary",
      {},
      element("span", { class: "mini", "aria-hidden": "true" }, ...route.map(() => element("i"))),
      element("span", {}, `${steps}${time}`),
    ),
    element("ol", {}, ...route.map((actor) => element("li", {}, done(actor)))),
  );
  folded.addEventListener("toggle", () => folded.open && folded.scrollIntoView({ block: "nearest" }));
  return folded;
}
