// A field for when something ends by itself: never, after a while, or at a moment.

import { useId, useState } from "preact/hooks";
import { ago, now } from "../format";
import { t } from "../i18n/t";
import { Frame, SelectField } from "./Field";

const HOUR_MS = 3_600_000;
const HOURS = [1, 24, 7 * 24, 30 * 24];

interface Props {
  label: string;
  at: number | null;
  onEnd: (at: number | null) => void;
}

export function EndField({ label, at, onEnd }: Props) {
  const [choice, setChoice] = useState(at === null ? "never" : "at");
  const id = useId();
  const pick = (next: string) => {
    setChoice(next);
    if (next === "never") onEnd(null);
    else if (next === "at") onEnd(at ?? Date.now() + 24 * HOUR_MS);
    else onEnd(Date.now() + Number(next) * HOUR_MS);
  };
  return (
    <>
      <SelectField
        label={label}
        value={choice}
        choices={[
          { value: "never", label: t("time.never") },
          ...HOURS.map((hours) => ({ value: String(hours), label: ago(hours * HOUR_MS, 0) })),
          { value: "at", label: t("end.at") },
        ]}
        onPick={pick}
      />
      {choice === "at" && at !== null && (
        <Frame id={id} label={t("end.moment")}>
          <input
            id={id}
            type="datetime-local"
            value={localOf(at)}
            min={localOf(now.value)}
            required
            onInput={(event) => {
              const moment = new Date(event.currentTarget.value).getTime();
              if (!Number.isNaN(moment)) onEnd(moment);
            }}
          />
        </Frame>
      )}
    </>
  );
}

/** A moment as a field of the browser has it: local time to the minute. */
export function localOf(at: number): string {
  return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
