// Numbers, moments and names as people read them, in their language.

import { signal } from "@preact/signals";
import { language, t } from "./i18n/t";

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
  const format = new Intl.RelativeTimeFormat(language.value, { numeric: "always", style: "short" });
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return format.format(Math.trunc(seconds / size), unit);
  }
  return t("time.now");
}

/** A moment to the minute. */
export function moment(at: number): string {
  return new Intl.DateTimeFormat(language.value, { dateStyle: "medium", timeStyle: "short" }).format(at);
}

/** A moment to the second, for logs. */
export function second(at: number): string {
  return new Intl.DateTimeFormat(language.value, { dateStyle: "short", timeStyle: "medium" }).format(at);
}

export function number(value: number): string {
  return new Intl.NumberFormat(language.value).format(value);
}

/** Part of a whole as a percentage; of nothing, an em dash. */
export function percent(part: number, whole: number): string {
  if (whole === 0) return "–";
  return new Intl.NumberFormat(language.value, { style: "percent", maximumFractionDigits: 0 }).format(part / whole);
}

/** A length of time: "850 ms", "3.2 s", "2 h". */
export function span(ms: number): string {
  const write = (value: number, unit: string, digits = 0) =>
    new Intl.NumberFormat(language.value, {
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
