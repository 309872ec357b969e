// All applications at a glance.

import { useBackUp } from "./actions.js";
import { useAnswer } from "./api.js";
import { Growth, Year } from "./charts.js";
import { Figures, protectedBytes, Proven, State } from "./figures.js";
import * as form from "./format.js";
import { applicationPath, Button, C, h, Link, Nothing, Page, Panel, Problem, restorePath, Small, Waiting } from "./parts.js";
import { HealthBadge, isOpen } from "./status.js";
import { Work } from "./work.js";

const WORST_FIRST = ["failing", "never", "unrestorable", "late", "unproven", "incomplete", "paused", "unknown", "unscheduled", "fresh"];

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
    h(Problem, { error: data.problem }),
    cards.length === 0 && h(Nothing, null, "There is no application that you may see. They are described in applications.yaml."),
    h(
      C.Grid,
      { gap: 3, templateColumns: cards.length === 1 ? "1fr" : "repeat(auto-fill, minmax(min(100%, 470px), 1fr))" },
      cards.map((card) => h(Card, { key: card.name, card, now: data.now, reload, wide: cards.length === 1 })),
    ),
  );
}

/** How many are how, how much is protected, and what that costs: the five-second answer. */
function Summary({ cards }) {
  const found = WORST_FIRST.map((health) => [health, cards.filter((card) => card.health === health).length]);
  return [
    h(C.Flex, { key: "health", gap: 2, flexWrap: "wrap" }, found.filter(([, many]) => many > 0).map(([health, many]) =>
      h(C.Flex, { key: health, gap: 1, align: "center", fontSize: "sm" }, form.count(many), h(HealthBadge, { health })))),
    h(Small, { key: "sums", fontSize: "sm" }, sums(cards)),
  ];
}

function sums(cards) {
  const bytes = cards.reduce((sum, card) => sum + (card.complete ? protectedBytes(card.complete) : 0), 0);
  const costs = cards.map((card) => card.cost).filter(Boolean);
  const currencies = new Set(costs.map((cost) => cost.currency));
  const monthly = costs.reduce((sum, cost) => sum + Number(cost.monthly), 0);
  return [
    bytes > 0 && `${form.size(bytes)} protected`,
    currencies.size === 1 && `${form.money(monthly, costs[0].currency)} a month`,
  ].filter(Boolean).join(" · ");
}

function Card({ card, now, reload, wide }) {
  const { button, line, following } = useBackUp(card, reload, "xs");
  const title = h(C.Flex, { gap: 3, align: "center", minW: 0 },
    h(C.Heading, { as: "h2", size: "md", overflowWrap: "anywhere" }, h(Link, { to: applicationPath(card.name), fontWeight: "bold" }, card.name)),
    h(HealthBadge, { health: card.health }));
  const actions = h(C.Flex, { gap: 2 },
    button,
    card.complete && card.actions.restore && h(Button, { size: "xs", to: restorePath(card.name, card.complete.id) }, "Restore …"));
  return h(
    Panel,
    { "aria-label": card.name, title, actions },
    h(C.VStack, { align: "stretch", gap: 3 },
      h(Problem, { error: card.problem }),
      line,
      h(State, { card, now }),
      !card.problem && h(Work, { application: card.name, idle: !isActive(card), eager: following, onEnd: reload }),
      !card.problem && h(Figures, { card, now, columns: wide ? { base: 2, md: 6 } : { base: 2, sm: 3 } }),
      !card.problem && h(Proven, { card, now }),
      card.calendar && h(Charts, { card, wide })),
  );
}

function Charts({ card, wide }) {
  return h(
    C.Grid,
    { gap: wide ? 5 : 3, templateColumns: wide ? { base: "1fr", lg: "2fr 1fr" } : "1fr", alignItems: "end" },
    h(Year, { calendar: card.calendar, legend: wide }),
    h(Growth, { points: card.growth, height: wide ? 90 : 48 }),
  );
}
