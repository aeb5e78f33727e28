// Sending many letters on: first what would become of each, then one after the other.

import { byId, element } from "./dom.js";
import { named } from "./route.js";
import { ask } from "./shell.js";

/** The sheet; `done()` is called when it is closed after something was sent. */
export class ManySheet {
  #letters = [];
  #plans = [];
  #stopped = false;
  #sending = false;
  #sent = 0;

  constructor({ done }) {
    this.dialog = byId("redrive-many");
    byId("many-close").addEventListener("click", () => this.dialog.close());
    byId("many-stop").addEventListener("click", () => (this.#stopped = true));
    byId("many-send").addEventListener("click", () => this.#send());
    byId("many-route").addEventListener("change", () => this.#preview());
    this.dialog.addEventListener("close", () => {
      this.#stopped = true;
      if (this.#sent) done();
    });
  }

  /** Show what would become of these letters. `routes` are the standard ones, by name. */
  async open(letters, routes) {
    this.#letters = letters;
    this.#sent = 0;
    this.routes = routes;
    const select = byId("many-route");
    select.replaceChildren(
      select.options[0],
      ...Object.keys(routes).map((name) => element("option", { value: name }, name.toLowerCase())),
    );
    select.value = "";
    byId("many-title").textContent = `Send ${counted(letters.length)} on?`;
    this.dialog.showModal();
    await this.#preview();
  }

  get #steps() {
    return this.routes[byId("many-route").value] ?? null;
  }

  async #preview() {
    byId("many-send").disabled = true;
    byId("plans").replaceChildren();
    this.#say("Looking what would become of them …");
    try {
      const body = { letters: this.#letters, steps: this.#steps };
      this.#plans = (await ask("/api/streams/deadletters/preview", { method: "POST", body, patience: 60_000 })).plans;
    } catch (error) {
      this.#say(error.message);
      return;
    }
    byId("plans").replaceChildren(...this.#plans.map((plan) => this.#line(plan)));
    const ready = this.#ready.length;
    const rest = this.#plans.length - ready;
    const left = rest ? ` ${counted(rest)} cannot go on like this, and stay.` : "";
    this.#say(ready ? `${counted(ready)} can be sent.${left}` : `None can be sent like this.${left}`);
    byId("many-send").textContent = `Send ${counted(ready)}`;
    byId("many-send").disabled = !ready;
  }

  get #ready() {
    return this.#plans.filter((plan) => plan.ok);
  }

  #line(plan) {
    const again = plan.again ? " (once more)" : "";
    const said = plan.ok ? plan.steps.map(named).join(" → ") + again : plan.problem;
    const line = element("li", {}, element("b", {}, String(plan.letter)), element("span", { "data-tone": plan.ok ? "" : "bad" }, said));
    plan.line = line.lastChild;
    return line;
  }

  async #send() {
    if (this.#sending) return;
    this.#sending = true;
    this.#stopped = false;
    const ready = this.#ready;
    const steps = this.#steps;
    const bar = byId("many-progress");
    bar.max = ready.length;
    bar.value = 0;
    bar.hidden = byId("many-stop").hidden = false;
    byId("many-send").disabled = byId("many-route").disabled = true;
    let failed = 0;
    for (const plan of ready) {
      if (this.#stopped) break;
      try {
        const body = { seen: plan.seen, ...(steps ? { steps } : {}) };
        await ask(`/api/streams/deadletters/${plan.letter}/redrive`, { method: "POST", body });
        this.#sent += 1;
        plan.line.textContent = "is on its way";
        plan.line.dataset.tone = "good";
      } catch (error) {
        failed += 1;
        plan.line.textContent = error.message;
        plan.line.dataset.tone = "bad";
        if (error.code === "unreachable" || error.code === "unavailable") break;
      }
      bar.value += 1;
      this.#say(`${bar.value} of ${ready.length} …`);
    }
    const rest = ready.length - this.#sent - failed;
    this.#say(
      [
        `${counted(this.#sent)} on the way.`,
        failed ? `${counted(failed)} not sent, for the reasons below.` : "",
        rest ? `${counted(rest)} left as before.` : "",
      ].join(" "),
    );
    bar.hidden = byId("many-stop").hidden = true;
    byId("many-route").disabled = false;
    this.#sending = false;
  }

  #say(text) {
    byId("many-said").textContent = text;
  }
}

const counted = (count) => `${count} letter${count === 1 ? "" : "s"}`;
