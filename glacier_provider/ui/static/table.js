// Tables as Airflow's, page by page, and the fields that narrow them down.

import * as form from "./format.js";
import { Button, C, h, Nothing, Small } from "./parts.js";

const { useId, useState } = globalThis.React;

/** `columns` are {name, show(row), sort, number, wrap, breaks, from}; `from` is the breakpoint a column appears at. */
export function Table({ label, columns, rows, keyOf = (row) => row.id, sort, onSort, empty = "Nothing here." }) {
  if (rows.length === 0) return h(Nothing, null, empty);
  return h(
    C.Box,
    { overflowX: "auto", tabIndex: 0, role: "region", "aria-label": label },
    h(
      C.Table.Root,
      { size: "sm", variant: "line", bg: "transparent" },
      h(C.Table.Header, null,
        h(C.Table.Row, { bg: "transparent" },
          columns.map((column) => h(Head, { key: column.name, column, sort, onSort, ...looks(column) })))),
      h(C.Table.Body, null,
        rows.map((row) =>
          h(C.Table.Row, { key: keyOf(row), bg: "transparent", _hover: { bg: "bg.subtle" } },
            columns.map((column) => h(C.Table.Cell, { key: column.name, ...looks(column) }, column.show(row)))))),
    ),
  );
}

const looks = (column) => ({
  textAlign: column.number ? "end" : "start",
  display: column.from ? { base: "none", [column.from]: "table-cell" } : undefined,
  px: { base: 1.5, md: 2 },
  py: 2,
  whiteSpace: column.wrap || column.breaks ? "normal" : "nowrap",
  overflowWrap: column.wrap ? "anywhere" : undefined,
});

const ARROWS = { asc: " ↑", desc: " ↓" };
const ORDERS = { asc: "ascending", desc: "descending" };

function Head({ column, sort, onSort, ...rest }) {
  const sorted = column.sort && sort?.by === column.sort ? sort.order : null;
  const turn = () => onSort({ by: column.sort, order: sorted === "desc" ? "asc" : "desc" });
  return h(
    C.Table.ColumnHeader,
    { color: "fg.muted", fontWeight: "semibold", "aria-sort": ORDERS[sorted], ...rest },
    column.sort
      ? h(
          C.Box,
          { as: "button", type: "button", onClick: turn, fontWeight: "semibold", cursor: "pointer" },
          column.name,
          h("span", { "aria-hidden": true }, ARROWS[sorted] || " ↕"),
        )
      : column.name,
  );
}

/** Which rows of how many are seen, and the way to the others; the database cuts the pages. */
export function Pages({ total, offset, size, onMove }) {
  if (total <= size && offset === 0) return null;
  const last = Math.min(total, offset + size);
  return h(
    C.Flex,
    { as: "nav", "aria-label": "Pages", gap: 2, align: "center", justify: "flex-end", fontSize: "sm", flexWrap: "wrap" },
    h(C.Text, { as: "span", "aria-live": "polite", me: 1 },
      `${form.count(Math.min(offset + 1, total))}–${form.count(last)} of ${form.count(total)}`),
    h(Button, { onClick: () => onMove(0), disabled: offset === 0 }, "First"),
    h(Button, { onClick: () => onMove(Math.max(0, offset - size)), disabled: offset === 0 }, "Previous"),
    h(Button, { onClick: () => onMove(offset + size), disabled: last >= total }, "Next"),
  );
}

function Field({ label, id, children, ...rest }) {
  return h(C.Box, rest, h(Small, { as: "label", htmlFor: id, display: "block" }, label), children);
}

export function Choice({ label, value, options, onChange }) {
  const id = useId();
  return h(Field, { label, id },
    h(C.NativeSelect.Root, { size: "sm", minW: "130px" },
      h(C.NativeSelect.Field, { id, value, onChange: (event) => onChange(event.target.value) },
        options.map(([key, text]) => h("option", { key, value: key }, text))),
      h(C.NativeSelect.Indicator)));
}

export function Day({ label, value, onChange }) {
  const id = useId();
  return h(Field, { label, id },
    h(C.Input, { id, type: "date", size: "sm", value: value || "", onChange: (event) => onChange(event.target.value) }));
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
  return h(Field, { label, id, flexGrow: 1, maxW: "460px" },
    h(C.Input, { id, type: "search", size: "sm", value: typed, onChange: type, placeholder, maxLength: 300 }));
}
