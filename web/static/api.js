// Requests to our own API.

/** An answer that is an error (`status`, `code`, perhaps `field`), or none: code "unreachable". */
export class ApiError extends Error {
  constructor(code, message, { status = 0, field = null, told = {} } = {}) {
    super(message);
    Object.assign(this, { code, status, field, told });
  }
}

const UNREACHABLE = "We cannot be reached at the moment. Check your connection and try again.";

/** Ask `path`; returns the answer's JSON. `signal` gives the request up. */
export async function request(path, { method = "GET", body, patience = 15_000, signal } = {}) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const ends = AbortSignal.timeout(patience);
  let answer;
  let told;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, ends]) : ends,
    });
    told = await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("unreachable", UNREACHABLE);
  }
  if (answer.ok) return told;
  const { code, message, field } = told.error;
  throw new ApiError(code, message, { status: answer.status, field, told });
}

/** Open a session for `email`, or come back to one; returns `{session_id, token}`. */
export const openSession = (email, session = null) =>
  request("api/session", { method: "POST", body: { email, session_id: session } });
