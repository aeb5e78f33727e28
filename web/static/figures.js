// Figures as people read them.

const UNITS = ["B", "KB", "MB", "GB", "TB"];
const WHOLE = new Intl.NumberFormat("en");

/** A count with its thousands apart; a dash for none. */
export const count = (value) => (value === null || value === undefined ? "–" : WHOLE.format(value));

/** A number of bytes. */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  let unit = 0;
  let amount = value;
  while (amount >= 1000 && unit < UNITS.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  return `${unit ? amount.toFixed(1) : amount} ${UNITS[unit]}`;
}

/** A length of time in seconds. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "for ever";
  for (const [name, length] of [["day", 86_400], ["hour", 3600], ["minute", 60]]) {
    if (seconds >= length) {
      const many = Math.round((seconds / length) * 10) / 10;
      return `${WHOLE.format(many)} ${name}${many === 1 ? "" : "s"}`;
    }
  }
  return `${Math.round(seconds)} seconds`;
}

/** How long ago a moment was. */
export function ago(moment, now = Date.now()) {
  if (!moment) return "–";
  const seconds = Math.max(0, Math.round((now - new Date(moment)) / 1000));
  if (seconds < 2) return "now";
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} days ago`;
}

/** A moment to the millisecond, in the reader's own time zone. */
export function moment(text) {
  const at = new Date(text);
  const two = (value) => String(value).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  return `${day} ${clock}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}
