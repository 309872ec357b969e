// What a backup found worth telling: files that changed, names without files, warnings of the dump.

import * as form from "./format.js";
import { C, h, Note, Panel } from "./parts.js";

const FINDINGS = [
  ["unreadable", "Files that could not be read, and are not in this backup", (one) => `${one.name}: ${one.error}`],
  ["changed", "Files that changed although attached files must not", (one) => `${one.name}: archived with ${form.size(one.archived_size)}, now ${form.size(one.size)}`],
  ["unarchived_references", "Files that the database names and that are not in the directory", String],
  ["skipped", "Not archived, since only regular files are", String],
  ["dump_warnings", "What pg_dump warned of", String],
  ["unlogged_tables", "Unlogged tables that come back empty, since a standby was dumped", String],
  ["client_warnings", "Client programs with known holes", String],
];

const findings = (report) => FINDINGS.filter(([name]) => report[name]?.length > 0);
const many = (report, name) => report[`${name}_count`] ?? report[name].length;

export function reportTitle(report) {
  const sum = findings(report).reduce((total, [name]) => total + many(report, name), 0);
  return sum ? `Report (${form.count(sum)})` : "Report";
}

export function Report({ report }) {
  const found = findings(report);
  const references = report.unarchived_references_count;
  return h(C.VStack, { align: "stretch", gap: 3 },
    references === null && h(Note, null, "No references_query is configured, so names in the database were not compared with the files."),
    references === 0 && h(Note, { status: "success" }, "Every file that the database names is in this backup."),
    found.length === 0 && h(C.Text, { color: "fg.muted", fontSize: "sm" }, "Nothing else to report."),
    found.map(([name, title, say]) => h(Finding, { key: name, title, say, all: many(report, name), shown: report[name] })));
}

function Finding({ title, say, all, shown }) {
  return h(Panel, { title: `${title} (${form.count(all)})` },
    h(C.Box, { as: "ul", fontSize: "sm", ps: 4, listStyleType: "disc" },
      shown.map((one, number) => h(C.Box, { as: "li", key: number, overflowWrap: "anywhere" }, say(one)))),
    all > shown.length && h(C.Text, { fontSize: "sm", color: "fg.muted" }, `and ${form.count(all - shown.length)} more`));
}
