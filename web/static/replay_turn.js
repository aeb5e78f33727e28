// One turn of a replay on both sides: the replies word by word, what differs, and both traces hop
// by hop. An actor's output can be edited, to see what would follow.

import { changed, fact, tag, value } from "./changes.js";
import { byId, element } from "./dom.js";
import { count, moment } from "./figures.js";
import { milliseconds } from "./hops.js";
import { mark, spent } from "./replay_parts.js";
import { RouteEditor } from "./route.js";
import { ask, begin, notice } from "./shell.js";
import { difference, marked } from "./word_difference.js";

const [, , run, position] = location.pathname.split("/").map(decodeURIComponent);
const query = new URLSearchParams(location.search);
const attempt = query.get("attempt") ?? "1";
const words = (name) => name.replaceAll("_", " ");
const here = `/api/replay/${run}/turns/${position}`;

let turn = null;
let route = null;
let edited = null; // the place of the hop that is edited
let opened = null; // the hops that are looked at: first the one that leads

// ---- what came out ----

function head() {
  byId("title").replaceChildren(`Turn ${turn.turn || ""} `, mark(turn.verdict));
  document.title = `${turn.verdict}: turn ${turn.turn} · Replay · Actor Mesh`;
  byId("lead").textContent = [turn.reason, turn.leading && `Begins to differ at ${turn.leading}`, moment(turn.at).slice(0, 19)].filter(Boolean).join(" · ");
  byId("said").textContent = turn.said;
  const back = new URLSearchParams(query);
  back.delete("attempt");
  byId("back").href = turn.edited === null ? `/replay/${run}?${back}` : "/replay";
  byId("back").textContent = turn.edited === null ? "All turns of this replay" : "All replays";
  byId("ways").replaceChildren(
    element("a", { class: "quiet-ink button", href: `/streams/conversation/${encodeURIComponent(turn.session_id)}` }, "The conversation"),
  );
}

function replies() {
  const reply = turn.aspects.reply;
  const sides = [reply?.recorded ?? null, reply?.replayed ?? null];
  // What follows from a missing answer is not another wording of what was recorded.
  const comparable = reply?.verdict !== "not recorded" && sides.every((side) => side !== null);
  const told = comparable ? difference(...sides) : sides.map((side) => (side === null ? null : [["same", side]]));
  const side = (title, stretches, lacking) =>
    element("div", { class: "panel side" }, element("h3", {}, title), stretches ? element("p", { class: "text" }, ...marked(stretches)) : element("p", { class: "muted" }, lacking));
  byId("reply-tag").hidden = !reply;
  if (reply) {
    byId("reply-tag").dataset.verdict = reply.verdict.replaceAll(" ", "-");
    byId("reply-tag").textContent = reply.score === null || ["same", "not recorded"].includes(reply.verdict) ? reply.verdict : `${reply.verdict}, ${reply.score.toFixed(2)} alike`;
  }
  byId("replies").replaceChildren(
    side("Recorded", told[0], "No reply was recorded."),
    side(sides[0] !== null && reply?.verdict === "not recorded" ? "Now, without an answer that was not recorded" : "Now", told[1], turn.verdict === "failed" ? turn.reason : "There is none."),
  );
}

const written = (content) => (content === null || content === undefined ? "–" : typeof content === "string" ? content : Array.isArray(content) && content.every((each) => typeof each === "string") ? content.map(words).join(" → ") || "none" : JSON.stringify(content, null, 2));

function aspects() {
  const all = Object.entries(turn.aspects).filter(([name]) => name !== "reply");
  const named = (verdict) => all.filter(([, found]) => found.verdict === verdict).map(([name]) => name).join(", ");
  const other = all.filter(([, found]) => ["similar", "different"].includes(found.verdict));
  const rest = [["Not recorded", named("not recorded")], ["The same", named("same")]].filter(([, names]) => names);
  const rows = other.map(([name, found]) => {
    const [before, after] = [written(found.recorded), written(found.replayed)];
    // Where one side has none there is nothing to align.
    const both = found.recorded !== null && found.replayed !== null;
    const [old, now] = both ? difference(before, after).map(marked) : [[before], [after]];
    return element(
      "div",
      { class: "aspect" },
      element("h3", {}, name, " ", mark(found.verdict)),
      found.verdict === "similar"
        ? element("p", { class: "muted small" }, "The same decision, with other details: see its hop.")
        : element("div", { class: "sides" }, element("pre", { class: "value", "data-tone": "before" }, ...old), element("pre", { class: "value", "data-tone": "after" }, ...now)),
    );
  });
  byId("aspects").replaceChildren(
    ...rows,
    ...rest.map(([title, names]) => element("p", { class: "muted" }, `${title}: ${names}.`)),
    element("div", { class: "spent" }, ...spent(turn.recorded, turn.replayed)),
  );
}

function attempts() {
  byId("spread").hidden = turn.spread === null;
  if (turn.spread === null) return;
  const { spread } = turn;
  const link = (number) =>
    element("a", { class: "tag", href: `/replay/${run}/${position}?attempt=${number}`, ...(String(number) === attempt ? { "aria-current": "page" } : {}) }, `attempt ${number}`);
  const ways = (title, list, say) =>
    fact(title, ...list.map((way) => element("p", {}, element("b", {}, `${count(way.times)} × `), say(way.value))));
  byId("spread-body").replaceChildren(
    element("p", { class: "tags" }, ...turn.attempts.map(link)),
    element(
      "dl",
      { class: "facts" },
      ...fact("Stability", `${Math.round(spread.stability * 100)} % took the most frequent way`),
      ...(spread.failed ? fact("Failed", count(spread.failed)) : []),
      ...(spread.lowest_score === null ? [] : fact("Least alike", spread.lowest_score.toFixed(2))),
      ...ways("Intents", spread.intents, (intent) => (intent ? [intent.name, ...intent.also].map(words).join(", also ") : "none")),
      ...ways("Routes", spread.routes, (stops) => stops.map(words).join(" → ")),
      ...ways("Replies", spread.replies.slice(0, 5), (text) => text),
    ),
  );
}

// ---- hop by hop ----

const SIGNS = { same: "=", similar: "≈", different: "≠", "not recorded": "?", "not made": "−" };

function side(hop) {
  if (!hop) return element("span", { class: "hop-side none" }, "–");
  const went = ["done", "rerouted"].includes(hop.outcome) ? "" : ` (${hop.outcome})`;
  return element(
    "span",
    { class: "hop-side" },
    element("span", { class: "hop-name" }, `${words(hop.actor)}${went}`),
    element("span", { class: "muted small" }, milliseconds(hop.duration_ms)),
  );
}

const leads = (hop) => turn.diverging?.recorded === hop.recorded && turn.diverging?.replayed === hop.replayed;

function pair(hop, index) {
  const was = hop.recorded === null ? null : turn.was[hop.recorded];
  const now = hop.replayed === null ? null : turn.now[hop.replayed];
  const first = leads(hop);
  const button = element(
    "button",
    { type: "button", class: "pair", "aria-expanded": "false", "aria-controls": `hop-${index}` },
    side(was),
    element("span", { class: "sign", title: hop.verdict }, SIGNS[hop.verdict], element("span", { class: "visually-hidden" }, ` ${hop.verdict} `)),
    side(now),
  );
  const detail = element("div", { class: "hop-detail", id: `hop-${index}`, hidden: true });
  const open = (shown) => {
    button.setAttribute("aria-expanded", String(shown));
    if (shown && !detail.childElementCount) detail.append(...details(hop, was, now).filter(Boolean));
    detail.hidden = !shown;
    if (shown) opened.add(index);
    else opened.delete(index);
  };
  button.addEventListener("click", () => open(detail.hidden));
  if (opened.has(index)) open(true);
  return element(
    "li",
    { "data-verdict": hop.verdict.replaceAll(" ", "-"), ...(first ? { class: "first" } : {}) },
    hop.recorded !== null && hop.recorded === turn.edited
      ? element("p", { class: "first-mark" }, "This was edited: see what follows")
      : first
        ? element("p", { class: "first-mark" }, hop.verdict === "same" ? "Here something else was asked" : "Here it begins to differ")
        : null,
    button,
    detail,
  );
}

function details(hop, was, now) {
  return [
    hop.verdict === "not recorded" ? element("p", { class: "muted" }, "What comes from here on cannot be compared: the recording does not hold it.") : null,
    hop.verdict === "not made" ? element("p", { class: "muted" }, "This hop is not made any more.") : null,
    ...(hop.changes.length ? [element("h3", {}, "What it adds"), element("ul", { class: "changes" }, ...hop.changes.map(changed))] : []),
    ...questions(hop),
    element(
      "div",
      { class: "sides" },
      ...[was, now].map((each, place) => (each ? about(each, ["Recorded", "Now"][place]) : element("div"))),
    ),
    was ? whatIf(hop.recorded, was) : null,
  ];
}

/** What was asked: a question that only changed is shown with its words marked. */
function questions(hop) {
  if (!hop.questions.length) return [];
  const text = (question) => JSON.stringify(question.request, null, 2).replaceAll("\\n", "\n");
  const old = hop.questions.filter((each) => each.kind === "not asked");
  const now = hop.questions.filter((each) => each.kind !== "not asked");
  const title = element("h3", {}, "What it asks outside");
  if (old.length === 1 && now.length === 1 && old[0].target === now[0].target) {
    const [before, after] = difference(text(old[0]), text(now[0])).map(marked);
    return [
      title,
      element("p", { class: "tags" }, tag(now[0].target), now[0].kind === "not recorded" ? tag("no recorded answer", "bad") : null),
      element("div", { class: "sides" }, element("pre", { class: "value", "data-tone": "before" }, ...before), element("pre", { class: "value", "data-tone": "after" }, ...after)),
    ];
  }
  const kinds = { asked: "asked only now", "not asked": "no longer asked", "not recorded": "no recorded answer" };
  return [
    title,
    ...hop.questions.flatMap((each) => [
      element("p", { class: "tags" }, tag(each.target), tag(kinds[each.kind], each.kind === "not recorded" ? "bad" : "")),
      value(text(each), each.kind === "not asked" ? "before" : "after"),
    ]),
  ];
}

function about(hop, title) {
  return element(
    "div",
    { class: "about-hop" },
    element("h3", {}, title),
    hop.error ? element("p", { class: "reason" }, hop.error) : null,
    ...(hop.notes.length ? [element("ul", { class: "notes" }, ...hop.notes.map((note) => element("li", {}, note)))] : []),
    ...(hop.asked.length
      ? [
          element(
            "ul",
            { class: "asked" },
            ...hop.asked.map((one) =>
              element("li", {}, element("span", {}, one.target), element("span", { class: "figure" }, milliseconds(one.duration_ms)), one.error ? element("p", { class: "reason" }, one.error) : null),
            ),
          ),
        ]
      : []),
    hop.code ? element("p", { class: "muted small" }, `code ${hop.code}`) : null,
    element("details", {}, element("summary", {}, "All that it added"), value(hop.added, "after")),
  );
}

// ---- what if ----

function whatIf(place, hop) {
  if (!turn.can_edit) return null;
  const button = element("button", { type: "button", class: "quiet-ink" }, `What if ${words(hop.actor)} said something else?`);
  button.addEventListener("click", () => edit(place, hop));
  if (!hop.hidden) return element("p", {}, button);
  button.disabled = true;
  return element("p", {}, button, element("span", { class: "muted small" }, " It holds personal data: switch that on above to edit it."));
}

function edit(place, hop) {
  edited = place;
  byId("what-if-title").textContent = `What if ${words(hop.actor)} said something else?`;
  byId("slots").value = JSON.stringify(hop.added, null, 2);
  byId("slots-problem").textContent = "";
  route ??= new RouteEditor(byId("steps"), turn);
  route.steps = hop.steps;
  byId("what-if").showModal();
  byId("slots").focus();
  byId("slots").setSelectionRange(0, 0);
  byId("slots").scrollTop = 0;
}

function problem(text) {
  byId("slots-problem").textContent = text;
  byId("slots").setAttribute("aria-invalid", String(Boolean(text)));
}

async function seeWhatFollows(event) {
  event.preventDefault();
  let slots;
  try {
    slots = JSON.parse(byId("slots").value);
  } catch (error) {
    return problem(`This is not JSON: ${error.message}`);
  }
  if (typeof slots !== "object" || slots === null || Array.isArray(slots)) return problem("This must be an object with a member for each slot.");
  problem("");
  byId("what-if-run").disabled = true;
  try {
    const live = document.querySelector("input[name=answers]:checked").value === "live";
    const body = { hop: edited, slots, steps: route.steps.length ? route.steps : null, live };
    const { run: next } = await ask(`${here}/what-if?attempt=${attempt}`, { method: "POST", body, patience: 60_000 });
    location.assign(`/replay/${next}`);
  } catch (error) {
    problem(error.message);
    byId("slots").focus();
  } finally {
    byId("what-if-run").disabled = false;
  }
  return undefined;
}

// ---- the whole ----

async function load() {
  try {
    turn = await ask(`${here}?attempt=${encodeURIComponent(attempt)}`);
    notice(null);
  } catch (error) {
    byId("lead").textContent = "";
    notice(error.message);
    return;
  }
  head();
  replies();
  aspects();
  attempts();
  opened ??= new Set([turn.hops.findIndex(leads)]);
  byId("hops").replaceChildren(...turn.hops.map(pair));
  byId("turn").hidden = false;
  await onward();
}

/** Lead on to the next turn of the list that one came from. */
async function onward() {
  const wanted = new URLSearchParams(query);
  wanted.set("position", position);
  wanted.set("attempt", attempt);
  const { turns } = await ask(`/api/replay/${run}/turns?${wanted}`);
  if (!turns.length) return;
  const next = new URLSearchParams(query);
  next.set("attempt", turns[0].attempt);
  byId("ways").append(element("a", { class: "quiet-ink button", href: `/replay/${run}/${turns[0].position}?${next}` }, "Next that differs"));
}

byId("what-if-close").addEventListener("click", () => byId("what-if").close());
byId("what-if-form").addEventListener("submit", seeWhatFollows);

await begin({ masking: true, changed: load });
await load();
