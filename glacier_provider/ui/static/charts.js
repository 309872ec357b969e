// A year of days, and how much is protected: drawn by hand, readable without colours and without eyes.

import { dayAfter, plural, size } from "./format.js";
import { C, color, h } from "./parts.js";

const SQUARE = 10;
const STEP = 12;
const TOP = 16;

const DAYS = {
  c: ["complete", "green"],
  f: ["failed", "red"],
  r: ["running", "cyan"],
  m: ["missing", "orange"],
  d: ["deleted", "gray"],
  ".": ["nothing due", null],
};
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** What a day looks like: filled when complete, with a cross when failed, hollow when missing or deleted. */
function Day({ letter, x, y, title }) {
  const [, palette] = DAYS[letter];
  const place = { x, y, width: SQUARE, height: SQUARE, rx: 2 };
  const parts = [];
  if (palette === null) parts.push(h("rect", { key: "r", ...place, fill: "var(--chakra-colors-bg-muted)" }));
  else if (letter === "m" || letter === "d") {
    const inner = { x: x + 1, y: y + 1, width: SQUARE - 2, height: SQUARE - 2, rx: 2 };
    parts.push(h("rect", { key: "r", ...inner, fill: "none", stroke: color(palette, "solid"), strokeWidth: 2 }));
  } else parts.push(h("rect", { key: "r", ...place, fill: color(palette, "solid") }));
  if (letter === "f") {
    parts.push(h("path", { key: "x", d: `M${x + 3} ${y + 3}l4 4m0 -4l-4 4`, stroke: "white", strokeWidth: 1.4 }));
  }
  return h("g", null, h("title", null, title), parts);
}

function counted(days) {
  const said = Object.entries(DAYS)
    .filter(([letter]) => letter !== ".")
    .map(([letter, [word]]) => [days.split(letter).length - 1, word])
    .filter(([many]) => many > 0)
    .map(([many, word]) => `${many} ${word}`);
  return said.length ? said.join(", ") : "no backups yet";
}

/** A year; half of it where a year's squares would be too small to tell apart. */
export function Year({ calendar, legend = false }) {
  const half = Math.max(0, Math.ceil(calendar.days.length / 7) - 26) * 7;
  return h(
    C.Box,
    null,
    h(C.Box, { display: { base: "none", sm: "block" } }, h(Squares, { ...calendar, span: "year" })),
    h(C.Box, { display: { base: "block", sm: "none" } },
      h(Squares, { start: dayAfter(calendar.start, half), days: calendar.days.slice(half), span: "half year" })),
    legend && h(Legend),
  );
}

function Squares({ start, days, span }) {
  const weeks = Math.ceil(days.length / 7);
  const months = [];
  const squares = [...days].map((letter, number) => {
    const day = dayAfter(start, number);
    const x = Math.floor(number / 7) * STEP;
    if (day.endsWith("-01") && x < (weeks - 2) * STEP) months.push([MONTHS[Number(day.slice(5, 7)) - 1], x, day]);
    return h(Day, { key: day, letter, x, y: TOP + (number % 7) * STEP, title: `${day}: ${DAYS[letter][0]}` });
  });
  return h(
    "svg",
    { viewBox: `0 0 ${weeks * STEP} ${TOP + 7 * STEP}`, width: "100%", role: "img",
      "aria-label": `Days of the last ${span}: ${counted(days)}`, style: { maxWidth: `${weeks * STEP * 1.4}px`, display: "block" } },
    months.map(([name, x, day]) =>
      h("text", { key: `month-${day}`, x, y: 10, style: { fontSize: "9px" }, fill: "var(--chakra-colors-fg-muted)" }, name)),
    squares,
  );
}

function Legend() {
  return h(
    C.Flex,
    { columnGap: 4, rowGap: 1, mt: 2, fontSize: "xs", color: "fg.muted", flexWrap: "wrap" },
    Object.entries(DAYS).map(([letter, [word]]) =>
      h(C.Flex, { key: letter, gap: 1.5, align: "center" },
        h("svg", { width: 12, height: 12, viewBox: "0 0 10 10", "aria-hidden": true }, h(Day, { letter, x: 0, y: 0, title: word })),
        word)),
  );
}

/** Bytes protected, one point a week, from zero: growth is to be seen as it is. */
export function Growth({ points, height = 90 }) {
  if (points.length < 2) {
    return h(C.Text, { color: "fg.muted", fontSize: "sm" }, "Growth can be seen after backups of two weeks.");
  }
  const width = 300;
  const first = Date.parse(points[0].at);
  const span = Date.parse(points.at(-1).at) - first || 1;
  const most = Math.max(...points.map((point) => point.bytes)) || 1;
  const place = (point) => [((Date.parse(point.at) - first) / span) * width, height - 4 - (point.bytes / most) * (height - 12)];
  const line = points.map((point) => place(point).map((value) => value.toFixed(1)).join(" ")).join("L");
  const change = points.at(-1).bytes - points[0].bytes;
  const said = `${size(points[0].bytes)} to ${size(points.at(-1).bytes)} in ${plural(Math.round(span / 604800000), "week")}`;
  return h(
    C.Box,
    null,
    h(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, width: "100%", height, preserveAspectRatio: "none", role: "img", "aria-label": `Protected: ${said}` },
      h("path", { d: `M${line}L${width} ${height}L0 ${height}Z`, fill: color("brand", "muted") }),
      h("path", { d: `M${line}`, fill: "none", stroke: color("brand", "solid"), strokeWidth: 2, vectorEffect: "non-scaling-stroke" }),
    ),
    h(C.Text, { fontSize: "xs", color: "fg.muted", mt: 1 }, `${said} (${change < 0 ? "−" : "+"}${size(Math.abs(change))})`),
  );
}
