// Groups: people of a network under one name.

import { ask, get, step } from "./client";
import type * as T from "./types";

export interface Group {
  id: string;
  name: string;
  /** Ids of its users. */
  users: string[];
  created_at: number;
}

const path = (network: string) => `/networks/${step(network)}/groups`;

export const groups = {
  of: (network: string) => get<T.Page<Group>>(`${path(network)}?limit=500`).then((page) => page.items),
  /** Makes it, or says anew who is in it. */
  set: (network: string, name: string, users: readonly string[]) =>
    ask<Group>("PUT", `${path(network)}/${step(name)}`, { body: { users } }),
  remove: (network: string, name: string, keepalive = false) =>
    ask<void>("DELETE", `${path(network)}/${step(name)}`, { keepalive }),
};
