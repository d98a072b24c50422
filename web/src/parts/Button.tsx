// Buttons and links that look like them.

import type { ComponentChildren, JSX } from "preact";
import { Icon, type IconName } from "./Icon";

interface Look {
  icon?: IconName;
  /** `plain` has a frame, `bare` none. */
  look?: "main" | "plain" | "bare" | "danger";
  small?: boolean;
  children?: ComponentChildren;
}

type Props = Look & Omit<JSX.IntrinsicElements["button"], "icon" | "children">;

export function Button({ icon, look = "plain", small = false, children, ...rest }: Props) {
  return (
    <button type="button" {...rest} class={classes(look, small, rest.class)}>
      {icon && <Icon name={icon} size={small ? 16 : 18} />}
      {children}
    </button>
  );
}

/** A button that is an icon; its label is read out and shown on hover. */
export function IconButton({
  icon,
  label,
  ...rest
}: { icon: IconName; label: string } & Omit<Props, "icon" | "label">) {
  return (
    <button type="button" {...rest} class={`icon-button ${text(rest.class)}`} aria-label={label} title={label}>
      <Icon name={icon} />
    </button>
  );
}

export function LinkButton({ icon, look = "plain", small = false, children, ...rest }: Look & { href: string }) {
  return (
    <a {...rest} class={classes(look, small)}>
      {icon && <Icon name={icon} size={small ? 16 : 18} />}
      {children}
    </a>
  );
}

function classes(look: string, small: boolean, more?: unknown): string {
  return `button ${look}${small ? " small" : ""}${more ? ` ${text(more)}` : ""}`;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
