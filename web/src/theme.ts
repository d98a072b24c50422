// Light, dark, or as the system has it.

import { signal } from "@preact/signals";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const STORED = "lanyard.theme";

export const theme = signal<Theme>("system");

/** Shows a theme and remembers it. */
export function paint(next: Theme): void {
  theme.value = next;
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  localStorage.setItem(STORED, next);
}

/** Shows the theme that was chosen last. */
export function restoreTheme(): void {
  const stored = localStorage.getItem(STORED);
  paint(THEMES.find((known) => known === stored) ?? "system");
}

/** Whether dark colours are on the screen. */
export function isDark(): boolean {
  if (theme.value === "system") return matchMedia("(prefers-color-scheme: dark)").matches;
  return theme.value === "dark";
}
