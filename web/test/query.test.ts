import { describe, expect, it } from "vitest";
import { type Fields, compile, parse, valueOf, withKey, without, write } from "../src/query";

interface Row {
  name: string;
  os: string;
  state: string[];
}

const FIELDS: Fields<Row> = {
  os: { of: (row) => [row.os] },
  state: { of: (row) => row.state, exact: true },
};

const ROWS: Row[] = [
  { name: "nas attic", os: "linux", state: ["online"] },
  { name: "laptop", os: "windows", state: ["offline"] },
  { name: "nas berlin", os: "linux", state: ["offline", "suspended"] },
];

const names = (query: string) => ROWS.filter(compile(query, FIELDS, (row) => row.name)).map((row) => row.name);

describe("a query", () => {
  it("finds free words anywhere, all of them", () => {
    expect(names("nas")).toEqual(["nas attic", "nas berlin"]);
    expect(names("berlin nas")).toEqual(["nas berlin"]);
    expect(names("")).toHaveLength(3);
  });

  it("asks fields by key, with alternatives, and turned round", () => {
    expect(names("os:linux")).toHaveLength(2);
    expect(names("os:lin,win")).toHaveLength(3);
    expect(names("-os:linux")).toEqual(["laptop"]);
    expect(names("os:linux -state:suspended")).toEqual(["nas attic"]);
    expect(names("-nas")).toEqual(["laptop"]);
  });

  it("takes the whole word where a field says so", () => {
    expect(names("state:on")).toEqual([]);
    expect(names("state:online")).toEqual(["nas attic"]);
  });

  it("keeps spaces in quotes", () => {
    expect(names('"nas berlin"')).toEqual(["nas berlin"]);
    expect(names("nas berlin")).toEqual(["nas berlin"]);
    expect(names('"berlin nas"')).toEqual([]);
  });

  it("matches nothing with a key nobody knows, so that a slip is seen", () => {
    expect(names("oss:linux")).toEqual([]);
  });

  it("is written as it was read, whatever it is", () => {
    for (const query of [
      "os:linux,windows -state:offline nas",
      '"second floor" -in:home',
      "a:b:c",
      "::",
      '"',
      "-",
      "os:",
    ]) {
      expect(parse(write(parse(query))), query).toEqual(parse(query));
    }
  });

  it("gains and loses terms", () => {
    expect(withKey("nas state:online", "state", "offline")).toBe("nas state:offline");
    expect(withKey("nas state:online", "state", "")).toBe("nas");
    expect(without("nas os:linux -state:offline", 1)).toBe("nas -state:offline");
    expect(valueOf("os:linux", "os")).toBe("linux");
    expect(valueOf("os:linux,windows", "os")).toBe("");
    expect(valueOf("-os:linux", "os")).toBe("");
  });
});
