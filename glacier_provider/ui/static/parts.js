// The small parts that the views share, made of the components that Airflow's own pages are made of.

import * as form from "./format.js";

const { createElement: h, Fragment, useId, useState } = globalThis.React;
const C = globalThis.ChakraUI;
const { Link: RouterLink, useNavigate } = globalThis.ReactRouterDOM;

export const HOME = "/plugin/glacier-backups";
export const applicationPath = (name) => `${HOME}/${name}`;
export const backupPath = (name, id) => `${HOME}/${name}/backups/${id}`;
export const restorePath = (name, id) => `${backupPath(name, id)}/restore`;
export const runPath = (dagId, runId) => `/dags/${encodeURIComponent(dagId)}/runs/${encodeURIComponent(runId)}`;

/** The five words, from furthest to nearest, each with its colour and what it means. */
export const STATUSES = {
  available: ["gray", "only in the cold: has to be retrieved"],
  pending: ["orange", "retrieval requested"],
  ready: ["cyan", "can be downloaded"],
  local: ["purple", "downloaded and verified, staged for restoral"],
  exists: ["green", "in its directory: nothing to do"],
};

const HEALTH = {
  fresh: ["green", "the last backup that was due is complete"],
  late: ["orange", "a backup was due and is not there"],
  failing: ["red", "the last backup failed"],
  never: ["red", "there is no complete backup yet"],
  unscheduled: ["blue", "backed up by hand only"],
  unknown: ["gray", "the catalog cannot be asked"],
};

const STATES = { complete: "green", running: "cyan", failed: "red", planned: "gray" };

export const color = (palette, tone) => `var(--chakra-colors-${palette}-${tone})`;

function Pill({ palette, title, children }) {
  return h(
    C.Badge,
    { colorPalette: palette, variant: "subtle", size: "sm", borderRadius: "full", px: 2, title, flexShrink: 0 },
    h(C.Box, { as: "span", boxSize: "7px", borderRadius: "full", bg: color(palette, "solid"), "aria-hidden": true }),
    children,
  );
}

export const HealthBadge = ({ health }) =>
  h(Pill, { palette: HEALTH[health][0], title: HEALTH[health][1] }, health);
export const StateBadge = ({ state }) => h(Pill, { palette: STATES[state] || "gray" }, state);
export const StatusBadge = ({ status }) =>
  status ? h(Pill, { palette: STATUSES[status][0], title: STATUSES[status][1] }, status) : h("span", null, "–");

/** A link within Airflow, or a button that looks like one of Airflow's. */
export function Link({ to, children, ...rest }) {
  return h(C.Link, { asChild: true, color: "fg.info", ...rest }, h(RouterLink, { to }, children));
}

export function Button({ to, children, ...rest }) {
  if (to) {
    return h(C.Button, { asChild: true, size: "sm", variant: "outline", ...rest }, h(RouterLink, { to }, children));
  }
  return h(C.Button, { size: "sm", variant: "outline", type: "button", ...rest }, children);
}

export function Time({ at, now }) {
  if (!at) return h("span", null, "–");
  const exact = form.time(at);
  return h("time", { dateTime: at, title: now ? `${exact} (${form.timezone()})` : form.timezone() }, now ? form.ago(at, now) : exact);
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
    { className: "glacier-page", p: { base: 2, md: 4 }, maxW: "1400px", mx: "auto", w: "full" },
    trail.length > 0 &&
      h(
        C.Flex,
        { as: "nav", "aria-label": "Breadcrumb", gap: 2, fontSize: "sm", mb: 2, flexWrap: "wrap" },
        trail.map(([name, to]) =>
          h(Fragment, { key: to }, h(Link, { to }, name), h(C.Text, { as: "span", color: "fg.muted", "aria-hidden": true }, "/")),
        ),
      ),
    h(
      C.Flex,
      { justify: "space-between", align: "center", gap: 3, mb: 4, flexWrap: "wrap" },
      h(C.Flex, { align: "center", gap: 3, minW: 0 }, h(C.Heading, { as: "h1", size: "xl", overflowWrap: "anywhere" }, title), badge),
      actions && h(C.Flex, { gap: 2, flexWrap: "wrap" }, actions),
    ),
    h(C.VStack, { align: "stretch", gap: 4 }, children),
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

/** How many archives are in each retrieval status, as a bar and in words. */
export function StatusBar({ archives, words = false }) {
  const found = Object.keys(STATUSES).filter((status) => archives[status]?.archives);
  const total = found.reduce((sum, status) => sum + archives[status].archives, 0);
  if (total === 0) return h("span", null, "–");
  const said = found.map((status) => `${form.count(archives[status].archives)} ${status}`).join(", ");
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
    words &&
      h(
        C.Flex,
        { gap: 4, mt: 2, flexWrap: "wrap", fontSize: "sm" },
        found.map((status) =>
          h(
            C.Flex,
            { key: status, align: "center", gap: 2, title: STATUSES[status][1] },
            h(C.Box, { boxSize: "10px", borderRadius: "2px", bg: color(STATUSES[status][0], "solid"), "aria-hidden": true }),
            h("span", null, `${form.count(archives[status].archives)} ${status}`),
            h(C.Text, { as: "span", color: "fg.muted" }, form.size(archives[status].bytes)),
          ),
        ),
      ),
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

/** A table as Airflow's: `columns` are {name, show(row), number, from} where `from` is the breakpoint it appears at. */
export function Table({ label, columns, rows, keyOf = (row) => row.id, sort, onSort, empty = "Nothing here." }) {
  if (rows.length === 0) return h(Nothing, null, empty);
  const cell = (column) => ({
    textAlign: column.number ? "end" : "start",
    display: column.from ? { base: "none", [column.from]: "table-cell" } : undefined,
    px: { base: 1.5, md: 3 },
    py: 2,
    whiteSpace: column.wrap ? "normal" : { base: column.breaks ? "normal" : "nowrap", md: "nowrap" },
    overflowWrap: column.wrap ? "anywhere" : undefined,
  });
  return h(
    C.Box,
    { overflowX: "auto", tabIndex: 0, role: "region", "aria-label": label },
    h(
      C.Table.Root,
      { size: "sm", variant: "line", bg: "transparent" },
      h(
        C.Table.Header,
        null,
        h(
          C.Table.Row,
          { bg: "transparent" },
          columns.map((column) => h(Head, { key: column.name, column, sort, onSort, ...cell(column) })),
        ),
      ),
      h(
        C.Table.Body,
        null,
        rows.map((row) =>
          h(
            C.Table.Row,
            { key: keyOf(row), bg: "transparent", _hover: { bg: "bg.subtle" } },
            columns.map((column) => h(C.Table.Cell, { key: column.name, ...cell(column) }, column.show(row))),
          ),
        ),
      ),
    ),
  );
}

function Head({ column, sort, onSort, ...rest }) {
  const sorted = column.sort && sort?.by === column.sort ? sort.order : null;
  const turn = () => onSort({ by: column.sort, order: sorted === "desc" ? "asc" : "desc" });
  return h(
    C.Table.ColumnHeader,
    { color: "fg.muted", fontWeight: "semibold", "aria-sort": sorted ? (sorted === "asc" ? "ascending" : "descending") : undefined, ...rest },
    column.sort
      ? h(
          C.Box,
          { as: "button", type: "button", onClick: turn, fontWeight: "semibold", cursor: "pointer" },
          column.name,
          h("span", { "aria-hidden": true }, sorted === "asc" ? " ↑" : sorted === "desc" ? " ↓" : " ↕"),
        )
      : column.name,
  );
}

export function Choice({ label, value, options, onChange }) {
  const id = useId();
  return h(
    C.Box,
    null,
    h(C.Text, { as: "label", htmlFor: id, fontSize: "xs", color: "fg.muted", display: "block" }, label),
    h(
      C.NativeSelect.Root,
      { size: "sm", minW: "130px" },
      h(
        C.NativeSelect.Field,
        { id, value, onChange: (event) => onChange(event.target.value) },
        options.map(([key, text]) => h("option", { key, value: key }, text)),
      ),
      h(C.NativeSelect.Indicator),
    ),
  );
}

/** A text that is searched for a moment after the last key. */
export function Search({ label, value, onChange, placeholder }) {
  const id = useId();
  const [typed, setTyped] = useState(value);
  const [timer, setTimer] = useState(null);
  const type = (event) => {
    const text = event.target.value;
    setTyped(text);
    clearTimeout(timer);
    setTimer(setTimeout(() => onChange(text), 300));
  };
  return h(
    C.Box,
    { flexGrow: 1, maxW: "460px" },
    h(C.Text, { as: "label", htmlFor: id, fontSize: "xs", color: "fg.muted", display: "block" }, label),
    h(C.Input, { id, type: "search", size: "sm", value: typed, onChange: type, placeholder, maxLength: 300 }),
  );
}

/** Tabs as on Airflow's own pages: `tabs` are [key, name, element]. */
export function Tabs({ label, tabs, value, onChange }) {
  const chosen = tabs.find(([key]) => key === value) || tabs[0];
  return h(
    C.Tabs.Root,
    { value: chosen[0], onValueChange: ({ value: next }) => onChange(next), size: "sm", lazyMount: true, unmountOnExit: true, w: "full" },
    h(
      C.Tabs.List,
      { "aria-label": label, overflowX: "auto", overflowY: "hidden" },
      tabs.map(([key, name]) => h(C.Tabs.Trigger, { key, value: key, flexShrink: 0 }, name)),
    ),
    tabs.map(([key, , element]) => h(C.Tabs.Content, { key, value: key, pt: 4 }, key === chosen[0] && element)),
  );
}

/** Asks before something is done; `act` may refuse, and the dialog says why. */
export function Ask({ open, title, children, doIt, act, onClose, palette = "brand" }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const confirm = async () => {
    setBusy(true);
    setError(null);
    try {
      await act();
      onClose();
    } catch (refused) {
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  return h(
    C.Dialog.Root,
    { open, onOpenChange: ({ open: stays }) => stays || onClose(), role: "alertdialog", placement: "center" },
    h(
      C.Portal,
      null,
      h(C.Dialog.Backdrop),
      h(
        C.Dialog.Positioner,
        { px: 3 },
        h(
          C.Dialog.Content,
          null,
          h(C.Dialog.Header, null, h(C.Dialog.Title, null, title)),
          h(C.Dialog.Body, null, children, h(Problem, { error, mt: 3 })),
          h(
            C.Dialog.Footer,
            null,
            h(Button, { onClick: onClose }, "Cancel"),
            h(Button, { variant: "solid", colorPalette: palette, onClick: confirm, loading: busy }, doIt),
          ),
        ),
      ),
    ),
  );
}

export { C, Fragment, h, useNavigate };
