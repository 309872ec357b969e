// Asking the server: our own API for what is known, Airflow's public API for what is to be started.
// Addresses are relative to the page's <base>, so that a sub-path before Airflow does not matter.

const { useCallback, useEffect, useRef, useState } = globalThis.React;

class Refusal extends Error {
  constructor(status, { detail, hint, kind } = {}) {
    super(typeof detail === "string" ? detail : `The server answered ${status}.`);
    this.status = status;
    this.hint = hint || (status === 401 ? "Log in again." : "");
    this.kind = kind || "";
  }
}

async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(new URL(address, document.baseURI), { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { detail: "Airflow does not answer.", hint: "Check your connection; this page tries again." });
  }
  const body = await answer.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return null; // cut short, or not Airflow's own: no answer, whatever its status says
  });
  if (!answer.ok || body === null) throw new Refusal(answer.status, body || {});
  return body;
}

function send(method, address, body) {
  return ask(address, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

const dag = (dagId) => `api/v2/dags/${encodeURIComponent(dagId)}`;

export const airflow = {
  trigger: (dagId, conf) => send("POST", `${dag(dagId)}/dagRuns`, { logical_date: null, conf }),
  unpause: (dagId) => send("PATCH", dag(dagId), { is_paused: false }),
  run: (dagId, runId) => ask(`${dag(dagId)}/dagRuns/${encodeURIComponent(runId)}`),
};

export function undoOrphans(application, restoreId) {
  return send("POST", `glacier/api/applications/${application}/restores/${restoreId}/undo-orphans`, { confirm: true });
}

export function undoDatabase(application, restoreId) {
  return send("POST", `glacier/api/applications/${application}/restores/${restoreId}/undo-database`, { confirm: true });
}

export function examine(application) {
  return send("POST", `glacier/api/applications/${application}/examination`, {});
}

export function freeLease(application, force) {
  return send("POST", `glacier/api/applications/${application}/free-lease`, { force });
}

export function deleteBackup(application, backupId, confirm, force) {
  return send("POST", `glacier/api/applications/${application}/backups/${backupId}/delete`, { confirm, force });
}

export function get(path, signal) {
  return ask(`glacier/api${path}`, { signal });
}

export function query(values) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") given.append(name, one);
    }
  }
  return given.size ? `?${given}` : "";
}

/**
 * What a path of our API answers: {data, error, reload}. With `every` (milliseconds, or a function of the data that
 * returns them) it is asked again, unless the page is hidden, and never more than a tenth of the time is spent asking.
 * Old data stay while new ones are on their way, and when asking again fails. Another `again` asks at once.
 */
export function useAnswer(path, every = null, again = 0) {
  return useAsked(path, (signal) => get(path, signal), every, again);
}

export function useAsked(key, question, every = null, again = 0) {
  const [state, setState] = useState({ key: null, data: null, error: null });
  const [round, setRound] = useState(0);
  const timing = useRef({ every, question });
  timing.current = { every, question };

  useEffect(() => {
    if (key === null) return undefined;
    const control = new AbortController();
    let timer = null;
    const later = (data, spent) => {
      const wanted = timing.current.every;
      const pause = typeof wanted === "function" ? wanted(data) : wanted;
      if (pause) timer = setTimeout(look, Math.max(pause, 10 * spent));
    };
    async function look() {
      if (document.hidden) {
        timer = setTimeout(look, 1000);
        return;
      }
      const begun = performance.now();
      try {
        const data = await timing.current.question(control.signal);
        if (control.signal.aborted) return;
        setState({ key, data, error: null });
        later(data, performance.now() - begun);
      } catch (error) {
        if (control.signal.aborted) return;
        setState((before) => ({ key, data: before.key === key ? before.data : null, error }));
        later(null, performance.now() - begun);
      }
    }
    look();
    return () => {
      control.abort();
      clearTimeout(timer);
    };
  }, [key, round, again]);

  const reload = useCallback(() => setRound((before) => before + 1), []);
  const current = state.key === key;
  return { data: current ? state.data : null, error: current ? state.error : null, reload };
}
