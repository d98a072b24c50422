// State by shape and word; colour only repeats it. The shapes are those of `lanyard status`.

import type { DeviceState } from "../store/rows";
import { t } from "../i18n/t";
import type { LinkState } from "../verdict";

export type DotState = DeviceState | LinkState | "ok" | "warn";

/** Which shape says what. */
const SHAPE: Readonly<Record<DotState, "disc" | "ring" | "diamond" | "triangle" | "bars" | "dashed">> = {
  online: "disc",
  direct: "disc",
  ok: "disc",
  offline: "ring",
  trying: "dashed",
  pending: "dashed",
  relayed: "diamond",
  warn: "diamond",
  failed: "triangle",
  suspended: "bars",
};

export function Dot({ state }: { state: DotState }) {
  return (
    <svg class={`dot dot-${state}`} width="12" height="12" viewBox="0 0 12 12" aria-hidden="true" focusable="false">
      <Shape shape={SHAPE[state]} />
    </svg>
  );
}

function Shape({ shape }: { shape: (typeof SHAPE)[DotState] }) {
  switch (shape) {
    case "disc":
      return <circle cx="6" cy="6" r="4.2" class="fill" />;
    case "ring":
      return <circle cx="6" cy="6" r="3.7" class="line" />;
    case "dashed":
      return <circle cx="6" cy="6" r="3.7" class="line dashes" />;
    case "diamond":
      return <path d="M6 1l5 5-5 5-5-5z" class="fill" />;
    case "triangle":
      return <path d="M6 1.300l5.200 9.200H.8z" class="fill" />;
    case "bars":
      return <path d="M4 2v8M8 2v8" class="line thick" />;
  }
}

/** A dot with its word. */
export function State({ state }: { state: DotState }) {
  return (
    <span class="state">
      <Dot state={state} />
      {t(`state.${state}`)}
    </span>
  );
}
