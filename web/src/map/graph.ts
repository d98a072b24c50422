// The map as data: devices are nodes, pairs that reported are edges, a force layout says where.

import { type Simulation, forceCollide, forceLink, forceManyBody, forceSimulation, forceX, forceY } from "d3-force";
import type { Link } from "../api/types";
import { rate, roundTrip } from "../format";
import type { DeviceRow } from "../store/rows";
import { type LinkState, isIdle, pathInWords, rateOf, stateOfLink } from "../verdict";

/** More nodes than this are a cloud, not a map. */
export const NODES_MAX = 1_500;

export interface Node {
  id: string;
  row: DeviceRow;
  /** Name of the network it is drawn with. */
  group: string;
  x: number;
  y: number;
}

/** How an edge is drawn; `recent` if one end is not online now, or nothing was heard of the pair for a while. */
export type EdgeState = LinkState | "recent";

export interface Edge {
  id: string;
  link: Link;
  source: Node;
  target: Node;
  state: EdgeState;
  /** Bits per second, both ways together; 0 where nothing flows or nothing is known. */
  bps: number;
}

export interface Graph {
  nodes: Node[];
  edges: Edge[];
  /** Devices that were left out. */
  left: number;
}

/** Makes a graph of what is in sight; nodes that were there keep their places. */
export function graphOf(
  rows: readonly DeviceRow[],
  links: readonly Link[],
  before: ReadonlyMap<string, Node>,
  now: number,
): Graph {
  const ends = new Set(links.flatMap((link) => [link.device_id, link.peer_id]));
  // Who talks to somebody comes first where not all have room.
  const ranked =
    rows.length <= NODES_MAX
      ? rows
      : [...rows].sort((a, b) => Number(ends.has(b.device.id)) - Number(ends.has(a.device.id)));
  const kept = ranked.slice(0, NODES_MAX);
  const groups = [...new Set(kept.map(groupOf))].sort();
  const nodes = kept.map((row, at): Node => {
    const old = before.get(row.device.id);
    const group = groupOf(row);
    const start = spiral(at, center(groups.indexOf(group), groups.length, kept.length));
    return { id: row.device.id, row, group, x: old?.x ?? start.x, y: old?.y ?? start.y };
  });
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const edges = links.flatMap((link): Edge[] => {
    const [source, target] = [byId.get(link.device_id), byId.get(link.peer_id)];
    if (!source || !target) return [];
    const isLive = source.row.device.online && target.row.device.online && !isIdle(link, now);
    const { tx, rx } = rateOf(link, now) ?? { tx: 0, rx: 0 };
    const bps = isLive ? tx + rx : 0;
    return [{ id: link.id, link, source, target, state: isLive ? stateOfLink(link) : "recent", bps }];
  });
  return { nodes, edges, left: rows.length - kept.length };
}

/** Lines get thicker with every tenfold: 0 up to 10 kbit/s, 5 from 1 Gbit/s on. */
export function thickness(bps: number): number {
  return Math.max(0, Math.min(5, Math.ceil(Math.log10(Math.max(1, bps))) - 4));
}

/** What is written on an edge: its path, the round trip, and how much goes over it. */
export function labelOf({ link, bps }: Edge): string {
  const rtt = link.report?.rtt_ms ?? null;
  const parts = [pathInWords(link), rtt === null ? "" : roundTrip(rtt), bps > 0 ? rate(bps) : ""];
  return parts.filter((part) => part !== "").join(" · ");
}

function groupOf(row: DeviceRow): string {
  return row.networks[0] ?? "";
}

interface Point {
  x: number;
  y: number;
}

/** Middle of a group: groups stand in a circle. */
function center(index: number, groups: number, nodes: number): Point {
  if (groups < 2) return { x: 0, y: 0 };
  const radius = 26 * Math.sqrt(nodes) + 60;
  const angle = (2 * Math.PI * index) / groups;
  return { x: radius * Math.cos(angle), y: radius * Math.sin(angle) };
}

/** The n-th place of a spiral, so that no two start at the same point and every run looks the same. */
function spiral(n: number, middle: Point): Point {
  const radius = 12 * Math.sqrt(0.5 + n);
  const angle = n * Math.PI * (3 - Math.sqrt(5));
  return { x: middle.x + radius * Math.cos(angle), y: middle.y + radius * Math.sin(angle) };
}

/** A layout that has not begun; `energy` is 1 for a new map, less for a small change. */
export function layout({ nodes, edges }: Graph, energy: number): Simulation<Node, Edge> {
  const groups = [...new Set(nodes.map((node) => node.group))].sort();
  const at = new Map(groups.map((group, index) => [group, center(index, groups.length, nodes.length)]));
  return forceSimulation<Node, Edge>(nodes)
    .force("link", forceLink<Node, Edge>(edges).distance(70).strength(0.06))
    .force("charge", forceManyBody<Node>().strength(-90).distanceMax(320).theta(0.95))
    .force("collide", forceCollide<Node>(14))
    .force("x", forceX<Node>((node) => at.get(node.group)?.x ?? 0).strength(0.09))
    .force("y", forceY<Node>((node) => at.get(node.group)?.y ?? 0).strength(0.09))
    .alpha(energy)
    .alphaDecay(0.04)
    .stop();
}

/** What makes one graph another: a change of states alone needs no new layout. */
export function shapeOf({ nodes, edges }: Graph): string {
  return `${nodes.map((node) => node.id).join()}|${edges.map((edge) => edge.id).join()}`;
}
