// One application: how it is, its backups, where its files are, its restores.

import { useBackUp } from "./actions.js";
import { useAnswer } from "./api.js";
import { Backups } from "./backups.js";
import { Year, Growth } from "./charts.js";
import { useChoices } from "./choices.js";
import { Costs, Prices } from "./costs.js";
import { useDoctor } from "./doctor.js";
import { Figures, Proven, State } from "./figures.js";
import { FindFile } from "./files.js";
import { Button, C, Fragment, h, HOME, Page, Panel, Problem, restorePath, Small, Tabs, Waiting } from "./parts.js";
import { RestoreList } from "./restores.js";
import { HealthBadge } from "./status.js";
import { Work } from "./work.js";

const { useState } = globalThis.React;
const TRAIL = [["Glacier backups", HOME]];

export function ApplicationView({ name }) {
  const { data: card, error, reload } = useAnswer(`/applications/${name}`, 30000);
  if (!card) return h(Page, { trail: TRAIL, title: name }, error ? h(Problem, { error }) : h(Waiting));
  return h(Loaded, { card, error, reload });
}

function Loaded({ card, error, reload }) {
  const [given, choose] = useChoices();
  const [round, setRound] = useState(0);
  const refresh = () => {
    reload();
    setRound((before) => before + 1);
  };
  const { button, line, following } = useBackUp(card, refresh);
  const doctor = useDoctor(card);
  const now = new Date().toISOString();
  const tabs = [
    ["backups", "Backups", h(Backups, { card, round })],
    ["files", "Find a file", h(FindFile, { card })],
    ["restores", "Restores", h(RestoreList, { card, round })],
    card.cost && ["costs", "Costs", h(Panel, { title: "Storage of all archives" }, h(Costs, { cost: card.cost }), h(Prices, { prices: card.cost.prices, mt: 3 }))],
  ].filter(Boolean);
  const actions = [
    h(Fragment, { key: "back up" }, button),
    card.complete && card.actions.restore &&
      h(Button, { key: "restore", to: restorePath(card.name, card.complete.id) }, "Restore the latest …"),
    doctor.button && h(Fragment, { key: "doctor" }, doctor.button),
  ];
  const rest = !card.problem && [
    h(State, { key: "state", card, now }),
    h(Work, { key: "work", application: card.name, eager: following, onEnd: refresh }),
    h(Summary, { key: "summary", card, now }),
    h(Tabs, { key: "tabs", label: `Parts of ${card.name}`, tabs, value: given.get("tab"), onChange: (tab) => choose({ tab, offset: null }) }),
  ];
  return h(
    Page,
    { trail: TRAIL, title: card.name, badge: h(HealthBadge, { health: card.health }), actions },
    h(Problem, { error: error || card.problem }),
    line,
    doctor.found,
    rest,
  );
}

function Summary({ card, now }) {
  return h(
    Panel,
    null,
    h(Figures, { card, now, columns: { base: 2, md: 3, lg: 6 } }),
    h(Small, { my: 3, overflowWrap: "anywhere" },
      `${card.schedule ? `Schedule ${card.schedule} (${card.timezone})` : "By hand only"} · ${card.store}`),
    h(C.Box, { mb: 3 }, h(Proven, { card, now })),
    card.calendar && h(C.Grid, { gap: 5, templateColumns: { base: "1fr", lg: "2fr 1fr" }, alignItems: "end" },
      h(Year, { calendar: card.calendar, legend: true }),
      h(Growth, { points: card.growth })),
  );
}
