// This tab's own copy of the conversation, so that a reload shows it at once.

const KEY = "conversation";
const MOST_ENTRIES = 300;

/** Return what this tab kept, or null. */
export function load() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    return kept && kept.version === 1 ? kept : null;
  } catch {
    return null; // storage is off, or holds something else
  }
}

/** Keep the state; when there is no room, keep less of it. */
export function save(state) {
  for (let most = MOST_ENTRIES; most >= 10; most = Math.floor(most / 3)) {
    try {
      const entries = state.entries.slice(-most);
      sessionStorage.setItem(KEY, JSON.stringify({ ...state, version: 1, entries }));
      return;
    } catch {
      // Full: try again with fewer entries. Without storage the page works until it is closed.
    }
  }
}

/**
 * Say whether another open tab shows this session: a duplicated tab starts with a copy of the
 * storage, and two tabs are two conversations. Browsers without locks cannot tell.
 */
export async function takenElsewhere(session) {
  if (!navigator.locks) return false;
  return new Promise((tell) => {
    // A page that reloads may have to wait a moment for its former self to let go.
    const patience = AbortSignal.timeout(1500);
    navigator.locks
      .request(`conversation ${session}`, { signal: patience }, () => {
        tell(false);
        return new Promise(() => {}); // held until the tab is gone
      })
      .catch(() => tell(true));
  });
}
