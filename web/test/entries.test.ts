import { describe, expect, it } from "vitest";
import type { Entries, Visibility } from "../src/api/metadata";
import { localOf } from "../src/parts/EndField";
import { faults } from "../src/parts/Entries";

const entry = { value: "berlin", visibility: "members" as Visibility, updated_by: "u1", updated_at: 0 };
const known: Entries = { site: entry };
const wrong = (key: string, value: string, at = "") =>
  Object.keys(faults({ key, value, visibility: "members" }, known, at));

describe("an entry", () => {
  it("has a key that begins with a letter and is not there yet", () => {
    expect(wrong("contact.phone_2", "x")).toEqual([]);
    const bad = ["", "2nd", "a b", "Site", "ä", "x".repeat(65), "site"];
    for (const key of bad) expect(wrong(key, "x"), key).toEqual(["key"]);
    expect(wrong("site", "oslo", "site")).toEqual([]);
  });

  it("has a value of at most 1,024 bytes, however many letters they are", () => {
    expect(wrong("a", "")).toEqual(["value"]);
    expect(wrong("a", "x".repeat(1_024))).toEqual([]);
    expect(wrong("a", "ä".repeat(513))).toEqual(["value"]);
  });

  it("says nothing of keys that every object has", () => {
    expect(wrong("constructor", "x")).toEqual([]);
  });
});

describe("a moment in a field", () => {
  it("is local, to the minute, and comes back", () => {
    const at = new Date(2026, 10, 30, 23, 5).getTime();
    expect(localOf(at)).toBe("2026-11-30T23:05");
    expect(new Date(localOf(at)).getTime()).toBe(at);
  });
});
