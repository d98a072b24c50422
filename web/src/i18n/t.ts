// Texts in the user's language: flat catalogues, plural forms by Intl.PluralRules.

import { signal } from "@preact/signals";
import type en from "./en.json";
import { language, numbers, plurals } from "./formatters";
import { type Catalogue, keepLanguage, languageOf } from "./languages";

export { language };

export type Key = keyof typeof en;
export type Params = Readonly<Record<string, string | number>>;

/** Keys with plural forms, named without their ending. */
export type Counted = Key extends infer K ? (K extends `${infer Base}.other` ? Base : never) : never;

const catalogue = signal<Catalogue>({});

/** The text of a key, with `{name}` replaced. */
export function t(key: Key, params?: Params): string {
  return fill(catalogue.value[key] ?? key, params);
}

/** The text of a key for a count, which it may show as `{count}`. */
export function n(key: Counted, count: number, params?: Params): string {
  const form = plurals().select(count);
  const texts = catalogue.value;
  const text = texts[`${key}.${form}`] ?? texts[`${key}.other`] ?? key;
  return fill(text, { ...params, count: numbers().format(count) });
}

/** Whether there is such a key: for codes that come from the server. */
export function has(key: string): key is Key {
  return Object.hasOwn(catalogue.value, key);
}

/** The text of a code that comes from the server, or the code itself where it is newer than this panel. */
export function word(prefix: string, code: string): string {
  const key = `${prefix}.${code}`;
  return has(key) ? t(key) : code;
}

/** Shows a language whose texts are there. */
export function show(id: string, texts: Catalogue): void {
  catalogue.value = texts;
  language.value = id;
}

/** Loads and shows a language, and remembers it. */
export async function speak(id: string): Promise<void> {
  const found = languageOf(id);
  show(found.id, await found.load());
  document.documentElement.lang = found.id;
  keepLanguage(found.id);
}

function fill(text: string, params: Params | undefined): string {
  if (!params) return text;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole));
}
