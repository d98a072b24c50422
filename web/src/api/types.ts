// What the API answers with, by names of our own. The shapes are made of the server's own description (`schema.d.ts`, by
// `make types`): a field that it renames is an error here. Instants are epoch milliseconds, ids are texts.

import type { components } from "./schema";

type Schemas = components["schemas"];

export type Role = Schemas["RoleWord"];
export type MemberState = Schemas["MemberWord"];
export type JoinMode = Schemas["JoinWord"];
/** Where datagrams to a peer go. */
export type PathKind = Schemas["PathWord"];

export type User = Schemas["UserView"];
export type Network = Schemas["NetworkView"];
export type Member = Schemas["MemberView"];
export type Device = Schemas["DeviceView"];
export type Invite = Schemas["InviteView"];
/** An invite just made: the code is shown this once. */
export type NewInvite = Schemas["NewInviteView"];
export type NetworkRole = Schemas["RoleView"];
export type Session = Schemas["SessionView"];
export type Token = Schemas["TokenView"];
/** A token just made: the secret is shown this once. */
export type NewToken = Schemas["NewTokenView"];
/** How a thing was before and is after it is for the reader to see. */
export type AuditEvent = Omit<Schemas["EventView"], "before" | "after"> & { before: unknown; after: unknown };
/** How two devices reach each other, as one of them ("here") reported last. */
export type Link = Schemas["LinkView"];
/** What one of them told last of the data between them. */
export type Report = Schemas["ReportView"];
export type LinkHour = Schemas["LinkHourView"];
export type Me = Schemas["Me"];
export type Snapshot = Schemas["Snapshot"];
/** A code with which a user chooses a password. */
export type Code = Schemas["CodeView"];
export type Webhook = Schemas["WebhookView"];
/** A webhook just made or changed; the secret is shown this once, where it is new. */
export type ChangedWebhook = Schemas["ChangedWebhookView"];
/** A message for a webhook, and what became of it. */
export type Delivery = Schemas["DeliveryView"];
export type ServiceHealth = Schemas["ServiceView"];
export type Health = Schemas["HealthView"];

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** One message of the live stream. */
export type Delta<T> = { op: "put"; item: T } | { op: "gone"; id: string };
