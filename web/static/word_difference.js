// Which words two texts have in common, in order, and which only one of them has.

import { element } from "./dom.js";

/** Words past which texts are not aligned: that takes time in proportion to their product. */
const MOST = 1500;

const split = (text) => text.match(/\s+|[\p{L}\p{N}]+(?:[.,'’:/-][\p{L}\p{N}]+)*|./gsu) ?? [];

/** Return both texts as stretches `[kind, text]`: "same" in both, else "gone" or "new". */
export function difference(before, after) {
  const [old, now] = [split(before), split(after)];
  if (old.length > MOST || now.length > MOST) return [[["gone", before]], [["new", after]]];
  // lengths[i][j]: of the longest common part of what begins at i and at j.
  const lengths = Array.from({ length: old.length + 1 }, () => new Uint16Array(now.length + 1));
  for (let i = old.length - 1; i >= 0; i -= 1)
    for (let j = now.length - 1; j >= 0; j -= 1)
      lengths[i][j] = old[i] === now[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
  const sides = [[], []];
  const put = (side, kind, text) => {
    const end = sides[side].at(-1);
    if (end?.[0] === kind) end[1] += text;
    else sides[side].push([kind, text]);
  };
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      put(0, "same", old[i]);
      put(1, "same", now[j]);
      i += 1;
      j += 1;
    } else if (j >= now.length || (i < old.length && lengths[i + 1][j] >= lengths[i][j + 1])) put(0, "gone", old[i++]);
    else put(1, "new", now[j++]);
  }
  return sides.map(joined);
}

/** Join what only blanks stand between: a phrase is read as one change. */
function joined(stretches) {
  const made = [];
  stretches.forEach(([kind, text], place) => {
    const last = made.at(-1);
    const next = stretches[place + 1];
    if (kind === "same" && !text.trim() && last && next) last[1] += text;
    else if (last?.[0] === kind) last[1] += text;
    else made.push([kind, text]);
  });
  return made;
}

/** Return the stretches of one side as elements, what only it has marked; blanks around it are not. */
export const marked = (stretches) =>
  stretches.flatMap(([kind, text]) =>
    kind === "same"
      ? [text]
      : text.split(/(\s*\n\s*|^\s+|\s+$)/).map((part) => (part.trim() ? element(kind === "gone" ? "del" : "ins", {}, part) : part)),
  );
