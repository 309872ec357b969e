// The words for what something is in, each with a colour, and bars of how much is.

import * as form from "./format.js";
import { C, color, h, Small } from "./parts.js";

/** The five statuses, from furthest to nearest, each with its colour, what it means, and the words for people. */
export const STATUSES = {
  available: ["gray", "available: only in the store, and not in its place", "in the cold"],
  pending: ["orange", "pending: retrieval requested, on its way", "on its way"],
  ready: ["cyan", "ready: can be downloaded", "ready to download"],
  local: ["purple", "local: downloaded and verified, staged for restoral", "downloaded"],
  exists: ["green", "exists: in its directory, nothing to do", "in place"],
};

const HEALTH = {
  fresh: ["green", "the last backup that was due is complete"],
  unrestorable: ["red", "the last backup is complete, and its rehearsal says that it cannot be brought back"],
  unproven: ["red", "the last backup is complete, and the last drill or verification failed or is overdue"],
  incomplete: ["orange", "the last backup is complete but for files that could not be read"],
  paused: ["orange", "the backup DAG is paused: nothing is backed up by itself"],
  late: ["orange", "a backup was due and is not there"],
  failing: ["red", "the last backup failed"],
  never: ["red", "there is no complete backup yet"],
  unscheduled: ["blue", "backed up by hand only"],
  unknown: ["gray", "the catalog cannot be asked"],
};

const STATES = { complete: "green", running: "cyan", failed: "red", planned: "gray", deleting: "orange", deleted: "gray" };

const PROOFS = {
  passed: "all was looked at, and all is as it should be",
  found: "all was looked at, and something is not as it should be",
  failed: "not everything could be looked at",
};

const TASKS = {
  success: "green",
  running: "cyan",
  failed: "red",
  upstream_failed: "orange",
  up_for_retry: "orange",
  awaiting_input: "purple",
  deferred: "purple",
  queued: "gray",
};

function Pill({ palette, title, children }) {
  return h(
    C.Badge,
    { colorPalette: palette, variant: "subtle", size: "sm", borderRadius: "full", px: 2, title, flexShrink: 0 },
    h(C.Box, { as: "span", boxSize: "7px", borderRadius: "full", bg: color(palette, "solid"), "aria-hidden": true }),
    children,
  );
}

export const isOpen = (one) => Boolean(one && (one.state === "running" || one.state === "planned"));

export const HealthBadge = ({ health }) => h(Pill, { palette: HEALTH[health][0], title: HEALTH[health][1] }, health);
export const StateBadge = ({ state }) => h(Pill, { palette: STATES[state] || "gray" }, state);
export const ProofBadge = ({ state }) => h(Pill, { palette: state === "passed" ? "green" : "red", title: PROOFS[state] }, state);
export const TaskBadge = ({ state }) => h(Pill, { palette: TASKS[state] || "gray" }, (state || "not begun").replaceAll("_", " "));
export const StatusBadge = ({ status }) =>
  status ? h(Pill, { palette: STATUSES[status][0], title: STATUSES[status][1] }, STATUSES[status][2]) : h("span", null, "–");

/** How many archives are in each retrieval status, as a bar and in words. */
export function StatusBar({ archives, words = false }) {
  const found = Object.keys(STATUSES).filter((status) => archives[status]?.archives);
  const total = found.reduce((sum, status) => sum + archives[status].archives, 0);
  if (total === 0) return h("span", null, "–");
  const said = found.map((status) => `${form.count(archives[status].archives)} ${STATUSES[status][2]}`).join(", ");
  return h(
    C.Box,
    { minW: "90px" },
    h(
      C.Flex,
      { role: "img", "aria-label": said, title: said, h: "8px", borderRadius: "full", overflow: "hidden", gap: "1px", bg: "bg.muted" },
      found.map((status) =>
        h(C.Box, { key: status, bg: color(STATUSES[status][0], "solid"), flexGrow: archives[status].archives, flexBasis: 0, minW: "4px" }),
      ),
    ),
    words && h(C.Flex, { columnGap: 4, rowGap: 1, mt: 2, flexWrap: "wrap", fontSize: "sm" },
      found.map((status) => h(Word, { key: status, status, amount: archives[status] }))),
  );
}

function Word({ status, amount }) {
  const [palette, meaning, words] = STATUSES[status];
  return h(
    C.Flex,
    { align: "center", gap: 2, title: meaning },
    h(C.Box, { boxSize: "10px", borderRadius: "2px", bg: color(palette, "solid"), "aria-hidden": true }),
    h("span", null, `${form.count(amount.archives)} ${words}`),
    h(Small, { as: "span" }, form.size(amount.bytes)),
  );
}

export function Meter({ share, label, palette = "cyan" }) {
  const percent = Math.max(0, Math.min(100, Math.round(100 * share)));
  return h(
    C.Box,
    { role: "progressbar", "aria-valuenow": percent, "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": label,
      h: "8px", borderRadius: "full", overflow: "hidden", bg: "bg.muted" },
    h(C.Box, { h: "full", w: `${percent}%`, bg: color(palette, "solid"), transition: "width 0.5s" }),
  );
}
