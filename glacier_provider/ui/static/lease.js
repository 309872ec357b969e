// Who holds the lease of an application, and freeing it when its run is over: one run at a time changes an application.

import { freeLease } from "./api.js";
import { Ask } from "./dialog.js";
import { Button, C, h, Small, Time } from "./parts.js";

const { useState } = globalThis.React;

/** Where Airflow does not say that the run is over, the application's name has to be typed. */
export function Lease({ application, lease, over, onFreed }) {
  const [asking, setAsking] = useState(false);
  const alive = Boolean(lease && !lease.ended);
  if (!lease && !over.length) return null;
  const act = async () => onFreed(await freeLease(application, alive));
  return h(
    C.Flex,
    { gap: 3, align: "center", flexWrap: "wrap", justify: "space-between" },
    h(Small, null, lease
      ? [`${lease.holder} holds the lease since `, h(Time, { key: "since", at: lease.since }), "."]
      : "Nobody holds the lease."),
    h(Button, { size: "xs", variant: alive ? "ghost" : "outline", onClick: () => setAsking(true) }, "Free the lease …"),
    h(
      Ask,
      {
        open: asking, title: `Free the lease of ${application}?`, doIt: "Free it", act, onClose: () => setAsking(false),
        typed: alive ? application : null, palette: alive ? "red" : "brand",
      },
      h(C.Text, { fontSize: "sm" }, told(lease)),
    ),
  );
}

function told(lease) {
  if (!lease) return "Nobody holds it. What runs that are over left unfinished is noted as failed.";
  const run = lease.dag_run_id ? `Its run is ${lease.dag_run_id}` : "It is no run of Airflow";
  return lease.ended
    ? `${lease.holder} holds it. ${run}, and over (${lease.ended}). What it left unfinished is noted as failed; another run can begin.`
    : `${lease.holder} holds it. ${run}, and Airflow does not say that it is over. Free it only if you know that it is dead; `
      + "if it is alive, it fails at its next step and changes nothing more.";
}
