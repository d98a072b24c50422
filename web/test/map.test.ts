// The map as data: which edges there are, how thick they are, and what is written on them.

import { beforeEach, describe, expect, it } from "vitest";
import type { Link, PathKind } from "../src/api/types";
import { language } from "../src/i18n/t";
import { graphOf, labelOf, shapeOf, thickness } from "../src/map/graph";
import type { DeviceRow } from "../src/store/rows";

const NOW = 1_800_000_000_000;

function row(id: string, online = true): DeviceRow {
  return { device: { id, online }, networks: ["home"] } as unknown as DeviceRow;
}

function link(path: PathKind, seen_at: number, bps = 1_000_000): Link {
  const report = { device_id: "a", path, rtt_ms: 12.4, loss_permille: 0, tx_bps: bps, rx_bps: bps, seen_at };
  const names = { device_id: "a", device: "nas", peer_id: "b", peer: "pi" };
  return { id: "a/b", ...names, code: "direct", plan: null, took_ms: 1, at: 0, report };
}

beforeEach(() => {
  language.value = "en";
});

describe("the map", () => {
  it("shows how a pair talks and how much, while it does", () => {
    const edge = (of: Link, rows = [row("a"), row("b")]) => graphOf(rows, [of], new Map(), NOW).edges[0]!;
    expect(edge(link("direct", NOW - 5_000))).toMatchObject({ state: "direct", bps: 2_000_000 });
    expect(edge(link("relay", NOW - 5_000))).toMatchObject({ state: "relayed" });
    expect(edge(link("direct", NOW - 90_000))).toMatchObject({ state: "direct", bps: 0 });
    expect(edge(link("direct", NOW - 400_000))).toMatchObject({ state: "recent", bps: 0 });
    expect(edge(link("direct", NOW - 5_000), [row("a"), row("b", false)])).toMatchObject({ state: "recent", bps: 0 });
    expect(labelOf(edge(link("direct", NOW)))).toBe("direct · 12 ms · 2 Mbit/s");
    expect(labelOf(edge(link("direct", NOW - 90_000)))).toBe("direct · 12 ms");
    expect(labelOf(edge({ ...link("direct", NOW), report: null }))).toBe("direct");
  });

  it("needs no new layout for another state", () => {
    const shapes = [link("direct", NOW), link("relay", NOW - 400_000)].map((of) =>
      shapeOf(graphOf([row("a"), row("b")], [of], new Map(), NOW)),
    );
    expect(shapes[0]).toBe(shapes[1]);
  });

  it("draws a line thicker with every tenfold", () => {
    expect([0, 10_000, 10_001, 1_000_000, 1e9, 1e12].map(thickness)).toEqual([0, 0, 1, 2, 5, 5]);
  });
});
