// The catalogue that the panel begins with: asked for as soon as this runs, while the panel itself is still on its way.

import { type Catalogue, ENGLISH, languageOf, preferred, storedLanguage } from "./languages";

export const first: Promise<{ id: string; texts: Catalogue }> = load(
  languageOf(preferred(navigator.languages, storedLanguage())),
).catch(() => load(ENGLISH));

async function load(language: typeof ENGLISH) {
  return { id: language.id, texts: await language.load() };
}
