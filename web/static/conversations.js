// The conversation's page: every message of a session as an arrow between actors, and for the hop
// that is looked at what it changed. It follows the session while somebody looks.

import { changed, fact, tag, value } from "./changes.js";
import { byId, element } from "./dom.js";
import { ago, count, moment } from "./figures.js";
import { clock, milliseconds, remark, slots, strip, tone, words } from "./hops.js";
import { ask, begin, notice, withMasking } from "./shell.js";

const AGAIN = 3000;
const MORE = 10;
const STATES = { answered: "good", failed: "bad", dead: "bad" };
const GRAVE = "dead_letters";
const narrow = matchMedia("(max-width: 84rem)");

const session = decodeURIComponent(location.pathname.split("/")[3] ?? "");
const most = new URLSearchParams(location.search).get("most");
const drawn = new Map(); // of each turn: what it was drawn from, and its element
const working = new Map(); // of each turn: who has begun to work on it
const turns = new Map(); // what was told of each
const items = new Map(); // what can be looked at, by key

let seen = null;
let source = null;
let chosen = null;

const api = (path) => withMasking(`/api/streams/conversation/${session}${path}`);
const query = (also = {}) => {
  const asked = new URLSearchParams({ ...also, ...(most ? { most } : {}) }).toString();
  return asked ? `?${asked}` : "";
};

// ---- one hop among others ----

function row(key, item, { from, to, time, label, look, lost, step = null, turn }) {
  items.set(key, item);
  const columns = actors();
  const name = `${words(from)} to ${words(to)}`;
  const told = step
    ? `waited ${milliseconds(step.waiting_ms)}, worked ${milliseconds(step.working_ms)}`
    : "";
  const button = element(
    "button",
    { type: "button", class: "hop", "data-key": key, "data-look": look, "aria-pressed": String(key === chosen) },
    element("span", { class: "time mono" }, new Date(time).toTimeString().slice(0, 8), fine(time)),
    element("span", { class: "who" }, words(from), element("i", { "aria-hidden": "true" }, " → "), words(to), element("em", {}, label)),
    strip(columns, from, to, { look, label, lost, working: Boolean(step?.working) }),
    step ? clock(step, Date.parse(turn.at), end(turn)) : element("span", { class: "clock" }),
    element(
      "span",
      { class: "times" },
      step ? element("span", { class: "waited" }, milliseconds(step.waiting_ms)) : null,
      step ? element("span", { class: "worked" }, milliseconds(step.working_ms)) : null,
    ),
  );
  button.setAttribute("aria-label", [name, label, told].filter(Boolean).join(", "));
  return { at: Date.parse(time), made: element("li", {}, button) };
}

const fine = (time) => `.${String(new Date(time).getMilliseconds()).padStart(3, "0")}`;
const end = (turn) =>
  Math.max(
    ...[turn.ended_at, ...turn.steps.flatMap((step) => [step.ended_at, step.sent_at])].filter(Boolean).map(Date.parse),
    Date.parse(turn.at) + 1,
  );

const actors = () => [
  "customer",
  ...seen.actors.filter((name) => name !== "customer"),
  ...(seen.turns.some((turn) => turn.burials.length) ? [GRAVE] : []),
];

function stepRow(turn, step, index) {
  const said = [remark(step), ...slots(step)].filter(Boolean);
  // Where an arrow has come is known from its record; the order of records tells the rest.
  const place = step.place ? `${step.place.topic}/${step.place.offset}` : index;
  return row(`${turn.message_id}/${place}/${step.started_at ?? ""}`, { kind: "step", turn, step }, {
    from: step.sender,
    to: step.actor,
    time: step.sent_at ?? step.started_at,
    label: said.join(", "),
    look: tone(step),
    step,
    turn,
  });
}

function turnSection(turn) {
  const rows = turn.steps.map((step, index) => {
    const busy = step.outcome === "open" && working.get(turn.message_id) === step.actor;
    return stepRow(turn, busy ? { ...step, working: true } : step, index);
  });
  for (const answer of turn.answers) {
    rows.push(
      row(`${turn.message_id}/reply/${answer.sequence}`, { kind: "answer", turn, answer }, {
        from: answer.sender,
        to: "customer",
        time: answer.at,
        label: "reply",
        look: "plain",
        turn,
      }),
    );
  }
  for (const burial of turn.burials) {
    rows.push(
      row(`${turn.message_id}/dead/${burial.place.offset}`, { kind: "burial", turn, burial }, {
        from: burial.actor,
        to: GRAVE,
        time: burial.at,
        label: "dead letter",
        look: "bad",
        lost: true,
        turn,
      }),
    );
  }
  // Of what happened at the same time, the steps come first: they were put first.
  const ordered = rows.toSorted((a, b) => a.at - b.at);
  const lasted = turn.ended_at ? Date.parse(turn.ended_at) - Date.parse(turn.at) : null;
  return element(
    "section",
    { class: "turn" },
    element(
      "header",
      {},
      element("h2", {}, turn.number ? `Turn ${turn.number}` : "Turn"),
      element("span", { class: "tag", "data-tone": STATES[turn.state] ?? "" }, turn.state.replaceAll("_", " ")),
      element(
        "span",
        { class: "muted small" },
        [
          moment(turn.at),
          lasted === null ? null : `${milliseconds(Math.max(0, lasted))} in all`,
          `waited ${milliseconds(turn.waiting_ms)}`,
          `worked ${milliseconds(turn.working_ms)}`,
        ]
          .filter(Boolean)
          .join(" · "),
      ),
      turn.journal ? element("span", { class: "small" }, place(turn.journal)) : null,
      element("p", { class: "said" }, turn.text),
    ),
    element("ol", { class: "hops" }, ...ordered.map((each) => each.made)),
  );
}

// ---- the hop that is looked at ----

function place(record) {
  const where = new URLSearchParams({ partition: record.partition, offset: record.offset });
  const link = element("a", { href: `/streams/${encodeURIComponent(record.topic)}?${where}`, class: "mono" });
  link.textContent = `${record.topic} ${record.partition}/${record.offset}`;
  return link;
}

function stepDetail({ step }) {
  const tags = [
    step.outcome === "done" ? null : tag(step.outcome, ["failed", "dead"].includes(step.outcome) ? "bad" : ""),
    step.attempt > 1 ? tag(`try ${step.attempt}`) : null,
    step.guardrail ? tag(`guardrail ${step.guardrail}`, step.guardrail === "passed" ? "good" : "bad") : null,
    step.by_hand ? tag(`${step.by_hand.kind} by ${step.by_hand.operator}`, "hand") : null,
  ];
  const kept = step.delayed_ms ? `, ${milliseconds(step.delayed_ms)} of it on purpose` : "";
  return [
    element("h2", {}, `${words(step.sender)} → ${words(step.actor)}`),
    element("p", { class: "tags" }, ...tags),
    step.reason ? element("p", { class: "reason" }, step.reason) : null,
    element(
      "dl",
      {},
      ...(step.sent_at ? fact("Sent", moment(step.sent_at)) : []),
      ...fact("Waited", `${milliseconds(step.waiting_ms)}${kept}`),
      ...fact("Worked", milliseconds(step.working_ms)),
      ...(step.route ? fact("Then on to", step.route.map(words).join(", ") || "the end") : []),
      ...(step.place ? fact("Record", place(step.place)) : fact("Record", "no longer kept, told by the trace")),
    ),
    ...(step.notes.length ? [element("ul", { class: "notes" }, ...step.notes.map((note) => element("li", {}, note)))] : []),
    ...(step.asked.length
      ? [
          element("h3", {}, "Asked outside"),
          element(
            "ul",
            { class: "asked" },
            ...step.asked.map((one) =>
              element(
                "li",
                {},
                element("span", {}, one.target),
                element("span", { class: "figure" }, milliseconds(one.duration_ms)),
                one.error ? element("p", { class: "reason" }, one.error) : null,
              ),
            ),
          ),
        ]
      : []),
    element("h3", {}, "What it changed in the payload"),
    step.difference.length
      ? element("ul", { class: "changes" }, ...step.difference.map(changed))
      : element("p", { class: "muted" }, step.started_at ? "Nothing." : "Nothing yet."),
  ];
}

function answerDetail({ answer }) {
  return [
    element("h2", {}, `${words(answer.sender)} → customer`),
    element("p", { class: "tags" }, tag(`reply ${answer.sequence}`), tag(answer.state.replaceAll("_", " "), STATES[answer.state] ?? "")),
    element("dl", {}, ...fact("Sent", moment(answer.at)), ...fact("Author", answer.author), ...(answer.place ? fact("Record", place(answer.place)) : [])),
    value(answer.text, "after"),
  ];
}

function burialDetail({ burial }) {
  return [
    element("h2", {}, `${words(burial.actor)} → dead letters`),
    element("p", { class: "reason" }, burial.reason),
    element(
      "dl",
      {},
      ...fact("Buried", moment(burial.at)),
      ...fact("Letter", element("a", { href: `/streams/deadletters?letter=${burial.place.offset}` }, `Nr ${burial.place.offset}: mend and redrive it`)),
      ...fact("Record", place(burial.place)),
    ),
  ];
}

const DETAILS = { step: stepDetail, answer: answerDetail, burial: burialDetail };

function show(key) {
  const item = items.get(key);
  const aside = byId("aside");
  if (!item) {
    aside.replaceChildren(element("p", { class: "muted" }, "Point at a hop, or choose one, to see what it changed."));
    return;
  }
  aside.replaceChildren(...DETAILS[item.kind](item).filter(Boolean));
}

function settle() {
  // One stop of the Tab key for all hops: the arrow keys go from one to the next.
  const hops = [...byId("turns").querySelectorAll(".hop")];
  const stop = hops.find((hop) => hop.dataset.key === chosen) ?? hops[0];
  for (const hop of hops) {
    hop.setAttribute("aria-pressed", String(hop.dataset.key === chosen));
    hop.tabIndex = hop === stop ? 0 : -1;
  }
  const at = chosen && byId("turns").querySelector(`[data-key="${CSS.escape(chosen)}"]`);
  // On a narrow screen what a hop changed stands right below it, on a wide one beside all of them.
  if (narrow.matches && at) at.after(byId("aside"));
  else if (byId("aside").parentElement !== byId("told")) byId("told").append(byId("aside"));
  byId("aside").hidden = narrow.matches && !at;
  show(chosen);
}

function choose(key) {
  chosen = key === chosen && narrow.matches ? null : key;
  settle();
}

// ---- the whole ----

function heads() {
  return [
    element("span", {}),
    element(
      "span",
      { class: "names" },
      ...actors().map((name) => element("span", { "data-name": name }, element("span", {}, words(name)))),
    ),
    element("span", {}, "Clock of the turn"),
    element("span", { class: "times" }, element("span", {}, "Waited"), element("span", {}, "Worked")),
  ];
}

/** Draw what came: turns that are as they were stay as they are, and so does the keyboard. */
function draw() {
  const columns = JSON.stringify(actors());
  const focus = document.activeElement?.dataset?.key;
  byId("heads").replaceChildren(...heads());
  if (byId("aside").parentElement !== byId("told")) byId("told").append(byId("aside"));
  const sections = seen.turns.map((turn) => {
    const form = columns + JSON.stringify(turn) + (working.get(turn.message_id) ?? "");
    const known = drawn.get(turn.message_id);
    if (known?.form === form) return known.section;
    const section = turnSection(turn);
    drawn.set(turn.message_id, { form, section });
    known?.section.replaceWith(section);
    return section;
  });
  const box = byId("turns");
  sections.forEach((section, index) => {
    if (box.children[index] !== section) box.insertBefore(section, box.children[index] ?? null);
  });
  while (box.children.length > sections.length) box.lastChild.remove();
  if (focus) box.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  settle();
  byId("unreadable").hidden = seen.unreadable.length === 0;
  byId("unread").replaceChildren(
    ...seen.unreadable.map((each) =>
      element("li", {}, moment(each.at), " ", place(each.place), each.reason ? ` ${each.reason}` : ""),
    ),
  );
  const hops = seen.turns.reduce((sum, turn) => sum + turn.steps.length, 0);
  byId("lead").textContent = seen.turns.length
    ? `${count(seen.turns.length)} turn${seen.turns.length === 1 ? "" : "s"}, ${count(hops)} hops.${seen.masked ? "" : " Personal data is shown."}`
    : seen.unreadable.length
      ? "There is no turn of this session that can be read."
      : "There is nothing of this session on any topic.";
  byId("told").hidden = seen.turns.length + seen.unreadable.length === 0;
  cover();
}

function cover() {
  const partly = seen.coverage.filter((one) => !one.complete);
  const box = byId("coverage");
  if (!partly.length) {
    box.textContent = `${seen.coverage.length} topics were looked through whole.`;
    return;
  }
  const own = (one) => (one.left_out ? `, ${count(one.left_out)} of the session's own left out` : "");
  const parts = partly.map((one) => `${one.topic} (${count(one.looked_at)} of ${count(one.records)}${own(one)})`);
  const next = new URLSearchParams({ most: String(Number(most ?? 5000) * MORE) });
  box.replaceChildren(
    `Of these topics only the newest records were looked through: ${parts.join(", ")}. Older turns that were answered are found all the same. `,
    element("a", { href: `?${next}` }, "Look through more"),
  );
}

function follow() {
  source?.close();
  source = new EventSource(api(`/live${query()}`));
  source.addEventListener("conversation", (event) => {
    const told = JSON.parse(event.data);
    for (const turn of told.turns) turns.set(turn.message_id, turn);
    seen = { ...told, turns: told.order.map((id) => turns.get(id)) };
    for (const turn of seen.turns) {
      if (!turn.steps.some((step) => step.outcome === "open")) working.delete(turn.message_id);
    }
    notice(null);
    byId("link").textContent = "Live";
    draw();
  });
  source.addEventListener("progress", (event) => {
    const { message_id: turn, actor } = JSON.parse(event.data);
    working.set(turn, actor);
    if (seen) draw();
  });
  source.addEventListener("error", lost);
  byId("as-json").download = `conversation-${session}.json`;
  byId("as-mermaid").download = `conversation-${session}.mmd`;
  byId("as-json").href = api(query());
  byId("as-mermaid").href = api(query({ format: "mermaid" }));
}

/** The stream broke: say why if that can be known, and try again. */
async function lost() {
  if (source.readyState !== EventSource.CLOSED) {
    byId("link").textContent = "Connecting again …";
    return;
  }
  source.close();
  byId("link").textContent = "";
  try {
    seen = await ask(`/api/streams/conversation/${session}${query()}`);
    notice(null);
    draw();
  } catch (error) {
    notice(error.message);
    if (error.status === 404 || error.status === 422) return;
  }
  setTimeout(follow, AGAIN);
}

async function list() {
  try {
    const { sessions } = await ask("/api/streams/conversation");
    notice(null);
    byId("lead").textContent = sessions.length ? "The sessions of the newest messages." : "Nobody has written yet.";
    byId("recent").hidden = sessions.length === 0;
    byId("sessions").replaceChildren(
      ...sessions.map((each) =>
        element(
          "tr",
          {},
          element("td", {}, element("a", { class: "mono", href: `/streams/conversation/${encodeURIComponent(each.session_id)}` }, each.session_id)),
          element("td", { title: moment(each.at) }, ago(each.at)),
          element("td", {}, tag(each.answered ? each.state.replaceAll("_", " ") : "under way", each.answered ? STATES[each.state] ?? "" : "")),
          element("td", {}, each.intent?.replaceAll("_", " ") ?? "–"),
          element("td", { class: "figure" }, count(each.replies)),
        ),
      ),
    );
  } catch (error) {
    notice(error.message);
  }
}

/** Work on all of it once more with the code of today, and look at what that changes. */
async function replay() {
  byId("replay").disabled = true;
  try {
    const { run } = await ask("/api/replay", { method: "POST", body: { session }, patience: 60_000 });
    location.assign(`/replay/${run}`);
  } catch (error) {
    notice(error.message);
    byId("replay").disabled = false;
  }
}

byId("replay").addEventListener("click", replay);

byId("look").addEventListener("submit", (event) => {
  event.preventDefault();
  const asked = byId("session").value.trim();
  if (asked) location.assign(`/streams/conversation/${encodeURIComponent(asked)}`);
});

byId("turns").addEventListener("click", (event) => {
  const hop = event.target.closest(".hop");
  if (hop) choose(hop.dataset.key);
});

byId("turns").addEventListener("focusin", (event) => {
  const hop = event.target.closest(".hop");
  if (hop && !narrow.matches && hop.matches(":focus-visible")) choose(hop.dataset.key);
});

byId("turns").addEventListener("pointerover", (event) => {
  const hop = event.target.closest(".hop");
  if (hop && !narrow.matches && event.pointerType === "mouse") show(hop.dataset.key);
});

byId("turns").addEventListener("pointerleave", () => {
  if (!narrow.matches) show(chosen);
});

byId("turns").addEventListener("keydown", (event) => {
  const hops = [...byId("turns").querySelectorAll(".hop")];
  const here = hops.indexOf(document.activeElement);
  const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: hops.length - 1 }[event.key];
  const next = here < 0 ? null : hops[to];
  if (!next) return;
  event.preventDefault();
  next.focus();
});

narrow.addEventListener("change", () => seen && settle());

await begin({ masking: Boolean(session), changed: follow });
if (session) {
  byId("title").textContent = "Conversation";
  byId("session").value = session;
  document.title = `${session} · Actor Mesh`;
  follow();
} else {
  await list();
  setInterval(() => document.hidden || list(), AGAIN);
}
