// How figures and times are written. Sizes are in powers of 1000, times in the time zone chosen in Airflow.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  let value = bytes;
  let unit = 0;
  while (value >= 999.95 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

export function count(number) {
  return number === null || number === undefined ? "–" : number.toLocaleString("en-GB");
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

const SIGNS = { USD: "$", EUR: "€", GBP: "£" };

/** Decimal text as money, to the cent; a price is never written as nothing. */
export function money(text, currency) {
  if (text === null || text === undefined) return "–";
  const value = Number(text);
  const sign = SIGNS[currency] || `${currency} `;
  if (value > 0 && value < 0.01) return `< ${sign}0.01`;
  return `${sign}${value.toLocaleString("en-GB", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}

export function seconds(from, to) {
  return from && to ? (Date.parse(to) - Date.parse(from)) / 1000 : null;
}

/** The two largest units of a span: "3 min 4 s", "2 d 5 h". */
export function duration(total) {
  if (total === null || total === undefined || Number.isNaN(total)) return "–";
  if (total < 1) return "< 1 s";
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let rest = Math.round(total);
  const said = [];
  for (const [name, length] of units) {
    const many = Math.floor(rest / length);
    if (many > 0 && said.length < 2) said.push(`${many} ${name}`);
    else if (said.length > 0) break;
    rest -= many * length;
  }
  return said.join(" ");
}

/** How long something took; of what has not ended, for how long it has been running. */
export function took({ opened_at: from, closed_at: to, state }, now = new Date().toISOString()) {
  if (to) return duration(seconds(from, to));
  return state === "running" || state === "planned" ? `running for ${duration(seconds(from, now))}` : "–";
}

/** Typical hours as people say them: "1–5 min", "3–5 h". */
export function hours([least, most]) {
  if (most < 1) return `${Math.max(1, Math.round(least * 60))}–${Math.round(most * 60)} min`;
  return `${least}–${most} h`;
}

export function ago(moment, now) {
  if (!moment) return "–";
  const passed = (Date.parse(now) - Date.parse(moment)) / 1000;
  if (passed >= 0) return passed < 60 ? "just now" : `${largest(passed)} ago`;
  return passed > -60 ? "in less than a minute" : `in ${largest(-passed)}`;
}

function largest(total) {
  if (total < 3600) return plural(Math.floor(total / 60), "minute");
  if (total < 2 * 86400) return plural(Math.floor(total / 3600), "hour");
  return plural(Math.floor(total / 86400), "day");
}

export function timezone() {
  let chosen = null;
  try {
    chosen = globalThis.localStorage.getItem("timezone");
    chosen = chosen && chosen.startsWith('"') ? JSON.parse(chosen) : chosen;
    new Intl.DateTimeFormat("en", { timeZone: chosen || undefined });
  } catch {
    chosen = null;
  }
  return chosen || Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

/** As Airflow writes times: 2026-11-22 04:30:12. */
export function time(moment) {
  if (!moment) return "–";
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone: timezone(),
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  }).formatToParts(new Date(moment));
  const part = (type) => parts.find((one) => one.type === type).value;
  return `${part("year")}-${part("month")}-${part("day")} ${part("hour")}:${part("minute")}:${part("second")}`;
}

/** The n-th day after an ISO date, as an ISO date. */
export function dayAfter(start, number) {
  const day = new Date(`${start}T00:00:00Z`);
  day.setUTCDate(day.getUTCDate() + number);
  return day.toISOString().slice(0, 10);
}
