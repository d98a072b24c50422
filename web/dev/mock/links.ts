// Pairs of the made-up server: how they reach each other, what they report, what went between them before.

import type * as T from "../../src/api/types";
import { randomOf } from "./random.ts";

const HOUR = 3_600_000;

export interface LinkWish {
  a: T.Member;
  b: T.Member;
  code: string;
  at: number;
  random: () => number;
}

export function putLink(links: Map<string, T.Link>, { a, b, code, at, random }: LinkWish): void {
  const ids = [a.device_id, b.device_id].sort();
  const id = ids.join("/");
  const link: T.Link = {
    id,
    device_id: a.device_id,
    device: a.name,
    peer_id: b.device_id,
    peer: b.name,
    code,
    plan: code === "both_mappings_vary" ? "predict" : code.startsWith("mapping") ? "open" : "plain",
    took_ms: Math.floor(200 + random() * (code === "direct" ? 1_800 : 9_000)),
    at,
    report: null,
  };
  // Drawn from the ids: what is drawn after it stays as it was.
  const own = randomOf(seedOf(id));
  if (code !== "no_relay") link.report = reportOf(link, own, own() < 0.7 ? 5_000 : own() * 20 * HOUR);
  links.set(id, link);
}

/** What one end tells of a link, so long ago. */
export function reportOf(link: T.Link, random: () => number, ago = 0): T.Report {
  const seen_at = Math.max(link.at, Date.now() - Math.floor(ago));
  const path: T.PathKind =
    link.code === "direct"
      ? (["direct", "direct", "direct", "lan", "tcp"] as const)[Math.floor(random() * 5)]!
      : random() < 0.2
        ? "member"
        : "relay";
  const bps = () => Math.floor(10 ** (3 + random() * 5.5));
  return {
    device_id: random() < 0.5 ? link.device_id : link.peer_id,
    path,
    rtt_ms: Math.round((path === "lan" ? 0.3 + random() : 4 + random() * 90) * 1_000) / 1_000,
    loss_permille: random() < 0.8 ? 0 : Math.floor(random() * 60),
    tx_bps: bps(),
    rx_bps: bps(),
    seen_at,
  };
}

/** Hours of a link, newest first; some are left out, and now and then it went by a relay. */
export function hoursOf(link: T.Link, hours: number): T.LinkHour[] {
  const random = randomOf(seedOf(link.id));
  const newest = Math.floor(Date.now() / HOUR) * HOUR;
  const all: T.LinkHour[] = [];
  for (let ago = 0; ago < hours; ago += 1) {
    const amount = random() < 0.15 ? 0 : Math.floor(10 ** (5 + random() * 4));
    const isRelayed = link.code !== "direct" || random() < 0.2;
    if (amount === 0) continue;
    const relayed_bytes = isRelayed ? Math.floor(amount * random()) : 0;
    all.push({
      hour: newest - ago * HOUR,
      tx_bytes: Math.floor(amount / 3),
      rx_bytes: amount - Math.floor(amount / 3),
      direct_bytes: amount - relayed_bytes,
      relayed_bytes,
      rtt_ms: random() < 0.95 ? Math.round(20_000 + random() * 30_000) / 1_000 : null,
      loss_permille: Math.floor(random() * 8),
    });
  }
  return all;
}

function seedOf(id: string): number {
  let seed = 7;
  for (const letter of id) seed = (Math.imul(seed, 31) + letter.codePointAt(0)!) | 0;
  return seed;
}
