// The hours of a pair as a chart shows them: the last 24 of them, or 30 days.

import type { LinkHour } from "./api/types";

export const RANGES = ["day", "month"] as const;
export type Range = (typeof RANGES)[number];

export const HOUR_MS = 3_600_000;
const DAYS = 30;

/** What went in an hour or a day. */
export interface Bar {
  /** When it began. */
  from: number;
  direct: number;
  relayed: number;
  /** Mean round trip in milliseconds. */
  rtt: number | null;
  /** Mean of what was lost of 1,000 pings. */
  loss: number | null;
}

/** Bars up to now, the oldest first; those of which nothing is known are there, too, and empty. */
export function barsOf(hours: readonly LinkHour[], range: Range, now: number): Bar[] {
  const begins = range === "day" ? lastHours(now) : lastDays(now);
  const within: LinkHour[][] = begins.map(() => []);
  for (const hour of hours) {
    const at = begins.findLastIndex((from) => from <= hour.hour);
    within[at]?.push(hour);
  }
  return begins.map((from, at) => {
    const list = within[at]!;
    return {
      from,
      direct: sum(list.map((hour) => hour.direct_bytes)),
      relayed: sum(list.map((hour) => hour.relayed_bytes)),
      rtt: mean(list.map((hour) => hour.rtt_ms)),
      loss: mean(list.map((hour) => hour.loss_permille)),
    };
  });
}

function lastHours(now: number): number[] {
  const last = Math.floor(now / HOUR_MS) * HOUR_MS;
  return Array.from({ length: 24 }, (_, at) => last - (23 - at) * HOUR_MS);
}

/** Days begin at midnight, where the reader is: some have 23 hours. */
function lastDays(now: number): number[] {
  const today = new Date(now);
  return Array.from({ length: DAYS }, (_, at) =>
    new Date(today.getFullYear(), today.getMonth(), today.getDate() - (DAYS - 1 - at)).getTime(),
  );
}

export function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}

function mean(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : sum(known) / known.length;
}
