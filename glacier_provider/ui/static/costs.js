// Money: what is stored costs this much a month, and where the prices come from.

import * as form from "./format.js";
import { C, h, OutLink, Small } from "./parts.js";

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

/** What is stored, by storage class. */
export function Classes({ cost }) {
  return h(
    C.Box,
    { as: "ul", listStyleType: "none", fontSize: "sm" },
    cost.classes.map((one) =>
      h("li", { key: one.store_class },
        `${one.store_class}: ${form.plural(one.archives, "archive")}, ${form.size(one.bytes)}, ${form.money(one.monthly, cost.currency)} a month`)),
  );
}
