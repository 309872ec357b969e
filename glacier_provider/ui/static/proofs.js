// What was proven of a backup: its drills, the last verification of all that sleeps in the stores, and restores that were checked.

import { C, h, Note, Panel, Small, Time } from "./parts.js";
import { ProofBadge } from "./status.js";

export function Proofs({ proofs, restores = [] }) {
  return h(C.VStack, { align: "stretch", gap: 3 },
    proofs.length === 0 && h(C.Text, { color: "fg.muted", fontSize: "sm" },
      "Never proven: no drill has restored this backup, and nothing was verified in the cold since it was complete."),
    proofs.map((one) => h(Proof, { key: one.id, proof: one })),
    restores.map((one) => h(Restored, { key: `restore ${one.id}`, restore: one })));
}

/** A restore that people asked for checks its database as well, and is no proof that is asked for or missed. */
function Restored({ restore }) {
  const state = restore.error ? "found" : "passed";
  return h(Panel, { title: h(C.Flex, { gap: 3, align: "center" }, `Restore #${restore.id}${restore.elsewhere ? ", elsewhere" : ""}`, h(ProofBadge, { state })) },
    h(C.Text, null, h(Time, { at: restore.closed_at }), !restore.error && `: ${restore.words}`),
    restore.error && h(Note, { status: "error" }, restore.error));
}

function Proof({ proof }) {
  const title = proof.kind === "drill" ? "Drill of this backup" : "Verification in the cold, of all backups";
  return h(Panel, { title: h(C.Flex, { gap: 3, align: "center" }, title, h(ProofBadge, { state: proof.state })) },
    h(C.Text, null, h(Time, { at: proof.ended_at }), proof.words && `: ${proof.words}`),
    proof.error && h(Note, { status: "error" }, proof.error),
    proof.findings.length > 0 && h(C.Box, { as: "ul", fontSize: "sm", ps: 4, listStyleType: "disc" },
      proof.findings.map((told, number) => h(C.Box, { as: "li", key: number, overflowWrap: "anywhere" }, told))),
    h(Small, null, proof.evidence ? `Evidence: document ${proof.evidence}` : "No evidence yet"));
}
