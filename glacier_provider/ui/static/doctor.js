// What is wrong with an application: a worker looks, and what it finds is shown here, each with its mend.

import { examine, query, useAnswer } from "./api.js";
import { Button, C, Fragment, h, Link, Note, Panel, Problem, runPath, Small, Waiting } from "./parts.js";

const { useState } = globalThis.React;

const ENDED = new Set(["success", "failed"]);
const STATUS = { wrong: "error", doubtful: "warning", "not tried": "info" };

/** A button that has a worker look, and what that found; neither for who may not edit the application's DAGs. */
export function useDoctor(card) {
  const [run, setRun] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  if (!card.actions.examine) return { button: null, found: null };
  const click = async () => {
    setBusy(true);
    setError(null);
    await examine(card.name).then(setRun).catch(setError);
    setBusy(false);
  };
  return {
    button: h(Button, { size: "sm", onClick: click, loading: busy, title: "Have a worker look what is wrong, and say what mends it" }, "Examine …"),
    found: h(Fragment, null, h(Problem, { error }), run && h(Examination, { key: run.dag_run_id, card, run, onEnd: () => setRun(null) })),
  };
}

function Examination({ card, run, onEnd }) {
  const path = `/applications/${card.name}/examination${query({ dag_run_id: run.dag_run_id })}`;
  const { data, error } = useAnswer(path, (found) => (ENDED.has(found?.state) ? null : 2000));
  const title = h(C.Heading, { as: "h2", size: "sm" }, `Examination of ${card.name}`);
  const actions = h(C.Flex, { gap: 3, align: "center" },
    h(C.Text, { as: "span", fontSize: "sm" }, h(Link, { to: runPath(run.dag_id, run.dag_run_id) }, "DAG run and logs")),
    h(Button, { size: "xs", variant: "ghost", onClick: onEnd }, "Dismiss"));
  return h(Panel, { title, actions },
    h(Problem, { error }),
    !data ? !error && h(Waiting) : h(Findings, { data }));
}

function Findings({ data }) {
  const bad = data.findings.filter((one) => STATUS[one.judgement]);
  const well = data.findings.filter((one) => one.judgement === "well");
  return h(C.VStack, { align: "stretch", gap: 2 },
    !ENDED.has(data.state) && h(Note, null, "A worker looks …"),
    data.state === "failed" && h(Note, { status: "error", title: "The worker could not look" }, "The log of the task examine says why."),
    data.state === "success" && !bad.length && h(Note, { status: "success" }, "Nothing is wrong."),
    bad.map((one, index) => h(Note, { key: index, status: STATUS[one.judgement], title: one.about }, `${one.told}. `, one.mend)),
    well.length > 0 && h(Small, null, `Well: ${well.map((one) => one.about).join(", ")}.`));
}
