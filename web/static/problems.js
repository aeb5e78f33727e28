// What is wrong with a message, said beside its editor; a problem leads to its place.

import { element } from "./dom.js";

/** Show `problems` in `list`; one with a line moves the cursor of `editor` there. */
export function showProblems(list, problems, editor = null) {
  list.replaceChildren(
    ...problems.map((problem) => {
      const said = problem.path ? `${problem.path}: ${problem.text}` : problem.text;
      if (!editor || !problem.line) return element("li", {}, said);
      const lead = element("button", { type: "button", class: "link" }, `Line ${problem.line}`);
      lead.addEventListener("click", () => goTo(editor, problem.line));
      return element("li", {}, lead, " ", said);
    }),
  );
  list.hidden = !problems.length;
  editor?.setAttribute("aria-invalid", String(Boolean(problems.length)));
}

/** Select a line of the editor and bring it into sight. */
function goTo(editor, line) {
  const lines = editor.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  editor.focus();
  editor.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
  const height = Number.parseFloat(getComputedStyle(editor).lineHeight);
  editor.scrollTop = Math.max(0, (line - 4) * height);
}

/** Return `text` with its JSON laid out in lines; what is no JSON stays as it is. */
export function laidOut(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Return a function that calls `act` once it was not called for `wait` milliseconds. */
export function settled(act, wait = 300) {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };
}
