// Messages at the lower edge, with the time left to undo.

import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n/t";
import { type Note, dismiss, notes } from "../store/later";
import { IconButton } from "./Button";

export function Notes() {
  return (
    <div class="notes" role="status" aria-live="polite">
      {notes.value.map((note) => (
        <Line key={note.id} note={note} />
      ))}
    </div>
  );
}

function Line({ note }: { note: Note }) {
  const undo = () => {
    note.undo?.();
    dismiss(note.id);
  };
  return (
    <div class={`note ${note.kind}`}>
      <span>{note.text}</span>
      {note.undo && (
        <button type="button" class="note-undo" onClick={undo}>
          {t("undo")}
          <Left until={note.until} />
        </button>
      )}
      <IconButton icon="close" label={t("dismiss")} onClick={() => dismiss(note.id)} />
    </div>
  );
}

/** Seconds left; not read out, or a screen reader would count aloud. */
function Left({ until }: { until: number }) {
  const [left, setLeft] = useState(secondsTo(until));
  useEffect(() => {
    const timer = setInterval(() => setLeft(secondsTo(until)), 500);
    return () => clearInterval(timer);
  }, [until]);
  return (
    <span class="note-left" aria-hidden="true">
      {left}
    </span>
  );
}

function secondsTo(until: number): number {
  return Math.max(0, Math.ceil((until - Date.now()) / 1_000));
}
