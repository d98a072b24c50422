// What people write about users, networks, devices and members: values by key, each with who may read it.

import { ask, step } from "./client";
import type * as T from "./types";

/** From the few to the many. */
export const VISIBILITIES = ["self", "admins", "members", "public"] as const;
export type Visibility = (typeof VISIBILITIES)[number];

export interface Entry {
  value: string;
  visibility: Visibility;
  /** Id of a user or device, or the name of an operator. */
  updated_by: string;
  updated_at: number;
}

export type Entries = Readonly<Record<string, Entry>>;

/** What entries are about. */
export interface Subject {
  kind: "user" | "network" | "device" | "member";
  id: string;
  path: string;
}

export const about = {
  user: ({ id }: T.User): Subject => ({ kind: "user", id, path: `/users/${step(id)}` }),
  device: ({ id }: T.Device): Subject => ({ kind: "device", id, path: `/devices/${step(id)}` }),
  network: ({ id, name }: T.Network): Subject => ({ kind: "network", id, path: `/networks/${step(name)}` }),
  member: ({ id, network }: T.Member): Subject => ({
    kind: "member",
    id,
    path: `/networks/${step(network)}/members/${step(id)}`,
  }),
};

export const metadata = {
  of: (subject: Subject) => read("GET", subject),
  /** Writes entries, and removes those that are null; answers with all there are. */
  set: (
    subject: Subject,
    entries: Readonly<Record<string, Pick<Entry, "value" | "visibility"> | null>>,
    keepalive = false,
  ) => read("PATCH", subject, { body: { entries }, keepalive }),
};

async function read(method: string, { path }: Subject, more = {}): Promise<Entries> {
  return (await ask<{ entries: Entries }>(method, `${path}/metadata`, more)).value.entries;
}
