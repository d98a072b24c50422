// Numbers, moments and names as people read them, in their language.

import { signal } from "@preact/signals";
import { ages, dates, numbers } from "./i18n/formatters";
import { t } from "./i18n/t";

/** The present, for ages on the screen; moved on every ten seconds. */
export const now = signal(Date.now());

const TICK_MS = 10_000;

/** Lets `now` run. */
export function tick(): void {
  setInterval(() => {
    now.value = Date.now();
  }, TICK_MS);
}

const UNITS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** How long ago a moment is, or how far ahead: "3 min ago". */
export function ago(at: number | null, from: number = now.value): string {
  if (at === null) return t("time.never");
  const seconds = Math.round((at - from) / 1_000);
  const format = ages({ numeric: "always", style: "short" });
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return format.format(Math.trunc(seconds / size), unit);
  }
  return t("time.now");
}

/** How long ago something was; the clock of this machine may be behind that of the server. */
export function since(at: number | null): string {
  return ago(at === null ? null : Math.min(at, now.value));
}

/** A moment to the minute. */
export function moment(at: number): string {
  return dates({ dateStyle: "medium", timeStyle: "short" }).format(at);
}

/** The time of a day. */
export function clock(at: number): string {
  return dates({ timeStyle: "short" }).format(at);
}

/** A day of this year. */
export function day(at: number): string {
  return dates({ day: "numeric", month: "short" }).format(at);
}

/** A moment to the second, for logs. */
export function second(at: number): string {
  return dates({ dateStyle: "short", timeStyle: "medium" }).format(at);
}

export function number(value: number): string {
  return numbers().format(value);
}

/** Part of a whole as a percentage; of nothing, an em dash. */
export function percent(part: number, whole: number): string {
  if (whole === 0) return "–";
  return numbers({ style: "percent", maximumFractionDigits: 0 }).format(part / whole);
}

/** Part of a thousand as a percentage: "0.4%"; of nothing, an em dash. */
export function permille(part: number | null): string {
  if (part === null) return "–";
  return numbers({ style: "percent", maximumFractionDigits: 1 }).format(part / 1_000);
}

const SIZES = ["", "kilo", "mega", "giga", "tera"] as const;

/** How many of a thousand, a million and so on there are, and of which. */
function sized(value: number): { shown: number; step: number; digits: number } {
  const step = Math.max(0, Math.min(SIZES.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3)));
  const shown = value / 1_000 ** step;
  return { shown, step, digits: step > 0 && shown < 100 ? 1 : 0 };
}

/** An amount of data: "512 byte", "3.2 MB". */
export function bytes(count: number): string {
  const { shown, step, digits } = sized(count);
  return numbers({
    style: "unit",
    unit: `${SIZES[step]!}byte`,
    unitDisplay: "short",
    maximumFractionDigits: digits,
  }).format(shown);
}

const RATES = ["rate.bit", "rate.kbit", "rate.mbit", "rate.gbit", "rate.tbit"] as const;

/** How fast data goes: "12 kbit/s", "3.2 Mbit/s". */
export function rate(bps: number): string {
  const { shown, step, digits } = sized(bps);
  const value = numbers({ maximumFractionDigits: digits }).format(shown);
  return t(RATES[step]!, { value });
}

/** A round trip, in milliseconds: "0.4 ms", "35 ms". */
export function roundTrip(ms: number | null): string {
  if (ms === null) return "–";
  return numbers({
    style: "unit",
    unit: "millisecond",
    unitDisplay: "short",
    maximumFractionDigits: ms < 10 ? 1 : 0,
  }).format(ms);
}

/** A length of time: "850 ms", "3.2 s", "2 h". */
export function span(ms: number): string {
  const write = (value: number, unit: string, digits = 0) =>
    numbers({
      style: "unit",
      unit,
      unitDisplay: "short",
      maximumFractionDigits: digits,
    }).format(value);
  if (ms < 1_000) return write(ms, "millisecond");
  if (ms < 60_000) return write(ms / 1_000, "second", 1);
  if (ms < 3_600_000) return write(Math.round(ms / 60_000), "minute");
  if (ms < 2 * 86_400_000) return write(Math.round(ms / 3_600_000), "hour");
  return write(Math.round(ms / 86_400_000), "day");
}

/** A name as it sorts: small letters, numbers padded, so that `nas-2` comes before `nas-10`. */
export function natural(name: string): string {
  return name.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(10, "0"));
}
