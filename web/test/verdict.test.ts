// The words of a verdict are those of the wire: a code that devices can report has its text here.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Link } from "../src/api/types";
import { has } from "../src/i18n/t";
import { inWords, planInWords, stateOfLink } from "../src/verdict";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

function link(code: string, plan: string | null = null): Link {
  return { id: "a/b", device_id: "a", device: "t480", peer_id: "b", peer: "win-den", code, plan, took_ms: 1, at: 1 };
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
