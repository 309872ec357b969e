// The figures of an application, and in words what makes its health: on its card and on its page.

import { Monthly } from "./costs.js";
import * as form from "./format.js";
import { backupPath, C, Fact, Facts, h, Link, Note, runPath, Time } from "./parts.js";

export function Figures({ card, now, columns }) {
  const { complete, newest } = card;
  return h(
    Facts,
    { columns },
    h(Fact, { name: "Last complete" }, complete
      ? [h(Time, { key: "t", at: complete.opened_at, now }), " ", h(Link, { key: "l", to: backupPath(card.name, complete.id) }, `#${complete.id}`)]
      : "none"),
    h(Fact, { name: "Last run took" }, newest ? form.duration(form.seconds(newest.opened_at, newest.closed_at || now)) : "–"),
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
  if (card.health === "late") {
    return h(Note, { status: "warning" }, "A backup was due ", h(Time, { at: card.late_since }), " and is not there. ",
      card.paused && "The DAG is paused.");
  }
  if (card.health === "failing") return h(Failed, { backup: card.newest, now });
  if (card.health === "never") {
    return h(Note, { status: "warning" }, "Nothing of this application is safe yet. ",
      card.paused ? "Its DAG is paused: back up now unpauses it." : card.next_run && ["The first backup starts ", h(Time, { key: 1, at: card.next_run, now }), "."]);
  }
  if (card.paused && card.schedule) return h(Note, { status: "warning" }, "The backup DAG is paused: nothing will be backed up.");
  return null;
}

function Failed({ backup, now }) {
  return h(Note, { status: "error", title: `The last backup failed ${form.ago(backup.closed_at || backup.opened_at, now)}` },
    h(C.Text, { lineClamp: 3 }, backup.error || ""),
    h(Link, { to: runPath(backup.dag_id, backup.dag_run_id) }, "DAG run and logs"));
}
