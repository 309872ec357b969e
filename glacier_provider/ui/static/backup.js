// One backup: where its archives are, its files, what changed, what it reported, its tasks, what was restored from it.

import { useAnswer } from "./api.js";
import { useChoices } from "./choices.js";
import { Monthly } from "./costs.js";
import { useDeletion } from "./deletion.js";
import { BackupFiles, Changes } from "./files.js";
import * as form from "./format.js";
import { applicationPath, backupPath, Button, C, Fact, Facts, Fragment, h, HOME, Note, Page, Panel, Problem, restorePath, runPath, Small, Tabs, Time, Waiting } from "./parts.js";
import { Proofs } from "./proofs.js";
import { Report, reportTitle } from "./report.js";
import { RestoreList } from "./restores.js";
import { StateBadge, StatusBadge, StatusBar } from "./status.js";
import { Tasks } from "./tasks.js";
import { Work } from "./work.js";

export function BackupView({ name, id }) {
  const card = useAnswer(`/applications/${name}`);
  const { data, error, reload } = useAnswer(`/applications/${name}/backups/${id}`, (found) => (found?.state === "running" ? 3000 : null));
  const trail = [["Glacier backups", HOME], [name, applicationPath(name)]];
  if (!data) return h(Page, { trail, title: `Backup ${id}` }, error ? h(Problem, { error }) : h(Waiting));
  return h(Loaded, { name, backup: data, card: card.data, problem: error || card.error, trail, reload });
}

function Loaded({ name, backup, card, problem, trail, reload }) {
  const [given, choose] = useChoices();
  const deletion = useDeletion(card, backup, reload);
  const tabs = [
    ["files", "Files", h(BackupFiles, { name, backup, card })],
    ["changes", "Changes", h(Changes, { name, backup })],
    ["archives", "Dump and manifest", h(Archives, { backup })],
    ["report", reportTitle(backup.report), h(Report, { report: backup.report })],
    ["proofs", "Proofs", h(Proofs, { proofs: backup.proofs, restores: backup.checked_restores })],
    ["tasks", "Tasks and logs", h(Tasks, { dagId: backup.dag_id, runId: backup.dag_run_id })],
    card && ["restores", "Restores", h(RestoreList, { card, backupId: backup.id })],
  ].filter(Boolean);
  return h(
    Page,
    { trail, title: `Backup ${backup.id}`, badge: h(StateBadge, { state: backup.state }), actions: actions({ name, backup, card, deletion }) },
    h(Problem, { error: problem }),
    backup.error && h(Note, { status: "error", title: "Why it failed" }, backup.error),
    deletion.line,
    backup.state === "running" && h(Work, { application: name, onEnd: reload }),
    h(Summary, { backup }),
    h(Tabs, { label: `Parts of backup ${backup.id}`, tabs, value: given.get("tab"), onChange: (tab) => choose({ tab }) }),
  );
}

function actions({ name, backup, card, deletion }) {
  const beside = (id, text, label) => id && h(Button, { key: label, to: backupPath(name, id), variant: "ghost", "aria-label": `${label} #${id}` }, text);
  return [
    beside(backup.previous, `← #${backup.previous}`, "Backup before"),
    beside(backup.next, `#${backup.next} →`, "Backup after"),
    h(Button, { key: "run", to: runPath(backup.dag_id, backup.dag_run_id) }, "DAG run"),
    h(Fragment, { key: "delete" }, deletion.button),
    backup.state === "complete" && card?.actions.restore &&
      h(Button, { key: "restore", to: restorePath(name, backup.id), variant: "solid", colorPalette: "brand" }, "Restore …"),
  ];
}

function Summary({ backup }) {
  const amount = (number, bytes) => `${form.count(number)} (${form.size(bytes)})`;
  return h(
    Panel,
    null,
    h(
      Facts,
      { columns: { base: 2, md: 4, xl: 5 } },
      h(Fact, { name: "Started" }, h(Time, { at: backup.opened_at })),
      h(Fact, { name: "Took" }, form.took(backup)),
      h(Fact, { name: "State of the database at" }, h(Time, { at: backup.snapshot_at })),
      h(Fact, { name: "Server, client" }, [backup.server_version, backup.client_version].filter(Boolean).join(", ") || "–"),
      h(Fact, { name: "Database dump" }, form.size(backup.database_bytes)),
      h(Fact, { name: "Files" }, amount(backup.files_count, backup.files_bytes)),
      h(Fact, { name: "New files" }, amount(backup.new_files_count, backup.new_files_bytes)),
      h(Fact, { name: "Vanished, returned" }, `${form.count(backup.vanished_count)}, ${form.count(backup.returned_count)}`),
      backup.cost && h(Fact, { name: "Adds to the storage, a month" }, h(Monthly, { cost: backup.cost })),
      backup.cost && h(Fact, { name: "Upload requests, once" }, form.money(backup.cost.upload, backup.cost.currency)),
    ),
    backup.state === "complete" && h(C.Box, { mt: 4 },
      h(C.Flex, { gap: 2, align: "center", mb: 2 }, h(Small, null, "Retrieval status"), h(StatusBadge, { status: backup.retrieval_status })),
      h(StatusBar, { archives: backup.archives, words: true })),
  );
}

function Archives({ backup }) {
  const said = [["database", "Database dump"], ["manifest", "Manifest"]].filter(([kind]) => backup[kind]);
  if (said.length === 0) return h(C.Text, { color: "fg.muted", fontSize: "sm" }, "Neither was made yet.");
  return h(C.VStack, { align: "stretch", gap: 3 }, said.map(([kind, title]) => h(Archive, { key: kind, title, archive: backup[kind] })));
}

function Archive({ title, archive }) {
  return h(Panel, { title, actions: h(StatusBadge, { status: archive.retrieval_status }) },
    h(Facts, { columns: { base: 1, md: 2 } },
      h(Fact, { name: "Name" }, archive.filename),
      h(Fact, { name: "Size" }, form.size(archive.stored_size)),
      h(Fact, { name: "Store" }, archive.store_uri),
      h(Fact, { name: "Key" }, archive.key || "–"),
      h(Fact, { name: "Checksum confirmed by the store" }, archive.checksum || "–"),
      h(Fact, { name: "SHA-256 of the content" }, archive.sha256 || "hashed in parts"),
      h(Fact, { name: "Encoding" }, archive.encoding),
      h(Fact, { name: "Archived" }, h(Time, { at: archive.archived_at }))));
}
