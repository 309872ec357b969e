// The restores of an application, or of one backup, and undoing what they moved aside or replaced.

import { query, undoDatabase, undoOrphans, useAnswer } from "./api.js";
import { Ask } from "./dialog.js";
import { Follow } from "./follow.js";
import * as form from "./format.js";
import { backupPath, Button, C, h, Link, Problem, runPath, Time, Waiting } from "./parts.js";
import { StateBadge } from "./status.js";
import { Table } from "./table.js";

const { useState } = globalThis.React;

const columnsOf = (card, undo, undoDump) => [
  { name: "Restore", show: (row) => `#${row.id}` },
  { name: "Of backup", show: (row) => h(Link, { to: backupPath(card.name, row.backup_id) }, `#${row.backup_id}`) },
  { name: "Started", breaks: true, show: (row) => h(Time, { at: row.opened_at }) },
  { name: "State", show: (row) => h("span", { title: row.error || undefined }, h(StateBadge, { state: row.state })) },
  { name: "Part", from: "md", show: (row) => row.request.part || "–" },
  { name: "Into", from: "md", show: (row) => placeOf(row.request.into) },
  { name: "Took", number: true, from: "lg", show: (row) => form.took(row) },
  { name: "To retrieve", number: true, from: "lg", show: (row) => form.count(row.plan.to_request?.archives) },
  { name: "Orphans aside", number: true, show: (row) =>
    row.orphans_aside > 0 && card.actions.restore
      ? h(Button, { size: "xs", onClick: () => undo(row) }, `Undo ${form.count(row.orphans_aside)} …`)
      : form.count(row.orphans_aside) },
  { name: "Database before it", show: (row) => {
    const kept = lastDump(row);
    if (!kept) return "–";
    return card.actions.restore && row.closed_at
      ? h(Button, { size: "xs", onClick: () => undoDump(row) }, "Bring back …")
      : form.size(kept.bytes);
  } },
  { name: "Actions", show: (row) => h(Link, { to: runPath(row.dag_id, row.dag_run_id), "aria-label": `DAG run of restore ${row.id}` }, "Run") },
];

/** The dump that a restore made last of the database that it replaced, as long as it is kept. */
function lastDump(row) {
  const kept = (row.outcome.safety_dumps || []).at(-1);
  return kept && new Date(kept.until) > new Date() ? kept : null;
}

/** Where a restore went: into the application's own places, or another one by its name or what it consists of. */
const placeOf = (into) => (into ? into.name || [into.database, into.files_directory].filter(Boolean).join(", ") || into.postgres_conn_id : "its own");

export function RestoreList({ card, backupId = null, round = 0 }) {
  const { data, error, reload } = useAnswer(`/applications/${card.name}/restores${query({ backup_id: backupId })}`, 10000, round);
  const [undoing, setUndoing] = useState({ open: false, restore: null });
  const [dumped, setDumped] = useState({ open: false, restore: null });
  const [run, setRun] = useState(null);
  if (!data) return error ? h(Problem, { error }) : h(Waiting);
  const { open, restore } = undoing;
  const act = async () => {
    const started = await undoOrphans(card.name, restore.id);
    setRun({ dagId: started.dag_id, runId: started.dag_run_id });
  };
  const bringBack = async () => {
    const started = await undoDatabase(card.name, dumped.restore.id);
    setRun({ dagId: started.dag_id, runId: started.dag_run_id });
  };
  return h(
    C.Box,
    null,
    run && h(Follow, { what: "undoing", ...run, onSeen: reload, onEnd: () => setRun(null) }),
    h(Table, { label: "Restores", columns: columnsOf(card, (row) => setUndoing({ open: true, restore: row }), (row) => setDumped({ open: true, restore: row })), rows: data.restores,
      empty: "Nothing was restored yet." }),
    restore && h(
      Ask,
      { open, title: `Undo the orphans of restore ${restore.id}?`, doIt: "Move them back", act, onClose: () => setUndoing({ open: false, restore }) },
      h(C.Text, { fontSize: "sm" },
        `${form.plural(restore.orphans_aside, "file")} that restore ${restore.id} moved aside go back to the attached files, by a worker. Nothing is overwritten: what has its name taken stays aside.`),
    ),
    dumped.restore && h(
      Ask,
      { open: dumped.open, title: `Bring back the database that restore ${dumped.restore.id} replaced?`, doIt: "Bring it back", palette: "red",
        act: bringBack, onClose: () => setDumped({ open: false, restore: dumped.restore }) },
      h(Before, { restore: dumped.restore }),
    ),
  );
}

function Before({ restore }) {
  const kept = lastDump(restore);
  return kept && h(C.VStack, { align: "stretch", gap: 2 },
    h(C.Text, { fontSize: "sm" }, "The database is replaced by the dump that was made before the restore, as it was ", h(Time, { at: kept.snapshot_at }),
      ` (${form.size(kept.bytes)}). What was written since is gone: stop the application first.`),
    h(C.Text, { fontSize: "sm" }, "A worker does it. The dump stays, and files stay as they are."));
}
