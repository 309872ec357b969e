// What a restore would take, and the button that starts it: the second of two clicks.

import { airflow, query, useAnswer } from "./api.js";
import * as form from "./format.js";
import { applicationPath, backupPath, Button, C, Fact, Facts, h, HOME, Note, Page, Panel, Problem, runPath, Time, useNavigate, Waiting } from "./parts.js";

const { useId, useState } = globalThis.React;

const PARTS = {
  everything: "Database and files, as they were together",
  database: "The database alone; the files are left as they are",
  files: "Missing files alone; the database is left as it is",
};

export function RestoreView({ name, id }) {
  const [part, setPart] = useState("everything");
  const [tier, setTier] = useState(null);
  const [orphans, setOrphans] = useState(true);
  const card = useAnswer(`/applications/${name}`);
  const plan = useAnswer(`/applications/${name}/backups/${id}/restore-preview${query({ part, tier })}`);
  const trail = [["Glacier backups", HOME], [name, applicationPath(name)], [`Backup ${id}`, backupPath(name, id)]];
  const choice = { part, setPart, tier: tier || plan.data?.tier, setTier, orphans, setOrphans };
  return h(
    Page,
    { trail, title: `Restore backup ${id} of ${name}` },
    h(Problem, { error: card.error || plan.error }),
    !card.data && !card.error && h(Waiting),
    card.data &&
      h(C.Grid, { gap: 4, templateColumns: { base: "1fr", lg: "1fr 1fr" }, alignItems: "start" },
        h(Choices, { plan: plan.data, ...choice }),
        h(C.VStack, { align: "stretch", gap: 4 },
          plan.data ? h(Plan, { plan: plan.data }) : !plan.error && h(Panel, { title: "What it takes" }, h(Waiting)),
          h(Start, { card: card.data, id, part, tier, orphans, ready: Boolean(plan.data) }))),
  );
}

function Radios({ title, value, onChange, options }) {
  const name = useId();
  return h(
    C.Box,
    { as: "fieldset", border: 0, p: 0, m: 0 },
    h(C.Text, { as: "legend", fontSize: "sm", fontWeight: "semibold", mb: 1 }, title),
    options.map(([key, text, more]) =>
      h(C.Flex, { as: "label", key, gap: 2, py: 1, align: "baseline", fontSize: "sm", cursor: "pointer" },
        h("input", { type: "radio", name, value: key, checked: value === key, onChange: () => onChange(key) }),
        h("span", null, text, more && h(C.Text, { as: "span", color: "fg.muted" }, ` ${more}`)))),
  );
}

function Choices({ plan, part, setPart, tier, setTier, orphans, setOrphans }) {
  return h(
    Panel,
    { title: "What to restore" },
    h(C.VStack, { align: "stretch", gap: 4 },
      h(Radios, { title: "Part", value: part, onChange: setPart, options: Object.entries(PARTS).map(([key, text]) => [key, text]) }),
      plan?.tiers.length > 0 &&
        h(Radios, { title: "Retrieval tier: the slower, the cheaper", value: tier, onChange: setTier,
          options: plan.tiers.map((one) => [one.tier, one.tier, `typically ${form.hours(one.hours)}`]) }),
      part === "everything" &&
        h(C.Flex, { as: "label", gap: 2, align: "baseline", fontSize: "sm", cursor: "pointer" },
          h("input", { type: "checkbox", checked: orphans, onChange: (event) => setOrphans(event.target.checked) }),
          h("span", null, "Move files that this backup does not contain to the orphan directory. They are not deleted, and can be moved back."))),
  );
}

function Plan({ plan }) {
  const amount = ({ archives, bytes }) => `${form.count(archives)} (${form.size(bytes)})`;
  const chosen = plan.tiers.find((one) => one.tier === plan.tier);
  return h(
    Panel,
    { title: "What it takes" },
    h(Facts, { columns: { base: 2, md: 2 } },
      plan.part !== "files" && h(Fact, { name: "Database dump" }, form.size(plan.database_bytes)),
      plan.part !== "database" && h(Fact, { name: "Files in their place: nothing to do" }, amount(plan.present)),
      h(Fact, { name: "Archives to retrieve from the cold" }, amount(plan.to_request)),
      plan.pending.archives > 0 && h(Fact, { name: "Asked for earlier" }, amount(plan.pending)),
      plan.ready.archives > 0 && h(Fact, { name: "Ready to download" }, amount(plan.ready)),
      plan.set_aside.archives > 0 && h(Fact, { name: "Files to move back from the orphan directory" }, amount(plan.set_aside)),
      h(Fact, { name: "Retrieval requests" }, form.count(plan.to_request.archives)),
      h(Fact, { name: "Typically readable after" }, chosen ? form.hours(chosen.hours) : "at once"),
      chosen && h(Fact, { name: "Retrieved copies are kept" }, form.plural(plan.days, "day"))),
    h(C.Text, { fontSize: "xs", color: "fg.muted", mt: 3 },
      "By the catalog, whose last look at the directory was ", h(Time, { at: plan.as_of }),
      ". The restore looks again before it asks for anything."),
  );
}

function Start({ card, id, part, tier, orphans, ready }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const navigate = useNavigate();
  const start = async () => {
    setBusy(true);
    setError(null);
    try {
      const conf = { backup_id: id, part, move_orphans: orphans, ...(tier ? { tier } : {}) };
      const run = await airflow.trigger(card.restore_dag, conf);
      showGraphs();
      navigate(runPath(card.restore_dag, run.dag_run_id));
    } catch (refused) {
      setError(refused);
      setBusy(false);
    }
  };
  return h(
    Panel,
    null,
    h(C.VStack, { align: "stretch", gap: 3 },
      part !== "files" && h(Note, { status: "warning", title: `Stop ${card.name} first` },
        "The tables of its database are replaced, in one transaction; what was written since this backup is lost."),
      h(Problem, { error }),
      !card.actions.restore && h(Note, null, `You may look, but not start runs of ${card.restore_dag}.`),
      h(C.Flex, { gap: 2 },
        h(Button, { variant: "solid", colorPalette: "brand", onClick: start, loading: busy, disabled: !ready || !card.actions.restore }, "Start the restore"),
        h(Button, { to: backupPath(card.name, id) }, "Cancel"))),
  );
}

/** Airflow shows runs as a grid or a graph, as was chosen last; who never chose sees the graph of the restore. */
function showGraphs() {
  try {
    if (globalThis.localStorage.getItem("default_dag_view") === null) globalThis.localStorage.setItem("default_dag_view", '"graph"');
  } catch {
    // Without storage Airflow decides.
  }
}
