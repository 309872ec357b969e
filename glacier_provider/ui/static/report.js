// What a backup found worth telling: files that changed, names without files, warnings of the dump.

import * as form from "./format.js";
import { C, h, Note, Panel } from "./parts.js";

const FINDINGS = [
  ["unreadable", "Files that could not be read, and are not in this backup", (one) => `${one.name}: ${one.error}`],
  ["lost", "Files that cannot be brought back", String],
  ["lost_found", "Archives that this run found to be lost. What is in the directory was archived anew", String],
  ["missing_stores", "Stores that earlier archives went to, and that cannot be found any more", String],
  ["other_class", "Archives that lie in another storage class than they were put into: a lifecycle rule of the bucket moves them", String],
  ["new_versions", "Files that got another content, archived beside the one before", String],
  ["changed", "Files that changed and were only reported: the archive has what they were", (one) => `${one.name}: archived with ${form.size(one.archived_size)}, now ${form.size(one.size)}`],
  ["unarchived_references", "Files that the database names and that are not in the directory", String],
  ["other_references", "Files of which the database expects another content", (one) => `${one.name}: expected ${one.expected}`],
  ["skipped", "Not archived, since only regular files are", String],
  ["dump_warnings", "What pg_dump warned of", String],
  ["unlogged_tables", "Unlogged tables that come back empty, since a standby was dumped", String],
  ["client_warnings", "Client programs with known holes", String],
];

const PLACES = [["in_place", "Restores into its database"], ["new_server", "Restores on a new server"]];
const VERDICTS = { yes: ["success", "yes"], losses: ["warning", "with losses"], no: ["error", "no"], unknown: ["info", "not known"] };

function Rehearsal({ rehearsal }) {
  return PLACES.filter(([place]) => rehearsal[place]).map(([place, words]) => {
    const { verdict, why, hint, found = [], count = 0 } = rehearsal[place];
    const [status, said] = VERDICTS[verdict] || ["info", verdict];
    return h(Note, { key: place, status, title: `${words}: ${said}` },
      [why, hint].filter(Boolean).join(" "),
      found.length > 0 && h(C.Box, { as: "ul", fontSize: "sm", ps: 4, listStyleType: "disc" },
        found.map((one, number) => h(C.Box, { as: "li", key: number, overflowWrap: "anywhere" }, one))),
      count > found.length && h(C.Text, { fontSize: "sm" }, `and ${form.count(count - found.length)} more`));
  });
}

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
    report.rehearsal && h(Rehearsal, { rehearsal: report.rehearsal }),
    references === null && h(Note, null, "No references_query is configured, so names in the database were not compared with the files."),
    report.read_back_denied && h(Note, { status: "error", title: "Nobody with these credentials can read this backup back" }, report.read_back_denied),
    report.store_changed && h(Note, { status: "error", title: "The store was empty, or another one" }, `${report.store_changed} had no marker of this catalog; all of it was looked through.`),
    references === 0 && (report.references_compared && !report.references_not_compared && !report.other_references_count
      ? h(Note, { status: "success" }, "Every file that the database names is in this backup, with the content that it expects.")
      : h(Note, null, "A file of every name in the database is in this backup. Whether it has the content that the database expects was not compared.")),
    found.length === 0 && h(C.Text, { color: "fg.muted", fontSize: "sm" }, "Nothing else to report."),
    found.map(([name, title, say]) => h(Finding, { key: name, title, say, all: many(report, name), shown: report[name] })));
}

function Finding({ title, say, all, shown }) {
  return h(Panel, { title: `${title} (${form.count(all)})` },
    h(C.Box, { as: "ul", fontSize: "sm", ps: 4, listStyleType: "disc" },
      shown.map((one, number) => h(C.Box, { as: "li", key: number, overflowWrap: "anywhere" }, say(one)))),
    all > shown.length && h(C.Text, { fontSize: "sm", color: "fg.muted" }, `and ${form.count(all - shown.length)} more`));
}
