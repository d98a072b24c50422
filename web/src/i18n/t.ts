// Texts in the user's language: flat catalogues, plural forms by Intl.PluralRules.
//
// English is in the bundle, so there is always something to show; other catalogues are loaded when they are chosen.

import { signal } from "@preact/signals";
import en from "./en.json";

export type Key = keyof typeof en;
export type Params = Readonly<Record<string, string | number>>;
type Catalogue = Readonly<Record<string, string>>;

/** Keys with plural forms, named without their ending. */
export type Counted = Key extends infer K ? (K extends `${infer Base}.other` ? Base : never) : never;

export interface Language {
  id: string;
  /** In itself. */
  name: string;
  load(): Promise<Catalogue>;
}

export const LANGUAGES: readonly Language[] = [
  { id: "en", name: "English", load: () => Promise.resolve(en) },
  { id: "de", name: "Deutsch", load: () => import("./de.json").then((module) => keyed(module.default)) },
];

const STORED = "lanyard.language";

/** The language shown now. */
export const language = signal("en");
const catalogue = signal<Catalogue>(en);

/** The text of a key, with `{name}` replaced. */
export function t(key: Key, params?: Params): string {
  return fill(catalogue.value[key] ?? en[key] ?? key, params);
}

/** The text of a key for a count, which it may show as `{count}`. */
export function n(key: Counted, count: number, params?: Params): string {
  const form = new Intl.PluralRules(language.value).select(count);
  const texts: Catalogue = catalogue.value;
  const text = texts[`${key}.${form}`] ?? texts[`${key}.other`] ?? key;
  return fill(text, { ...params, count: new Intl.NumberFormat(language.value).format(count) });
}

/** Whether there is such a key: for codes that come from the server. */
export function has(key: string): key is Key {
  return Object.hasOwn(en, key);
}

/** The text of a code that comes from the server, or the code itself where it is newer than this panel. */
export function word(prefix: string, code: string): string {
  const key = `${prefix}.${code}`;
  return has(key) ? t(key) : code;
}

/** Loads and shows a language, and remembers it. */
export async function speak(id: string, remember = true): Promise<void> {
  const found = LANGUAGES.find((known) => known.id === id) ?? LANGUAGES[0]!;
  catalogue.value = await found.load();
  language.value = found.id;
  document.documentElement.lang = found.id;
  if (remember) localStorage.setItem(STORED, found.id);
}

/** The language chosen before, else the browser's, else English. */
export function preferred(languages: readonly string[], stored: string | null): string {
  const wishes = [stored ?? "", ...languages.map((tag) => tag.split("-")[0]!.toLowerCase())];
  return wishes.find((wish) => LANGUAGES.some((known) => known.id === wish)) ?? "en";
}

export function storedLanguage(): string | null {
  return localStorage.getItem(STORED);
}

/** A catalogue with its keys, which the build leaves out: they are the English ones, in their order (dev/texts.ts). */
function keyed(texts: Catalogue | readonly string[]): Catalogue {
  if (!Array.isArray(texts)) return texts as Catalogue;
  return Object.fromEntries(Object.keys(en).map((key, at) => [key, texts[at] as string]));
}

function fill(text: string, params: Params | undefined): string {
  if (!params) return text;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole));
}
