// Things by id, with changes that are shown before the server confirmed them.

import { type ReadonlySignal, computed, signal } from "@preact/signals";

/** What a change not yet confirmed makes of a thing: fields that differ, or `null` for gone. */
export type Patch<T> = Partial<T> | null;

/**
 * A map whose readers are told when it changes.
 *
 * Below is what the server said last; on top of it lie patches, oldest first, until they are confirmed or taken back.
 * So a message of the stream never undoes what the user has just done.
 */
export class Collection<T extends object> {
  readonly #base = new Map<string, T>();
  readonly #patches = new Map<string, Patch<T>[]>();
  readonly #version = signal(0);
  /** Called for each id that looks different now. */
  onChange: (id: string, before: T | undefined, after: T | undefined) => void = () => {};

  /** Everything there is, patches applied. */
  readonly all: ReadonlySignal<readonly T[]> = computed(() => {
    this.#version.value;
    const all: T[] = [];
    for (const id of this.#base.keys()) {
      const thing = this.peek(id);
      if (thing) all.push(thing);
    }
    return all;
  });

  constructor(readonly idOf: (thing: T) => string) {}

  /** One thing; whoever reads it is told when anything changes. */
  get(id: string | null | undefined): T | undefined {
    this.#version.value;
    return id == null ? undefined : this.peek(id);
  }

  /** One thing, without being told of changes. */
  peek(id: string): T | undefined {
    let thing = this.#base.get(id);
    for (const patch of this.#patches.get(id) ?? []) {
      if (patch === null || thing === undefined) return undefined;
      thing = { ...thing, ...patch };
    }
    return thing;
  }

  put(thing: T): void {
    const id = this.idOf(thing);
    this.#change(id, () => this.#base.set(id, thing));
  }

  /** Changes some fields of a thing that is there; nothing otherwise. */
  merge(id: string, fields: Partial<T>): void {
    const thing = this.#base.get(id);
    if (thing) this.put({ ...thing, ...fields });
  }

  remove(id: string): void {
    this.#change(id, () => this.#base.delete(id));
  }

  /** Replaces everything; patches stay on top. */
  reset(things: readonly T[]): void {
    this.#base.clear();
    for (const thing of things) this.#base.set(this.idOf(thing), thing);
    this.#version.value += 1;
  }

  /** Lays a patch on top; what comes back takes it away again. */
  patch(id: string, patch: Patch<T>): () => void {
    this.#change(id, () => this.#patches.set(id, [...(this.#patches.get(id) ?? []), patch]));
    return () => {
      const left = (this.#patches.get(id) ?? []).filter((other) => other !== patch);
      this.#change(id, () => (left.length > 0 ? this.#patches.set(id, left) : this.#patches.delete(id)));
    };
  }

  #change(id: string, change: () => void): void {
    const before = this.peek(id);
    change();
    this.onChange(id, before, this.peek(id));
    this.#version.value += 1;
  }
}
