// Reading an answer that comes line by line, each a JSON value.

import { ApiError } from "./api.js";

const UNREACHABLE = "The connection broke off. What is shown has arrived; search again for the rest.";

/** Yield the values of an NDJSON answer as they come; `signal` stops it, and the server with it. */
export async function* lines(path, signal) {
  let answer;
  try {
    answer = await fetch(path, { signal });
  } catch (error) {
    if (signal.aborted) return;
    throw new ApiError("unreachable", UNREACHABLE, { told: error });
  }
  if (!answer.ok) {
    const told = await answer.json();
    throw new ApiError(told.error.code, told.error.message, { status: answer.status, field: told.error.field, told });
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) if (part) yield JSON.parse(part);
    }
  } catch (error) {
    if (signal.aborted) return;
    throw new ApiError("unreachable", UNREACHABLE, { told: error });
  }
}
