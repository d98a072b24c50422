// A menu below its button: the browser's own popover, which closes by Escape or a click elsewhere.

import type { ComponentChildren } from "preact";
import { useId, useRef } from "preact/hooks";
import { Icon, type IconName } from "./Icon";

const MARGIN = 8;

interface Props {
  icon: IconName;
  label: string;
  /** Whether the label is written beside the icon. */
  shown?: boolean;
  children: (close: () => void) => ComponentChildren;
}

export function Menu({ icon, label, shown = false, children }: Props) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const place = (event: { newState: string }) => {
    if (event.newState !== "open" || !button.current || !panel.current) return;
    const at = button.current.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = panel.current;
    const left = Math.max(MARGIN, Math.min(at.right - width, innerWidth - width - MARGIN));
    const below = at.bottom + 4;
    const top = below + height > innerHeight - MARGIN ? Math.max(MARGIN, at.top - height - 4) : below;
    Object.assign(panel.current.style, { left: `${left}px`, top: `${top}px` });
    panel.current.querySelector<HTMLElement>("button, input, select, a")?.focus();
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        class={shown ? "button plain small" : "icon-button"}
        popovertarget={id}
        aria-label={shown ? undefined : label}
        title={shown ? undefined : label}
      >
        <Icon name={icon} size={shown ? 16 : 18} />
        {shown && label}
      </button>
      <div ref={panel} id={id} popover="auto" class="menu" role="group" aria-label={label} onToggle={place}>
        {children(() => panel.current?.hidePopover())}
      </div>
    </>
  );
}

interface ItemProps {
  icon?: IconName;
  danger?: boolean;
  disabled?: boolean;
  onPick: () => void;
  children: ComponentChildren;
}

export function MenuItem({ icon, danger = false, disabled = false, onPick, children }: ItemProps) {
  return (
    <button type="button" class={danger ? "menu-item danger" : "menu-item"} onClick={onPick} disabled={disabled}>
      {icon && <Icon name={icon} size={16} />}
      {children}
    </button>
  );
}
