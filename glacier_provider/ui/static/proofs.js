// What was proven of a backup: its drills, and the last verification of all that sleeps in the stores.

import { C, h, Note, Panel, Small, Time } from "./parts.js";
import { ProofBadge } from "./status.js";

export function Proofs({ proofs }) {
  if (proofs.length === 0) {
    return h(C.Text, { color: "fg.muted", fontSize: "sm" },
      "Never proven: no drill has restored this backup, and nothing was verified in the cold since it was complete.");
  }
  return h(C.VStack, { align: "stretch", gap: 3 }, proofs.map((one) => h(Proof, { key: one.id, proof: one })));
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
