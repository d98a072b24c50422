// Changes that can be taken back: they are shown at once and sent when the time to undo is over.

import { signal } from "@preact/signals";
import { Problem } from "../api/client";
import { has, t } from "../i18n/t";

/** How long a destructive change waits. */
export const UNDO_MS = 10_000;

/** A message at the lower edge. */
export interface Note {
  id: number;
  kind: "done" | "wrong";
  text: string;
  /** Takes back what it tells of. */
  undo?: () => void;
  /** When it goes away by itself. */
  until: number;
}

export const notes = signal<readonly Note[]>([]);

let last = 0;
const waiting = new Map<
  number,
  { send: (keepalive: boolean) => Promise<void>; timer: ReturnType<typeof setTimeout> }
>();

/** Shows a message for a while. */
export function note(
  kind: Note["kind"],
  text: string,
  undo?: () => void,
  ms = kind === "wrong" ? 12_000 : 5_000,
): number {
  const id = ++last;
  notes.value = [...notes.value, { id, kind, text, until: Date.now() + ms, ...(undo ? { undo } : {}) }];
  setTimeout(() => dismiss(id), ms);
  return id;
}

export function dismiss(id: number): void {
  notes.value = notes.value.filter((other) => other.id !== id);
}

/** Shows what went wrong. */
export function complain(error: unknown): void {
  note("wrong", sentence(error));
}

/** A refusal as a sentence with its code. */
export function sentence(error: unknown): string {
  if (!(error instanceof Problem)) return String(error);
  const key = `problem.${error.code}`;
  const text = has(key) ? t(key) : error.message || t("problem.unknown");
  return error.code === "network" ? text : `${text} (${error.code})`;
}

export interface Later {
  /** What was done, for the message. */
  text: string;
  /** Shows the change; what comes back hides it again. */
  show: () => () => void;
  /** Sends it. */
  send: (keepalive: boolean) => Promise<unknown>;
}

/** Shows a change now and sends it in ten seconds, unless it is undone. */
export function later({ text, show, send }: Later): void {
  const hide = show();
  const run = async (keepalive: boolean) => {
    waiting.delete(id);
    dismiss(id);
    try {
      await send(keepalive);
    } catch (error) {
      complain(error);
    }
    hide();
  };
  const undo = () => {
    clearTimeout(waiting.get(id)?.timer);
    waiting.delete(id);
    dismiss(id);
    hide();
  };
  const id = note("done", text, undo, UNDO_MS);
  waiting.set(id, { send: run, timer: setTimeout(() => void run(false), UNDO_MS) });
}

/** Sends now whatever waits: the page is about to go. */
export function sendAll(): void {
  for (const { send, timer } of waiting.values()) {
    clearTimeout(timer);
    void send(true);
  }
}
