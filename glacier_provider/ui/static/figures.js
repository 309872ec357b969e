// The figures of an application, and in words what makes its health: on its card and on its page.

import { Monthly } from "./costs.js";
import * as form from "./format.js";
import { backupPath, C, Fact, Facts, Fragment, h, Link, Note, runPath, Small, Time } from "./parts.js";
import { isOpen } from "./status.js";

export function Figures({ card, now, columns }) {
  const { complete, newest } = card;
  return h(
    Facts,
    { columns },
    h(Fact, { name: "Last complete" }, complete
      ? [h(Time, { key: "t", at: complete.opened_at, now }), " ", h(Link, { key: "l", to: backupPath(card.name, complete.id) }, `#${complete.id}`)]
      : "none"),
    h(Fact, { name: isOpen(newest) ? "Running for" : "Last run took" },
      newest ? form.duration(form.seconds(newest.opened_at, newest.closed_at || now)) : "–"),
    h(Fact, { name: "Next run" }, nextRun(card, now)),
    h(Fact, { name: "Files" }, form.count(complete?.files_count)),
    h(Fact, { name: "Protected", title: complete && `of this, the dump of the database: ${form.size(complete.database_bytes)}` },
      complete ? form.size(protectedBytes(complete)) : "–"),
    h(Fact, { name: "Storage a month" }, h(Monthly, { cost: card.cost })),
  );
}

export const protectedBytes = (backup) => (backup.files_bytes || 0) + (backup.database_bytes || 0);

function nextRun(card, now) {
  if (card.next_run) return h(Time, { at: card.next_run, now });
  if (!card.schedule) return "by hand";
  return card.paused ? "paused" : "–";
}

/** Read first when something is wrong. */
export function State({ card, now }) {
  return h(Fragment, null, h(Unsafe, { card, now }), h(Unrestorable, { card }), h(Unreadable, { card }), h(Unproven, { card, now }), h(Shortfalls, { card }), h(Paused, { card }));
}

function Unsafe({ card, now }) {
  if (card.health === "late") {
    return h(Note, { status: "warning" }, "A backup was due ", h(Time, { at: card.late_since }), " and is not there.");
  }
  if (card.health === "failing") return h(Failed, { card, now });
  if (card.health === "never") return h(Note, { status: "warning" }, "Nothing of this application is safe yet. ", h(First, { card, now }));
  return null;
}

function First({ card, now }) {
  if (isOpen(card.newest)) return "The first backup is under way.";
  if (card.paused || !card.next_run) return null;
  return [Date.parse(card.next_run) <= Date.parse(now) ? "The first backup is due since " : "The first backup starts ",
    h(Time, { key: 1, at: card.next_run, now }), "."];
}

function Unrestorable({ card }) {
  if (!card.complete?.unrestorable) return null;
  return h(Note, { status: "error", title: "The last backup cannot be brought back" },
    h(C.Text, { lineClamp: 4 }, card.complete.unrestorable),
    h(Link, { to: `${backupPath(card.name, card.complete.id)}?tab=report` }, "What its rehearsal found"));
}

function Unreadable({ card }) {
  if (!card.complete?.unreadable_count) return null;
  return h(Note, { status: "error", title: `${form.plural(card.complete.unreadable_count, "file")} could not be read` },
    "The last complete backup is without them. ",
    h(Link, { to: `${backupPath(card.name, card.complete.id)}?tab=report` }, "Which, and why"));
}

const PROOF = { drill: "drill", verification: "verification" };

function Unproven({ card, now }) {
  const wrong = (card.proofs || []).filter((one) => one.standing === "failed" || one.standing === "overdue");
  return wrong.map((one) => h(Note, { key: one.kind, status: "error", title: one.standing === "failed"
    ? `The last ${PROOF[one.kind]} did not pass, ${form.ago(one.ended_at, now)}`
    : `A ${PROOF[one.kind]} is overdue: ${one.ended_at ? `the last one ended ${form.ago(one.ended_at, now)}` : "there never was one"}` },
    one.told.map((told, number) => h(C.Text, { key: number, lineClamp: 3 }, told)),
    one.hint));
}

/** When was it proven last that this can be brought back, and what was that: a line for drills, one for verifications. */
export function Proven({ card, now }) {
  const proofs = card.proofs || [];
  if (!card.complete) return null;
  if (proofs.length === 0) return h(Small, null, "Never proven: neither drill nor verify is set up.");
  return h(C.Box, null, proofs.map((one) => h(Small, { key: one.kind, overflowWrap: "anywhere" }, proven(card, one, now))));
}

function proven(card, one, now) {
  const what = one.kind === "drill" ? ["Last proven", "Never proven by a drill"] : ["Last verified in the cold", "Never verified in the cold"];
  if (!one.passed_at) return `${what[1]}.`;
  return [`${what[0]} `, h(Time, { key: "at", at: one.passed_at, now }), one.words && `: ${one.words}`,
    one.backup_id && [" (", h(Link, { key: "of", to: backupPath(card.name, one.backup_id) }, `#${one.backup_id}`), ")"]];
}

function Shortfalls({ card }) {
  const said = card.complete?.shortfalls || [];
  return said.length > 0 && h(Note, { status: "error", title: "Not all of it is as it should be" },
    said.map((one, number) => h(C.Box, { key: number }, one)),
    h(Link, { to: `${backupPath(card.name, card.complete.id)}?tab=report` }, "The report"));
}

function Paused({ card }) {
  if (!card.paused) return null;
  return h(Note, { status: "warning" },
    `The DAG ${card.backup_dag} is paused: ${card.schedule ? "nothing is backed up by itself" : "a run of it waits"} until somebody unpauses it. “Back up now” does that, too.`);
}

function Failed({ card, now }) {
  const backup = isOpen(card.newest) ? null : card.newest;
  const title = backup ? `The last backup failed ${form.ago(backup.closed_at || backup.opened_at, now)}` : "The last backup failed; another one is under way";
  return h(Note, { status: "error", title },
    h(C.Text, { lineClamp: 3 }, backup?.error || ""),
    backup && h(Link, { to: runPath(backup.dag_id, backup.dag_run_id) }, "DAG run and logs"));
}
