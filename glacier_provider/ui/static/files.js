// Files: in which backups one is, which a backup has, and which came and went since the backup before.

import { airflow, query } from "./api.js";
import { useChoices } from "./choices.js";
import { Ask } from "./dialog.js";
import * as form from "./format.js";
import { Growing, useMore } from "./more.js";
import { backupPath, Button, C, Check, h, Link, runPath, Small, Time, useNavigate } from "./parts.js";
import { StatusBadge, STATUSES } from "./status.js";
import { Choice, Search, Table } from "./table.js";

const { useId, useState } = globalThis.React;

const EXAMPLE = "invoice-2026";

/** The table of a growing list: said to be empty only when all was looked through. */
function Found({ found, empty, ...rest }) {
  if (found.rows.length > 0 || (found.next === null && !found.error)) return h(Table, { rows: found.rows, empty, ...rest });
  return null;
}

/** In which backups an archived file is, as a range. */
function Range({ name, row }) {
  const first = h(Link, { to: backupPath(name, row.first_backup_id) }, `#${row.first_backup_id}`);
  if (row.last_backup_id === null) return h("span", null, "since ", first);
  if (row.last_backup_id === row.first_backup_id) return h("span", null, "only ", first);
  return h("span", null, first, " to ", h(Link, { to: backupPath(name, row.last_backup_id) }, `#${row.last_backup_id}`));
}

function Checksum({ text }) {
  if (!text) return h("span", null, "–");
  return h(C.Code, { title: text, size: "sm", bg: "transparent", px: 0 }, text.length > 26 ? `${text.slice(0, 26)}…` : text);
}

export function FindFile({ card }) {
  const [given, choose] = useChoices();
  const text = given.get("file") || "";
  const found = useMore((after) => (text ? `/applications/${card.name}/files${query({ containing: text, after: after || null })}` : null));
  const columns = [
    { name: "File", wrap: true, show: (row) => row.filename },
    { name: "Size", number: true, from: "sm", show: (row) => form.size(row.original_size) },
    { name: "Archived", from: "lg", show: (row) => h(Time, { at: row.archived_at }) },
    { name: "In backups", show: (row) => h(Range, { name: card.name, row }) },
    { name: "Now", show: (row) => h(StatusBadge, { status: row.retrieval_status }) },
  ];
  return h(
    C.VStack,
    { align: "stretch", gap: 3 },
    h(Search, { label: "Part of a file's name", value: text, onChange: (file) => choose({ file }), placeholder: EXAMPLE }),
    !text && h(Small, { fontSize: "sm" }, "In which backups is a file? Type a part of its name, or all of it to find it at once."),
    text && h(Found, { found, label: "Files", columns, keyOf: (row) => `${row.id} ${row.first_backup_id}`, empty: "No archived file has this in its name." }),
    h(Growing, { found }),
  );
}

export function BackupFiles({ name, backup, card }) {
  const [given, choose] = useChoices();
  const [fetching, setFetching] = useState({ open: false, file: null });
  const may = card?.actions.restore && backup.state === "complete";
  const asked = { containing: given.get("file"), status: given.get("status") };
  const found = useMore((after) => `/applications/${name}/backups/${backup.id}/files${query({ ...asked, after: after || null })}`);
  const columns = [
    { name: "File", wrap: true, show: (row) => row.filename },
    { name: "Size", number: true, show: (row) => form.size(row.original_size) },
    { name: "In backups", from: "md", show: (row) => h(Range, { name, row }) },
    { name: "Archived", from: "lg", show: (row) => h(Time, { at: row.archived_at }) },
    { name: "Checksum", from: "xl", show: (row) => h(Checksum, { text: row.checksum || row.sha256 }) },
    { name: "Now", show: (row) => (row.state === "archived" ? h(StatusBadge, { status: row.retrieval_status }) : row.state) },
    ...(may ? [{ name: "Actions", show: (row) => h(Button, { size: "xs", "aria-label": `Fetch ${row.filename}`, onClick: () => setFetching({ open: true, file: row }) }, "Fetch …") }] : []),
  ];
  return h(
    C.VStack,
    { align: "stretch", gap: 3 },
    fetching.file && h(Fetch, { card, backup, ...fetching, onClose: () => setFetching((before) => ({ ...before, open: false })) }),
    h(C.Flex, { gap: 3, flexWrap: "wrap", align: "end" },
      h(Search, { label: "Part of a file's name", value: given.get("file") || "", onChange: (file) => choose({ file }), placeholder: EXAMPLE }),
      h(Choice, { label: "Retrieval status", value: given.get("status") || "", onChange: (status) => choose({ status }),
        options: [["", "all"], ...Object.entries(STATUSES).map(([status, [, , words]]) => [status, words])] })),
    h(Found, { found, label: "Files", columns, empty: "No file of this backup is like this." }),
    h(Growing, { found }),
  );
}

/** Brings one file into a directory of the worker: a run of the restore DAG. */
function Fetch({ card, backup, file, open, onClose }) {
  const id = useId();
  const [directory, setDirectory] = useState("");
  const [approve, setApprove] = useState(true);
  const navigate = useNavigate();
  const act = async () => {
    const conf = { backup_id: backup.id, part: "files", only_files: [file.filename], into: { files_directory: directory.trim() }, ...(approve ? { approve } : {}) };
    const run = await airflow.trigger(card.restore_dag, conf);
    navigate(runPath(card.restore_dag, run.dag_run_id));
  };
  return h(
    Ask,
    { open, title: `Fetch ${file.filename}?`, doIt: "Fetch it", act, onClose, ready: directory.trim().startsWith("/") },
    h(C.VStack, { align: "stretch", gap: 3, fontSize: "sm" },
      h(C.Text, null, `It is copied from the application's directory if it is still there as it was, else brought from the store (${form.size(file.original_size)}). The plan says what that costs. Nothing is overwritten.`),
      h(C.Box, null,
        h(C.Text, { as: "label", htmlFor: id, display: "block", mb: 1 }, "Into this directory of the worker"),
        h(C.Input, { id, size: "sm", value: directory, placeholder: "/srv/fetched", spellCheck: false, onChange: (event) => setDirectory(event.target.value) })),
      h(Check, { checked: approve, onChange: setApprove }, "Show me the plan before anything is asked for, and wait for an approval.")),
  );
}

export function Changes({ name, backup }) {
  const [given, choose] = useChoices();
  const kind = given.get("kind") === "went" ? "went" : "came";
  const found = useMore((after) => `/applications/${name}/backups/${backup.id}/changes${query({ kind, after: after || null })}`);
  const previous = backup.previous_complete;
  const columns = [
    { name: "File", wrap: true, show: (row) => row.filename },
    { name: "Size", number: true, show: (row) => form.size(row.original_size) },
    { name: "What", show: (row) => (kind === "went" ? "gone" : row.returned ? "came back" : "new") },
  ];
  return h(
    C.VStack,
    { align: "stretch", gap: 3 },
    h(C.Flex, { gap: 3, align: "end", flexWrap: "wrap" },
      h(Choice, { label: previous ? `Since backup ${previous}` : "There is no complete backup before", value: kind,
        onChange: (next) => choose({ kind: next === "came" ? null : next }), options: [["came", "came"], ["went", "went"]] })),
    h(Found, { found, label: "Changes", columns, empty: `No file ${kind}.` }),
    h(Growing, { found }),
  );
}
