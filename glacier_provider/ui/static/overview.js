// All applications at a glance.

import { useAnswer } from "./api.js";
import { useBackUp } from "./actions.js";
import { Growth, Year } from "./charts.js";
import * as form from "./format.js";
import { applicationPath, backupPath, Button, C, Fact, Facts, h, HealthBadge, Link, Nothing, Note, Page, Panel, Problem, restorePath, runPath, Time, Waiting } from "./parts.js";
import { isOpen, Work } from "./work.js";

const WORST_FIRST = ["failing", "never", "late", "unknown", "unscheduled", "fresh"];

const isActive = (card) => Boolean(isOpen(card.newest) || isOpen(card.restore));

export function Overview() {
  const { data, error, reload } = useAnswer("/overview", (found) => (found?.applications.some(isActive) ? 5000 : 30000));
  if (!data) return h(Page, { title: "Glacier backups" }, error ? h(Problem, { error }) : h(Waiting, { rows: 6 }));
  const cards = [...data.applications].sort(
    (one, other) => WORST_FIRST.indexOf(one.health) - WORST_FIRST.indexOf(other.health),
  );
  return h(
    Page,
    { title: "Glacier backups", badge: h(Summary, { cards }) },
    h(Problem, { error }),
    cards.length === 0 && h(Nothing, null, "There is no application that you may see. They are described in applications.yaml."),
    h(
      C.Grid,
      { gap: 4, templateColumns: cards.length === 1 ? "1fr" : "repeat(auto-fill, minmax(min(100%, 430px), 1fr))" },
      cards.map((card) => h(Card, { key: card.name, card, now: data.now, reload, wide: cards.length === 1 })),
    ),
  );
}

function Summary({ cards }) {
  const found = WORST_FIRST.map((health) => [health, cards.filter((card) => card.health === health).length]);
  return h(C.Flex, { gap: 2, flexWrap: "wrap" }, found.filter(([, many]) => many > 0).map(([health, many]) =>
    h(C.Flex, { key: health, gap: 1, align: "center", fontSize: "sm" }, `${many}`, h(HealthBadge, { health }))));
}

function Card({ card, now, reload, wide }) {
  const { button, line } = useBackUp(card, reload, "xs");
  return h(
    Panel,
    {
      "aria-label": card.name,
      title: h(C.Flex, { gap: 3, align: "center", minW: 0 },
        h(C.Heading, { as: "h2", size: "md", overflowWrap: "anywhere" }, h(Link, { to: applicationPath(card.name), fontWeight: "bold" }, card.name)),
        h(HealthBadge, { health: card.health })),
      actions: h(C.Flex, { gap: 2 },
        button,
        card.complete && card.actions.restore && h(Button, { size: "xs", to: restorePath(card.name, card.complete.id) }, "Restore …")),
    },
    h(C.VStack, { align: "stretch", gap: 3 },
      h(Problem, { error: card.problem }),
      line,
      h(State, { card, now }),
      !card.problem && h(Work, { application: card.name, idle: !isActive(card), onEnd: reload }),
      !card.problem && h(Figures, { card, now, columns: wide ? { base: 2, md: 6 } : { base: 2, sm: 3 } }),
      card.calendar && h(Charts, { card, wide })),
  );
}

/** In words, what makes the health: read first when something is wrong. */
function State({ card, now }) {
  if (card.health === "late") {
    return h(Note, { status: "warning" }, "A backup was due ", h(Time, { at: card.late_since }), " and is not there. ",
      card.paused && "The DAG is paused.");
  }
  if (card.health === "failing") {
    const failed = card.newest;
    return h(Note, { status: "error", title: `The last backup failed ${form.ago(failed.closed_at || failed.opened_at, now)}` },
      h(C.Text, { lineClamp: 3 }, failed.error || ""), h(Link, { to: runPath(failed.dag_id, failed.dag_run_id) }, "DAG run and logs"));
  }
  if (card.health === "never") {
    return h(Note, { status: "warning" }, "Nothing of this application is safe yet. ",
      card.paused ? "Its DAG is paused: back up now unpauses it." : card.next_run && ["The first backup starts ", h(Time, { key: 1, at: card.next_run, now }), "."]);
  }
  if (card.paused && card.schedule) return h(Note, { status: "warning" }, "The backup DAG is paused: nothing will be backed up.");
  return null;
}

export function Figures({ card, now, columns }) {
  const { complete, newest } = card;
  return h(
    Facts,
    { columns },
    h(Fact, { name: "Last complete backup" }, complete
      ? [h(Time, { key: "t", at: complete.opened_at, now }), " ", h(Link, { key: "l", to: backupPath(card.name, complete.id) }, `#${complete.id}`)]
      : "none"),
    h(Fact, { name: "Last run took" }, newest ? form.duration(form.seconds(newest.opened_at, newest.closed_at || now)) : "–"),
    h(Fact, { name: "Next run" }, card.next_run ? h(Time, { at: card.next_run, now }) : card.schedule ? (card.paused ? "paused" : "–") : "by hand"),
    h(Fact, { name: "Files" }, form.count(complete?.files_count)),
    h(Fact, { name: "Protected" }, complete ? form.size((complete.files_bytes || 0) + (complete.database_bytes || 0)) : "–"),
    h(Fact, { name: "Database dump" }, form.size(complete?.database_bytes)),
  );
}

export function Charts({ card, wide }) {
  return h(
    C.Grid,
    { gap: wide ? 5 : 3, templateColumns: wide ? { base: "1fr", lg: "2fr 1fr" } : "1fr", alignItems: "end" },
    h(Year, { calendar: card.calendar, legend: wide }),
    (wide || card.growth.length > 1) && h(Growth, { points: card.growth, height: wide ? 90 : 48 }),
  );
}
