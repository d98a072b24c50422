// Hours of a pair as bars: each where it belongs, and room for those of which nothing is known.

import { describe, expect, it } from "vitest";
import type { LinkHour } from "../src/api/types";
import { HOUR_MS, barsOf } from "../src/history";

const NOW = new Date(2026, 10, 30, 15, 20).getTime();
const HOUR = Math.floor(NOW / HOUR_MS) * HOUR_MS;

function hour(ago: number, direct_bytes: number, relayed_bytes: number, rtt_ms: number | null): LinkHour {
  const loss_permille = rtt_ms === null ? null : 2;
  return { hour: HOUR - ago * HOUR_MS, tx_bytes: 1, rx_bytes: 1, direct_bytes, relayed_bytes, rtt_ms, loss_permille };
}

describe("the hours of a pair", () => {
  it("are 24 bars up to this one", () => {
    const bars = barsOf([hour(0, 10, 1, 30), hour(2, 5, 0, null), hour(23, 7, 0, 4), hour(24, 99, 0, 9)], "day", NOW);
    expect(bars).toHaveLength(24);
    expect(bars[23]).toEqual({ from: HOUR, direct: 10, relayed: 1, rtt: 30, loss: 2 });
    expect(bars[22]).toEqual({ from: HOUR - HOUR_MS, direct: 0, relayed: 0, rtt: null, loss: null });
    expect(bars[21]).toMatchObject({ direct: 5, rtt: null, loss: null });
    expect(bars[0]).toMatchObject({ direct: 7 });
    expect(bars.reduce((sum, bar) => sum + bar.direct, 0)).toBe(22);
  });

  it("are 30 days from midnight to midnight where one is, and a day is the sum of its hours", () => {
    const bars = barsOf([hour(0, 10, 1, 30), hour(2, 5, 0, 10), hour(16, 7, 3, 4), hour(900, 9, 9, 9)], "month", NOW);
    expect(bars).toHaveLength(30);
    expect(bars[29]).toEqual({ from: new Date(2026, 10, 30).getTime(), direct: 15, relayed: 1, rtt: 20, loss: 2 });
    expect(bars[28]).toMatchObject({ from: new Date(2026, 10, 29).getTime(), direct: 7, relayed: 3 });
    expect(bars[0]).toMatchObject({ from: new Date(2026, 10, 1).getTime(), direct: 0 });
  });
});
