// What the made-up server is asked, and small answers of every route.

import type { IncomingMessage } from "node:http";
import type * as T from "../../src/api/types";
import { Refused } from "./refused.ts";
import type { World } from "./world.ts";

export interface Asked {
  method: string;
  path: string[];
  query: URLSearchParams;
  body: Record<string, unknown>;
  ifMatch: string | undefined;
}

export function ok(): T.ServiceHealth {
  return { state: "ok", why: null };
}

export function page<V>(items: V[]): T.Page<V> {
  return { items, next: null };
}

export function found<V>(map: Map<string, V>, id: string | undefined): V {
  const value = map.get(id ?? "");
  if (value === undefined) throw new Refused(404, "index.not_found", "there is no such thing");
  return value;
}

export function networkOf(world: World, name: string): T.Network {
  return found(new Map([...world.networks.values()].map((network) => [network.name, network])), name);
}

export function any<V>(map: Map<string, V>, random: () => number): V | undefined {
  return [...map.values()][Math.floor(random() * map.size)];
}

export async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const text = Buffer.concat(parts).toString();
  return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}
