// One dead letter in a sheet: why it is here, where it was, and sending it on, mended or as it is.

import { byId, element } from "./dom.js";
import { laidOut, settled, showProblems } from "./problems.js";
import { named, RouteEditor, routeLine, unanswered } from "./route.js";
import { ask, unmasked } from "./shell.js";

const WATCH_EVERY = 1_000;
const WATCH_TIMES = 20;

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** What became of a letter, in words, and how good that is. */
const BECAME = {
  "under way": ["under way", ""],
  unknown: ["sent, but nobody knows whether it arrived", "bad"],
  "buried again": ["buried again", "bad"],
  answered: ["answered", "good"],
  awaiting_confirmation: ["answered, waits for a yes", "good"],
  needs_information: ["answered, asks the customer", "good"],
  escalated: ["handed over to a person", "good"],
  failed: ["answered with an apology", "bad"],
  "set aside": ["set aside", ""],
  "long past": ["redriven long ago", ""],
};

/** Return a mark that says what became of a letter. */
export function fateTag({ became, again, redrives, aside }) {
  if (!became) return element("span", { class: "tag" }, "open");
  const [said, tone] = BECAME[became] ?? [became, ""];
  const text = again ? `${said} as ${again}` : said;
  const by = aside ? `${aside.operator}: ${aside.note}` : `redriven by ${redrives.at(-1).operator}`;
  return element("span", { class: "tag", "data-tone": tone, title: by }, text);
}

/** The sheet. `changed(offset)` is called when a letter was sent on or its fate is known. `closed(offset)` at the end. */
export class LetterSheet {
  #letter = null;
  #editor = null;
  #route = null;
  #opened = 0;
  #offset = null;

  constructor({ changed, closed }) {
    this.dialog = byId("letter");
    this.changed = changed;
    byId("letter-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => {
      this.#opened += 1;
      closed(this.#offset);
    });
  }

  /** Open the letter with this offset. */
  async open(offset) {
    this.#opened += 1;
    this.#offset = offset;
    byId("letter-title").textContent = `Letter ${offset}`;
    byId("letter-body").replaceChildren(element("p", { class: "muted" }, "Reading it …"));
    if (!this.dialog.open) this.dialog.showModal();
    byId("letter-title").focus();
    try {
      this.#letter = await ask(`/api/streams/deadletters/${offset}`);
    } catch (error) {
      byId("letter-body").replaceChildren(element("p", { class: "reason" }, error.message));
      return;
    }
    this.#draw();
  }

  #draw() {
    const letter = this.#letter;
    this.#editor = null;
    this.#route = null;
    const session = letter.session_id
      ? element("a", { href: `/streams/conversation/${encodeURIComponent(letter.session_id)}` }, letter.session_id)
      : "unknown";
    byId("letter-body").replaceChildren(...[
      element("p", { class: "reason" }, letter.reason || "No reason was noted."),
      facts([
        ["From", letter.origin ?? "unknown"],
        ["Buried", TIME.format(new Date(letter.buried_at))],
        ["Conversation", session],
        ["Turn", letter.turn ?? "unknown"],
        ["Said", letter.text],
      ]),
      letter.route ? routeLine(letter.route) : element("p", {}, letter.problem),
      this.#history(),
      this.#message(),
      this.#onward(),
      letter.aside ? null : this.#asideForm(),
    ].filter(Boolean));
    this.#check();
  }

  #history() {
    const letter = this.#letter;
    if (!letter.redrives.length && !letter.aside) return element("div", { id: "history" });
    return element(
      "div",
      { id: "history" },
      element("h3", {}, "What was done about it"),
      element(
        "ul",
        { class: "happened" },
        ...letter.redrives.map((redrive, place) =>
          element(
            "li",
            {},
            `${TIME.format(new Date(redrive.at))}, sent on by ${redrive.operator}`,
            redrive.edited.length ? `, changed: ${redrive.edited.join(", ")}` : "",
            " ",
            place === letter.redrives.length - 1 && !letter.aside ? fateTag(letter) : null,
          ),
        ),
        letter.aside
          ? element("li", {}, `${TIME.format(new Date(letter.aside.at))}, set aside by ${letter.aside.operator}: ${letter.aside.note}`)
          : null,
      ),
    );
  }

  #message() {
    const letter = this.#letter;
    const box = element("div", { class: "field" });
    const edit = element("button", { type: "button", class: "quiet-ink", id: "edit" }, "Edit the message");
    edit.addEventListener("click", () => this.#edit(box));
    box.append(
      element("p", { class: "label" }, letter.turn ? "The message" : "The bytes"),
      element("pre", { class: "record", tabIndex: 0 }, laidOut(letter.value)),
      edit,
      letter.masked
        ? element("p", { class: "field-help" }, "Editing shows its personal data; that is written down.")
        : null,
    );
    return box;
  }

  async #edit(box) {
    const { offset } = this.#letter;
    let whole;
    try {
      const path = `/api/streams/deadletters/${offset}`;
      whole = await ask(unmasked() ? path : `${path}?unmask=1`);
    } catch (error) {
      this.#say(error.message, "bad");
      return;
    }
    const text = laidOut(whole.value);
    this.#editor = element("textarea", {
      class: "code",
      id: "editor",
      spellcheck: false,
      value: text,
      "aria-describedby": "editor-problems",
    });
    this.#editor.original = text;
    this.#editor.addEventListener("input", settled(() => this.#check()));
    box.replaceChildren(
      element("label", { htmlFor: "editor" }, "The message, as JSON"),
      this.#editor,
      element("ul", { class: "problems", id: "editor-problems", hidden: true, role: "status" }),
      element("p", { class: "field-help" }, "Turn and conversation must stay as they are; trace and letter stay whatever stands here."),
    );
    this.#editor.focus();
    this.#editor.setSelectionRange(0, 0);
    this.#check();
  }

  #onward() {
    const letter = this.#letter;
    const where = element(
      "select",
      { id: "where" },
      element("option", { value: "" }, "on where it was"),
      element("option", { value: "route" }, "on a route of my choice"),
    );
    const box = element("div", { hidden: true, id: "route" });
    this.#route = new RouteEditor(box, letter);
    this.#route.steps = letter.steps ?? letter.routes["A new turn"];
    this.#route.addEventListener("change", () => this.#check());
    where.addEventListener("change", () => {
      box.hidden = !where.value;
      this.#check();
    });
    const send = element("button", { type: "button", class: "send", id: "redrive", disabled: true }, this.#sendText());
    send.addEventListener("click", () => this.#send());
    return element(
      "section",
      { class: "panel", "aria-labelledby": "onward" },
      element("h3", { id: "onward" }, "Send it on"),
      element("div", { class: "field" }, element("label", { htmlFor: "where" }, "It goes"), where),
      box,
      element("div", { id: "preview", role: "status" }),
      element("ul", { class: "problems", id: "route-problems", hidden: true }),
      element("div", { class: "dialog-row" }, send),
    );
  }

  #asideForm() {
    const note = element("input", { id: "aside-note", maxLength: 500, autocomplete: "off" });
    const said = element("p", { class: "field-error", role: "alert" });
    const form = element(
      "form",
      { class: "panel" },
      element("h3", {}, "Or leave it"),
      element("div", { class: "field" }, element("label", { htmlFor: "aside-note" }, "Why nothing is to be done"), note, said),
      element("div", { class: "dialog-row" }, element("button", { type: "submit", class: "quiet-ink" }, "Set it aside")),
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      said.textContent = note.value.trim() ? "" : "Please say why, for your colleagues.";
      if (said.textContent) return note.focus();
      const { offset } = this.#letter;
      try {
        await ask(`/api/streams/deadletters/${offset}/aside`, { method: "POST", body: { note: note.value.trim() } });
      } catch (error) {
        said.textContent = error.message;
        return;
      }
      this.changed(offset);
      await this.open(offset);
    });
    return form;
  }

  #sendText() {
    return this.#letter.redrives.length ? "Redrive it again" : "Redrive";
  }

  #change() {
    const change = {};
    if (this.#editor && this.#editor.value !== this.#editor.original) change.text = this.#editor.value;
    if (byId("where").value) change.steps = this.#route.steps;
    return change;
  }

  async #check() {
    const opened = this.#opened;
    const letter = this.#letter;
    const change = this.#change();
    let told = null;
    let problems = [];
    try {
      told = await ask(`/api/streams/deadletters/${letter.offset}/check`, { method: "POST", body: change });
    } catch (error) {
      problems = error.told?.problems ?? [{ path: "", text: error.message, line: 0 }];
    }
    // Meanwhile another letter may be open, or more may have been typed: that has its own check.
    if (opened !== this.#opened || JSON.stringify(change) !== JSON.stringify(this.#change())) return;
    const ofText = this.#editor ? problems.filter((problem) => problem.line || !problem.path.startsWith("slip")) : [];
    if (this.#editor) showProblems(byId("editor-problems"), ofText, this.#editor);
    showProblems(byId("route-problems"), problems.filter((problem) => !ofText.includes(problem)));
    byId("redrive").disabled = !told;
    byId("preview").replaceChildren(...(told ? preview(told) : []));
  }

  async #send() {
    const letter = this.#letter;
    const opened = this.#opened;
    byId("redrive").disabled = true;
    let sent;
    try {
      sent = await ask(`/api/streams/deadletters/${letter.offset}/redrive`, {
        method: "POST",
        body: { ...this.#change(), seen: letter.redrives.length },
      });
    } catch (error) {
      await this.open(letter.offset);
      this.#say(error.message, "bad");
      return;
    }
    this.changed(letter.offset);
    await this.open(letter.offset);
    this.#say(`On its way: ${named(sent.topic)} has it.`, "good");
    this.#watch(letter.offset, opened + 1);
  }

  /** Look what becomes of the letter, for a while. */
  async #watch(offset, opened) {
    for (let times = 0; times < WATCH_TIMES && opened === this.#opened; times += 1) {
      await new Promise((go) => setTimeout(go, WATCH_EVERY));
      const told = await ask(`/api/streams/deadletters/${offset}`).catch(() => null);
      if (!told || opened !== this.#opened) continue;
      this.#letter = { ...this.#letter, redrives: told.redrives, became: told.became, again: told.again, aside: told.aside };
      byId("history").replaceWith(this.#history());
      this.changed(offset);
      if (!["under way", "unknown"].includes(told.became)) return;
    }
  }

  #say(text, tone) {
    byId("letter-body").querySelector(".said")?.remove();
    byId("letter-body").prepend(element("p", { class: "notice said", "data-tone": tone, role: "status" }, text));
    byId("letter-body").scrollTop = 0;
  }
}

function preview(told) {
  return [
    element("p", { class: "muted small" }, "It goes through its conversation's door first, so that it keeps its turn."),
    routeLine({ steps: told.steps }, false),
    unanswered(told.answered),
    told.edited.length ? element("p", {}, `Changed: ${told.edited.join(", ")}`) : null,
  ].filter(Boolean);
}

function facts(pairs) {
  return element(
    "dl",
    { class: "facts" },
    ...pairs
      .filter(([, value]) => value)
      .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
}
