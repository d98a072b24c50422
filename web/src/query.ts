// The query language of filters: `os:windows -state:offline in:home,lab nas "second floor"`.
//
// Words without a key are looked for everywhere. Commas part alternatives, a minus turns a term round, quotes keep
// spaces. All terms must hold.

export interface Term {
  /** What it asks about; `null` for free text. */
  key: string | null;
  /** Alternatives, in small letters. */
  values: readonly string[];
  not: boolean;
}

/** Reads a query. Anything is a query: what is no `key:value` is free text. */
export function parse(text: string): Term[] {
  const terms: Term[] = [];
  for (const [, minus, key, quoted, bare] of text.matchAll(/(-?)(?:([a-z_]+):)?(?:"([^"]*)"|([^\s"]+))/gi)) {
    const value = (quoted ?? bare ?? "").toLowerCase();
    const values = quoted === undefined && key !== undefined ? value.split(",").filter(Boolean) : [value];
    if (values.length === 0 || values[0] === "") continue;
    terms.push({ key: key?.toLowerCase() ?? null, values, not: minus === "-" });
  }
  return terms;
}

/** Writes terms so that `parse` reads the same. */
export function write(terms: readonly Term[]): string {
  return terms
    .map(({ key, values, not }) => {
      const value = values.join(",");
      const text = /\s/.test(value) ? `"${value}"` : value;
      return `${not ? "-" : ""}${key === null ? "" : `${key}:`}${text}`;
    })
    .join(" ");
}

/** The query without one of its terms. */
export function without(text: string, index: number): string {
  return write(parse(text).filter((_, at) => at !== index));
}

/** The query with a key set to one value, or, with an empty value, without that key. */
export function withKey(text: string, key: string, value: string): string {
  const terms = parse(text).filter((term) => term.key !== key);
  if (value !== "") terms.push({ key, values: [value.toLowerCase()], not: false });
  return write(terms);
}

/** The value a key is set to, if it is one alone. */
export function valueOf(text: string, key: string): string {
  const terms = parse(text).filter((term) => term.key === key && !term.not);
  return terms.length === 1 && terms[0]!.values.length === 1 ? terms[0]!.values[0]! : "";
}

/** What a row says to a key. */
export interface Field<R> {
  /** Texts of the row, in small letters. */
  of(row: R): readonly string[];
  /** Whether the value has to be the whole text, not a part of it. */
  exact?: boolean;
}

export type Fields<R> = Readonly<Record<string, Field<R>>>;

/** Makes a test of a query. An unknown key matches nothing, so that a slip is seen. */
export function compile<R>(text: string, fields: Fields<R>, textOf: (row: R) => string): (row: R) => boolean {
  const tests = parse(text).map(({ key, values, not }) => {
    if (key === null) {
      const value = values[0]!;
      return (row: R) => textOf(row).includes(value) !== not;
    }
    const field = fields[key];
    if (!field) return () => false;
    const fits = field.exact
      ? (own: string) => values.includes(own)
      : (own: string) => values.some((value) => own.includes(value));
    return (row: R) => field.of(row).some(fits) !== not;
  });
  return (row) => tests.every((test) => test(row));
}
