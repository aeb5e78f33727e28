// The conversation itself, without anything that is seen: what was said, what still has to be
// sent, what came back. Messages go one at a time, so they arrive in the order they were written.

import { ApiError, openSession } from "./api.js";
import { Link } from "./link.js";
import { save } from "./store.js";

const ACCEPTED_WITHIN = 12_000;
const RETRY = 2_000;

const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

/**
 * Events, all with `detail`: `entry` (one was added), `change` (one changed), `progress`
 * (`{entry, actor}`), `state` (of the connection), `notice` (a text, or null to take it back),
 * `ended` (this session is over).
 */
export class Conversation extends EventTarget {
  #link;
  #sending = null; // the entry on its way
  #timer = null;
  #renewing = false;

  constructor(state) {
    super();
    this.state = state;
    this.#link = new Link({
      hello: () => ({ type: "hello", token: this.state.token, after: this.state.after }),
      heard: (frame) => this.#hear(frame),
      state: (now) => this.#linked(now),
    });
  }

  /** Return the state of a conversation that begins now. */
  static begin(email, { session_id, token }) {
    return { email, session: session_id, token, after: 0, entries: [] };
  }

  /** Connect. */
  start() {
    this.#link.start();
  }

  /** End the connection; the conversation can be started again. */
  stop() {
    clearTimeout(this.#timer);
    this.#link.stop();
  }

  /** Say something: it is sent now, or as soon as that is possible. */
  say(text) {
    const entry = { kind: "mine", id: newId(), text, at: new Date().toISOString(), sent: "waiting", route: [] };
    this.#add(entry);
    this.#pump();
  }

  /** Take a message that was refused out of the conversation. */
  withdraw(entry) {
    this.state.entries = this.state.entries.filter((kept) => kept !== entry);
    save(this.state);
  }

  /** The messages that still wait for their reply. */
  get open() {
    return this.state.entries.filter((e) => e.kind === "mine" && (e.sent === "waiting" || e.sent === "accepted"));
  }

  /** Whether a person has taken over, who answers when it suits. */
  get withHuman() {
    const last = this.state.entries.findLast((entry) => entry.kind === "reply");
    return last !== undefined && (last.reply.state === "escalated" || last.reply.author === "human");
  }

  #emit(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #add(entry) {
    this.state.entries.push(entry);
    save(this.state);
    this.#emit("entry", entry);
  }

  #changed(entry) {
    save(this.state);
    this.#emit("change", entry);
  }

  #mine(id) {
    return this.state.entries.find((entry) => entry.kind === "mine" && entry.id === id);
  }

  #linked(now) {
    if (now === "lost") {
      clearTimeout(this.#timer);
      this.#sending = null;
    }
    this.#emit("state", now);
  }

  #pump() {
    if (this.#sending || !this.#link.welcome) return;
    const next = this.state.entries.find((entry) => entry.kind === "mine" && entry.sent === "waiting");
    if (!next) return;
    if (!this.#link.send({ type: "message", message_id: next.id, text: next.text })) return;
    this.#sending = next;
    clearTimeout(this.#timer);
    // Without an answer the connection is of no use; the next one sends the same id again.
    this.#timer = setTimeout(() => this.#link.renew(), ACCEPTED_WITHIN);
  }

  #settled() {
    clearTimeout(this.#timer);
    this.#sending = null;
    this.#pump();
  }

  #hear(frame) {
    switch (frame.type) {
      case "welcome":
        frame.replies.forEach((reply) => this.#reply(reply));
        this.#emit("notice", null);
        this.#pump();
        break;
      case "accepted":
        this.#accepted(frame.message_id);
        break;
      case "progress":
        this.#progress(frame);
        break;
      case "reply":
        this.#reply(frame);
        break;
      case "error":
        this.#error(frame);
        break;
    }
  }

  #accepted(id) {
    const entry = this.#mine(id);
    if (entry?.sent === "waiting") {
      entry.sent = "accepted";
      this.#changed(entry);
    }
    this.#emit("notice", null);
    if (this.#sending === entry) this.#settled();
  }

  #progress({ message_id: id, actor }) {
    const entry = this.#mine(id);
    if (!entry || entry.sent === "answered") return;
    if (entry.route.at(-1) !== actor) entry.route.push(actor);
    save(this.state);
    this.#emit("progress", { entry, actor });
  }

  #reply(reply) {
    if (reply.sequence <= this.state.after) return;
    this.state.after = reply.sequence;
    const entry = this.#mine(reply.message_id);
    if (entry && entry.sent !== "answered") {
      entry.sent = "answered";
      this.#changed(entry);
    }
    const took = entry ? Date.now() - Date.parse(entry.at) : null;
    this.#add({ kind: "reply", id: `reply-${reply.sequence}`, reply, took });
    if (entry && this.#sending === entry) this.#settled();
  }

  #error({ code, message, field, message_id: id, retry_after: seconds }) {
    if (code === "unauthorized") {
      this.#renewToken();
      return;
    }
    const entry = id && this.#mine(id);
    if (!entry || entry.sent !== "waiting") {
      // Before the welcome the link itself says that the service is away, and tries again.
      if (this.#link.welcome) this.#emit("notice", message);
      return;
    }
    if (code === "unavailable" || code === "internal" || code === "rate_limited") {
      this.#emit("notice", code === "rate_limited" ? `${message} Your message is kept and sent then.` : message);
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#settled(), seconds ? seconds * 1000 : RETRY);
      return;
    }
    entry.sent = "refused";
    entry.why = field === "text" ? `This message ${message.replace(/^text: /, "")}.` : message;
    this.#changed(entry);
    this.#settled();
  }

  async #renewToken() {
    if (this.#renewing) return;
    this.#renewing = true;
    try {
      const { token } = await openSession(this.state.email, this.state.session);
      this.state.token = token;
      save(this.state);
      this.#link.greet();
    } catch (error) {
      if (error instanceof ApiError && error.code === "unknown_session") {
        this.stop();
        this.#emit("ended");
      } else {
        setTimeout(() => this.#link.renew(), RETRY);
      }
    } finally {
      this.#renewing = false;
    }
  }
}
