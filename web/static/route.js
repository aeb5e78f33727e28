// A route: drawn as stops on a line, and edited as a list.

import { element } from "./dom.js";

/** Return an actor's or mailbox's name as people read it. */
export const named = (subject) => subject.slice(subject.lastIndexOf(".") + 1).replaceAll("_", " ");

/** Return a picture of a route: hops made, the stop where it broke, and those still to come. */
export function routeLine({ done = [], steps = [] }, broken = true) {
  const stop = (name, state, said) =>
    element("li", { "data-state": state, title: said }, element("span", { class: "stop-name" }, named(name)));
  return element(
    "ol",
    { class: "route-line", "aria-label": "The route" },
    ...done.map((hop) => stop(hop.actor, hop.outcome === "failed" ? "failed" : "done", `${named(hop.actor)}: ${hop.outcome}`)),
    ...steps.map((step, place) =>
      place === 0 && broken
        ? stop(step, "broken", `${named(step)}: here it went to the dead letters`)
        : stop(step, "open", `${named(step)}: still to come`),
    ),
  );
}

/** Return a warning for a route on which nobody is answered, else null. */
export const unanswered = (answered) =>
  answered
    ? null
    : element(
        "p",
        { class: "notice" },
        "This route ends without a reply: the customer hears nothing, and the conversation may wait a quarter of an hour. End it with a router or the response aggregator.",
      );

/** Edits a route in `box`; fires "change" when it has changed. */
export class RouteEditor extends EventTarget {
  #steps = [];

  constructor(box, { mailboxes, routes }) {
    super();
    this.list = element("ol", { class: "route-steps", "aria-label": "Mailboxes in order" });
    const add = select("Add a mailbox", mailboxes.map((mailbox) => [mailbox, named(mailbox)]), (mailbox) =>
      this.#set([...this.#steps, mailbox]),
    );
    const standard = select(
      "Take a standard route",
      Object.keys(routes).map((name) => [name, name]),
      (name) => this.#set([...routes[name]]),
    );
    box.replaceChildren(this.list, element("div", { class: "toolbar" }, add, standard));
  }

  get steps() {
    return [...this.#steps];
  }

  set steps(steps) {
    this.#steps = [...steps];
    this.#draw();
  }

  #set(steps) {
    this.steps = steps;
    this.dispatchEvent(new Event("change"));
  }

  #draw() {
    const button = (text, title, act, disabled = false) => {
      const made = element("button", { type: "button", class: "quiet-ink mini-button", title, disabled, "aria-label": title }, text);
      made.addEventListener("click", act);
      return made;
    };
    this.list.replaceChildren(
      ...this.#steps.map((step, place) => {
        const others = this.#steps.toSpliced(place, 1);
        return element(
          "li",
          {},
          element("span", { class: "mono" }, named(step)),
          button("↑", `${named(step)} earlier`, () => this.#set(others.toSpliced(place - 1, 0, step)), place === 0),
          button("×", `Take ${named(step)} out`, () => this.#set(others)),
        );
      }),
    );
    if (!this.#steps.length) this.list.append(element("li", { class: "muted" }, "No mailbox yet."));
  }
}

function select(title, options, chosen) {
  const made = element(
    "select",
    { "aria-label": title },
    element("option", { value: "" }, `${title} …`),
    ...options.map(([value, text]) => element("option", { value }, text)),
  );
  made.addEventListener("change", () => {
    if (made.value) chosen(made.value);
    made.value = "";
  });
  return element("div", { class: "field" }, made);
}
