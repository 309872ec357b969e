// Money: what is stored costs this much a month, and where the prices come from.

import * as form from "./format.js";
import { C, Fact, Facts, h, OutLink, Small } from "./parts.js";

/** An amount a month, with what it is made of when the mouse rests on it. */
export function Monthly({ cost }) {
  if (!cost) return h("span", null, "–");
  const parts = (cost.classes || []).map(
    (one) => `${one.store_class}: ${form.plural(one.archives, "archive")}, ${form.size(one.bytes)}, ${form.money(one.monthly, cost.currency)}`,
  );
  return h("span", { title: parts.join("\n") || undefined }, form.money(cost.monthly, cost.currency));
}

/** Where the prices come from: an estimate is worth what they are. */
export function Prices({ prices, ...rest }) {
  if (!prices) return null;
  return h(
    Small,
    rest,
    `Estimated with the ${prices.overridden ? "configured prices" : "list prices"} of ${prices.region} as of ${prices.as_of}, `,
    `in ${prices.currency} (`, h(OutLink, { href: prices.source }, "source"), ").",
  );
}

/** What is stored, by storage class and in all; and what it would cost to bring all of it back, or to delete it today. */
export function Costs({ cost }) {
  const money = (amount) => form.money(amount, cost.currency);
  const said = (one) => `${form.plural(one.archives, "archive")}, ${form.size(one.bytes)}, ${money(one.monthly)} a month`;
  const tiers = Object.entries(cost.retrieve_everything).map(([tier, total]) => `${money(total)}${tier && ` (${tier})`}`);
  return h(
    C.VStack,
    { align: "stretch", gap: 3, fontSize: "sm" },
    h(C.Box, { as: "ul", listStyleType: "none" }, cost.classes.map((one) => h("li", { key: one.store_class }, `${one.store_class}: ${said(one)}`))),
    h(C.Text, { fontWeight: "semibold" }, `In all: ${said(cost)}`),
    h(Facts, { columns: { base: 1, md: 2 } },
      h(Fact, { name: `To retrieve everything, copies kept ${form.plural(cost.retrieval_days, "day")}` }, tiers.join(", ")),
      h(Fact, { name: "What each backup asks the store beside its uploads" }, money(cost.looks)),
      h(Fact, { name: "To rebuild a lost catalog from the store" }, money(cost.rebuild)),
      h(Fact, { name: "Fee if everything were deleted today, at most" }, money(cost.delete_today))),
  );
}
