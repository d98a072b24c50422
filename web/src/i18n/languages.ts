// The languages there are, each with its catalogue in a file of its own that is loaded when it is chosen.
//
// Nothing is imported here: the build has this apart from the panel (vite.config.ts), so that the texts are asked for before it is there.

export type Catalogue = Readonly<Record<string, string>>;

export interface Language {
  id: string;
  /** In itself. */
  name: string;
  load(): Promise<Catalogue>;
}

export const ENGLISH: Language = {
  id: "en",
  name: "English",
  load: () => import("./en.json").then((module) => module.default),
};

export const LANGUAGES: readonly Language[] = [
  ENGLISH,
  { id: "de", name: "Deutsch", load: () => import("./de.json").then((module) => module.default) },
];

const STORED = "lanyard.language";

export function languageOf(id: string): Language {
  return LANGUAGES.find((known) => known.id === id) ?? ENGLISH;
}

/** The language chosen before, else the browser's, else English. */
export function preferred(languages: readonly string[], stored: string | null): string {
  const wishes = [stored ?? "", ...languages.map((tag) => tag.split("-")[0]!.toLowerCase())];
  return wishes.find((wish) => LANGUAGES.some((known) => known.id === wish)) ?? "en";
}

export function storedLanguage(): string | null {
  return localStorage.getItem(STORED);
}

export function keepLanguage(id: string): void {
  localStorage.setItem(STORED, id);
}
