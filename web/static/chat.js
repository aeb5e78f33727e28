// The page: who are you, then the conversation.

import { openSession } from "./api.js";
import { Conversation } from "./conversation.js";
import { byId } from "./dom.js";
import { Line } from "./line.js";
import { Log } from "./log.js";
import { load, save, takenElsewhere } from "./store.js";

const NEAR_END = 120; // pixels
const LOST_FOR = 1_200; // a blink of the connection is not worth a word
const LOST = "The connection is lost. We are reconnecting; what you write is kept and sent then.";
const AWAY = "Our message service is away at the moment. We keep trying; what you write is kept and sent then.";

const say = byId("say");
const scroller = byId("scroll");
const line = new Line(byId("working"));
const log = new Log(byId("log"), { choose: speak, reopen });

let conversation = null;
let lostTimer = null;
let over = false; // the server knows this session no more
let email = ""; // known from before, when a new conversation begins

// ---- beginning ----

async function open() {
  const kept = load();
  if (!kept) return ask();
  if (await takenElsewhere(kept.session)) {
    email = kept.email;
    return anew();
  }
  return enter(kept);
}

function ask() {
  byId("talk").hidden = true;
  byId("owner").hidden = true;
  byId("welcome").hidden = false;
  byId("email").value = email;
  byId("email").focus();
}

async function begin(event) {
  event.preventDefault();
  const field = byId("email");
  email = field.value.trim();
  if (!email || !field.validity.valid) {
    complain(field, email ? "This is not a complete e-mail address. It looks like name@example.com." : "Please type your e-mail address.");
    return;
  }
  byId("begin").disabled = true;
  try {
    const session = await openSession(email);
    complain(field, "");
    await takenElsewhere(session.session_id);
    enter(Conversation.begin(email, session));
  } catch (error) {
    const known = error.code === "invalid" ? "We cannot use this e-mail address. Please check how it is written." : error.message;
    complain(field, known);
  } finally {
    byId("begin").disabled = false;
  }
}

function complain(field, text) {
  byId("email-error").textContent = text;
  field.setAttribute("aria-invalid", String(Boolean(text)));
  if (text) field.focus();
}

function enter(state) {
  conversation = new Conversation(state);
  conversation.addEventListener("entry", ({ detail }) => added(detail));
  conversation.addEventListener("change", ({ detail }) => changed(detail));
  conversation.addEventListener("progress", showLine);
  conversation.addEventListener("state", ({ detail }) => linked(detail));
  conversation.addEventListener("notice", ({ detail }) => banner(detail));
  conversation.addEventListener("ended", () => ended());
  save(state);

  over = false;
  say.disabled = false;
  byId("welcome").hidden = true;
  byId("talk").hidden = false;
  byId("owner").hidden = false;
  byId("owner-mail").textContent = state.email;
  byId("email-error").textContent = "";
  log.reset(state.entries);
  byId("empty").hidden = state.entries.length > 0;
  banner(null);
  showLine();
  toEnd();
  say.focus();
  conversation.start();
}

// ---- talking ----

function speak(text) {
  conversation.say(text);
  say.focus();
}

function submit(event) {
  event.preventDefault();
  const text = say.value.trim();
  byId("say-error").textContent = "";
  if (!text) {
    say.focus();
    return;
  }
  say.value = "";
  grow();
  speak(text);
}

function reopen(entry) {
  conversation.withdraw(entry);
  log.remove(entry);
  say.value = entry.text;
  grow();
  say.focus();
}

function added(entry) {
  const following = entry.kind === "mine" || nearEnd();
  byId("empty").hidden = true;
  log.add(entry);
  if (entry.kind === "mine") byId("said").textContent = "Message taken. We are working on it.";
  showLine();
  if (following) toEnd();
  else byId("unseen").hidden = false;
}

function changed(entry) {
  log.update(entry);
  showLine();
}

/** The line belongs to the first message without a reply: that is the one being worked on. */
function showLine() {
  const following = nearEnd();
  const [first] = conversation.open;
  if (first) line.show(first, conversation.withHuman);
  else line.hide();
  if (following) toEnd();
}

// ---- the connection ----

function linked(state) {
  clearTimeout(lostTimer);
  byId("dot").dataset.state = state;
  byId("link-state").textContent = { open: "Connected", lost: "Reconnecting", away: "Service away" }[state];
  if (state === "open") banner(null);
  if (state === "away") banner(AWAY);
  if (state === "lost") lostTimer = setTimeout(() => banner(LOST), LOST_FOR);
}

function banner(text) {
  const box = byId("banner");
  box.textContent = text ?? "";
  box.hidden = !text;
}

function ended() {
  over = true;
  say.disabled = true;
  byId("dot").dataset.state = "lost";
  byId("link-state").textContent = "Ended";
  banner("This conversation can no longer be continued. Please begin a new one: your orders are still there.");
  byId("fresh").focus();
}

async function anew() {
  try {
    const session = await openSession(email);
    await takenElsewhere(session.session_id);
    conversation?.stop();
    enter(Conversation.begin(email, session));
  } catch (error) {
    if (conversation) banner(error.message);
    else {
      ask();
      complain(byId("email"), error.message);
    }
  }
}

// ---- small things ----

const nearEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END;

function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
  byId("unseen").hidden = true;
}

function grow() {
  say.style.height = "auto";
  say.style.height = `${say.scrollHeight}px`;
}

byId("entry").addEventListener("submit", begin);
byId("composer").addEventListener("submit", submit);
byId("starters").addEventListener("click", ({ target }) => {
  if (target.tagName === "BUTTON") speak(target.textContent);
});
byId("to-end").addEventListener("click", () => {
  toEnd();
  say.focus();
});
byId("fresh").addEventListener("click", () => {
  email = conversation.state.email;
  if (over) anew();
  else if (conversation.state.entries.length) byId("ask-fresh").showModal();
  else say.focus();
});
byId("ask-fresh").addEventListener("close", (event) => {
  if (event.target.returnValue === "fresh") anew();
  else say.focus();
  event.target.returnValue = "";
});
scroller.addEventListener("scroll", () => nearEnd() && (byId("unseen").hidden = true));
say.addEventListener("input", grow);
say.addEventListener("keydown", (event) => {
  // While an input method composes, Enter belongs to it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
});

open();
