// The backups of an application: filtered, sorted and cut into pages by the database.

import { query, useAnswer } from "./api.js";
import { useChoices } from "./choices.js";
import { Monthly } from "./costs.js";
import * as form from "./format.js";
import { backupPath, C, h, Link, Problem, restorePath, runPath, Time, Waiting } from "./parts.js";
import { ProofBadge, StateBadge, StatusBadge, StatusBar } from "./status.js";
import { Choice, Day, Pages, Table } from "./table.js";

const SIZE = 25;
const STATES = [["", "all"], ["complete", "complete"], ["running", "running"], ["failed", "failed"],
  ["deleting", "deleting"], ["deleted", "deleted"]];

const columnsOf = (card) => [
  { name: "Backup", sort: "id", show: (row) => h(Link, { to: backupPath(card.name, row.id) }, `#${row.id}`) },
  { name: "Started", breaks: true, show: (row) => h(Time, { at: row.opened_at }) },
  { name: "State", show: (row) => h("span", { title: row.error || undefined }, h(StateBadge, { state: row.state })) },
  { name: "Took", sort: "duration", number: true, from: "lg", show: (row) => form.took(row) },
  { name: "Database", sort: "database", number: true, from: "md", show: (row) => form.size(row.database_bytes) },
  { name: "Files", sort: "files", number: true, from: "md", show: (row) => form.count(row.files_count) },
  { name: "New", sort: "new_files", number: true, from: "lg", show: (row) => form.count(row.new_files_count) },
  { name: "Uploaded", sort: "uploaded", number: true, from: "2xl", show: (row) => form.size(uploaded(row)) },
  { name: "Adds a month", number: true, from: "2xl", show: (row) => h(Monthly, { cost: row.cost }) },
  { name: "Drilled", breaks: true, from: "lg", show: (row) => h(Drilled, { row }) },
  { name: "Retrieval", from: "sm", show: (row) => h(Retrieval, { row }) },
  { name: "Actions", from: "sm", show: (row) => h(Actions, { card, row }) },
];

function uploaded(row) {
  if (row.database_bytes === null && row.new_files_bytes === null) return null;
  return (row.database_bytes || 0) + (row.new_files_bytes || 0);
}

function Drilled({ row }) {
  if (!row.drilled) return "–";
  return row.drilled.state === "passed" ? h(Time, { at: row.drilled.ended_at }) : h(ProofBadge, { state: row.drilled.state });
}

function Retrieval({ row }) {
  return h(C.Flex, { gap: 2, align: "center" },
    h(StatusBadge, { status: row.retrieval_status }),
    row.retrieval_status && h(C.Box, { flexGrow: 1, display: { base: "none", lg: "block" } }, h(StatusBar, { archives: row.archives })));
}

function Actions({ card, row }) {
  return h(C.Flex, { gap: 3 },
    h(C.Box, { display: { base: "none", md: "block" } },
      h(Link, { to: runPath(row.dag_id, row.dag_run_id), "aria-label": `DAG run of backup ${row.id}` }, "Run")),
    h(C.Box, { display: { base: "none", lg: "block" } },
      h(Link, { to: `${backupPath(card.name, row.id)}?tab=tasks`, "aria-label": `Task logs of backup ${row.id}` }, "Logs")),
    row.state === "complete" && card.actions.restore &&
      h(Link, { to: restorePath(card.name, row.id), "aria-label": `Restore backup ${row.id} …` }, "Restore …"));
}

export function Backups({ card, round }) {
  const [given, choose] = useChoices();
  const sort = { by: given.get("sort") || "id", order: given.get("order") || "desc" };
  const offset = Number(given.get("offset") || 0);
  const asked = {
    state: given.get("state"),
    since: given.get("since") && `${given.get("since")}T00:00:00Z`,
    until: given.get("until") && `${given.get("until")}T23:59:59Z`,
    sort: sort.by,
    order: sort.order,
    limit: SIZE,
    offset,
  };
  const { data, error } = useAnswer(`/applications/${card.name}/backups${query(asked)}`, (found) =>
    found?.backups.some((row) => row.state === "running") ? 5000 : 30000, round);
  const filter = (name) => (value) => choose({ [name]: value, offset: null });
  return h(
    C.VStack,
    { align: "stretch", gap: 3 },
    h(C.Flex, { gap: 3, flexWrap: "wrap", align: "end" },
      h(Choice, { label: "State", value: given.get("state") || "", onChange: filter("state"), options: STATES }),
      h(Day, { label: "From (UTC)", value: given.get("since"), onChange: filter("since") }),
      h(Day, { label: "To (UTC)", value: given.get("until"), onChange: filter("until") })),
    h(Problem, { error }),
    !data && !error && h(Waiting),
    data && h(Table, { label: "Backups", columns: columnsOf(card), rows: data.backups, sort,
      onSort: ({ by, order }) => choose({ sort: by, order, offset: null }),
      empty: "No backup is like this." }),
    data && h(Pages, { total: data.total, offset, size: SIZE, onMove: (next) => choose({ offset: next ? String(next) : null }) }),
  );
}
