// Tags and names of groups: words of a to z, digits and dashes.

const WORD = /^[a-z][a-z0-9-]{0,31}$/;

export function isWord(text: string): boolean {
  return WORD.test(text);
}

/** Tags in their order, each once. */
export function union(tags: readonly string[], more: readonly string[]): string[] {
  return [...new Set([...tags, ...more])].sort();
}

/** Reads what was typed: tags, parted by commas or spaces, and what is none. */
export function readTags(text: string): { tags: string[]; wrong: string[] } {
  const words = text.toLowerCase().split(/[\s,]+/).filter(Boolean);
  return { tags: words.filter(isWord), wrong: words.filter((word) => !isWord(word)) };
}
