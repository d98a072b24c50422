// Asking the same question again when there is news: soon, but seldom, and never twice at a time.

/** News that come together are one. */
const GATHER_MS = 200;
/** From the end of one asking to the next, at least. */
const REST_MS = 1_000;

export interface Again {
  /** There is news: asks after so long at the latest, as far as it may. */
  plan(within?: number): void;
  /** Asks no more. */
  stop(): void;
}

export function again(ask: () => Promise<unknown>): Again {
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** When it asks next; never, if nothing is planned. */
  let due = Number.POSITIVE_INFINITY;
  let restsUntil = 0;
  let isBusy = false;
  let isStopped = false;
  const run = async () => {
    due = Number.POSITIVE_INFINITY;
    isBusy = true;
    // What is planned from here on is asked after this.
    await ask().catch(() => {});
    isBusy = false;
    restsUntil = Date.now() + REST_MS;
    if (due < Number.POSITIVE_INFINITY) set();
  };
  const set = () => {
    clearTimeout(timer);
    if (!isStopped && !isBusy) timer = setTimeout(() => void run(), Math.max(due, restsUntil) - Date.now());
  };
  return {
    plan(within = GATHER_MS) {
      const at = Date.now() + within;
      if (at >= due) return;
      due = at;
      set();
    },
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
