// What a restore would take, and the button that starts it: the second of two clicks.

import { airflow, query, useAnswer } from "./api.js";
import { Prices } from "./costs.js";
import * as form from "./format.js";
import { applicationPath, backupPath, Button, C, Check, Fact, Facts, h, HOME, Link, Note, Page, Panel, Problem, runPath, Small, Time, useNavigate, Waiting } from "./parts.js";
import { isOpen } from "./status.js";
import { Choice } from "./table.js";

const { useEffect, useId, useRef, useState } = globalThis.React;

const PARTS = {
  everything: "Database and files, as they were together",
  database: "The database alone; the files are left as they are",
  files: "Missing files alone; the database is left as it is",
};

/** For how long copies may be kept: who restores very many files, or slowly, needs them for longer. */
const DAYS = [1, 3, 7, 14, 30, 60];

export function RestoreView({ name, id }) {
  const [choice, setChoice] = useState({ part: "everything", tier: null, days: "", orphans: true, approve: false, withoutLost: false, into: "" });
  const choose = (changes) => setChoice((before) => ({ ...before, ...changes }));
  const card = useAnswer(`/applications/${name}`);
  const answer = useAnswer(`/applications/${name}/backups/${id}/restore-preview${query({ part: choice.part, days: choice.days || null, into: choice.into || null })}`);
  const plan = useLast(answer.data);
  const trail = [["Glacier backups", HOME], [name, applicationPath(name)], [`Backup ${id}`, backupPath(name, id)]];
  const tier = choice.tier || plan?.tier;
  return h(
    Page,
    { trail, title: `Restore backup ${id} of ${name}` },
    h(Problem, { error: card.error || answer.error }),
    !card.data && !card.error && h(Waiting),
    card.data &&
      h(C.Grid, { gap: 3, templateColumns: { base: "minmax(0, 1fr)", lg: "1fr 1fr" }, alignItems: "start" },
        h(Choices, { plan, ...choice, tier, choose }),
        h(C.VStack, { align: "stretch", gap: 3, "aria-busy": !answer.data },
          plan ? h(Plan, { plan, tier }) : !answer.error && h(Panel, { title: "What it takes" }, h(Waiting)),
          h(Start, { card: card.data, id, plan: answer.data, ...choice }))),
  );
}

/** What was known last, while something newer is asked for: the page does not jump. */
function useLast(data) {
  const last = useRef(null);
  useEffect(() => {
    if (data) last.current = data;
  }, [data]);
  return data || last.current;
}

const costOf = (plan, tier) => plan.tiers.find((one) => one.tier === tier)?.cost || plan.cost;

function Radios({ title, value, onChange, options }) {
  const name = useId();
  return h(
    C.Box,
    { as: "fieldset", border: 0, p: 0, m: 0 },
    h(C.Text, { as: "legend", fontSize: "sm", fontWeight: "semibold", mb: 1 }, title),
    options.map(([key, text, ...more]) =>
      h(C.Flex, { as: "label", key, gap: 2, py: 1, align: "baseline", fontSize: "sm", cursor: "pointer" },
        h("input", { type: "radio", name, value: key, checked: value === key, onChange: () => onChange(key) }),
        h(C.Box, { as: "span", flexGrow: 1 }, text),
        more.map((one, number) => h(C.Text, { key: number, as: "span", minW: "72px", textAlign: "end", color: "fg.muted", whiteSpace: "nowrap" }, one)))),
  );
}

function Choices({ plan, part, tier, days, orphans, approve, withoutLost, into, choose }) {
  const tiers = plan?.tiers || [];
  return h(
    Panel,
    { title: "What to restore" },
    h(C.VStack, { align: "stretch", gap: 4 },
      plan?.targets.length > 0 &&
        h(Radios, { title: "Into", value: into, onChange: (next) => choose({ into: next }),
          options: [["", "Its own database and directory"], ...plan.targets.map((one) => [one, `${one}: the application stays as it is`])] }),
      h(Radios, { title: "Part", value: part, onChange: (next) => choose({ part: next }), options: Object.entries(PARTS) }),
      tiers.length > 0 &&
        h(Radios, { title: "Retrieval tier: the slower, the cheaper", value: tier, onChange: (next) => choose({ tier: next }),
          options: tiers.map((one) => [one.tier, one.tier, form.hours(one.hours), one.cost && form.money(one.cost.total, plan.currency)]) }),
      tiers.length > 0 &&
        h(Choice, { label: "Keep retrieved copies for", value: days, onChange: (next) => choose({ days: next }),
          options: [["", "as many days as is usual here"], ...DAYS.map((one) => [String(one), form.plural(one, "day")])] }),
      part === "everything" && !into &&
        h(Check, { checked: orphans, onChange: (next) => choose({ orphans: next }) },
          "Move files that this backup does not contain, or contains with another content, to the orphan directory. They are not deleted, and can be moved back."),
      part !== "database" && plan?.lost.archives > 0 &&
        h(Check, { checked: withoutLost, onChange: (next) => choose({ withoutLost: next }) },
          `Go on without ${form.plural(plan.lost.archives, "file")} that no store has any more: ${plan.lost_names.slice(0, 20).join(", ")}`),
      h(Check, { checked: approve, onChange: (next) => choose({ approve: next }) },
        "Wait for somebody's approval in Airflow before anything is retrieved or changed.")),
  );
}

function Plan({ plan, tier }) {
  const amount = ({ archives, bytes }) => `${form.count(archives)} (${form.size(bytes)})`;
  const chosen = plan.tiers.find((one) => one.tier === tier);
  const cost = costOf(plan, tier);
  return h(
    Panel,
    { title: "What it takes" },
    h(Facts, { columns: 2 },
      plan.part !== "files" && h(Fact, { name: "Database dump" }, form.size(plan.database_bytes)),
      plan.into && h(Fact, { name: "Into" }, plan.into),
      plan.into && plan.part !== "database" && h(Fact, { name: "Files to copy from the application's directory" }, amount(plan.to_copy)),
      !plan.into && plan.part !== "database" && h(Fact, { name: "Files in their place: nothing to do" }, amount(plan.present)),
      h(Fact, { name: "Archives to retrieve from the cold" }, amount(plan.to_request)),
      plan.pending.archives > 0 && h(Fact, { name: "Asked for earlier, on their way" }, amount(plan.pending)),
      plan.ready.archives > 0 && h(Fact, { name: "Ready to download" }, amount(plan.ready)),
      plan.set_aside.archives > 0 && h(Fact, { name: "Files to move back from the orphan directory" }, amount(plan.set_aside)),
      h(Fact, { name: "Retrieval requests" }, form.count(plan.requests ?? plan.to_request.archives)),
      h(Fact, { name: "Typically readable" }, readable(plan, chosen)),
      chosen && h(Fact, { name: "Retrieved copies are kept" }, form.plural(plan.days, "day")),
      cost && h(Fact, { name: "Estimated cost" }, h(C.Text, { as: "strong", fontSize: "md" }, form.money(cost.total, plan.currency)))),
    cost && h(Breakdown, { cost, currency: plan.currency }),
    plan.known.map((one, number) => h(Note, { key: number, status: "warning" }, one)),
    h(Prices, { prices: plan.prices, mt: 2 }),
    h(Small, { mt: 2 },
      "By the catalog, whose last look at the directory was ", h(Time, { at: plan.as_of }),
      ". The restore looks again before it asks for anything."),
  );
}

/** When all of it can be read: the slower of what is asked for now and what was asked for earlier. */
function readable(plan, chosen) {
  if (plan.pending.archives === 0) return chosen ? `after ${form.hours(chosen.hours)}` : "at once";
  const earlier = plan.expected.map((one) => one.latest).filter(Boolean).sort().at(-1);
  const said = [chosen && `after ${form.hours(chosen.hours)}`,
    earlier ? ["what was asked for earlier by ", h(Time, { key: "t", at: earlier }), " at the latest"] : "what was asked for earlier in some hours"];
  return said.filter(Boolean).map((one, number) => h("span", { key: number }, number > 0 && "; ", one));
}

const SHARES = {
  requests: "requests",
  bytes: "retrieval",
  reading: "reading and looking",
  temporary_copy: "temporary copies",
  transfer_out: "transfer out of the store's region",
};

function Breakdown({ cost, currency }) {
  const said = Object.entries(SHARES)
    .filter(([name]) => Number(cost[name]) >= 0.01)
    .map(([name, words]) => `${words} ${form.money(cost[name], currency)}`);
  return said.length > 1 && h(Small, { mt: 3 }, `Of it: ${said.join(", ")}.`);
}

function Start({ card, id, plan, part, tier, days, orphans, approve, withoutLost, into }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const navigate = useNavigate();
  const start = async () => {
    setBusy(true);
    setError(null);
    try {
      const conf = { backup_id: id, part, move_orphans: orphans, ...(tier ? { tier } : {}), ...(days ? { days: Number(days) } : {}), ...(approve ? { approve } : {}),
        ...(withoutLost ? { without_lost: true } : {}), ...(into ? { into } : {}) };
      const run = await airflow.trigger(card.restore_dag, conf);
      showGraphs();
      navigate(runPath(card.restore_dag, run.dag_run_id));
    } catch (refused) {
      setError(refused);
      setBusy(false);
    }
  };
  const may = card.actions.restore;
  return h(
    Panel,
    null,
    h(C.VStack, { align: "stretch", gap: 3 },
      !into && isOpen(card.restore) && h(Note, { status: "warning", title: `Restore ${card.restore.id} of backup ${card.restore.backup_id} is under way` },
        "Another one waits a while for it, and fails when it takes longer. ", h(Link, { to: runPath(card.restore.dag_id, card.restore.dag_run_id) }, "DAG run and logs")),
      !into && isOpen(card.newest) && h(Note, null, `Backup ${card.newest.id} is under way: the restore waits until it has ended.`),
      into && h(Note, { title: `Into ${into}` },
        `Nothing of ${card.name} is touched. What an earlier restore brought there gives way; anything else there is refused.`),
      !into && part !== "files" && h(Note, { status: "warning", title: `Stop ${card.name} first` },
        "The tables of its database are replaced, in one transaction; what was written since this backup is lost."),
      plan && h(Budget, { plan, tier }),
      h(Problem, { error }),
      !may && h(Note, null, `You may look, but not start runs of ${card.restore_dag}.`),
      h(C.Flex, { gap: 2 },
        h(Button, { variant: "solid", colorPalette: "brand", onClick: start, loading: busy, disabled: !plan || !may }, "Start the restore"),
        h(Button, { to: backupPath(card.name, id) }, "Cancel"))),
  );
}

function Budget({ plan, tier }) {
  const cost = costOf(plan, tier || plan.tier);
  if (!plan.budget || !cost || Number(cost.total) <= Number(plan.budget)) return null;
  return h(Note, { status: "warning", title: `Over the budget of ${form.money(plan.budget, plan.currency)}` },
    "The restore will wait for an approval, under Required Actions in Airflow, before it asks for anything.");
}

/** Airflow shows runs as a grid or a graph, as was chosen last; who never chose sees the graph of the restore. */
function showGraphs() {
  try {
    if (globalThis.localStorage.getItem("default_dag_view") === null) globalThis.localStorage.setItem("default_dag_view", '"graph"');
  } catch {
    // Without storage Airflow decides.
  }
}
