// Keys that work everywhere. Single letters are never taken while somebody types or a dialog is open.

import { signal } from "@preact/signals";
import { go, here, opened, to } from "./route";

export const isPaletteOpen = signal(false);
export const isHelpOpen = signal(false);

/** What the table in front does with keys. */
export interface RowKeys {
  move(by: number): void;
  select(): void;
}

const tables: RowKeys[] = [];

/** Lets a table have the row keys until what comes back is called. */
export function withRows(keys: RowKeys): () => void {
  tables.push(keys);
  return () => void tables.splice(tables.indexOf(keys), 1);
}

/** Pages by the letter after `g`. */
export const GO_TO: Readonly<Record<string, string>> = {
  o: "",
  d: "devices",
  n: "networks",
  p: "people",
  m: "map",
  r: "rules",
  a: "activity",
  s: "settings",
};

/** How long `g` waits for its letter. */
const PREFIX_MS = 1_200;

let prefixUntil = 0;

/** Listens from now on. */
export function listen(): void {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      isPaletteOpen.value = !isPaletteOpen.value;
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open], :popover-open")) return;
    if (isTyping(event.target)) {
      if (event.key !== "Escape") return;
      // Browsers would empty a search field; here Escape leaves it.
      event.preventDefault();
      (event.target as HTMLElement).blur();
      return;
    }
    if (press(event.key)) event.preventDefault();
  });
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof Element && target.matches("input:not([type=checkbox]), textarea, select");
}

/** Does what a key is for; whether it is for anything. */
function press(key: string): boolean {
  if (prefixUntil > Date.now()) {
    prefixUntil = 0;
    const page = GO_TO[key];
    if (page !== undefined) go(page === "" ? to() : to(page));
    return page !== undefined;
  }
  const table = tables.at(-1);
  switch (key) {
    case "g":
      prefixUntil = Date.now() + PREFIX_MS;
      return true;
    case "j":
      table?.move(1);
      return table !== undefined;
    case "k":
      table?.move(-1);
      return table !== undefined;
    case "x":
      table?.select();
      return table !== undefined;
    case "e":
      return click("[data-key=edit]");
    case "t":
      return click("[data-key=twin]");
    case "/":
      return focus("[data-key=filter]");
    case "?":
      isHelpOpen.value = true;
      return true;
    case "Escape":
      return escape();
    default:
      return false;
  }
}

/** Closes one layer: the drawer, else the selection. */
function escape(): boolean {
  if (opened.value) {
    go(here({ open: null }));
    return true;
  }
  return click("[data-key=unselect]");
}

function click(selector: string): boolean {
  const element = document.querySelector<HTMLElement>(selector);
  element?.click();
  return element !== null;
}

function focus(selector: string): boolean {
  const element = document.querySelector<HTMLInputElement>(selector);
  element?.focus();
  element?.select();
  return element !== null;
}
