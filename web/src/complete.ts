// Completions of a filter while it is typed: fields, then what they can say.

/** What a page's filter can be made of. */
export interface Words {
  /** Names of fields. */
  keys: readonly string[];
  /** What a field can say. */
  valuesOf(key: string): readonly string[];
}

export interface Completion {
  /** What is shown of it. */
  shown: string;
  /** The filter with it. */
  text: string;
  /** Where typing goes on. */
  caret: number;
}

const SHOWN = 8;

/** Completions of the term before the caret. */
export function complete(text: string, caret: number, words: Words): Completion[] {
  const begin = text.slice(0, caret).search(/\S*$/);
  const sign = text[begin] === "-" ? 1 : 0;
  const from = text.slice(0, begin + sign);
  const word = text.slice(begin + sign, caret);
  if (word === "") return [];
  const make = (shown: string, taken: string): Completion => {
    const head = from + taken;
    return { shown, text: head + text.slice(caret).replace(/^\s/, ""), caret: head.length };
  };
  const colon = word.indexOf(":");
  if (colon < 0) {
    const part = word.toLowerCase();
    return words.keys
      .filter((key) => key.startsWith(part))
      .slice(0, SHOWN)
      .map((key) => make(`${key}:`, `${key}:`));
  }
  const last = Math.max(colon, word.lastIndexOf(",")) + 1;
  const part = word.slice(last).replace(/^"/, "").toLowerCase();
  const all = words.valuesOf(word.slice(0, colon).toLowerCase());
  // Who typed the whole word needs no help.
  if (all.some((value) => value.toLowerCase() === part)) return [];
  return all
    .filter((value) => value.toLowerCase().includes(part))
    .slice(0, SHOWN)
    .map((value) => make(value, `${word.slice(0, last)}${/[\s,]/.test(value) ? `"${value}"` : value} `));
}
