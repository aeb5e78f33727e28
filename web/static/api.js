// The one request that the page makes besides its WebSocket.

/** An answer that is an error, or no answer at all (`code` is then "unreachable"). */
export class ApiError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Open a session for `email`, or come back to one; returns `{session_id, token}`. */
export async function openSession(email, session = null) {
  let answer;
  let told;
  try {
    answer = await fetch("api/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ email, session_id: session }),
      signal: AbortSignal.timeout(15_000),
    });
    told = await answer.json();
  } catch {
    const text = "We cannot be reached at the moment. Check your connection and try again.";
    throw new ApiError("unreachable", text);
  }
  if (!answer.ok) throw new ApiError(told.error.code, told.error.message);
  return told;
}
