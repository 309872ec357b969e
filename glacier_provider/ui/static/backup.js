// One backup: where its archives are, its files, what changed, what it reported, what was restored from it.

import { query, useAnswer } from "./api.js";
import { RestoreList, useChoices } from "./application.js";
import * as form from "./format.js";
import { applicationPath, backupPath, Button, C, Choice, Fact, Facts, h, HOME, Link, Note, Page, Panel, Problem, restorePath, runPath, Search, StateBadge, StatusBadge, STATUSES, StatusBar, Table, Tabs, Time, Waiting } from "./parts.js";
import { Work } from "./work.js";

const { useEffect, useState } = globalThis.React;

export function BackupView({ name, id }) {
  const card = useAnswer(`/applications/${name}`);
  const { data, error, reload } = useAnswer(`/applications/${name}/backups/${id}`, (found) => (found?.state === "running" ? 3000 : null));
  const trail = [["Glacier backups", HOME], [name, applicationPath(name)]];
  if (!data) return h(Page, { trail, title: `Backup ${id}` }, error ? h(Problem, { error }) : h(Waiting));
  return h(Loaded, { name, backup: data, card: card.data, trail, reload });
}

function Loaded({ name, backup, card, trail, reload }) {
  const [given, choose] = useChoices();
  const complete = backup.state === "complete";
  const actions = [
    backup.previous && h(Button, { key: "before", to: backupPath(name, backup.previous), variant: "ghost" }, `← #${backup.previous}`),
    backup.next && h(Button, { key: "after", to: backupPath(name, backup.next), variant: "ghost" }, `#${backup.next} →`),
    h(Button, { key: "run", to: runPath(backup.dag_id, backup.dag_run_id) }, "DAG run and logs"),
    complete && card?.actions.restore &&
      h(Button, { key: "restore", to: restorePath(name, backup.id), variant: "solid", colorPalette: "brand" }, "Restore …"),
  ];
  const tabs = [
    ["files", "Files", h(Files, { name, backup })],
    ["changes", "Changes", h(Changes, { name, backup })],
    ["archives", "Dump and manifest", h(Archives, { backup })],
    ["report", reportTitle(backup.report), h(Report, { report: backup.report })],
    card && ["restores", "Restores", h(RestoreList, { card, backupId: backup.id })],
  ].filter(Boolean);
  return h(
    Page,
    { trail, title: `Backup ${backup.id}`, badge: h(StateBadge, { state: backup.state }), actions },
    backup.error && h(Note, { status: "error", title: "Why it failed" }, backup.error),
    backup.state === "running" && h(Work, { application: name, onEnd: reload }),
    h(
      Panel,
      null,
      h(
        Facts,
        null,
        h(Fact, { name: "Started" }, h(Time, { at: backup.opened_at })),
        h(Fact, { name: "Took" }, form.duration(form.seconds(backup.opened_at, backup.closed_at))),
        h(Fact, { name: "State of the database at" }, h(Time, { at: backup.snapshot_at })),
        h(Fact, { name: "Server, client" }, [backup.server_version, backup.client_version].filter(Boolean).join(", ") || "–"),
        h(Fact, { name: "Database dump" }, form.size(backup.database_bytes)),
        h(Fact, { name: "Files" }, `${form.count(backup.files_count)} (${form.size(backup.files_bytes)})`),
        h(Fact, { name: "New files" }, `${form.count(backup.new_files_count)} (${form.size(backup.new_files_bytes)})`),
        h(Fact, { name: "Vanished, returned" }, `${form.count(backup.vanished_count)}, ${form.count(backup.returned_count)}`),
      ),
      complete && h(C.Box, { mt: 4 },
        h(C.Flex, { gap: 2, align: "center", mb: 2 }, h(C.Text, { fontSize: "xs", color: "fg.muted" }, "Retrieval status"), h(StatusBadge, { status: backup.retrieval_status })),
        h(StatusBar, { archives: backup.archives, words: true })),
    ),
    h(Tabs, { label: `Parts of backup ${backup.id}`, tabs, value: given.get("tab"), onChange: (tab) => choose({ tab }) }),
  );
}

/** Pages that are added below one another; `path` gives the address of the one after `after`. */
function useMore(path) {
  const [after, setAfter] = useState(0);
  const [before, setBefore] = useState([]);
  useEffect(() => {
    setAfter(0);
    setBefore([]);
  }, [path(0)]);
  const { data, error } = useAnswer(path(after));
  const rows = data ? [...before, ...data.files] : before;
  const more = data?.next ? () => {
    setBefore(rows);
    setAfter(data.next);
  } : null;
  return { rows, more, error, data };
}

function More({ found }) {
  return found.more && h(Button, { onClick: found.more, alignSelf: "flex-start" }, "Show more");
}

function Files({ name, backup }) {
  const [given, choose] = useChoices();
  const asked = { containing: given.get("file"), status: given.get("status") };
  const found = useMore((after) => `/applications/${name}/backups/${backup.id}/files${query({ ...asked, after })}`);
  const columns = [
    { name: "File", wrap: true, show: (row) => row.filename },
    { name: "Size", number: true, show: (row) => form.size(row.original_size) },
    { name: "Made by", from: "md", show: (row) => h(Link, { to: backupPath(name, row.made_by_backup) }, `#${row.made_by_backup}`) },
    { name: "Archived", from: "lg", show: (row) => h(Time, { at: row.archived_at }) },
    { name: "Checksum", from: "xl", show: (row) => h(Checksum, { text: row.checksum }) },
    { name: "Now", show: (row) => (row.state === "archived" ? h(StatusBadge, { status: row.retrieval_status }) : row.state) },
  ];
  return h(
    C.VStack,
    { align: "stretch", gap: 3 },
    h(C.Flex, { gap: 3, flexWrap: "wrap", align: "end" },
      h(Search, { label: "Part of a file's name", value: given.get("file") || "", onChange: (file) => choose({ file }), placeholder: "invoice-2026" }),
      h(Choice, { label: "Retrieval status", value: given.get("status") || "", onChange: (status) => choose({ status }),
        options: [["", "all"], ...Object.keys(STATUSES).map((status) => [status, status])] })),
    h(Problem, { error: found.error }),
    !found.data && found.rows.length === 0 && !found.error && h(Waiting),
    (found.data || found.rows.length > 0) && h(Table, { label: "Files", columns, rows: found.rows, empty: "No file of this backup is like this." }),
    h(More, { found }),
  );
}

function Checksum({ text }) {
  if (!text) return h("span", null, "–");
  return h(C.Code, { title: text, size: "sm", bg: "transparent" }, text.length > 26 ? `${text.slice(0, 26)}…` : text);
}

function Changes({ name, backup }) {
  const [given, choose] = useChoices();
  const kind = given.get("kind") === "went" ? "went" : "came";
  const found = useMore((after) => `/applications/${name}/backups/${backup.id}/changes${query({ kind, after })}`);
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
    h(Problem, { error: found.error }),
    h(Table, { label: "Changes", columns, rows: found.rows, empty: found.data ? `No file ${kind}.` : "…" }),
    h(More, { found }),
  );
}

function Archives({ backup }) {
  const said = [["database", "Database dump"], ["manifest", "Manifest"]].filter(([kind]) => backup[kind]);
  if (said.length === 0) return h(C.Text, { color: "fg.muted", fontSize: "sm" }, "Neither was made yet.");
  return h(C.VStack, { align: "stretch", gap: 4 }, said.map(([kind, title]) => {
    const archive = backup[kind];
    return h(Panel, { key: kind, title, actions: h(StatusBadge, { status: archive.retrieval_status }) },
      h(Facts, { columns: { base: 1, md: 2 } },
        h(Fact, { name: "Name" }, archive.filename),
        h(Fact, { name: "Size" }, form.size(archive.stored_size)),
        h(Fact, { name: "Store" }, archive.store_uri),
        h(Fact, { name: "Key" }, archive.key || "–"),
        h(Fact, { name: "Checksum confirmed by the store" }, archive.checksum || "–"),
        h(Fact, { name: "SHA-256 of the content" }, archive.sha256 || "hashed in parts"),
        h(Fact, { name: "Encoding" }, archive.encoding),
        h(Fact, { name: "Archived" }, h(Time, { at: archive.archived_at }))));
  }));
}

const FINDINGS = [
  ["changed", "Files that changed although attached files must not", (one) => `${one.name}: archived with ${form.size(one.archived_size)}, now ${form.size(one.size)}`],
  ["unarchived_references", "Files that the database names and that are not in the directory", String],
  ["skipped", "Not archived, since only regular files are", String],
  ["dump_warnings", "What pg_dump warned of", String],
];

const findings = (report) => FINDINGS.filter(([name]) => report[name]?.length > 0);

function reportTitle(report) {
  const many = findings(report).reduce((sum, [name]) => sum + (report[`${name}_count`] ?? report[name].length), 0);
  return many ? `Report (${form.count(many)})` : "Report";
}

function Report({ report }) {
  const found = findings(report);
  return h(C.VStack, { align: "stretch", gap: 4 },
    report.unarchived_references_count === null && h(Note, null, "No references_query is configured, so names in the database were not compared with the files."),
    report.unarchived_references_count === 0 && h(Note, { status: "success" }, "Every file that the database names is in this backup."),
    found.length === 0 && h(C.Text, { color: "fg.muted", fontSize: "sm" }, "Nothing else to report."),
    found.map(([name, title, say]) => {
      const many = report[`${name}_count`] ?? report[name].length;
      return h(Panel, { key: name, title: `${title} (${form.count(many)})` },
        h(C.Box, { as: "ul", fontSize: "sm", ps: 4, listStyleType: "disc" },
          report[name].map((one, number) => h(C.Box, { as: "li", key: number, overflowWrap: "anywhere" }, say(one)))),
        many > report[name].length && h(C.Text, { fontSize: "sm", color: "fg.muted" }, `and ${form.count(many - report[name].length)} more`));
    }));
}
