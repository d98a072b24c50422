import { beforeEach, describe, expect, it } from "vitest";
import { ago, bytes, natural, now, percent, permille, rate, roundTrip, since, span } from "../src/format";
import { preferred } from "../src/i18n/languages";
import { language, n, t, word } from "../src/i18n/t";
import { differences } from "../src/parts/Events";
import { type Column, sorted } from "../src/parts/Table";
import { joinCommand } from "../src/views/InviteDialog";
import { stateOfInvite } from "../src/views/Invites";
import { program } from "../src/views/Settings";

const NOW = 1_800_000_000_000;

beforeEach(() => {
  language.value = "en";
});

describe("moments and numbers", () => {
  it("that are past are never ahead, by whichever clock", () => {
    now.value = NOW;
    expect(since(NOW + 180_000)).toBe("just now");
    expect(since(NOW - 180_000)).toBe("3 min. ago");
    expect(since(null)).toBe("never");
  });

  it("are told as people say them", () => {
    expect(ago(null, NOW)).toBe("never");
    expect(ago(NOW - 20_000, NOW)).toBe("just now");
    expect(ago(NOW - 180_000, NOW)).toBe("3 min. ago");
    expect(ago(NOW + 7_200_000, NOW)).toBe("in 2 hr.");
    expect(ago(NOW - 86_400_000 * 40, NOW)).toBe("1 mo. ago");
    expect(span(850)).toBe("850 ms");
    expect(span(3_240)).toBe("3.2 sec");
    expect(percent(1, 3)).toBe("33%");
    expect(percent(0, 0)).toBe("–");
    expect(permille(4)).toBe("0.4%");
    expect(permille(null)).toBe("–");
    expect([0.44, 35.2, null].map(roundTrip)).toEqual(["0.4 ms", "35 ms", "–"]);
    expect([0, 999, 1_000, 123_456, 3_200_000, 5e15].map(rate)).toEqual([
      "0 bit/s",
      "999 bit/s",
      "1 kbit/s",
      "123 kbit/s",
      "3.2 Mbit/s",
      "5,000 Tbit/s",
    ]);
    expect([512, 1_500, 2.5e9].map(bytes)).toEqual(["512 byte", "1.5 kB", "2.5 GB"]);
  });

  it("follow the language", () => {
    language.value = "de";
    expect(ago(NOW - 180_000, NOW)).toBe("vor 3 Min.");
    expect(span(3_240)).toBe("3,2 Sek.");
  });
});

describe("names", () => {
  it("sort by their numbers", () => {
    expect(["nas-10", "nas-2", "NAS-1"].sort((a, b) => (natural(a) < natural(b) ? -1 : 1))).toEqual([
      "NAS-1",
      "nas-2",
      "nas-10",
    ]);
  });

  it("stand in the order of a column, both ways, and equal ones stay as they were", () => {
    const columns: Column<[string, number]>[] = [{ id: "n", label: "", cell: () => null, sort: ([, value]) => value }];
    const rows: [string, number][] = [
      ["a", 2],
      ["b", 1],
      ["c", 2],
    ];
    expect(sorted(rows, columns, "n").map(([name]) => name)).toEqual(["b", "a", "c"]);
    expect(sorted(rows, columns, "-n").map(([name]) => name)).toEqual(["a", "c", "b"]);
    expect(sorted(rows, columns, "none")).toBe(rows);
  });
});

describe("texts", () => {
  it("have their parameters and plural forms", () => {
    expect(t("copy.what", { what: "10.0.0.1" })).toBe("Copy 10.0.0.1");
    expect(n("devices.count", 1)).toBe("1 device");
    expect(n("devices.count", 10_000)).toBe("10,000 devices");
  });

  it("of the server are shown as they are when this panel does not know them", () => {
    expect(word("event", "member.approve")).toBe("approved");
    expect(word("event", "member.teleport")).toBe("member.teleport");
  });

  it("are in the language chosen before, else the browser's, else English", () => {
    expect(preferred(["de-AT", "en"], null)).toBe("de");
    expect(preferred(["de-AT"], "en")).toBe("en");
    expect(preferred(["pt"], null)).toBe("en");
    expect(preferred(["pt"], "xx")).toBe("en");
  });
});

describe("what is shown", () => {
  it("of a change is what differs", () => {
    expect(differences({ a: 1, b: "x", c: [1] }, { a: 1, b: "y", c: [1], d: true })).toEqual([
      { field: "b", before: "x", after: "y" },
      { field: "d", before: "–", after: "true" },
    ]);
    expect(differences(null, { name: "nas" })).toEqual([{ field: "name", before: "–", after: "nas" }]);
    expect(differences(null, null)).toEqual([]);
  });

  it("of an invite is its state", () => {
    const invite = {
      id: "i",
      network: "home",
      code_prefix: "K7",
      max_uses: 2,
      uses: 0,
      auto_approve: true,
      target: "device",
      role: null,
      owner_id: null,
      tags: [],
      member_for: null,
      expires_at: NOW + 1,
      revoked_at: null,
      created_by: "u",
      created_at: 0,
    };
    expect(stateOfInvite(invite, NOW)).toBe("open");
    expect(stateOfInvite({ ...invite, uses: 2 }, NOW)).toBe("used");
    expect(stateOfInvite({ ...invite, expires_at: NOW }, NOW)).toBe("expired");
    expect(stateOfInvite({ ...invite, revoked_at: 5, uses: 2 }, NOW)).toBe("revoked");
  });

  it("as a command keeps the join string from the shell", () => {
    const join = "lanyard://h/home?invite=A#p=b";
    expect(joinCommand("linux", join)).toBe(`sudo lanyard join '${join}'`);
    expect(joinCommand("windows", join)).toBe(`lanyard join "${join}"`);
  });

  it("of a browser is its name", () => {
    expect(program("Mozilla/5.0 (Windows NT 10.0) Chrome/140 Safari/537 Edg/140")).toBe("Edge, Windows");
    expect(program("curl/8")).toBe("curl/8");
  });
});
