// The small parts that the views share, made of the components that Airflow's own pages are made of.

import * as form from "./format.js";

const { createElement: h, Fragment } = globalThis.React;
const C = globalThis.ChakraUI;
const { Link: RouterLink, useNavigate } = globalThis.ReactRouterDOM;

export const HOME = "/plugin/glacier-backups";
export const applicationPath = (name) => `${HOME}/${name}`;
export const backupPath = (name, id) => `${HOME}/${name}/backups/${id}`;
export const restorePath = (name, id) => `${backupPath(name, id)}/restore`;
export const runPath = (dagId, runId) => `/dags/${encodeURIComponent(dagId)}/runs/${encodeURIComponent(runId)}`;

export const color = (palette, tone) => `var(--chakra-colors-${palette}-${tone})`;

/** A link within Airflow. */
export function Link({ to, children, ...rest }) {
  return h(C.Link, { asChild: true, color: "fg.info", ...rest }, h(RouterLink, { to }, children));
}

/** A link out of Airflow, in a tab of its own; an address that is not of the web stays text. */
export function OutLink({ href, children }) {
  if (!/^https?:/i.test(href || "")) return h("span", null, children);
  return h(C.Link, { href, target: "_blank", rel: "noopener noreferrer", color: "fg.info" }, children);
}

/** A button, or with `to` a link that looks like one. */
export function Button({ to, children, ...rest }) {
  if (to) {
    return h(C.Button, { asChild: true, size: "sm", variant: "outline", ...rest }, h(RouterLink, { to }, children));
  }
  return h(C.Button, { size: "sm", variant: "outline", type: "button", ...rest }, children);
}

const WHOLE = { whiteSpace: "nowrap" };

/** A moment; with `now` how long ago it was, or how soon it is. */
export function Time({ at, now }) {
  if (!at) return h("span", null, "–");
  const exact = form.time(at);
  if (now) return h("time", { dateTime: at, title: `${exact} (${form.timezone()})` }, form.ago(at, now));
  const [day, hour] = exact.split(" ");
  return h("time", { dateTime: at, title: form.timezone() }, h("span", { style: WHOLE }, day), " ", h("span", { style: WHOLE }, hour));
}

/** A figure under its name, as in Airflow's headers. */
export function Fact({ name, children, ...rest }) {
  return h(
    C.Box,
    { minW: 0, ...rest },
    h(C.Text, { as: "dt", color: "fg.muted", fontSize: "xs", fontWeight: "semibold" }, name),
    h(C.Box, { as: "dd", fontSize: "sm", overflowWrap: "anywhere" }, children),
  );
}

export const Facts = ({ children, ...rest }) =>
  h(C.SimpleGrid, { as: "dl", gap: 3, columns: { base: 2, md: 4 }, ...rest }, children);

/** What is written smaller, beside the point. */
export const Small = ({ children, ...rest }) => h(C.Text, { fontSize: "xs", color: "fg.muted", ...rest }, children);

export function Panel({ title, actions, children, ...rest }) {
  return h(
    C.Box,
    { as: "section", borderWidth: 1, borderColor: "border.emphasized", borderRadius: 8, overflow: "hidden", ...rest },
    title &&
      h(
        C.Flex,
        { justify: "space-between", align: "center", gap: 2, bg: "bg.muted", px: 3, py: 1.5, minH: "40px", flexWrap: "wrap" },
        typeof title === "string" ? h(C.Heading, { as: "h2", size: "sm" }, title) : title,
        actions,
      ),
    h(C.Box, { p: 3 }, children),
  );
}

export function Page({ trail = [], title, badge, actions, children }) {
  return h(
    C.Box,
    { className: "glacier-page", p: { base: 2, md: 3 }, w: "full" },
    trail.length > 0 && h(Trail, { trail }),
    h(
      C.Flex,
      { justify: "space-between", align: "center", columnGap: 3, rowGap: 2, mb: 3, flexWrap: "wrap" },
      h(C.Flex, { align: "center", columnGap: 3, rowGap: 1, minW: 0, flexWrap: "wrap" },
        h(C.Heading, { as: "h1", size: "lg", overflowWrap: "anywhere" }, title), badge),
      actions && h(C.Flex, { gap: 2, flexWrap: "wrap" }, actions),
    ),
    h(C.VStack, { align: "stretch", gap: 3 }, children),
  );
}

function Trail({ trail }) {
  return h(
    C.Flex,
    { as: "nav", "aria-label": "Breadcrumb", gap: 2, fontSize: "sm", mb: 1, flexWrap: "wrap" },
    trail.map(([name, to], number) =>
      h(Fragment, { key: to },
        number > 0 && h(C.Text, { as: "span", color: "fg.muted", "aria-hidden": true }, "/"),
        h(Link, { to }, name))),
  );
}

const NOTES = { error: "red", warning: "orange", info: "blue", success: "green" };

export function Note({ status = "info", title, children, ...rest }) {
  return h(
    C.Box,
    {
      role: status === "error" ? "alert" : "status",
      colorPalette: NOTES[status],
      bg: `bg.${status}`,
      borderLeftWidth: 4,
      borderColor: color(NOTES[status], "solid"),
      borderRadius: "sm",
      px: 3,
      py: 2,
      fontSize: "sm",
      overflowWrap: "anywhere",
      css: { "& a": { color: "inherit", textDecoration: "underline" } }, // blue on red is hard to read
      ...rest,
    },
    title && h(C.Text, { fontWeight: "semibold" }, title),
    children,
  );
}

/** What went wrong and what mends it. */
export function Problem({ error, ...rest }) {
  if (!error) return null;
  const uncreated = error.kind === "CatalogNotReady";
  return h(
    Note,
    { status: uncreated ? "warning" : "error", title: error.message || error.detail, ...rest },
    error.hint && h(C.Text, null, error.hint),
    uncreated && h(C.Text, null, "The first backup creates the catalog as well."),
  );
}

export const Waiting = ({ rows = 3 }) =>
  h(C.VStack, { align: "stretch", gap: 2, role: "status", "aria-busy": true, "aria-label": "Loading" },
    Array.from({ length: rows }, (_, number) => h(C.Skeleton, { key: number, height: "20px" })));

export const Nothing = ({ children }) => h(C.Text, { color: "fg.muted", fontSize: "sm", py: 4 }, children);

/** A box to tick, with its words. */
export function Check({ checked, onChange, children }) {
  return h(C.Flex, { as: "label", gap: 2, align: "baseline", fontSize: "sm", cursor: "pointer" },
    h("input", { type: "checkbox", checked, onChange: (event) => onChange(event.target.checked) }),
    h("span", null, children));
}

const CHOSEN = { color: "fg", borderColor: "border.info" };

/** Tabs as on Airflow's own pages: `tabs` are [key, name, element]. */
export function Tabs({ label, tabs, value, onChange }) {
  const chosen = tabs.find(([key]) => key === value) || tabs[0];
  return h(
    C.Tabs.Root,
    { value: chosen[0], onValueChange: ({ value: next }) => onChange(next), variant: "plain", lazyMount: true, unmountOnExit: true, w: "full" },
    h(
      C.Tabs.List,
      { "aria-label": label, flexWrap: { base: "wrap", md: "nowrap" }, overflowX: "auto", overflowY: "hidden", h: "auto", borderBottomWidth: 1, p: 0, gap: 0, w: "full" },
      tabs.map(([key, name]) =>
        h(C.Tabs.Trigger,
          { key, value: key, flexShrink: 0, px: 4, py: 2, h: "auto", fontWeight: "bold", color: "fg.muted", borderRadius: 0,
            borderBottomWidth: 3, borderColor: "transparent", _selected: CHOSEN, _focusVisible: { outlineOffset: "-3px" } },
          name)),
    ),
    tabs.map(([key, , element]) => h(C.Tabs.Content, { key, value: key, pt: 3 }, key === chosen[0] && element)),
  );
}

export { C, Fragment, h, useNavigate };
