// Deleting a backup: what would go, what it costs, and the words that have to be typed before anything does.

import { deleteBackup, useAnswer } from "./api.js";
import { Prices } from "./costs.js";
import { Ask } from "./dialog.js";
import { Follow } from "./follow.js";
import * as form from "./format.js";
import { Button, C, Check, Fact, Facts, Fragment, h, Note, Problem, Small, Waiting } from "./parts.js";

const { useState } = globalThis.React;
const GONE = new Set(["deleting", "deleted"]);

/** A button that plans the deletion of a backup, and a line that follows it; no button for who may not. */
export function useDeletion(card, backup, onChange) {
  const [asking, setAsking] = useState(false);
  const [force, setForce] = useState(false);
  const [run, setRun] = useState(null);
  const plan = useAnswer(asking ? `/applications/${card.name}/backups/${backup.id}/deletion-plan` : null);
  const may = card?.actions.delete && !GONE.has(backup.state);
  const act = async () => {
    const started = await deleteBackup(card.name, backup.id, plan.data.confirm, force);
    setRun({ dagId: started.dag_id, runId: started.dag_run_id });
    onChange?.();
  };
  const ask = () => {
    setForce(false);
    setAsking(true);
  };
  const button = may && h(Button, { onClick: ask, colorPalette: "red", color: "red.fg" }, "Delete …");
  const line = h(
    Fragment,
    null,
    run && h(Follow, { what: "deletion", ...run, onSeen: onChange, onEnd: () => setRun(null) }),
    h(
      Ask,
      {
        open: asking,
        title: `Delete backup ${backup.id}?`,
        doIt: "Delete for good",
        palette: "red",
        typed: plan.data?.confirm ?? null,
        ready: Boolean(plan.data && (!plan.data.refused || force)),
        act,
        onClose: () => setAsking(false),
      },
      h(Problem, { error: plan.error }),
      plan.data ? h(Plan, { plan: plan.data, force, setForce }) : !plan.error && h(Waiting),
    ),
  );
  return { button, line };
}

const amount = ({ archives, bytes }) => `${form.plural(archives, "archive")} (${form.size(bytes)})`;
const together = (many) => many.reduce(
  (sum, one) => ({ archives: sum.archives + one.archives, bytes: sum.bytes + one.bytes }), { archives: 0, bytes: 0 });

function Plan({ plan, force, setForce }) {
  const free = Number(plan.fee) === 0;
  return h(
    C.VStack,
    { align: "stretch", gap: 3 },
    plan.refused && h(Note, { status: "warning", title: "It is kept" }, plan.refused,
      plan.forcible && h(Check, { checked: force, onChange: setForce }, "Delete it all the same")),
    (!plan.refused || plan.forcible) && [
      h(C.Text, { key: "what", fontSize: "sm" }, "Its archives go from the store and cannot be brought back. What another backup needs stays."),
      h(Facts, { key: "facts", columns: 2 },
        h(Fact, { name: "Goes" }, amount(plan)),
        h(Fact, { name: "Stays" }, amount(together(plan.stays))),
        h(Fact, { name: "Early-deletion fee" }, free ? "none" : form.money(plan.fee, plan.currency)),
        h(Fact, { name: "Saves a month" }, form.money(plan.saves_monthly, plan.currency))),
      plan.stays.map((one) => h(Small, { key: one.reason }, `${amount(one)}: ${one.reason}`)),
      !free && h(Early, { key: "early", plan }),
      h(Prices, { key: "prices", prices: plan.prices }),
    ],
  );
}

/** Cold classes are billed for a least number of days, however soon an archive goes. */
function Early({ plan }) {
  const early = plan.goes.filter((one) => Number(one.fee) > 0);
  return h(
    Note,
    { status: "warning", title: `${form.money(plan.fee, plan.currency)} is billed for archives that are younger than their class asks for` },
    h(C.Box, { as: "ul", listStyleType: "none" },
      early.map((one) =>
        h("li", { key: `${one.store_class} ${one.kind} ${one.archived_on}` },
          `${one.store_class}, ${one.kind}, ${form.plural(one.age_days, "day")} old: ${amount(one)}, ${form.money(one.fee, plan.currency)}`))),
  );
}
