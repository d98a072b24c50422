// The map on a canvas: edges below, nodes above, names where there is room.

import { grouped } from "../grouped";
import { type Edge, type EdgeState, type Graph, type Node, labelOf, thickness } from "./graph";

/** Where the map is looked at: its point in the middle of the canvas, and how large. */
export interface View {
  x: number;
  y: number;
  scale: number;
}

export interface Paint {
  edges: Readonly<Record<EdgeState, string>>;
  ink: string;
  quiet: string;
  paper: string;
  online: string;
  offline: string;
  pending: string;
  accent: string;
  font: string;
}

/** Colours as the style sheet has them for the theme on the screen. */
export function paintOf(element: Element): Paint {
  const style = getComputedStyle(element);
  const value = (name: string) => style.getPropertyValue(name).trim();
  return {
    edges: {
      direct: value("--good"),
      relayed: value("--warn"),
      failed: value("--wrong"),
      trying: value("--quiet"),
      recent: value("--faint"),
    },
    ink: value("--ink"),
    quiet: value("--quiet"),
    paper: value("--paper"),
    online: value("--good"),
    offline: value("--quiet"),
    pending: value("--warn"),
    accent: value("--accent"),
    font: style.fontFamily,
  };
}

const DASHES: Readonly<Record<EdgeState, number[]>> = {
  direct: [],
  relayed: [6, 4],
  failed: [2, 5],
  trying: [1, 4],
  recent: [1, 5],
};

/** Names are written from this size on; that of the node under the pointer always. */
const NAMES_FROM = 0.75;
const NAMES_MAX = 160;

export interface Scene {
  graph: Graph;
  view: View;
  /** Node under the pointer. */
  hovered: Node | undefined;
  /** Node in the drawer. */
  chosen: string | undefined;
}

export function draw(canvas: HTMLCanvasElement, { graph, view, hovered, chosen }: Scene, paint: Paint): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== width * ratio || canvas.height !== height * ratio) {
    canvas.width = width * ratio;
    canvas.height = height * ratio;
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(
    ratio * view.scale,
    0,
    0,
    ratio * view.scale,
    ratio * (width / 2 - view.x * view.scale),
    ratio * (height / 2 - view.y * view.scale),
  );

  edges(context, graph, view, hovered, paint);
  context.setLineDash([]);
  context.globalAlpha = 1;
  for (const node of graph.nodes) dot(context, node, node === hovered || node.id === chosen, paint, view.scale);
  names(context, { graph, view, hovered, chosen }, paint, width, height);
  if (hovered) figures(context, graph, view, hovered, paint);
  if (view.scale < NAMES_FROM * 1.5) groups(context, graph, view, paint);
}

const ORDER: readonly EdgeState[] = ["recent", "trying", "direct", "relayed", "failed"];

/** Lines of one look are one stroke: those of the node under the pointer stand out, busy ones are thicker. */
function edges(
  context: CanvasRenderingContext2D,
  graph: Graph,
  view: View,
  hovered: Node | undefined,
  paint: Paint,
): void {
  const isLit = (edge: Edge) => hovered !== undefined && (edge.source === hovered || edge.target === hovered);
  const looks = grouped(
    graph.edges,
    (edge) => ORDER.indexOf(edge.state) * 20 + thickness(edge.bps) * 2 + Number(isLit(edge)),
  );
  for (const [look, list] of [...looks].sort(([a], [b]) => a - b)) {
    const state = ORDER[Math.floor(look / 20)]!;
    const isBright = look % 2 === 1;
    context.setLineDash(DASHES[state].map((dash) => dash / view.scale));
    context.strokeStyle = paint.edges[state];
    context.globalAlpha = isBright ? 0.95 : hovered ? 0.12 : 0.55;
    // From afar the lines are finer, or they would be one blot.
    const near = Math.max(0.4, Math.min(1, view.scale));
    context.lineWidth = (near * ((isBright ? 2 : 1.2) + 0.7 * Math.floor((look % 20) / 2))) / view.scale;
    context.beginPath();
    for (const edge of list) {
      context.moveTo(edge.source.x, edge.source.y);
      context.lineTo(edge.target.x, edge.target.y);
    }
    context.stroke();
  }
}

/** On more lines than that the figures would cover each other. */
const FIGURES_MAX = 16;

/** Round trip and throughput on the lines of a node. */
function figures(context: CanvasRenderingContext2D, graph: Graph, view: View, node: Node, paint: Paint): void {
  const own = graph.edges.filter((edge) => edge.source === node || edge.target === node);
  if (own.length > FIGURES_MAX) return;
  context.font = `${11 / view.scale}px ${paint.font}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 4 / view.scale;
  context.strokeStyle = paint.paper;
  context.fillStyle = paint.ink;
  for (const edge of own) {
    const [x, y] = [(edge.source.x + edge.target.x) / 2, (edge.source.y + edge.target.y) / 2];
    const label = labelOf(edge);
    context.strokeText(label, x, y);
    context.fillText(label, x, y);
  }
}

/** Name of each network over the middle of its devices. */
function groups(context: CanvasRenderingContext2D, graph: Graph, view: View, paint: Paint): void {
  const middles = [...grouped(graph.nodes, (node) => node.group)].filter(
    ([name, nodes]) => name !== "" && nodes.length > 2,
  );
  if (middles.length < 2) return;
  context.font = `600 ${15 / view.scale}px ${paint.font}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 5 / view.scale;
  context.strokeStyle = paint.paper;
  context.fillStyle = paint.ink;
  for (const [name, nodes] of middles) {
    const x = nodes.reduce((sum, node) => sum + node.x, 0) / nodes.length;
    const y = nodes.reduce((sum, node) => sum + node.y, 0) / nodes.length;
    context.strokeText(name, x, y);
    context.fillText(name, x, y);
  }
}

function dot(context: CanvasRenderingContext2D, node: Node, isChosen: boolean, paint: Paint, scale: number): void {
  const radius = isChosen ? 7 : 5;
  const { state } = node.row;
  context.beginPath();
  context.arc(node.x, node.y, radius, 0, 2 * Math.PI);
  context.fillStyle = state === "online" ? paint.online : paint.paper;
  context.fill();
  context.lineWidth = isChosen ? 2.5 : 1.6;
  context.strokeStyle = isChosen
    ? paint.accent
    : state === "online"
      ? paint.paper
      : state === "pending"
        ? paint.pending
        : paint.offline;
  context.stroke();
  if (!isChosen) return;
  context.beginPath();
  context.arc(node.x, node.y, radius + 4, 0, 2 * Math.PI);
  context.lineWidth = 1.5 / scale;
  context.stroke();
}

/** Names below their dots, or above; where there is no room for either, none is written until the pointer asks. */
function names(context: CanvasRenderingContext2D, scene: Scene, paint: Paint, width: number, height: number): void {
  const { graph, view, hovered, chosen } = scene;
  const halfWidth = width / 2 / view.scale;
  const halfHeight = height / 2 / view.scale;
  const inSight = graph.nodes.filter(
    (node) => Math.abs(node.x - view.x) < halfWidth && Math.abs(node.y - view.y) < halfHeight,
  );
  const all = view.scale >= NAMES_FROM && inSight.length <= NAMES_MAX;
  const size = 12 / view.scale;
  context.font = `${size}px ${paint.font}`;
  context.textAlign = "center";
  context.textBaseline = "top";
  context.lineJoin = "round";
  context.strokeStyle = paint.paper;
  context.lineWidth = 4 / view.scale;
  const isLoud = (node: Node) => node === hovered || node.id === chosen;
  const rank = (node: Node) => (isLoud(node) ? 2 : Number(node.row.state === "online"));
  const written: Box[] = [];
  for (const node of inSight.sort((a, b) => rank(b) - rank(a))) {
    if (!all && !isLoud(node)) continue;
    const half = context.measureText(node.row.name).width / 2;
    const places = [node.y + 9, node.y - 9 - size].map((y) => ({ left: node.x - half, right: node.x + half, top: y, bottom: y + size }));
    const place = places.find((box) => !written.some((other) => meets(box, other))) ?? (isLoud(node) ? places[0] : undefined);
    if (!place) continue;
    written.push(place);
    context.strokeText(node.row.name, node.x, place.top);
    context.fillStyle = isLoud(node) ? paint.ink : paint.quiet;
    context.fillText(node.row.name, node.x, place.top);
  }
}

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

function meets(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/** The node at a point of the canvas. */
export function nodeAt(graph: Graph, view: View, canvas: HTMLCanvasElement, x: number, y: number): Node | undefined {
  const at = toMap(view, canvas, x, y);
  const reach = Math.max(9, 12 / view.scale);
  let best: Node | undefined;
  let least = reach * reach;
  for (const node of graph.nodes) {
    const distance = (node.x - at.x) ** 2 + (node.y - at.y) ** 2;
    if (distance < least) [best, least] = [node, distance];
  }
  return best;
}

export function toMap(view: View, canvas: HTMLCanvasElement, x: number, y: number): { x: number; y: number } {
  return {
    x: view.x + (x - canvas.clientWidth / 2) / view.scale,
    y: view.y + (y - canvas.clientHeight / 2) / view.scale,
  };
}

/** A view with every node in it. */
export function fit(nodes: readonly Node[], width: number, height: number): View {
  if (nodes.length === 0) return { x: 0, y: 0, scale: 1 };
  const xs = nodes.map((node) => node.x);
  const ys = nodes.map((node) => node.y);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = Math.min(1.6, width / (right - left + 120), height / (bottom - top + 120));
  return { x: (left + right) / 2, y: (top + bottom) / 2, scale };
}
