// What is hidden while it can still be undone, of things that are in no collection.

import { signal } from "@preact/signals";

export const hidden = signal<ReadonlySet<string>>(new Set());

/** Hides a thing; what comes back shows it again. */
export function hide(thing: string): () => void {
  hidden.value = new Set([...hidden.value, thing]);
  return () => {
    hidden.value = new Set([...hidden.value].filter((other) => other !== thing));
  };
}
