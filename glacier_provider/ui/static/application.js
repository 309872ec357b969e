// One application: its backups, where its files are, its restores.

import { query, undoOrphans, useAnswer } from "./api.js";
import { useBackUp } from "./actions.js";
import * as form from "./format.js";
import { Charts, Figures } from "./overview.js";
import { Ask, backupPath, Button, C, Choice, Fragment, h, HealthBadge, HOME, Link, Note, Nothing, Page, Panel, Problem, restorePath, runPath, Search, StateBadge, StatusBadge, StatusBar, Table, Tabs, Time, Waiting } from "./parts.js";
import { Work } from "./work.js";

const { useState } = globalThis.React;
const { useSearchParams } = globalThis.ReactRouterDOM;
const PAGE = 25;

/** The choices of a view, kept in the address: a link shows what was seen, and Back undoes. */
export function useChoices() {
  const [given, set] = useSearchParams();
  const choose = (changes) =>
    set((before) => {
      const next = new URLSearchParams(before);
      for (const [name, value] of Object.entries(changes)) {
        if (value === null || value === "") next.delete(name);
        else next.set(name, value);
      }
      return next;
    }, { replace: true });
  return [given, choose];
}

export function ApplicationView({ name }) {
  const { data: card, error, reload } = useAnswer(`/applications/${name}`, 30000);
  const trail = [["Glacier backups", HOME]];
  if (!card) return h(Page, { trail, title: name }, error ? h(Problem, { error }) : h(Waiting));
  return h(Loaded, { card, error, reload, trail });
}

function Loaded({ card, error, reload, trail }) {
  const [given, choose] = useChoices();
  const [round, setRound] = useState(0);
  const refresh = () => {
    reload();
    setRound((before) => before + 1);
  };
  const { button, line } = useBackUp(card, refresh);
  const now = new Date().toISOString();
  const tabs = [
    ["backups", "Backups", h(Backups, { card, round })],
    ["files", "Find a file", h(FindFile, { card })],
    ["restores", "Restores", h(RestoreList, { card, round })],
  ];
  return h(
    Page,
    {
      trail,
      title: card.name,
      badge: h(HealthBadge, { health: card.health }),
      actions: [
        h(Fragment, { key: "back up" }, button),
        card.complete && card.actions.restore &&
          h(Button, { key: "restore", to: restorePath(card.name, card.complete.id) }, "Restore the latest …"),
      ],
    },
    h(Problem, { error: error || card.problem }),
    line,
    !card.problem && h(Work, { application: card.name, onEnd: refresh }),
    !card.problem &&
      h(Panel, null,
        h(Figures, { card, now, columns: { base: 2, md: 3, lg: 6 } }),
        h(C.Text, { fontSize: "xs", color: "fg.muted", my: 3, overflowWrap: "anywhere" },
          `${card.schedule ? `Schedule ${card.schedule} (${card.timezone})` : "By hand only"} · ${card.store}`),
        h(Charts, { card, wide: true })),
    !card.problem &&
      h(Tabs, { label: `Parts of ${card.name}`, tabs, value: given.get("tab"), onChange: (tab) => choose({ tab, offset: null }) }),
  );
}

const COLUMNS = (card) => [
  { name: "Backup", sort: "id", show: (row) => h(Link, { to: backupPath(card.name, row.id) }, `#${row.id}`) },
  { name: "Started", breaks: true, show: (row) => h(Time, { at: row.opened_at }) },
  { name: "State", show: (row) => h("span", { title: row.error || undefined }, h(StateBadge, { state: row.state })) },
  { name: "Took", sort: "duration", number: true, from: "lg", show: (row) => form.duration(form.seconds(row.opened_at, row.closed_at)) },
  { name: "Database", sort: "database", number: true, from: "md", show: (row) => form.size(row.database_bytes) },
  { name: "Files", sort: "files", number: true, from: "md", show: (row) => form.count(row.files_count) },
  { name: "New", sort: "new_files", number: true, from: "lg", show: (row) => form.count(row.new_files_count) },
  { name: "Uploaded", sort: "uploaded", number: true, from: "xl", show: (row) => form.size(uploaded(row)) },
  { name: "Retrieval", from: "sm", show: (row) => h(StatusBadge, { status: row.retrieval_status }) },
  { name: "Archives", from: "xl", show: (row) => h(StatusBar, { archives: row.archives }) },
  {
    name: "Actions",
    show: (row) =>
      h(C.Flex, { gap: 3, justify: "flex-start" },
        h(C.Box, { display: { base: "none", md: "block" } }, h(Link, { to: runPath(row.dag_id, row.dag_run_id) }, "Run")),
        row.state === "complete" && card.actions.restore && h(Link, { to: restorePath(card.name, row.id) }, "Restore …")),
  },
];

function uploaded(row) {
  if (row.database_bytes === null && row.new_files_bytes === null) return null;
  return (row.database_bytes || 0) + (row.new_files_bytes || 0);
}

function Backups({ card, round }) {
  const [given, choose] = useChoices();
  const sort = { by: given.get("sort") || "id", order: given.get("order") || "desc" };
  const offset = Number(given.get("offset") || 0);
  const asked = {
    state: given.get("state"),
    since: given.get("since") && `${given.get("since")}T00:00:00Z`,
    until: given.get("until") && `${given.get("until")}T23:59:59Z`,
    sort: sort.by,
    order: sort.order,
    limit: PAGE,
    offset,
  };
  const { data, error } = useAnswer(`/applications/${card.name}/backups${query(asked)}`, (found) =>
    found?.backups.some((row) => row.state === "running") ? 5000 : 30000);
  return h(
    C.VStack,
    { align: "stretch", gap: 3, key: round },
    h(
      C.Flex,
      { gap: 3, flexWrap: "wrap", align: "end" },
      h(Choice, { label: "State", value: given.get("state") || "", onChange: (state) => choose({ state, offset: null }),
        options: [["", "all"], ["complete", "complete"], ["running", "running"], ["failed", "failed"]] }),
      h(Day, { label: "From (UTC)", value: given.get("since"), onChange: (since) => choose({ since, offset: null }) }),
      h(Day, { label: "To (UTC)", value: given.get("until"), onChange: (until) => choose({ until, offset: null }) }),
    ),
    h(Problem, { error }),
    !data && !error && h(Waiting),
    data && h(Table, { label: "Backups", columns: COLUMNS(card), rows: data.backups, sort,
      onSort: ({ by, order }) => choose({ sort: by, order, offset: null }),
      empty: "No backup is like this." }),
    data && h(Pages, { total: data.total, offset, onMove: (next) => choose({ offset: next ? String(next) : null }) }),
  );
}

function Day({ label, value, onChange }) {
  return h(C.Box, null,
    h(C.Text, { as: "label", fontSize: "xs", color: "fg.muted", display: "block" }, label,
      h(C.Input, { type: "date", size: "sm", value: value || "", onChange: (event) => onChange(event.target.value), color: "fg" })));
}

function Pages({ total, offset, onMove }) {
  if (total <= PAGE && offset === 0) return null;
  const last = Math.min(total, offset + PAGE);
  return h(C.Flex, { gap: 3, align: "center", justify: "flex-end", fontSize: "sm" },
    h("span", null, `${form.count(Math.min(offset + 1, total))}–${form.count(last)} of ${form.count(total)}`),
    h(Button, { onClick: () => onMove(Math.max(0, offset - PAGE)), disabled: offset === 0 }, "Newer"),
    h(Button, { onClick: () => onMove(offset + PAGE), disabled: last >= total }, "Older"));
}

function FindFile({ card }) {
  const [given, choose] = useChoices();
  const text = given.get("file") || "";
  const { data, error } = useAnswer(text ? `/applications/${card.name}/files${query({ containing: text })}` : null);
  const columns = [
    { name: "File", wrap: true, show: (row) => row.filename },
    { name: "Size", number: true, from: "sm", show: (row) => form.size(row.original_size) },
    { name: "In backups", show: (row) => h(Range, { card, row }) },
    { name: "Now", show: (row) => h(StatusBadge, { status: row.retrieval_status }) },
  ];
  return h(
    C.VStack,
    { align: "stretch", gap: 3 },
    h(Search, { label: "Part of a file's name", value: text, onChange: (file) => choose({ file }), placeholder: "invoice-2026" }),
    h(Problem, { error }),
    text && !data && !error && h(Waiting),
    data && h(Table, { label: "Files", columns, rows: data.files, keyOf: (row) => `${row.id} ${row.first_backup_id}`,
      empty: "No archived file has this in its name." }),
    data?.files.length === 50 && h(Nothing, null, "These are the first 50; give more of the name to see others."),
  );
}

function Range({ card, row }) {
  const first = h(Link, { to: backupPath(card.name, row.first_backup_id) }, `#${row.first_backup_id}`);
  if (row.last_backup_id === null) return h("span", null, "since ", first);
  if (row.last_backup_id === row.first_backup_id) return h("span", null, "only ", first);
  return h("span", null, first, " to ", h(Link, { to: backupPath(card.name, row.last_backup_id) }, `#${row.last_backup_id}`));
}

export function RestoreList({ card, backupId = null, round = 0 }) {
  const { data, error, reload } = useAnswer(`/applications/${card.name}/restores${query({ backup_id: backupId })}`, 10000);
  const [undoing, setUndoing] = useState(null);
  const [undone, setUndone] = useState(null);
  if (!data) return error ? h(Problem, { error }) : h(Waiting);
  const columns = [
    { name: "Restore", show: (row) => `#${row.id}` },
    { name: "Of backup", show: (row) => h(Link, { to: backupPath(card.name, row.backup_id) }, `#${row.backup_id}`) },
    { name: "Started", breaks: true, show: (row) => h(Time, { at: row.opened_at }) },
    { name: "State", show: (row) => h(StateBadge, { state: row.state }) },
    { name: "Part", from: "md", show: (row) => row.request.part || "–" },
    { name: "Took", number: true, from: "lg", show: (row) => form.duration(form.seconds(row.opened_at, row.closed_at)) },
    { name: "Retrieved", number: true, from: "lg", show: (row) => form.count(row.plan.to_request?.archives) },
    { name: "Orphans aside", number: true, show: (row) =>
      row.orphans_aside > 0 && card.actions.restore
        ? h(Button, { size: "xs", onClick: () => setUndoing(row) }, `Undo ${form.count(row.orphans_aside)} …`)
        : form.count(row.orphans_aside) },
    { name: "Actions", show: (row) => h(Link, { to: runPath(row.dag_id, row.dag_run_id) }, "Run") },
  ];
  return h(
    C.Box,
    { key: round },
    undone && h(Note, { status: undone.left ? "warning" : "success", mb: 3 },
      `${form.plural(undone.moved_back, "file")} moved back.`,
      undone.left > 0 && ` ${form.count(undone.left)} stay in the orphan directory: their names are taken, or they are gone.`),
    h(Table, { label: "Restores", columns, rows: data.restores, empty: "Nothing was restored yet." }),
    undoing && h(
      Ask,
      {
        open: true,
        title: `Undo the orphans of restore ${undoing.id}?`,
        doIt: "Move them back",
        act: async () => {
          setUndone(await undoOrphans(card.name, undoing.id));
          reload();
        },
        onClose: () => setUndoing(null),
      },
      h(C.Text, { fontSize: "sm" },
        `${form.plural(undoing.orphans_aside, "file")} that restore ${undoing.id} moved aside go back to the attached files. Nothing is overwritten.`),
    ),
  );
}
