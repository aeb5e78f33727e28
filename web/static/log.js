// The messages as they are seen.

import { element } from "./dom.js";
import { travelled } from "./line.js";
import { outcome } from "./words.js";

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

const SENT = {
  waiting: "not sent yet",
  accepted: "sent",
  answered: "",
  refused: "not sent",
};

/** The list of messages. `choose(text)` is called for a button, `reopen(entry)` to edit one. */
export class Log {
  #items = new Map();
  #day = "";

  constructor(list, { choose, reopen }) {
    this.list = list;
    this.choose = choose;
    this.reopen = reopen;
  }

  /** Show these entries and no others. */
  reset(entries) {
    this.list.replaceChildren();
    this.#items.clear();
    this.#day = "";
    entries.forEach((entry) => this.add(entry));
  }

  /** Show one more entry. */
  add(entry) {
    const at = new Date(entry.kind === "mine" ? entry.at : entry.reply.at);
    const day = DAY.format(at);
    if (day !== this.#day) {
      // Today needs no heading in a conversation that began today.
      if (this.#day || day !== DAY.format(new Date())) {
        this.list.append(element("li", { class: "day" }, day));
      }
      this.#day = day;
    }
    // What could be chosen before can no longer: the conversation has moved on.
    this.list.querySelectorAll(".choices").forEach((choices) => choices.remove());
    const item = entry.kind === "mine" ? this.#mine(entry, at) : this.#reply(entry, at);
    this.#items.set(entry.id, item);
    this.list.append(item);
  }

  /** Show an entry's new state. */
  update(entry) {
    const item = this.#items.get(entry.id);
    if (!item || entry.kind !== "mine") return;
    item.dataset.sent = entry.sent;
    item.querySelector(".sent").textContent = SENT[entry.sent];
    if (entry.sent === "refused" && !item.querySelector(".refused")) {
      const edit = element("button", { type: "button", class: "link" }, "Edit it");
      edit.addEventListener("click", () => this.reopen(entry));
      item.append(element("p", { class: "refused" }, `${entry.why} `, edit));
    }
  }

  /** Take an entry away. */
  remove(entry) {
    this.#items.get(entry.id)?.remove();
    this.#items.delete(entry.id);
  }

  #mine(entry, at) {
    const item = element(
      "li",
      { class: "mine" },
      element("p", { class: "text" }, element("span", { class: "visually-hidden" }, "You: "), entry.text),
      element("p", { class: "meta" }, clock(at), " ", element("span", { class: "sent" })),
    );
    this.#items.set(entry.id, item);
    this.update(entry);
    return item;
  }

  #reply({ reply, took }, at) {
    const human = reply.author === "human";
    return element(
      "li",
      { class: `theirs ${human ? "human" : "bot"}`, "data-state": reply.state },
      element("p", { class: "meta" }, element("b", {}, human ? "Our team" : "Assistant"), " ", clock(at)),
      element("p", { class: "text" }, reply.response),
      card(reply.actions),
      reply.state === "awaiting_confirmation" ? this.#choices() : null,
      reply.state === "escalated" && !human ? handover() : null,
      reply.state === "failed" ? failure() : null,
      human ? null : travelled(reply.route, took),
    );
  }

  #choices() {
    const button = (text, style, says) => {
      const made = element("button", { type: "button", class: style }, text);
      made.addEventListener("click", () => this.choose(says));
      return made;
    };
    return element(
      "div",
      { class: "choices", role: "group", "aria-label": "Your answer" },
      button("Yes, please do", "send", "Yes"),
      button("No, leave it", "quiet-ink", "No"),
    );
  }
}

function clock(at) {
  return element("time", { dateTime: at.toISOString(), title: at.toLocaleString() }, TIME.format(at));
}

function card(actions) {
  if (!actions.length) return null;
  const lines = actions.map((action) =>
    element(
      "li",
      { class: action.ok ? "well" : "ill" },
      element("span", { class: "what" }, outcome(action)),
      action.order_id ? element("span", { class: "number" }, action.order_id) : null,
      !action.ok && action.error ? element("span", { class: "cause" }, action.error) : null,
    ),
  );
  return element("ul", { class: "card", "aria-label": "What was done" }, ...lines);
}

function handover() {
  const text = "A colleague from our team takes it from here and answers on this page. You can go on writing meanwhile.";
  return element("p", { class: "aside-note" }, text);
}

function failure() {
  return element("p", { class: "aside-note" }, "You can write the same again, or ask for a person.");
}
