// A run that was just started from this page, followed until it has ended and somebody has read it.

import { airflow, useAsked } from "./api.js";
import { Button, C, h, Link, Note, Problem, runPath } from "./parts.js";

const { useEffect, useRef } = globalThis.React;

const ENDED = { success: "success", failed: "error" };
const SAID = { queued: "is queued", running: "has begun", success: "is complete", failed: "failed" };

/** `what` is the noun; `onSeen` is called whenever the catalog may have news of it, `onEnded` when it has ended. */
export function Follow({ what, dagId, runId, onSeen, onEnded, onEnd }) {
  const { data, error } = useAsked(`run ${dagId} ${runId}`, () => airflow.run(dagId, runId), (run) => (ENDED[run?.state] ? null : 2000));
  const state = data?.state;
  const ended = Boolean(ENDED[state]);
  const seen = useRef(onSeen);
  seen.current = onSeen;
  // What the run does is in the catalog a little later than in Airflow.
  useEffect(() => {
    if (state) seen.current?.();
    if (ended) {
      onEnded?.();
      return undefined;
    }
    const timer = setInterval(() => seen.current?.(), 5000);
    return () => clearInterval(timer);
  }, [state, ended]);
  if (error && !data) return h(Problem, { error });
  return h(
    Note,
    { status: ENDED[state] || "info" },
    h(C.Flex, { justify: "space-between", align: "center", columnGap: 3, flexWrap: "wrap" },
      h("span", null, `The ${what} you started ${SAID[state] || "was asked for"}. `, h(Link, { to: runPath(dagId, runId) }, "DAG run and logs")),
      ended && h(Button, { size: "xs", variant: "ghost", onClick: onEnd }, "Dismiss")),
  );
}
