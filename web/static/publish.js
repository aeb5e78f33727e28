// Publishing by hand: a form and the message itself, two views of one thing.

import { byId, element } from "./dom.js";
import { settled, showProblems } from "./problems.js";
import { named, RouteEditor, routeLine, unanswered } from "./route.js";
import { fieldOf, inputFor, rows } from "./schema.js";
import { ask, begin, notice } from "./shell.js";

const WATCH_EVERY = 1_000;
const WATCH_TIMES = 45;
const COPY_FROM = ["mesh.journal", "mesh.dead_letters"];

/** The fields that people need, by their path; the schema says what they may hold. */
const FIELDS = [
  { path: "session_id", title: "Conversation", help: "The reply goes here. A new id begins a new conversation." },
  { path: "payload.text", title: "What the customer says", long: true },
  { path: "payload.email", title: "The customer's e-mail", help: "Whose orders are looked up." },
  { path: "id", title: "Turn", help: "A turn is worked on once: its id again publishes nothing new." },
];

let draft = {};
let route = null;
let checked = 0;
let sending = false;
// Whether somebody has begun to write: an empty form is not wrong yet.
let begun = false;

// ---- form and editor ----

const valueAt = (path) => path.split(".").reduce((inner, name) => inner?.[name], draft);

function setAt(path, value) {
  const names = path.split(".");
  const last = names.pop();
  let inner = draft;
  for (const name of names) {
    if (typeof inner[name] !== "object" || inner[name] === null) inner[name] = {};
    inner = inner[name];
  }
  inner[last] = value;
}

function drawFields(schema) {
  byId("fields").replaceChildren(
    ...FIELDS.map(({ path, title, help, long }) => {
      const field = fieldOf(schema, path);
      const id = `field-${path}`;
      const input = inputFor(field, { id, long });
      input.setAttribute("aria-describedby", `${id}-error`);
      input.addEventListener("input", () => {
        begun = true;
        const empty = field.optional && !input.value.trim();
        setAt(path, empty ? null : input.value);
        showEditor();
      });
      return element(
        "div",
        { class: "field" },
        element("label", { htmlFor: id }, title),
        input,
        element("p", { class: "field-error", id: `${id}-error`, role: "alert" }),
        help || field.description ? element("p", { class: "field-help" }, help ?? field.description) : null,
      );
    }),
  );
}

function showFields() {
  for (const { path } of FIELDS) {
    const input = byId(`field-${path}`);
    if (input !== document.activeElement) input.value = valueAt(path) ?? "";
  }
  const steps = valueAt("slip.steps");
  route.steps = Array.isArray(steps) ? steps.filter((step) => typeof step === "string") : [];
}

function showEditor() {
  byId("editor").value = JSON.stringify(draft, null, 2);
  check();
}

function take(message) {
  draft = message;
  begun = Boolean(valueAt("payload.text"));
  byId("sent").replaceChildren();
  showFields();
  showEditor();
}

function edited() {
  begun = true;
  try {
    const read = JSON.parse(byId("editor").value);
    if (typeof read === "object" && read !== null && !Array.isArray(read)) {
      draft = read;
      showFields();
    }
  } catch {
    // The check says where it is no JSON; the form shows what was read last.
  }
  check();
}

// ---- checking and sending ----

const check = settled(async () => {
  const mine = (checked += 1);
  let told = null;
  let problems = [];
  try {
    told = await ask("/api/streams/publish/check", { method: "POST", body: { text: byId("editor").value } });
  } catch (error) {
    problems = error.told?.problems ?? [{ path: "", text: error.message, line: 0 }];
  }
  if (mine === checked) show(told, problems);
});

function show(told, found) {
  const problems = begun ? found : found.filter(({ path }) => path !== "payload.text");
  const wanted = problems.length ? "What is marked above has to be put right first." : "What does the customer say?";
  const left = problems.filter((problem) => {
    const field = FIELDS.find(({ path }) => path === problem.path);
    return !field && !problem.path.startsWith("slip.steps");
  });
  for (const { path } of FIELDS) {
    const mine = problems.find((problem) => problem.path === path);
    byId(`field-${path}-error`).textContent = mine?.text ?? "";
    byId(`field-${path}`).setAttribute("aria-invalid", String(Boolean(mine)));
  }
  showProblems(byId("route-problems"), problems.filter((problem) => problem.path.startsWith("slip.steps")), byId("editor"));
  showProblems(byId("problems"), left, byId("editor"));
  byId("publish").disabled = !told || sending;
  byId("preview").replaceChildren(
    ...(told
      ? [
          element("p", {}, `${named(told.topic)} gets it, as turn ${told.turn} of conversation ${told.session_id}.`),
          routeLine({ steps: told.steps }, false),
          unanswered(told.answered),
        ].filter(Boolean)
      : [element("p", { class: "muted" }, wanted)]),
  );
}

async function publish() {
  if (sending) return; // two quick presses are one
  sending = true;
  byId("publish").disabled = true;
  notice(null);
  try {
    const text = byId("editor").value;
    const sent = await ask("/api/streams/publish", { method: "POST", body: { text } });
    tell(sent);
    // The next one is another turn, in the same conversation.
    const fresh = (await ask("/api/streams/publish")).draft;
    setAt("id", fresh.id);
    setAt("payload.at", fresh.payload.at);
    showFields();
    byId("editor").value = JSON.stringify(draft, null, 2);
  } catch (error) {
    if (error.told?.problems) show(null, error.told.problems);
    else notice(error.message);
  } finally {
    sending = false;
    check();
  }
}

function tell(sent) {
  const conversation = `/streams/conversation/${encodeURIComponent(sent.session_id)}`;
  const answer = element("p", { class: "muted" }, "Waiting for its reply …");
  byId("sent").replaceChildren(
    element(
      "p",
      { class: "notice", "data-tone": "good" },
      sent.repeated
        ? `This turn was there already: nothing new was sent. ${sent.topic}, offset ${sent.offset}. `
        : `Published: ${sent.topic}, offset ${sent.offset}. `,
      element("a", { href: conversation }, "Look at the conversation"),
    ),
    answer,
  );
  watch(sent, answer);
}

/** Show the turn's reply once it is there. */
async function watch({ session_id: session, turn }, answer) {
  const parameters = new URLSearchParams({ session, turn });
  for (let times = 0; times < WATCH_TIMES && answer.isConnected; times += 1) {
    const { reply } = await ask(`/api/streams/publish/reply?${parameters}`).catch(() => ({ reply: null }));
    if (reply) {
      answer.replaceWith(
        element("p", {}, "The reply: ", element("span", { class: "tag" }, reply.state.replaceAll("_", " "))),
        element("p", { class: "answer" }, reply.response),
      );
      return;
    }
    await new Promise((go) => setTimeout(go, WATCH_EVERY));
  }
  answer.textContent = "No reply so far. The conversation shows where it is.";
}

// ---- beginning ----

async function copy(topic, offset) {
  try {
    const parameters = new URLSearchParams({ topic, offset });
    take((await ask(`/api/streams/publish/copy?${parameters}`)).draft);
    notice(`A copy of ${topic}, offset ${offset}, as a turn of its own. It stays in its conversation unless you change that.`, "good");
  } catch (error) {
    notice(error.message);
  }
}

async function open() {
  const name = await begin({ masking: true });
  byId("mark").textContent = `by hand, by ${name}`;
  let form;
  try {
    form = await ask("/api/streams/publish");
  } catch (error) {
    notice(error.message);
    return;
  }
  drawFields(form.schema);
  byId("schema").replaceChildren(...rows(form.schema));
  route = new RouteEditor(byId("route"), form);
  route.addEventListener("change", () => {
    setAt("slip.steps", route.steps);
    showEditor();
  });
  byId("copy-topic").replaceChildren(
    ...[...form.mailboxes, ...COPY_FROM].map((topic) => element("option", { value: topic }, named(topic))),
  );
  take(form.draft);
  byId("editor").addEventListener("input", edited);
  byId("publish").addEventListener("click", publish);
  byId("blank").addEventListener("click", async () => take((await ask("/api/streams/publish")).draft));
  byId("copy").addEventListener("submit", (event) => {
    event.preventDefault();
    copy(byId("copy-topic").value, byId("copy-offset").value.trim());
  });
  const given = new URLSearchParams(location.search);
  if (given.has("topic") && given.has("offset")) {
    byId("copy-topic").value = given.get("topic");
    byId("copy-offset").value = given.get("offset");
    await copy(given.get("topic"), given.get("offset"));
  }
}

open();
