// The choices of a view, kept in the address: a link shows what was seen, and reloading keeps it.
//
// Written past Airflow's router, which would make the whole page anew at each change: the keyboard's focus would be
// lost in the middle of a word.

const { useSyncExternalStore } = globalThis.React;
const CHOSEN = "glacier-chosen";

function subscribe(listener) {
  globalThis.addEventListener(CHOSEN, listener);
  return () => globalThis.removeEventListener(CHOSEN, listener);
}

function choose(changes) {
  const address = new URL(globalThis.location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  globalThis.history.replaceState(globalThis.history.state, "", address);
  globalThis.dispatchEvent(new Event(CHOSEN));
}

export function useChoices() {
  return [new URLSearchParams(useSyncExternalStore(subscribe, () => globalThis.location.search)), choose];
}
