// The mesh as a picture: actors in the order in which the standard slips run, and the ways between
// them. Everything keeps its place; a new look at the mesh only changes figures and widths.

import { svg } from "./dom.js";
import { count } from "./figures.js";
import { milliseconds, words } from "./hops.js";

// Where the actors stand: how far along the way, and in which lane. Others stand in the second.
const STANDS = {
  customer: [0, 0],
  conversation: [1, 0],
  sentiment_analyzer: [2, 0],
  intent_analyzer: [3, 0],
  context_retriever: [4, 0],
  decision_router: [5, 0],
  execution_coordinator: [6, 0],
  response_generator: [7, 0],
  guardrail_validator: [8, 0],
  response_aggregator: [9, 0],
  escalation_router: [7, 1],
};
// The dead letters come from anywhere: they stand where no other way leads through.
const DEAD_LETTERS = { wide: [8.6, 1.62], tall: [10.1, 1] };

// "Along" is the way's direction, "across" the other one: on a wide screen the way runs to the
// right, on a narrow one downwards.
const WIDE = { along: 148, box: [108, 86], first: [62, 240], lanes: 182, bend: [26, 22], straight: [0, -8] };
const TALL = { along: 128, box: [128, 86], first: [52, 134], lanes: 152, bend: [16, 7], straight: [8, 4] };

/** A rate as people read it. */
export function rate(perMinute) {
  if (perMinute >= 9.95) return `${count(Math.round(perMinute))}/min`;
  return perMinute >= 0.05 ? `${perMinute.toFixed(1).replace(/\.0$/, "")}/min` : "";
}

export const edgeKey = (edge) => `${edge.source} ${edge.target} ${edge.kind}`;

/** The picture; `chosen(kind, key)` is called for what is clicked, or chosen with the keyboard. */
export class Graph {
  constructor(box, { chosen, pointed }) {
    this.box = box;
    this.chosen = chosen;
    this.pointed = pointed;
    this.tall = null;
    this.form = "";
  }

  /** Show a graph: drawn anew only if other actors or ways are in it. */
  show({ nodes, edges }, tall) {
    const form = JSON.stringify([tall, nodes.map((node) => node.name), edges.map(edgeKey).toSorted()]);
    if (form !== this.form) {
      this.form = form;
      this.tall = tall;
      this.draw(nodes, edges);
    }
    for (const node of nodes) this.tellNode(node);
    for (const edge of edges) this.tellEdge(edge);
  }

  draw(nodes, edges) {
    const measure = this.tall ? TALL : WIDE;
    const stands = { ...STANDS, dead_letters: this.tall ? DEAD_LETTERS.tall : DEAD_LETTERS.wide };
    let strangers = 0;
    this.places = new Map(
      nodes.map(({ name }) => [name, this.place(stands[name] ?? [strangers++, 1], measure)]),
    );
    const far = Math.max(...[...this.places.values()].map((place) => place.along)) + measure.along / 2 + 4;
    const wide = Math.max(...[...this.places.values()].map((place) => place.across)) + 70;
    const [width, height] = this.tall ? [wide, far] : [far, wide];
    this.nodes = new Map(nodes.map((node) => [node.name, this.node(node.name, measure)]));
    this.edges = new Map(edges.map((edge) => [edgeKey(edge), this.edge(edge, measure)]));
    const focus = document.activeElement?.dataset?.key;
    const picture = svg(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, class: this.tall ? "graph tall" : "graph", role: "group", "aria-label": "Actors, and the ways between them" },
      svg("defs", {}, ...["step", "retry", "failure"].map(tip)),
      ...[...this.edges.values()].map((edge) => edge.group),
      ...[...this.nodes.values()].map((node) => node.group),
      svg("g", { class: "labels", "aria-hidden": "true" }, ...[...this.edges.values()].map((edge) => edge.label)),
      (this.dot = svg("circle", { class: "dot", r: 7, visibility: "hidden" })),
    );
    this.box.replaceChildren(picture);
    if (focus) this.box.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  }

  place([along, lane], measure) {
    return { along: measure.first[0] + along * measure.along, across: measure.first[1] + lane * measure.lanes, lane };
  }

  xy(along, across) {
    return this.tall ? [across, along] : [along, across];
  }

  button(kind, key, ...drawn) {
    const group = svg("g", { class: kind, tabindex: 0, role: "button", "data-key": `${kind} ${key}` }, ...drawn);
    const choose = () => this.chosen(kind, key);
    group.addEventListener("click", choose);
    group.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    });
    group.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.pointed(kind, key));
    group.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.pointed(null));
    return group;
  }

  node(name, measure) {
    const { along, across } = this.places.get(name);
    const [x, y] = this.xy(along, across);
    const [width, height] = measure.box;
    const lines = lineUp(words(name));
    const text = (at, kind) => svg("text", { class: kind, y: at, "text-anchor": "middle" });
    const rateText = text(16, "rate");
    const timesText = text(33, "times");
    const badge = svg("g", { class: "badge", visibility: "hidden" });
    const group = this.button(
      "node",
      name,
      svg("rect", { class: "box", x: -width / 2, y: -height / 2, width, height, rx: 11 }),
      ...lines.map((line, index) => {
        const made = text(-24 + index * 14 + (lines.length === 1 ? 6 : 0), "name");
        made.textContent = line;
        return made;
      }),
      rateText,
      timesText,
      badge,
    );
    group.setAttribute("transform", `translate(${x} ${y})`);
    group.dataset.name = name;
    return { group, rateText, timesText, badge, width, height };
  }

  tellNode(node) {
    const drawn = this.nodes.get(node.name);
    drawn.rateText.textContent = rate(node.last_minute) || "–";
    drawn.timesText.textContent = node.worked ? `${milliseconds(node.worked.p50)} · ${milliseconds(node.worked.p95)}` : "";
    const notes = [node.lag ? `lag ${count(node.lag)}` : "", node.failures ? `${count(node.failures)} failed` : "", node.name === "dead_letters" ? count(node.hops) : ""];
    const note = notes.filter(Boolean).join(", ");
    drawn.group.classList.toggle("behind", node.behind);
    drawn.group.classList.toggle("hurt", node.failures > 0 || node.name === "dead_letters");
    drawn.group.classList.toggle("busy", node.last_minute > 0);
    drawn.badge.setAttribute("visibility", note ? "visible" : "hidden");
    const width = note.length * 6.3 + 14;
    drawn.badge.replaceChildren(
      svg("rect", { x: drawn.width / 2 - width + 6, y: -drawn.height / 2 - 9, width, height: 19, rx: 9.5 }),
      svg("text", { x: drawn.width / 2 - width / 2 + 6, y: -drawn.height / 2 + 5, "text-anchor": "middle" }, note),
    );
    const times = node.worked ? `, worked ${milliseconds(node.worked.p50)} in the median` : "";
    drawn.group.setAttribute("aria-label", [`${words(node.name)}: ${rate(node.last_minute) || "nothing"} in the last minute${times}`, note].filter(Boolean).join(", "));
  }

  edge(edge, measure) {
    const { path, middle, anchor, short } = this.way(edge, measure);
    const line = svg("path", { class: "line", d: path, "marker-end": `url(#tip-${edge.kind})` });
    const label = svg("text", { class: "label", x: middle[0], y: middle[1], "text-anchor": anchor });
    const group = this.button("edge", edgeKey(edge), svg("path", { class: "hit", d: path }), line);
    group.dataset.kind = edge.kind;
    return { group, line, label, short };
  }

  tellEdge(edge) {
    const { group, line, label, short } = this.edges.get(edgeKey(edge));
    const told = rate(edge.per_minute);
    // Between neighbours there is room for a number alone.
    label.textContent = short ? told.replace("/min", "") : told;
    line.setAttribute("stroke-width", (1.3 + Math.min(4, Math.log2(1 + edge.per_minute) * 0.55)).toFixed(2));
    group.classList.toggle("busy", edge.per_minute >= 0.05);
    label.classList.toggle("busy", edge.per_minute >= 0.05);
    const kinds = { step: "", retry: ", tries again", failure: ", after failures" };
    group.setAttribute("aria-label", `${words(edge.source)} to ${words(edge.target)}${kinds[edge.kind]}: ${told || "nothing in the last minute"}`);
  }

  /** Return the path of an edge, and where its label stands. */
  way({ source, target }, measure) {
    const [from, to] = [this.places.get(source), this.places.get(target)];
    const [width, height] = measure.box;
    const [half, side] = this.tall ? [height / 2, width / 2] : [width / 2, height / 2];
    const point = (along, across) => this.xy(along, across).map((value) => value.toFixed(1)).join(",");
    const curve = (a, b, c, d) => ({
      path: `M${point(...a)} C${point(...b)} ${point(...c)} ${point(...d)}`,
      middle: this.xy((a[0] + 3 * b[0] + 3 * c[0] + d[0]) / 8, (a[1] + 3 * b[1] + 3 * c[1] + d[1]) / 8),
    });
    const labelled = (made, shift = [0, -5]) => {
      const [x, y] = made.middle;
      return this.tall
        ? { ...made, middle: [x + (shift[2] ?? 6), y + 4], anchor: shift[2] === 0 ? "middle" : "start" }
        : { ...made, middle: [x + shift[0], y + shift[1]], anchor: "middle" };
    };
    const span = (to.along - from.along) / measure.along;
    if (source === target) {
      const edge = from.across - side;
      return labelled(curve([from.along - 16, edge], [from.along - 30, edge - 34], [from.along + 30, edge - 34], [from.along + 16, edge - 3]));
    }
    if (from.lane !== to.lane) {
      if (to.lane > from.lane) {
        const way = span >= 0 ? 1 : -1;
        const end = Math.abs(span) < 0.6 ? [to.along, to.across - side - 4] : [to.along - way * (half + 4), to.across];
        const bend = Math.abs(span) < 0.6 ? [to.along, from.across + side + 40] : [from.along, to.across];
        return labelled(curve([from.along, from.across + side], bend, bend, end), [-26, 12]);
      }
      const way = span >= 0 ? 1 : -1;
      const bend = [to.along, from.across];
      return labelled(curve([from.along + way * half, from.across], bend, bend, [to.along, to.across + side + 4]), [-26, -8]);
    }
    if (span > 0 && span < 1.5) {
      const [a, b] = [from.along + half, to.along - half - 4];
      const made = curve([a, from.across], [a + 6, from.across], [b - 6, to.across], [b, to.across]);
      const [x, y] = made.middle;
      const [dx, dy] = measure.straight;
      return { ...made, middle: [x + dx, y + dy], anchor: this.tall ? "start" : "middle", short: !this.tall };
    }
    // Over others: forward on the one side, back on the other; back to the customer above all.
    const home = target === "customer";
    const up = span > 0 || home ? -1 : 1;
    const high = measure.bend[0] + measure.bend[1] * Math.abs(span);
    const start = from.across + up * side;
    const way = Math.sign(span);
    const [a, b] = [from.along + (home ? 24 : way * 14), to.along - (home ? 0 : way * 14)];
    const made = curve([a, start], [a + way * 10, start + up * high], [b - way * 10, start + up * high], [b, start + up * 4]);
    return labelled(made, up < 0 ? [0, -6, home ? 6 : 0] : [0, 15]);
  }

  /** Mark the actor that has a message in hand now; null for none. */
  at(name) {
    for (const [each, { group }] of this.nodes ?? []) group.classList.toggle("here", each === name);
  }

  /** Let the dot run from one actor to another; resolves when it is there. */
  async hop(source, target, still) {
    const way = ["step", "retry", "failure"].map((kind) => this.edges?.get(`${source} ${target} ${kind}`)).find(Boolean);
    if (!way) return;
    way.group.classList.add("lit");
    if (!still) {
      const length = way.line.getTotalLength();
      const began = performance.now();
      await new Promise((arrived) => {
        const step = (now) => {
          const part = Math.min(1, (now - began) / 320);
          const { x, y } = way.line.getPointAtLength(part * length);
          this.dot.setAttribute("cx", x);
          this.dot.setAttribute("cy", y);
          this.dot.setAttribute("visibility", "visible");
          if (part < 1) requestAnimationFrame(step);
          else arrived();
        };
        requestAnimationFrame(step);
      });
      this.dot.setAttribute("visibility", "hidden");
    }
    setTimeout(() => way.group.classList.remove("lit"), still ? 600 : 150);
  }
}

function tip(kind) {
  return svg(
    "marker",
    { id: `tip-${kind}`, class: `tip ${kind}`, viewBox: "0 0 10 10", refX: 6, refY: 5, markerWidth: 11, markerHeight: 11, markerUnits: "userSpaceOnUse", orient: "auto" },
    svg("path", { d: "M0,1 L9,5 L0,9 z" }),
  );
}

/** Break a name into at most two lines. */
function lineUp(name) {
  const [first, ...rest] = name.split(" ");
  return rest.length ? [first, rest.join(" ")] : [first];
}
