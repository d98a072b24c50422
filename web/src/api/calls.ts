// One function for each question and change the panel has.

import { type Answer, type Ask, ask, get, step } from "./client";
import type * as T from "./types";

export const snapshot = () => get<T.Snapshot>("/snapshot");
export const health = () => get<T.Health>("/health");

const network = (name: string) => `/networks/${step(name)}`;
const member = (of: T.Member) => `${network(of.network)}/members/${step(of.id)}`;

export interface NetworkEdit {
  join_mode?: T.JoinMode;
  password?: string;
  approve?: "auto" | "manual";
  peer_relay?: boolean;
}

export interface NetworkWish {
  name: string;
  /** Drawn by the server without. */
  prefix4?: string;
  join_mode?: T.JoinMode;
  approve?: "auto" | "manual";
}

export const networks = {
  one: (name: string) => ask<T.Network>("GET", network(name)),
  add: (body: NetworkWish) => ask<T.Network>("POST", "/networks", { body }),
  set: (name: string, body: NetworkEdit, ifMatch?: string) => ask<T.Network>("PATCH", network(name), { body, ifMatch }),
  remove: (name: string, keepalive = false) => ask<void>("DELETE", network(name), { keepalive }),
};

export interface MemberEdit {
  name?: string;
  tags?: string[];
  /** Never, if it is null. */
  expires_at?: number | null;
}

export type MemberVerb = "approve" | "deny" | "suspend" | "resume";

export const members = {
  one: (of: T.Member) => ask<T.Member>("GET", member(of)),
  set: (of: T.Member, body: MemberEdit, how: Pick<Ask, "ifMatch" | "keepalive">) =>
    ask<T.Member>("PATCH", member(of), { body, ...how }),
  act: (of: T.Member, verb: MemberVerb, keepalive = false) =>
    ask<T.Member>("POST", `${member(of)}/${verb}`, { keepalive }),
  remove: (of: T.Member, keepalive = false) => ask<void>("DELETE", member(of), { keepalive }),
};

export interface InviteWish {
  max_uses: number;
  /** Seconds. */
  expires_in: number;
  auto_approve: boolean;
  target?: "device" | "person";
  /** For a person. */
  role?: string;
  /** For devices. */
  owner_id?: string;
  tags?: string[];
  /** Seconds that membership or role last; for ever without. */
  member_for?: number;
}

export const invites = {
  of: (name: string) => get<T.Page<T.Invite>>(`${network(name)}/invites?limit=500`).then((page) => page.items),
  add: (name: string, body: InviteWish) => ask<T.NewInvite>("POST", `${network(name)}/invites`, { body }),
  revoke: (invite: T.Invite, keepalive = false) =>
    ask<void>("DELETE", `${network(invite.network)}/invites/${step(invite.id)}`, { keepalive }),
};

export const roles = {
  of: (name: string) => get<T.Page<T.NetworkRole>>(`${network(name)}/roles?limit=500`).then((page) => page.items),
  set: (name: string, user: string, role: T.Role) =>
    ask<T.NetworkRole>("PUT", `${network(name)}/roles/${step(user)}`, { body: { role } }),
  remove: (name: string, user: string, keepalive = false) =>
    ask<void>("DELETE", `${network(name)}/roles/${step(user)}`, { keepalive }),
  handOver: (name: string, user_id: string) => ask<void>("POST", `${network(name)}/owner`, { body: { user_id } }),
};

export interface DeviceEdit {
  name?: string;
  suspended?: boolean;
  user_id?: string | null;
}

export const devices = {
  one: (id: string) => ask<T.Device>("GET", `/devices/${step(id)}`),
  set: (id: string, body: DeviceEdit, ifMatch?: string) =>
    ask<T.Device>("PATCH", `/devices/${step(id)}`, { body, ifMatch }),
  remove: (id: string, keepalive = false) => ask<void>("DELETE", `/devices/${step(id)}`, { keepalive }),
};

/** Most hours of a link that are kept: 30 days. */
export const HOURS_KEPT = 720;

export const links = {
  /** The hours of a pair, newest first, as its first device saw them. */
  async history({ device_id, peer_id }: T.Link, hours: number): Promise<T.LinkHour[]> {
    const path = `/links/${step(device_id)}/${step(peer_id)}/history?limit=500&hours=${hours}`;
    const all: T.LinkHour[] = [];
    for (let after: string | null = ""; after !== null; ) {
      const page: T.Page<T.LinkHour> = await get(after === "" ? path : `${path}&after=${step(after)}`);
      all.push(...page.items);
      after = page.next;
    }
    return all;
  },
  /** Has both ends try for a direct path now. */
  retry: ({ device_id, peer_id }: T.Link) =>
    ask<void>("POST", `/links/${step(device_id)}/${step(peer_id)}/retry`),
};

export interface UserEdit {
  display_name?: string;
  /** Empty for none. */
  email?: string;
  disabled?: boolean;
  is_server_admin?: boolean;
}

export const users = {
  one: (id: string) => ask<T.User>("GET", `/users/${step(id)}`),
  add: (body: UserEdit & { name: string }) => ask<T.User>("POST", "/users", { body }),
  set: (id: string, body: UserEdit, ifMatch?: string): Promise<Answer<T.User>> =>
    ask<T.User>("PATCH", `/users/${step(id)}`, { body, ifMatch }),
  /** A link with which the user chooses a password; it works once. */
  code: (id: string) => ask<T.Code>("POST", `/users/${step(id)}/code`),
};

export const sessions = {
  list: () => get<T.Page<T.Session>>("/me/sessions").then((page) => page.items),
  end: (id: string) => ask<void>("DELETE", `/me/sessions/${step(id)}`),
};

export interface TokenWish {
  name: string;
  scope: "read" | "write";
  /** Name of the only network it may touch. */
  network?: string;
  /** Seconds; it does not end by itself without. */
  expires_in?: number;
}

export const tokens = {
  list: () => get<T.Page<T.Token>>("/me/tokens").then((page) => page.items),
  add: (body: TokenWish) => ask<T.NewToken>("POST", "/me/tokens", { body }),
  end: (id: string) => ask<void>("DELETE", `/me/tokens/${step(id)}`),
};

export interface EventFilter {
  network?: string | undefined;
  /** Kind of thing, or kind and id with a colon between. */
  entity?: string | undefined;
  after?: string | undefined;
  limit?: number;
}

export function events({ network: name, entity, after, limit = 50 }: EventFilter): Promise<T.Page<T.AuditEvent>> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (name) query.set("network", name);
  if (entity) query.set("entity", entity);
  if (after) query.set("after", after);
  return get(`/events?${query}`);
}
