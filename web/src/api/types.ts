// What the API answers with. The shapes are those of coordinator/src/api/v1/views.rs; instants are epoch milliseconds,
// ids are texts. This file is the only one that spells them.

export type Role = "guest" | "member" | "admin" | "owner";
export type MemberState = "pending" | "active" | "suspended" | "left" | "denied";
export type JoinMode = "locked" | "invite" | "password" | "request";

export interface User {
  id: string;
  /** What they sign in with. */
  name: string;
  /** What others see; the name, if it is empty. */
  display_name: string;
  email: string | null;
  kind: string;
  is_server_admin: boolean;
  disabled_at: number | null;
  created_at: number;
}

export interface Network {
  id: string;
  /** Its name in join strings, and in the paths of the API. */
  name: string;
  join_mode: JoinMode;
  /** Whether an invite's holder is a member at once. */
  approve: "auto" | "manual";
  prefix4: string;
  prefix6: string;
  /** Whether members may pass on frames for each other. */
  peer_relay: boolean;
  revision: number;
  members: number;
  pending: number;
  created_at: number;
  /** What the caller is in it. */
  role: Role;
}

export interface Member {
  id: string;
  /** Name of the network. */
  network: string;
  device_id: string;
  /** The nine digits people read out. */
  number: string;
  name: string;
  state: MemberState;
  ip4: string | null;
  ip6: string | null;
  joined_via: string;
  online: boolean;
  last_seen_at: number | null;
  created_at: number;
}

export interface Device {
  id: string;
  number: string;
  name: string;
  user_id: string | null;
  os: string;
  agent_version: string;
  online: boolean;
  last_seen_at: number | null;
  /** Its public address then. */
  last_ip: string | null;
  suspended_at: number | null;
  created_at: number;
}

export interface Invite {
  id: string;
  network: string;
  code_prefix: string;
  max_uses: number;
  uses: number;
  auto_approve: boolean;
  expires_at: number;
  revoked_at: number | null;
  created_by: string;
  created_at: number;
}

/** An invite just made: the code is shown this once. */
export interface NewInvite extends Invite {
  code: string;
  /** What follows `lanyard join`; missing where the server does not know its own name. */
  join_string: string | null;
  /** The page that says how to join; missing where the server serves none. */
  join_url: string | null;
}

export interface NetworkRole {
  /** Ids of the network and of the user, with a slash between them. */
  id: string;
  network: string;
  user_id: string;
  user: string;
  role: Role;
  expires_at: number | null;
  created_at: number;
}

export interface Session {
  id: string;
  user_agent: string;
  ip: string | null;
  created_at: number;
  seen_at: number;
  expires_at: number;
  is_this: boolean;
}

export interface Token {
  id: string;
  name: string;
  prefix: string;
  scope: "read" | "write";
  network_id: string | null;
  expires_at: number | null;
  last_used_at: number | null;
  created_at: number;
}

/** A token just made: the secret is shown this once. */
export interface NewToken extends Token {
  secret: string;
}

export interface AuditEvent {
  id: string;
  at: number;
  actor_kind: string;
  actor_id: string;
  via: string;
  code: string;
  entity_type: string;
  entity_id: string;
  before: unknown;
  after: unknown;
}

/** How two devices reach each other, as one of them ("here") reported last. */
export interface Link {
  /** Ids of the two devices, the smaller first, with a slash between them. */
  id: string;
  device_id: string;
  device: string;
  peer_id: string;
  peer: string;
  code: string;
  plan: string | null;
  took_ms: number;
  at: number;
}

export interface Me {
  user: User;
  roles: NetworkRole[];
  server_admin: boolean;
  via: "session" | "token";
  /** Whether they may change anything with it. */
  may_write: boolean;
  version: string;
}

export interface Snapshot {
  revision: number;
  me: Me;
  users: User[];
  networks: Network[];
  devices: Device[];
  members: Member[];
  links: Link[];
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

/** A code with which a user chooses a password. */
export interface Code {
  /** It works once. */
  code: string;
  /** The page to open; missing where the server does not know its own name. */
  url: string | null;
  expires_at: number;
}

/** How a service is: `ok`, `starting`, `degraded` or `failed`. */
export interface ServiceHealth {
  state: string;
  /** What is away, or went wrong. */
  why: string | null;
}

export interface Health {
  /** By name. */
  services: Record<string, ServiceHealth>;
  version: string;
}

/** One message of the live stream. */
export type Delta<T> = { op: "put"; item: T } | { op: "gone"; id: string };
