// What the screen is like.

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";

/** Whether a media query holds, now and later. */
export function useMedia(query: string): boolean {
  const [holds, setHolds] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const update = () => setHolds(list.matches);
    update();
    list.addEventListener("change", update);
    return () => list.removeEventListener("change", update);
  }, [query]);
  return holds;
}

/** Width that pages have beside rail and drawer, in pixels: columns that do not fit are left out. */
export const stageWidth = signal(globalThis.innerWidth ?? 0);

/** Keeps `stageWidth` right; for the element that pages stand in. */
export function useStage(stage: { current: HTMLElement | null }): void {
  useEffect(() => {
    const observer = new ResizeObserver(() => {
      stageWidth.value = stage.current?.clientWidth ?? 0;
    });
    observer.observe(stage.current!);
    return () => observer.disconnect();
  }, []);
}
