// What is going on, refreshed by itself: uploads and retrievals with counts, bytes, rate and remaining time.

import { useAnswer } from "./api.js";
import * as form from "./format.js";
import { Lease } from "./lease.js";
import { applicationPath, backupPath, C, h, Link, Note, Problem, runPath, Small, Time } from "./parts.js";
import { isOpen, Meter, StateBadge, StatusBar } from "./status.js";

const { useEffect, useRef, useState } = globalThis.React;

const SOON = 2000;
const LATER = 30000;

const BACKUP_PHASES = {
  dump: "dumping the database",
  scan: "scanning the files",
  upload: "uploading",
  close: "writing the manifest",
  ended: "ended",
};

const RESTORE_PHASES = {
  plan: "planning",
  approve: "waiting for somebody's approval, under Required Actions in Airflow",
  request: "asking for retrievals",
  wait: "waiting for retrievals",
  download: "downloading",
  database: "restoring the database",
  orphans: "moving orphans aside",
  close: "closing",
  ended: "ended",
};

const running = (work) => Boolean(work && (isOpen(work.backup?.backup) || isOpen(work.restore?.restore)));

/**
 * The work of an application; `onEnd` is called when what ran has ended. With `idle` nothing is asked: nothing runs.
 * With `eager` something was just started, which may be over soon.
 */
export function Work({ application, idle = false, eager = false, onEnd }) {
  const path = idle && !eager ? null : `/applications/${application}/work`;
  const { data, reload } = useAnswer(path, (found) => (eager || running(found) ? SOON : SOON * 3), Number(eager));
  const before = useRef(false);
  const [freed, setFreed] = useState(null);
  const now = running(data);
  useEffect(() => {
    if (before.current && data && !now) onEnd?.();
    before.current = now;
  }, [now, data]);
  const said = freed && h(Note, { status: "success" }, freed.text);
  if (!now && !data?.lease?.ended) return said;
  const onFreed = (done) => {
    setFreed(done);
    reload();
  };
  return h(C.VStack, { align: "stretch", gap: 3 },
    said,
    h(Progress, { work: data }),
    data.may_free && h(Lease, { application, lease: data.lease, over: data.over, onFreed }));
}

/** With `here` it stands on the page of the run itself, and no links lead there. */
function Progress({ work, here = false }) {
  const { application, now } = work;
  const over = (kind) => work.over.includes(kind);
  return [
    work.backup && h(BackupProgress, { key: "backup", application, now, here, over: over("backup"), ...work.backup }),
    work.restore && h(RestoreProgress, { key: "restore", application, now, here, over: over("restore"), ...work.restore }),
  ];
}

function Strip({ title, to, runTo, here, over, children }) {
  return h(
    C.Box,
    { bg: "bg.subtle", borderRadius: 6, p: 3, fontSize: "sm", role: "group", "aria-label": "Under way" },
    h(
      C.Flex,
      { justify: "space-between", gap: 3, mb: 2, flexWrap: "wrap" },
      h(C.Flex, { gap: 2, align: "center", flexWrap: "wrap" }, !over && h(C.Spinner, { size: "xs", "aria-hidden": true }), title),
      !here && h(C.Flex, { gap: 3 }, h(Link, { to }, "Backup"), h(Link, { to: runTo }, "DAG run and logs")),
    ),
    over && h(Note, { status: "warning", title: "Its run is over" },
      "Airflow says so, and nothing goes on. Clear the failed task, or start another run: it takes over. To end it now, free the lease."),
    children,
  );
}

function Pace({ done, total, rate, now, since }) {
  const said = [
    `${form.count(done.archives)} of ${form.plural(total.archives, "archive")}`,
    `${form.size(done.bytes)} of ${form.size(total.bytes)}`,
    rate && `${form.size(Math.round(rate.bytes_per_second))}/s`,
    rate?.remaining_seconds && `about ${form.duration(rate.remaining_seconds)} left`,
    `for ${form.duration(form.seconds(since, now))}`,
  ];
  return h(Small, { mt: 1 }, said.filter(Boolean).join(" · "));
}

const less = (one, other) => ({ archives: one.archives - other.archives, bytes: one.bytes - other.bytes });

function BackupProgress({ application, backup, phase, left, total, dump, dump_archived: sent, rate, now, here, over }) {
  const done = less(total, left);
  const all = dump ? { archives: total.archives + 1, bytes: total.bytes + dump.bytes } : total;
  const there = dump && sent ? { archives: done.archives + 1, bytes: done.bytes + dump.bytes } : done;
  if (!isOpen(backup)) return h(Ended, { what: `Backup ${backup.id}`, one: backup });
  return h(
    Strip,
    {
      title: h("span", null, `Backup ${backup.id}: ${BACKUP_PHASES[phase] || phase}`),
      to: backupPath(application, backup.id),
      runTo: runPath(backup.dag_id, backup.dag_run_id),
      here,
      over,
    },
    phase === "upload" && h(Meter, { share: all.bytes ? there.bytes / all.bytes : 0, label: `Backup ${backup.id}` }),
    h(Pace, { done: there, total: all, rate, now, since: backup.opened_at }),
  );
}

function RestoreProgress({ application, restore, phase, archives, set_aside: aside, total, expected, rate, now, here, over }) {
  const placed = ["local", "exists"].reduce(
    (sum, status) => ({
      archives: sum.archives + (archives[status]?.archives || 0),
      bytes: sum.bytes + (archives[status]?.bytes || 0),
    }),
    { archives: 0, bytes: 0 },
  );
  if (!isOpen(restore)) return h(Ended, { what: `Restore ${restore.id} of backup ${restore.backup_id}`, one: restore, archives });
  return h(
    Strip,
    {
      title: h("span", null, `Restore ${restore.id} of backup ${restore.backup_id}: ${RESTORE_PHASES[phase] || phase}`),
      to: backupPath(application, restore.backup_id),
      runTo: runPath(restore.dag_id, restore.dag_run_id),
      here,
      over,
    },
    h(StatusBar, { archives, words: true }),
    h(Pace, { done: placed, total, rate, now, since: restore.opened_at }),
    aside.archives > 0 &&
      h(Small, null, `${form.plural(aside.archives, "file")} to move back from the orphan directory.`),
    expected.map((one) => h(Expected, { key: one.tier, now, ...one })),
  );
}

function Expected({ tier, waiting, earliest, latest, requested_at: asked, now }) {
  return h(
    C.Text,
    { fontSize: "xs" },
    `${tier} tier: ${form.plural(waiting.archives, "archive")} (${form.size(waiting.bytes)}) asked for `,
    h(Time, { at: asked, now }),
    earliest && latest && [", expected between ", h(Time, { key: "from", at: earliest }), " and ", h(Time, { key: "to", at: latest }),
      ` (${form.ago(latest, now)} at the latest)`],
  );
}

function Ended({ what, one, archives }) {
  return h(
    C.Box,
    null,
    h(C.Flex, { gap: 2, align: "center", mb: 2 }, h("span", null, what), h(StateBadge, { state: one.state }),
      h(C.Text, { color: "fg.muted" }, `after ${form.duration(form.seconds(one.opened_at, one.closed_at))}`)),
    one.error && h(Note, { status: "error", title: "Why it failed" }, one.error),
    archives && h(StatusBar, { archives, words: true }),
  );
}

/** The tab on a DAG run: what this run of a backup or restore DAG does, or did. */
export function RunView({ dagId, runId }) {
  const ours = /^glacier_(backup|restore)__(.+)$/.exec(dagId || "");
  const path = ours ? `/runs?dag_id=${encodeURIComponent(dagId)}&dag_run_id=${encodeURIComponent(runId)}` : null;
  const { data, error } = useAnswer(path, (found) => (!found || running(found) || !(found.backup || found.restore) ? SOON : LATER));
  if (!ours) return h(C.Text, { p: 4, color: "fg.muted" }, "This DAG is not one of the Glacier backup or restore DAGs.");
  if (error && !data) return h(C.Box, { p: 4 }, h(Problem, { error }));
  if (!data) return null;
  const backup = data.backup?.backup;
  const id = backup?.id || data.restore?.restore.backup_id;
  return h(
    C.VStack,
    { align: "stretch", p: { base: 2, md: 4 }, gap: 3, fontSize: "sm" },
    id
      ? h(Progress, { work: data, here: true })
      : h(C.Text, { color: "fg.muted" }, ours[1] === "backup" ? "This run has not opened a backup." : "This run has not planned its restore."),
    h(C.Flex, { gap: 4 }, id && h(Link, { to: backupPath(ours[2], id) }, `Backup ${id}`), h(Link, { to: applicationPath(ours[2]) }, `All backups of ${ours[2]}`)),
  );
}
