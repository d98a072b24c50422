import { describe, expect, it } from "vitest";
import type * as T from "../src/api/types";
import { refusal, standings } from "../src/standing";

const member = (device_id: string, more: Partial<T.Member> = {}): T.Member => ({
  id: `m-${device_id}-${more.network ?? "home"}`,
  network: "home",
  device_id,
  number: device_id,
  name: device_id,
  state: "active",
  ip4: null,
  ip6: null,
  joined_via: "invite",
  online: true,
  last_seen_at: null,
  user_id: null,
  tags: [],
  expires_at: null,
  created_at: 0,
  ...more,
});

const link = (device_id: string, peer_id: string, code: string): T.Link => ({
  id: `${device_id}/${peer_id}`,
  device_id,
  device: device_id,
  peer_id,
  peer: peer_id,
  code,
  plan: null,
  took_ms: 0,
  at: 0,
  report: null,
});

const members = [
  member("a"),
  member("b", { expires_at: 5 }),
  member("c", { state: "suspended" }),
  member("d"),
  member("e", { state: "pending" }),
  member("f", { state: "left" }),
  member("a", { network: "lab" }),
];
const deviceOf = (id: string) => ({ id, suspended_at: id === "d" ? 1 : null }) as T.Device;

describe("the standing of a network", () => {
  it("counts who reaches each other, who waits, who is suspended here or everywhere, and what ends", () => {
    const all = standings({ members, links: [], deviceOf });
    expect(all.get("home")).toEqual({ active: 2, pending: 1, suspended: 2, ending: 1, refusing: [] });
    expect(all.get("lab")).toMatchObject({ active: 1, pending: 0, suspended: 0 });
    expect(all.get("office")).toBeUndefined();
  });

  it("has the pairs of which one refuses the other, where both are active", () => {
    const links = [link("a", "b", "refused_there"), link("a", "c", "refused_here"), link("b", "a", "direct")];
    const all = standings({ members, links, deviceOf });
    expect(all.get("home")!.refusing.map(({ id }) => id)).toEqual(["a/b"]);
    expect(all.get("lab")!.refusing).toEqual([]);
    expect(refusal(links[0]!)).toEqual({ here: "b", there: "a" });
    expect(refusal(links[1]!)).toEqual({ here: "a", there: "c" });
  });
});
