// The words of a verdict are those of the wire: a code that devices can report has its text here.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Link, PathKind } from "../src/api/types";
import { has } from "../src/i18n/t";
import {
  BUSY_MS,
  RECENT_MS,
  heardAt,
  inWords,
  isIdle,
  pathInWords,
  planInWords,
  rateOf,
  stateOfLink,
} from "../src/verdict";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

function link(code: string, plan: string | null = null): Link {
  return {
    id: "a/b",
    device_id: "a",
    device: "t480",
    peer_id: "b",
    peer: "win-den",
    code,
    plan,
    took_ms: 1,
    at: 1_000_000,
    report: null,
  };
}

function reported(code: string, path: PathKind, seen_at = 1_000_001): Link {
  const report = { device_id: "b", path, rtt_ms: 4, loss_permille: 0, tx_bps: 8_000, rx_bps: 0, seen_at };
  return { ...link(code), report };
}

describe("a verdict", () => {
  it("has a reason and advice for every code a device can report", () => {
    const codes = [...read("wire/src/checkpoint/verdict.rs").matchAll(/Self::\w+ => "([a-z_]+)"/g)].map(
      ([, code]) => code!,
    );
    expect(codes.length).toBeGreaterThan(7);
    for (const code of codes) {
      expect(has(`why.reason.${code}`), code).toBe(true);
      expect(has(`why.advice.${code}`), code).toBe(true);
    }
  });

  it("has the words of the operator's guide", () => {
    const guide = read("docs/operations.md").split("\n## Why a pair is as it is")[1]!.split("\n## ")[0]!;
    const words = [...guide.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell]) =>
      [...cell!.matchAll(/`([a-z_]+)`/g)].map(([, word]) => word!),
    );
    expect(words.length).toBeGreaterThan(12);
    for (const word of words) expect(has(`why.reason.${word}`), word).toBe(true);
  });

  it("names both ends as the one that reported saw them", () => {
    const { reason, advice } = inWords(link("mapping_varies_there"));
    expect(reason).toBe("win-den's router uses another port for every destination, and t480's lets in only known ones");
    expect(advice).toContain("in the router of win-den");
  });

  it("is shown as it is when it is newer than this panel", () => {
    expect(inWords(link("moon_phase")).reason).toContain("moon_phase");
    expect(planInWords(link("direct", "tunnelled"))).toBe("tunnelled");
    expect(planInWords(link("direct"))).toBe("");
  });

  it("says how a pair talks", () => {
    expect(stateOfLink(link("direct"))).toBe("direct");
    expect(stateOfLink(link("both_mappings_vary"))).toBe("relayed");
    expect(stateOfLink(link("no_relay"))).toBe("failed");
    expect(stateOfLink(link("trying"))).toBe("trying");
  });
});

describe("a report", () => {
  it("says by its path how a pair talks, unless a try ended since", () => {
    expect(stateOfLink(reported("direct", "relay"))).toBe("relayed");
    expect(stateOfLink(reported("probes_lost", "lan"))).toBe("direct");
    expect(stateOfLink(reported("direct", "none"))).toBe("trying");
    expect(stateOfLink(reported("no_relay", "none"))).toBe("failed");
    expect(stateOfLink(reported("direct", "relay", 999_999))).toBe("direct");
    expect(inWords(reported("direct", "member")).reason).toContain("does not answer at the moment");
    expect(inWords(reported("trying", "relay")).advice).toContain("lanyard why win-den");
    expect(inWords(reported("probes_lost", "lan")).advice).toContain("the path is direct");
    expect(inWords(reported("probes_lost", "relay")).reason).toContain("no probe arrives");
  });

  it("has a word for each path", () => {
    const words = (["direct", "lan", "tcp"] as const).map((path) => pathInWords(reported("direct", path)));
    expect(words).toEqual(["direct", "direct, LAN", "direct, TCP"]);
    expect(pathInWords(reported("direct", "member"))).toBe("relayed, member");
    expect(pathInWords(link("both_mappings_vary"))).toBe("relayed");
  });

  it("makes a pair one that talked once when none came for a while; one without a path still has none", () => {
    const talked = reported("direct", "direct", 2_000_000);
    expect(heardAt(talked)).toBe(2_000_000);
    expect(isIdle(talked, 2_000_000 + RECENT_MS)).toBe(false);
    expect(isIdle(talked, 2_000_001 + RECENT_MS)).toBe(true);
    expect(isIdle(link("direct"), 1_000_001 + RECENT_MS)).toBe(true);
    expect(isIdle(link("no_relay"), 9_000_000)).toBe(false);
  });

  it("tells how much goes over a pair now", () => {
    const busy = reported("direct", "direct", 2_000_000);
    expect(rateOf(busy, 2_000_000 + BUSY_MS)).toEqual({ tx: 8_000, rx: 0 });
    expect(rateOf(busy, 2_000_001 + BUSY_MS)).toEqual({ tx: 0, rx: 0 });
    expect(rateOf(link("direct"), 2_000_000)).toBeUndefined();
  });
});
