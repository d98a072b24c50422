import { afterEach, describe, expect, it, vi } from "vitest";
import { webhooks } from "../src/api/webhooks";
import type * as T from "../src/api/types";
import { now } from "../src/format";
import { fateOf } from "../src/views/Deliveries";
import { eventsInWords, titleOf } from "../src/views/WebhookParts";

const delivery: T.Delivery = {
  id: "1",
  event: "device.online",
  payload: {},
  state: "pending",
  tries: 3,
  next_at: 600_000,
  last_status: 502,
  last_error: null,
  created_at: -60_000,
  done_at: null,
};

afterEach(() => vi.unstubAllGlobals());

describe("webhooks", () => {
  it("are called by what people wrote, else by their address", () => {
    const webhook = { description: "", url: "https://example.org/x" } as T.Webhook;
    expect(titleOf(webhook)).toBe("https://example.org/x");
    expect(titleOf({ ...webhook, description: "Chat" })).toBe("Chat");
    expect(titleOf({ ...webhook, url: "" })).toContain("unreadable");
  });

  it("hear of events in words, and by their code where the server is newer", () => {
    expect(eventsInWords(["device.online", "tunnel.bored"])).toBe("a device came online, tunnel.bored");
  });

  it("say of a message what came back and when it is tried next", () => {
    now.value = 0;
    expect(fateOf(delivery)).toEqual(["1 min. ago", "tried 3 times", "answered 502", "next try in 10 min."]);
    const done: T.Delivery = { ...delivery, state: "delivered", tries: 1, next_at: null, last_status: 204 };
    expect(fateOf(done)).toEqual(["1 min. ago", "tried once", "answered 204"]);
    expect(fateOf({ ...delivery, tries: 0, last_status: null })).toEqual(["1 min. ago", "next try in 10 min."]);
  });

  it("are read to the last page", async () => {
    const urls: string[] = [];
    vi.stubGlobal("fetch", (url: string) => {
      urls.push(url);
      const next = urls.length < 2 ? "a/b" : null;
      return Promise.resolve(new Response(JSON.stringify({ items: [{ id: String(urls.length) }], next })));
    });
    expect((await webhooks.list()).map(({ id }) => id)).toEqual(["1", "2"]);
    expect(urls).toEqual(["/api/v1/webhooks?limit=500", "/api/v1/webhooks?limit=500&after=a%2Fb"]);
  });
});
