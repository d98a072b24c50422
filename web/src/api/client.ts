// The only place that fetches. Every answer that is no success becomes a Problem with the server's stable code.

/** A refusal, as the server words it (problem+json), or the lack of any answer. */
export class Problem extends Error {
  constructor(
    /** HTTP status; 0 when the server did not answer. */
    readonly status: number,
    /** Stable code: `index.forbidden`; `network` when the server did not answer. */
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }

  /** Somebody else changed the thing since it was read. */
  get isConflict(): boolean {
    return this.status === 412;
  }
}

export interface Ask {
  body?: unknown;
  /** ETag the change is based on. */
  ifMatch?: string | undefined;
  /** Lets the request outlive the page. */
  keepalive?: boolean;
}

export interface Answer<T> {
  value: T;
  /** For a later `If-Match`. */
  etag: string | undefined;
}

const BASE = "/api/v1";

/** Sends the browser to sign in; tests put something else here. */
export const leave = {
  toSignIn(): void {
    location.assign("/signin");
  },
};

/**
 * Asks the API.
 *
 * A change carries an idempotency key, so that a repeated request changes nothing twice.
 *
 * @throws Problem
 */
export async function ask<T>(method: string, path: string, { body, ifMatch, keepalive }: Ask = {}): Promise<Answer<T>> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (ifMatch !== undefined) headers["if-match"] = ifMatch;
  if (method !== "GET") headers["idempotency-key"] = key();
  let response: Response;
  try {
    response = await fetch(BASE + path, {
      method,
      headers,
      credentials: "same-origin",
      keepalive: keepalive ?? false,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new Problem(0, "network", "");
  }
  if (response.status === 401) leave.toSignIn();
  if (!response.ok) throw await problem(response);
  const value = response.status === 204 ? undefined : await response.json();
  return { value: value as T, etag: response.headers.get("etag") ?? undefined };
}

/** An answer without its ETag. */
export async function get<T>(path: string): Promise<T> {
  return (await ask<T>("GET", path)).value;
}

/** Encodes one step of a path. */
export const step = encodeURIComponent;

async function problem(response: Response): Promise<Problem> {
  try {
    const { code, detail, title } = (await response.json()) as Record<string, unknown>;
    return new Problem(response.status, String(code ?? response.status), String(detail ?? title ?? ""));
  } catch {
    return new Problem(response.status, String(response.status), response.statusText);
  }
}

// crypto.randomUUID is missing where the page came without TLS from a private address.
function key(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
