// Things that are asked for when a part of the page needs them.

import { useCallback, useEffect, useState } from "preact/hooks";

export interface Loaded<V> {
  value: V | undefined;
  error: unknown;
  /** Asks again; the old value stays until the new one is there. */
  reload: () => void;
  /** Shows another value without asking. */
  set: (value: V) => void;
}

/** Asks when shown, and again when one of `deps` changes. */
export function useLoad<V>(load: () => Promise<V>, deps: readonly unknown[]): Loaded<V> {
  const [value, set] = useState<V | undefined>(undefined);
  const [error, setError] = useState<unknown>(undefined);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let isWanted = true;
    load().then(
      (loaded) => {
        if (!isWanted) return;
        set(loaded);
        setError(undefined);
      },
      (failed: unknown) => isWanted && setError(failed),
    );
    return () => {
      isWanted = false;
    };
  }, [...deps, turn]);
  const reload = useCallback(() => setTurn((old) => old + 1), []);
  return { value, error, reload, set };
}
