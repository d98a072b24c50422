// Webhooks of the made-up server: nothing is sent, and what would have become of it is known by the address.

import type * as T from "../../src/api/types";
import { type Asked, found, page } from "./asked.ts";
import { Refused } from "./refused.ts";
import type { World } from "./world.ts";

const MINUTE = 60_000;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/** A webhook as the server keeps it, with what was sent to it, newest first. */
export interface Hook {
  shown: T.Webhook;
  deliveries: T.Delivery[];
}

export function furnishWebhooks({ webhooks }: World, now: number): void {
  const hook = (id: string, more: Partial<T.Webhook>): T.Webhook => ({
    id,
    network: null,
    url: `https://hooks.example.org/${id}`,
    events: ["device.online", "device.offline"],
    description: "",
    anywhere: true,
    created_by: "u00000000",
    created_at: now - 90 * 24 * 60 * MINUTE,
    secret_at: now - 90 * 24 * 60 * MINUTE,
    failing_since: null,
    disabled_at: null,
    ...more,
  });
  const chat = hook("w0", { description: "Chat of the admins", events: ["member.approval_needed", "member.joined"] });
  const monitor = hook("w1", { network: "home", url: "https://monitor.example.org/down", failing_since: now - 200 * MINUTE });
  webhooks.set("w0", { shown: chat, deliveries: [12, 340, 900].map((ago, n) => sent(chat, `w0-${n}`, now - ago * MINUTE)) });
  webhooks.set("w1", {
    shown: monitor,
    deliveries: [
      { ...sent(monitor, "w1-1", now - 8 * MINUTE), state: "pending", tries: 3, next_at: now + 11 * MINUTE, done_at: null },
      { ...sent(monitor, "w1-0", now - 3_000 * MINUTE), tries: 10 },
    ],
  });
  webhooks.set("w2", { shown: hook("w2", { network: "lab", disabled_at: now - 5_000 * MINUTE }), deliveries: [] });
}

/** What `/webhooks` answers; `change` is told of each that is other than it was. */
export function answerWebhooks(world: World, asked: Asked, change: (id: string) => void): unknown {
  const { method, path, body } = asked;
  const [, id, more, delivery] = path;
  if (id === undefined && method === "GET") return page([...world.webhooks.values()].filter((one) => may(world, one)).map(({ shown }) => shown));
  if (id === undefined) return add(world, body);
  const hook = found(world.webhooks, id);
  if (!may(world, hook)) throw new Refused(404, "index.not_found", "there is no such webhook");
  if (more === "test") return send(hook, "webhook.test");
  if (more === "deliveries" && method === "GET") return deliveries(hook, asked.query);
  if (more === "deliveries") return again(hook, delivery!);
  if (method === "DELETE") return void world.webhooks.delete(id);
  if (method === "PATCH") {
    check(world, body);
    const { disabled, new_secret, ...fields } = body;
    Object.assign(hook.shown, fields);
    if (disabled !== undefined) hook.shown.disabled_at = disabled ? Date.now() : null;
    if (disabled === false) hook.shown.failing_since = null;
    if (new_secret) hook.shown.secret_at = Date.now();
    change(id);
    return { ...hook.shown, secret: new_secret ? SECRET.replace("Mf", "Qz") : null };
  }
  return hook.shown;
}

function may({ me, networks }: World, { shown }: Hook): boolean {
  if (me.server_admin) return true;
  const network = [...networks.values()].find(({ name }) => name === shown.network);
  return network?.role === "owner" || network?.role === "admin";
}

function check({ me }: World, { url, events }: Record<string, unknown>): void {
  if (typeof url === "string" && !me.server_admin && !url.startsWith("https://"))
    throw new Refused(422, "index.invalid", "url: it begins with https://");
  if (Array.isArray(events) && events.length === 0) throw new Refused(422, "index.invalid", "events: one at least");
}

function add(world: World, body: Record<string, unknown>): T.ChangedWebhook {
  check(world, body);
  const now = Date.now();
  const shown: T.Webhook = {
    id: `w_new${world.webhooks.size}`,
    network: (body.network as string | undefined) ?? null,
    url: String(body.url),
    events: body.events as string[],
    description: String(body.description ?? ""),
    anywhere: world.me.server_admin,
    created_by: world.me.user.id,
    created_at: now,
    secret_at: now,
    failing_since: null,
    disabled_at: null,
  };
  // The newest first.
  const others = [...world.webhooks];
  world.webhooks.clear();
  world.webhooks.set(shown.id, { shown, deliveries: [] });
  for (const [id, hook] of others) world.webhooks.set(id, hook);
  return { ...shown, secret: SECRET };
}

function sent({ url, network, events }: T.Webhook, id: string, at: number, event = events[0]!): T.Delivery {
  const isLost = url.includes("down");
  const data = { id: "d00000003", number: "291-044-871", name: "nas", networks: [network ?? "home"] };
  return {
    id,
    event,
    payload: { type: event, timestamp: new Date(at).toISOString(), data } as unknown as T.Delivery["payload"],
    state: isLost ? "failed" : "delivered",
    tries: 1,
    next_at: null,
    last_status: isLost ? null : 204,
    last_error: isLost ? "no answer within 10 s" : null,
    created_at: at,
    done_at: at + 300,
  };
}

/** On its way for a moment. */
function send(hook: Hook, event: string): T.Delivery {
  refuseOff(hook);
  const done = sent(hook.shown, `${hook.shown.id}-${hook.deliveries.length}-${Date.now()}`, Date.now(), event);
  const pending: T.Delivery = { ...done, state: "pending", tries: 0, next_at: Date.now(), last_status: null, last_error: null, done_at: null };
  hook.deliveries.unshift(pending);
  setTimeout(() => Object.assign(pending, done), 500);
  return { ...pending };
}

function again(hook: Hook, id: string): T.Delivery {
  refuseOff(hook);
  const delivery = hook.deliveries.find((one) => one.id === id);
  if (!delivery) throw new Refused(404, "index.not_found", "there is no such delivery");
  const done = sent(hook.shown, id, delivery.created_at, delivery.event);
  Object.assign(delivery, { state: "pending", tries: 0, next_at: Date.now(), done_at: null });
  setTimeout(() => Object.assign(delivery, done), 500);
  return { ...delivery };
}

function refuseOff({ shown }: Hook): void {
  if (shown.disabled_at !== null) throw new Refused(409, "index.state", "this webhook is off: switch it on first");
}

function deliveries(hook: Hook, query: URLSearchParams): T.Page<T.Delivery> {
  const from = Number(query.get("after") ?? 0);
  const to = from + Number(query.get("limit") ?? 100);
  return { items: hook.deliveries.slice(from, to), next: to < hook.deliveries.length ? String(to) : null };
}
