// Webhooks: addresses that hear what happens, and what was sent to them.

import { ask, get, step } from "./client";
import type * as T from "./types";

/** What a webhook can hear of, as docs/operations.md has it. */
export const HOOK_EVENTS = [
  "device.online",
  "device.offline",
  "member.joined",
  "member.left",
  "member.approval_needed",
  "link.path_changed",
] as const;
export type HookEvent = (typeof HOOK_EVENTS)[number];

export interface WebhookEdit {
  url?: string;
  events?: readonly string[];
  description?: string;
  disabled?: boolean;
  /** Draws another, which the answer shows this once. */
  new_secret?: boolean;
}

export interface WebhookWish {
  url: string;
  events: readonly string[];
  description: string;
  /** Without, it hears of the whole server. */
  network?: string;
}

const path = (id: string) => `/webhooks/${step(id)}`;

export const webhooks = {
  /** All of them: there are 20 for each network at the most. */
  async list(): Promise<T.Webhook[]> {
    const all: T.Webhook[] = [];
    for (let after: string | null = ""; after !== null; ) {
      const page: T.Page<T.Webhook> = await get(`/webhooks?limit=500${after === "" ? "" : `&after=${step(after)}`}`);
      all.push(...page.items);
      after = page.next;
    }
    return all;
  },
  one: (id: string) => ask<T.Webhook>("GET", path(id)),
  add: (body: WebhookWish) => ask<T.ChangedWebhook>("POST", "/webhooks", { body }),
  set: (id: string, body: WebhookEdit, ifMatch?: string) =>
    ask<T.ChangedWebhook>("PATCH", path(id), { body, ifMatch }),
  remove: (id: string, keepalive = false) => ask<void>("DELETE", path(id), { keepalive }),
  /** Has a message sent that says nothing. */
  test: (id: string) => ask<T.Delivery>("POST", `${path(id)}/test`),
  /** What was sent in the last 7 days, newest first. */
  deliveries: (id: string, limit = 50, after = "") =>
    get<T.Page<T.Delivery>>(`${path(id)}/deliveries?limit=${limit}${after === "" ? "" : `&after=${step(after)}`}`),
  /** Has a message sent once more. */
  resend: (id: string, delivery: string) => ask<T.Delivery>("POST", `${path(id)}/deliveries/${step(delivery)}/retry`),
};
