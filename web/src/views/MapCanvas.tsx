// The canvas of the map: lays out, draws, and lets itself be moved and clicked. It stands still once it has settled.

import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n/t";
import { type Scene, type View, draw, fit, nodeAt, paintOf, toMap } from "../map/draw";
import { type Graph, layout, shapeOf } from "../map/graph";
import { IconButton } from "../parts/Button";
import { theme } from "../theme";

/** Layout per frame: the rest of its time is the page's. */
const SLICE_MS = 7;
const ZOOM_MIN = 0.08;
const ZOOM_MAX = 4;

interface Props {
  graph: Graph;
  label: string;
  chosen: string | undefined;
  onOpen: (id: string) => void;
}

export function MapCanvas({ graph, label, chosen, onOpen }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const machine = useRef<Machine | undefined>(undefined);
  useEffect(() => {
    const made = new Machine(canvas.current!);
    machine.current = made;
    return () => made.stop();
  }, []);
  useEffect(() => machine.current?.show(graph), [graph]);
  useEffect(() => machine.current?.choose(chosen, onOpen), [chosen, onOpen]);
  const dark = theme.value;
  useEffect(() => machine.current?.repaint(), [dark]);
  return (
    <div class="map">
      <canvas ref={canvas} role="img" aria-label={label} />
      <div class="map-zoom">
        <IconButton icon="plus" label={t("map.in")} onClick={() => machine.current?.zoom(1.4)} />
        <button
          type="button"
          class="icon-button"
          aria-label={t("map.out")}
          title={t("map.out")}
          onClick={() => machine.current?.zoom(1 / 1.4)}
        >
          <span class="minus" aria-hidden="true" />
        </button>
        <IconButton icon="fit" label={t("map.fit")} onClick={() => machine.current?.fitAll()} />
      </div>
    </div>
  );
}

class Machine {
  readonly #scene: Scene = {
    graph: { nodes: [], edges: [], left: 0 },
    view: { x: 0, y: 0, scale: 1 },
    hovered: undefined,
    chosen: undefined,
  };
  readonly #observer: ResizeObserver;
  #shape = "";
  #frame = 0;
  #isFollowing = true;
  #onOpen: (id: string) => void = () => {};
  readonly #end = new AbortController();

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.#observer = new ResizeObserver(() => this.#resize());
    this.#observer.observe(canvas);
    this.#listen();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint(), {
      signal: this.#end.signal,
    });
  }

  stop(): void {
    this.#end.abort();
    this.#observer.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  show(graph: Graph): void {
    const isFirst = this.#scene.graph.nodes.length === 0;
    this.#scene.graph = graph;
    this.#scene.hovered = undefined;
    const shape = shapeOf(graph);
    if (shape === this.#shape) return this.repaint();
    this.#shape = shape;
    this.#settle(isFirst ? 1 : 0.3);
  }

  choose(chosen: string | undefined, onOpen: (id: string) => void): void {
    this.#scene.chosen = chosen;
    this.#onOpen = onOpen;
    this.repaint();
  }

  zoom(by: number, at?: { x: number; y: number }): void {
    this.#isFollowing = false;
    const { view } = this.#scene;
    const scale = Math.max(ZOOM_MIN, Math.min(ZOOM_MAX, view.scale * by));
    // The point under the pointer stays where it is.
    const fixed = at ? toMap(view, this.canvas, at.x, at.y) : view;
    this.#look({
      x: fixed.x - ((fixed.x - view.x) * view.scale) / scale,
      y: fixed.y - ((fixed.y - view.y) * view.scale) / scale,
      scale,
    });
  }

  fitAll(): void {
    this.#isFollowing = true;
    this.#look(fit(this.#scene.graph.nodes, this.canvas.clientWidth, this.canvas.clientHeight));
  }

  repaint(): void {
    draw(this.canvas, this.#scene, paintOf(this.canvas));
  }

  #settle(energy: number): void {
    cancelAnimationFrame(this.#frame);
    const simulation = layout(this.#scene.graph, energy);
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.canvas.dataset.settled = "no";
    const step = () => {
      const until = performance.now() + SLICE_MS;
      do simulation.tick();
      while (performance.now() < until && simulation.alpha() > simulation.alphaMin());
      const isDone = simulation.alpha() <= simulation.alphaMin();
      if (isDone || !isStill) {
        if (this.#isFollowing) this.fitAll();
        else this.repaint();
      }
      if (isDone) this.canvas.dataset.settled = "yes";
      else this.#frame = requestAnimationFrame(step);
    };
    this.#frame = requestAnimationFrame(step);
  }

  #resize(): void {
    if (this.#isFollowing) this.fitAll();
    else this.repaint();
  }

  #look(view: View): void {
    this.#scene.view = view;
    this.repaint();
  }

  #listen(): void {
    const { canvas } = this;
    const { signal } = this.#end;
    let from: { x: number; y: number; view: View; hasMoved: boolean } | undefined;
    canvas.addEventListener(
      "pointerdown",
      (event) => {
        canvas.setPointerCapture(event.pointerId);
        from = { x: event.offsetX, y: event.offsetY, view: this.#scene.view, hasMoved: false };
      },
      { signal },
    );
    canvas.addEventListener(
      "pointermove",
      (event) => {
        if (!from) return this.#hover(event.offsetX, event.offsetY);
        const [dx, dy] = [event.offsetX - from.x, event.offsetY - from.y];
        if (!from.hasMoved && Math.hypot(dx, dy) < 4) return;
        from.hasMoved = true;
        this.#isFollowing = false;
        const { view } = from;
        this.#look({ ...view, x: view.x - dx / view.scale, y: view.y - dy / view.scale });
      },
      { signal },
    );
    canvas.addEventListener(
      "pointerup",
      (event) => {
        const wasClick = from !== undefined && !from.hasMoved;
        from = undefined;
        const node = wasClick && nodeAt(this.#scene.graph, this.#scene.view, canvas, event.offsetX, event.offsetY);
        if (node) this.#onOpen(node.id);
      },
      { signal },
    );
    canvas.addEventListener("pointercancel", () => (from = undefined), { signal });
    canvas.addEventListener("pointerleave", () => !from && this.#hover(-1e6, -1e6), { signal });
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * 0.0015), { x: event.offsetX, y: event.offsetY });
      },
      { signal, passive: false },
    );
  }

  #hover(x: number, y: number): void {
    const node = nodeAt(this.#scene.graph, this.#scene.view, this.canvas, x, y);
    if (node === this.#scene.hovered) return;
    this.#scene.hovered = node;
    this.canvas.style.cursor = node ? "pointer" : "grab";
    this.repaint();
  }
}
