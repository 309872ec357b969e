// Starting a backup: through Airflow's own API, with the rights of the person who looks.

import { airflow } from "./api.js";
import { Ask } from "./dialog.js";
import { Follow } from "./follow.js";
import { Button, C, Fragment, h, Problem } from "./parts.js";

const { useState } = globalThis.React;

/** A button that starts a backup, a line that follows it until its backup is there, and whether it does so now. */
export function useBackUp(card, onChange, size = "sm") {
  const [asking, setAsking] = useState(false);
  const [run, setRun] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);

  const start = async () => {
    setError(null);
    const started = await airflow.trigger(card.backup_dag, {});
    setRun({ dagId: card.backup_dag, runId: started.dag_run_id });
    onChange?.();
  };
  const click = async () => {
    if (card.paused) {
      setAsking(true);
      return;
    }
    setBusy(true);
    await start().catch(setError);
    setBusy(false);
  };
  const unpauseAndStart = async () => {
    await airflow.unpause(card.backup_dag);
    await start();
  };
  const why = whyNot(card);
  const button = h(Button, { size, onClick: click, loading: busy, disabled: Boolean(why), title: why }, "Back up now");
  const line = h(
    Fragment,
    null,
    h(Problem, { error }),
    run && h(Follow, { what: "backup", ...run, onSeen: onChange, onEnded: () => setRun({ ...run, ended: true }), onEnd: () => setRun(null) }),
    h(
      Ask,
      { open: asking, title: `Unpause the backups of ${card.name}?`, doIt: "Unpause and back up", act: unpauseAndStart, onClose: () => setAsking(false) },
      h(C.Text, { fontSize: "sm" }, `${card.backup_dag} is paused, so nothing is backed up, and a run would wait for ever. `,
        card.schedule
          ? `Unpausing also resumes its schedule (${card.schedule}, ${card.timezone}).`
          : "It has no schedule: it runs by hand only."),
    ),
  );
  return { button, line, following: Boolean(run && !run.ended) };
}

function whyNot(card) {
  if (!card.actions.back_up) return "You may not start runs of this DAG.";
  return card.paused === null ? `Airflow has not parsed ${card.backup_dag} yet.` : undefined;
}
