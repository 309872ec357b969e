// Starting a backup: through Airflow's own API, with the rights of the person who looks.

import { airflow, useAsked } from "./api.js";
import { Ask, Button, C, Fragment, h, Link, Note, Problem, runPath } from "./parts.js";

const { useEffect, useRef, useState } = globalThis.React;

/** A button that starts a backup, and a line that follows it until its backup is there. */
export function useBackUp(card, onChange, buttonSize = "sm") {
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
  const may = card.actions.back_up && card.paused !== null;
  const why = !card.actions.back_up
    ? "You may not start runs of this DAG."
    : card.paused === null ? `Airflow has not parsed ${card.backup_dag} yet.` : undefined;
  const button = h(Button, { size: buttonSize, onClick: click, loading: busy, disabled: !may, title: why }, "Back up now");
  const line = h(
    Fragment,
    null,
    h(Problem, { error }),
    run && h(Follow, { ...run, onSeen: onChange, onEnd: () => setRun(null) }),
    asking &&
      h(
        Ask,
        {
          open: true,
          title: `Unpause the backups of ${card.name}?`,
          doIt: "Unpause and back up",
          act: async () => {
            await airflow.unpause(card.backup_dag);
            await start();
          },
          onClose: () => setAsking(false),
        },
        h(C.Text, { fontSize: "sm" }, `${card.backup_dag} is paused, so nothing is backed up, and a run would wait for ever. `,
          card.schedule
            ? `Unpausing also resumes its schedule (${card.schedule}, ${card.timezone}).`
            : "It has no schedule: it runs by hand only."),
      ),
  );
  return { button, line };
}

const ENDED = { success: "success", failed: "error" };

/** A run that was just started, until it has ended and somebody has read it. */
function Follow({ dagId, runId, onSeen, onEnd }) {
  const { data, error } = useAsked(`run ${dagId} ${runId}`, () => airflow.run(dagId, runId), (run) => (ENDED[run?.state] ? null : 2000));
  const state = data?.state;
  const ended = Boolean(ENDED[state]);
  const seen = useRef(onSeen);
  seen.current = onSeen;
  // What the run does is in the catalog a little later than in Airflow.
  useEffect(() => {
    if (state) seen.current?.();
    if (ended) return undefined;
    const timer = setInterval(() => seen.current?.(), 5000);
    return () => clearInterval(timer);
  }, [state, ended]);
  if (error && !data) return h(Problem, { error });
  const said = { queued: "is queued", running: "has begun", success: "is complete", failed: "failed" }[state] || "was asked for";
  return h(
    Note,
    { status: ENDED[state] || "info" },
    h(C.Flex, { justify: "space-between", gap: 3, flexWrap: "wrap" },
      h("span", null, `The backup you started ${said}. `, h(Link, { to: runPath(dagId, runId) }, "DAG run and logs")),
      ENDED[state] && h(Button, { size: "xs", variant: "ghost", onClick: onEnd }, "Dismiss")),
  );
}
