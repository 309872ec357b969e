// What Airflow loads: the page in the navigation and the tab on DAG runs, as React components under their names.
// No build step: Airflow lends its own React, router and Chakra UI (globalThis), so that this looks and works as it does.

import { ApplicationView } from "./application.js";
import { BackupView } from "./backup.js";
import { Overview } from "./overview.js";
import { C, h, HOME, Link, Page } from "./parts.js";
import { RestoreView } from "./restore.js";
import { RunView } from "./work.js";

const { useEffect, useReducer } = globalThis.React;
const { useParams } = globalThis.ReactRouterDOM;

/** Draws again when another time zone is chosen in Airflow's menu. */
function useChosenTimezone() {
  const [, again] = useReducer((round) => round + 1, 0);
  useEffect(() => {
    globalThis.addEventListener("local-storage", again);
    return () => globalThis.removeEventListener("local-storage", again);
  }, []);
}

function GlacierBackups() {
  useChosenTimezone();
  const [name, what, id, more] = (useParams()["*"] || "").split("/").filter(Boolean);
  if (!name) return h(Overview);
  if (!what) return h(ApplicationView, { key: name, name });
  if (what === "backups" && /^\d+$/.test(id || "")) {
    if (!more) return h(BackupView, { key: `${name} ${id}`, name, id: Number(id) });
    if (more === "restore") return h(RestoreView, { key: `${name} ${id}`, name, id: Number(id) });
  }
  return h(Page, { title: "Not found" }, h(C.Text, null, "There is no such page. ", h(Link, { to: HOME }, "All applications")));
}

function GlacierRun({ dagId, runId }) {
  useChosenTimezone();
  return h(RunView, { key: `${dagId} ${runId}`, dagId, runId });
}

globalThis["Backups"] = GlacierBackups;
globalThis["Glacier"] = GlacierRun;
