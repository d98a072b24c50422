import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Problem, ask, leave } from "../src/api/client";
import type * as T from "../src/api/types";
import { actOn, endMembers, removeMembers, tagMembers } from "../src/store/actions";
import { UNDO_MS, later, notes, sendAll, sentence } from "../src/store/later";
import { store } from "../src/store/store";

const member: T.Member = {
  id: "m1",
  network: "home",
  device_id: "d1",
  number: "1",
  name: "nas",
  state: "active",
  ip4: null,
  ip6: null,
  joined_via: "invite",
  online: true,
  last_seen_at: null,
  user_id: null,
  tags: ["nas"],
  expires_at: null,
  created_at: 0,
};

interface Sent {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: unknown;
}

let sent: Sent[] = [];
let answer: () => Response;

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  answer = () => new Response(JSON.stringify({ ...member, state: "suspended" }), { headers: { etag: '"4"' } });
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    sent.push({ method: init.method!, url, headers: init.headers as Record<string, string>, body: init.body });
    return Promise.resolve(answer());
  });
  notes.value = [];
  store.members.reset([member]);
});

afterEach(() => {
  vi.runAllTimers();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("a change that can be undone", () => {
  it("is shown at once and sent when the time is over", async () => {
    answer = () => new Response(null, { status: 204 });
    removeMembers([member]);
    expect(store.members.all.value).toEqual([]);
    await vi.advanceTimersByTimeAsync(UNDO_MS - 1);
    expect(sent).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(sent[0]).toMatchObject({ method: "DELETE", url: "/api/v1/networks/home/members/m1" });
    expect(store.members.all.value).toEqual([]);
    expect(notes.value).toEqual([]);
  });

  it("is never sent when it was undone", async () => {
    removeMembers([member]);
    notes.value[0]!.undo!();
    expect(store.members.all.value).toEqual([member]);
    await vi.advanceTimersByTimeAsync(2 * UNDO_MS);
    expect(sent).toEqual([]);
  });

  it("is sent at once when the page goes", () => {
    const send = vi.fn(() => Promise.resolve());
    later({ text: "x", show: () => () => {}, send });
    sendAll();
    expect(send).toHaveBeenCalledWith(true);
  });

  it("comes back with the reason when the server refuses", async () => {
    answer = () =>
      new Response(JSON.stringify({ code: "index.state", detail: "it is the last owner" }), { status: 409 });
    removeMembers([member]);
    await vi.advanceTimersByTimeAsync(UNDO_MS);
    expect(store.members.all.value).toEqual([member]);
    expect(notes.value[0]).toMatchObject({ kind: "wrong", text: "it is the last owner (index.state)" });
  });
});

describe("a change that takes effect at once", () => {
  it("is shown before the answer, kept with it, and undone by its opposite", async () => {
    const running = actOn([member], "suspend");
    expect(store.members.get("m1")!.state).toBe("suspended");
    await running;
    expect(sent[0]).toMatchObject({ method: "POST", url: "/api/v1/networks/home/members/m1/suspend" });
    expect(store.members.get("m1")!.state).toBe("suspended");
    answer = () => new Response(JSON.stringify(member));
    notes.value[0]!.undo!();
    await vi.waitFor(() => expect(sent[1]?.url).toContain("/resume"));
  });

  it("is taken back when it is refused", async () => {
    answer = () => new Response(JSON.stringify({ code: "index.forbidden", detail: "" }), { status: 403 });
    await actOn([member], "suspend");
    expect(store.members.get("m1")!.state).toBe("active");
    expect(notes.value[0]!.text).toContain("You may not do this");
  });
});

describe("a request", () => {
  it("says on which version a change is based, and has a key of its own", async () => {
    const first = await ask("PATCH", "/x", { body: {}, ifMatch: '"3"' });
    await ask("POST", "/x");
    expect(first.etag).toBe('"4"');
    expect(sent[0]!.headers["if-match"]).toBe('"3"');
    expect(sent[1]!.headers["idempotency-key"]).toMatch(/^[0-9a-f]{32}$/);
    expect(sent[1]!.headers["idempotency-key"]).not.toBe(sent[0]!.headers["idempotency-key"]);
  });

  it("tells a conflict, and any answer that is no JSON", async () => {
    answer = () => new Response("gateway says no", { status: 502, statusText: "Bad Gateway" });
    await expect(ask("GET", "/x")).rejects.toMatchObject({ status: 502, code: "502" });
    answer = () => new Response(JSON.stringify({ code: "index.changed", detail: "changed" }), { status: 412 });
    const error = await ask("PATCH", "/x").catch((caught: unknown) => caught);
    expect(error instanceof Problem && error.isConflict).toBe(true);
  });

  it("leads to sign in when the session is over", async () => {
    const toSignIn = vi.spyOn(leave, "toSignIn").mockImplementation(() => {});
    answer = () => new Response("{}", { status: 401 });
    await expect(ask("GET", "/x")).rejects.toBeInstanceOf(Problem);
    expect(toSignIn).toHaveBeenCalled();
  });

  it("says so when nobody answers", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("failed")));
    const error = await ask("GET", "/x").catch((caught: unknown) => caught);
    expect(sentence(error)).toBe("The server does not answer. Nothing was changed.");
  });
});

describe("tags and ends of several members", () => {
  it("are shown at once, sent whole when the time is over, and leave the other tags alone", async () => {
    tagMembers([member], ["build"]);
    expect(store.members.get("m1")!.tags).toEqual(["build", "nas"]);
    expect(sent).toEqual([]);
    await vi.advanceTimersByTimeAsync(UNDO_MS);
    expect(sent[0]).toMatchObject({ method: "PATCH", url: "/api/v1/networks/home/members/m1" });
    expect(JSON.parse(String(sent[0]!.body))).toEqual({ tags: ["build", "nas"] });
  });

  it("are as before when they are undone", async () => {
    endMembers([member], 5_000);
    expect(store.members.get("m1")!.expires_at).toBe(5_000);
    notes.value[0]!.undo!();
    await vi.advanceTimersByTimeAsync(UNDO_MS);
    expect(store.members.get("m1")!.expires_at).toBeNull();
    expect(sent).toEqual([]);
  });
});
