import { describe, expect, it } from "vitest";
import { type Fields, compile, divide, parse, valueOf, withKey, without, write } from "../src/query";

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

  it("takes quotes around each alternative, and stars for anything", () => {
    expect(parse('tag:nas,"big one" -site:"new york"')).toEqual([
      { key: "tag", values: ["nas", "big one"], not: false },
      { key: "site", values: ["new york"], not: true },
    ]);
    expect(names("nas*berlin")).toEqual(["nas berlin"]);
    expect(names("*attic")).toEqual(["nas attic"]);
    expect(names("os:w*s")).toEqual(["laptop"]);
    expect(names("os:*")).toHaveLength(3);
  });

  it("has keys of metadata with dots and digits, and leaves a quoted colon alone", () => {
    expect(parse("meta.name:x contact.phone2:y")).toEqual([
      { key: "meta.name", values: ["x"], not: false },
      { key: "contact.phone2", values: ["y"], not: false },
    ]);
    expect(parse('"os:linux"')).toEqual([{ key: null, values: ["os:linux"], not: false }]);
    expect(parse("Käse:x 9:30")).toEqual([
      { key: null, values: ["käse:x"], not: false },
      { key: null, values: ["9:30"], not: false },
    ]);
  });

  it("leaves out what is not finished", () => {
    expect(parse("os: tag:, - nas")).toEqual([{ key: null, values: ["nas"], not: false }]);
    expect(parse('name:"nas ber')).toEqual([{ key: "name", values: ["nas ber"], not: false }]);
  });

  it("is divided into what rows can tell and what only the server can", () => {
    const fields: Fields<Row> = { ...FIELDS, is: { of: (row) => row.state, exact: true, values: ["online"] } };
    const keys = (query: string) => {
      const { local, remote } = divide(query, fields);
      return [local.map(({ key }) => key), remote.map(({ key }) => key)];
    };
    expect(keys("nas os:linux -site:berlin group:family")).toEqual([
      [null, "os"],
      ["site", "group"],
    ]);
    expect(keys("is:online")).toEqual([["is"], []]);
    expect(keys("is:online,tired")).toEqual([[], ["is"]]);
  });

  it("is written as it was read, whatever it is", () => {
    for (const query of [
      'tag:"a,b",c "x:y" "-z" --z',
      'a"b:c -"q r"',
      'site:ber*,"new york"',
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
