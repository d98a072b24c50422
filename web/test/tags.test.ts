import { describe, expect, it } from "vitest";
import { isWord, readTags, union } from "../src/tags";

describe("tags", () => {
  it("are words of letters, digits and dashes that begin with a letter", () => {
    for (const tag of ["nas", "a", "build-2", "x".repeat(32)]) expect(isWord(tag), tag).toBe(true);
    for (const tag of ["", "2nd", "-a", "a_b", "NAS", "ä", "x".repeat(33)]) expect(isWord(tag), tag).toBe(false);
  });

  it("are read from what was typed, in small letters; what is none is left over", () => {
    expect(readTags("NAS, build  2nd,")).toEqual({ tags: ["nas", "build"], wrong: ["2nd"] });
    expect(readTags(" ,")).toEqual({ tags: [], wrong: [] });
  });

  it("are there once each, in their order", () => {
    expect(union(["nas", "build"], ["a", "nas"])).toEqual(["a", "build", "nas"]);
  });
});
