import { describe, expect, it } from "vitest";
import { type Words, complete } from "../src/complete";

const WORDS: Words = {
  keys: ["name", "number", "net", "os", "owner", "tag"],
  valuesOf: (key) => ({ os: ["linux", "Windows"], tag: ["nas", "big nas", "build"] })[key] ?? [],
};

const shown = (text: string, caret = text.length) => complete(text, caret, WORDS).map((one) => one.shown);
const taken = (text: string, caret = text.length) => complete(text, caret, WORDS)[0];

describe("a completion", () => {
  it("offers fields by their first letters, and nothing for nothing", () => {
    expect(shown("n")).toEqual(["name:", "number:", "net:"]);
    expect(shown("nas o")).toEqual(["os:", "owner:"]);
    expect(shown("-OS")).toEqual(["os:"]);
    for (const text of ["", "nas ", "-", "xyz"]) expect(shown(text), text).toEqual([]);
  });

  it("offers what a field can say, and stops when it is said", () => {
    expect(shown("os:")).toEqual(["linux", "Windows"]);
    expect(shown("os:w")).toEqual(["Windows"]);
    expect(shown("os:linux")).toEqual([]);
    expect(shown("os:linux,")).toEqual(["linux", "Windows"]);
    expect(shown("site:b")).toEqual([]);
  });

  it("takes the place of the term before the caret, the rest stays", () => {
    expect(taken("-o berlin", 2)).toMatchObject({ text: "-os:berlin", caret: 4 });
    expect(taken("nas -o")).toMatchObject({ text: "nas -os:", caret: 8 });
    expect(taken("os:linux,w tag:nas", 10)).toMatchObject({ text: "os:linux,Windows tag:nas", caret: 17 });
    expect(taken("tag:big")).toMatchObject({ text: 'tag:"big nas" ', shown: "big nas" });
  });
});
