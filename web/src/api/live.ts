// The event stream: one connection, resumed where it ended, reconnected with jitter.
//
// EventSource reconnects by itself, but at a fixed pace: after a restart of the server all panels would come at once. So
// an error closes the source, and a new one starts from the last id after a random wait that grows up to WAIT_MAX_MS.

/** Kinds of messages that carry a thing. */
export const KINDS = ["network", "device", "member", "invite", "user", "role", "link", "presence", "event"] as const;
export type Kind = (typeof KINDS)[number];

export interface Listener {
  /** A message of a kind, with the parsed data. */
  onDelta(kind: Kind, data: unknown): void;
  /** The server cannot resume: everything has to be asked anew. */
  onReset(): void;
  /** The stream is open. */
  onOpen(): void;
  /** The stream is lost; the next try comes by itself. */
  onLost(): void;
}

/** What of EventSource is used, so that tests can put another there. */
export interface Source {
  addEventListener(kind: string, handler: (message: MessageEvent<string>) => void): void;
  close(): void;
  onopen: ((event: Event) => void) | null;
  onerror: ((event: Event) => void) | null;
}

export interface Surroundings {
  open(url: string): Source;
  /** Between 0 and 1. */
  random(): number;
  later(run: () => void, ms: number): () => void;
}

const WAIT_MIN_MS = 500;
const WAIT_MAX_MS = 15_000;

export const browser: Surroundings = {
  open: (url) => new EventSource(url),
  random: () => Math.random(),
  later: (run, ms) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

export class Live {
  #source: Source | undefined;
  #cancel: (() => void) | undefined;
  #tries = 0;
  /** Id of the last message that was handled. */
  #last: string;

  constructor(
    revision: number,
    private readonly listener: Listener,
    private readonly world: Surroundings = browser,
  ) {
    this.#last = String(revision);
  }

  /** Opens the stream now, also while it waits for the next try. */
  start(): void {
    this.stop();
    const source = this.world.open(`/api/v1/live?after=${encodeURIComponent(this.#last)}`);
    this.#source = source;
    source.onopen = () => {
      this.#tries = 0;
      this.listener.onOpen();
    };
    source.onerror = () => this.#retry();
    for (const kind of KINDS) {
      source.addEventListener(kind, (message) => this.#take(kind, message));
    }
    source.addEventListener("reset", () => {
      this.stop();
      this.listener.onReset();
    });
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#source?.close();
    this.#source = undefined;
  }

  #take(kind: Kind, message: MessageEvent<string>): void {
    let data: unknown;
    try {
      data = JSON.parse(message.data);
    } catch {
      return; // A message nobody can read must not end the stream.
    }
    if (message.lastEventId) this.#last = message.lastEventId;
    this.listener.onDelta(kind, data);
  }

  #retry(): void {
    this.stop();
    this.listener.onLost();
    const most = Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** this.#tries);
    this.#tries += 1;
    this.#cancel = this.world.later(() => this.start(), most / 2 + (this.world.random() * most) / 2);
  }
}
