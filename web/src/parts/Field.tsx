// Form fields with their label, hint and error tied to them.

import type { ComponentChildren, JSX, TargetedInputEvent } from "preact";
import { useId } from "preact/hooks";

interface Around {
  label: string;
  hint?: string | undefined;
  error?: string | undefined;
}

interface TextProps extends Around {
  type?: "text" | "number" | "email" | "password" | "url";
  value: string | number;
  required?: boolean;
  min?: number;
  max?: number;
  maxLength?: number;
  pattern?: string;
  autofocus?: boolean;
  autocomplete?: "off" | "new-password";
  onInput: (event: TargetedInputEvent<HTMLInputElement>) => void;
}

export function TextField({ label, hint, error, type = "text", ...rest }: TextProps) {
  const id = useId();
  // Preact types each kind of input apart; this one may be any of a few.
  const attributes = {
    ...rest,
    type,
    id,
    "aria-describedby": `${id}-about`,
    "aria-invalid": error ? true : undefined,
  } as JSX.IntrinsicElements["input"];
  return (
    <Frame id={id} label={label} hint={hint} error={error}>
      <input {...attributes} />
    </Frame>
  );
}

export interface Choice<V extends string> {
  value: V;
  label: string;
}

interface SelectProps<V extends string> extends Around {
  value: V;
  choices: readonly Choice<V>[];
  onPick: (value: V) => void;
  disabled?: boolean;
}

export function SelectField<V extends string>({
  label,
  hint,
  error,
  value,
  choices,
  onPick,
  disabled,
}: SelectProps<V>) {
  const id = useId();
  return (
    <Frame id={id} label={label} hint={hint} error={error}>
      <Options
        id={id}
        value={value}
        choices={choices}
        onPick={onPick}
        disabled={disabled ?? false}
        about={`${id}-about`}
      />
    </Frame>
  );
}

/** A selection without a visible label. */
export function Select<V extends string>({ label, value, choices, onPick }: SelectProps<V>) {
  return <Options label={label} value={value} choices={choices} onPick={onPick} disabled={false} />;
}

interface OptionsProps<V extends string> {
  id?: string;
  label?: string;
  about?: string;
  value: V;
  choices: readonly Choice<V>[];
  onPick: (value: V) => void;
  disabled: boolean;
}

function Options<V extends string>({ id, label, about, value, choices, onPick, disabled }: OptionsProps<V>) {
  return (
    <select
      id={id}
      aria-label={label}
      aria-describedby={about}
      disabled={disabled}
      value={value}
      onChange={(event) => onPick(event.currentTarget.value as V)}
    >
      {choices.map((choice) => (
        <option key={choice.value} value={choice.value} selected={choice.value === value}>
          {choice.label}
        </option>
      ))}
    </select>
  );
}

interface CheckProps {
  label: string;
  hint?: string;
  checked: boolean;
  onCheck: (checked: boolean) => void;
  disabled?: boolean;
}

export function CheckField({ label, hint, checked, onCheck, disabled }: CheckProps) {
  const id = useId();
  return (
    <div class="field check">
      <input
        type="checkbox"
        id={id}
        checked={checked}
        disabled={disabled}
        onChange={(event) => onCheck(event.currentTarget.checked)}
        aria-describedby={hint ? `${id}-about` : undefined}
      />
      <label for={id}>{label}</label>
      {hint && (
        <p class="hint" id={`${id}-about`}>
          {hint}
        </p>
      )}
    </div>
  );
}

/** What stands around a field: its label above, its hint or error below. */
export function Frame({ id, label, hint, error, children }: Around & { id: string; children: ComponentChildren }) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children}
      <p class={error ? "hint wrong" : "hint"} id={`${id}-about`}>
        {error ?? hint}
      </p>
    </div>
  );
}
