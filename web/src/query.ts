// The query language of filters, the same as the server's: `os:windows -is:offline net:home,lab nas site:ber*`.
//
// Words without a key are looked for everywhere. Commas part alternatives, a minus turns a term round, quotes keep spaces
// and commas, stars stand for anything. All terms must hold. What the rows of a page cannot tell, the server is asked.

export interface Term {
  /** What it asks about; `null` for free text. */
  key: string | null;
  /** Alternatives, in small letters. */
  values: readonly string[];
  not: boolean;
}

/** What may stand before a colon: a field, or a key of the metadata. */
const KEY = /^[a-z][a-z0-9._-]*$/;

/** Reads a query. Anything is a query: what is no `key:value` is free text, what is not finished is left out. */
export function parse(text: string): Term[] {
  const terms: Term[] = [];
  let at = 0;
  /** A text in quotes, or up to a space or one of `ends`. */
  const read = (ends: string): string => {
    const from = at;
    if (text[at] === '"') {
      const close = text.indexOf('"', at + 1);
      at = close < 0 ? text.length : close + 1;
      return text.slice(from + 1, close < 0 ? undefined : close).toLowerCase();
    }
    while (at < text.length && !/\s/.test(text[at]!) && !ends.includes(text[at]!)) at += 1;
    return text.slice(from, at).toLowerCase();
  };
  while (at < text.length) {
    if (/\s/.test(text[at]!)) {
      at += 1;
      continue;
    }
    const not = text[at] === "-";
    if (not) at += 1;
    const from = at;
    const isQuoted = text[at] === '"';
    const first = read(":");
    if (isQuoted || text[at] !== ":" || !KEY.test(first)) {
      // What is no key before a colon is a word together with it.
      if (!isQuoted) at = from;
      const value = isQuoted ? first : read("");
      if (value !== "") terms.push({ key: null, values: [value], not });
      continue;
    }
    const values: string[] = [];
    do {
      at += 1;
      values.push(read(","));
    } while (text[at] === ",");
    const said = values.filter(Boolean);
    if (said.length > 0) terms.push({ key: first, values: said, not });
  }
  return terms;
}

/** Writes terms so that `parse` reads the same. */
export function write(terms: readonly Term[]): string {
  return terms
    .map(({ key, values, not }) => {
      const special = key === null ? /[\s:]|^-/ : /[\s,]/;
      const quoted = (value: string) => (special.test(value) && !value.includes('"') ? `"${value}"` : value);
      const text = values.map(quoted).join(",");
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
  /** All that can be asked; the server says what is wrong with anything else. */
  values?: readonly string[];
}

export type Fields<R> = Readonly<Record<string, Field<R>>>;

/** Terms that rows can answer, and those that only the server can. */
export function divide<R>(text: string, fields: Fields<R>): { local: Term[]; remote: Term[] } {
  const local: Term[] = [];
  const remote: Term[] = [];
  for (const term of parse(text)) {
    const field = term.key === null ? undefined : fields[term.key];
    const isKnown = term.key === null || (field && term.values.every((value) => field.values?.includes(value) ?? true));
    (isKnown ? local : remote).push(term);
  }
  return { local, remote };
}

/** Makes a test of a query. A key that rows do not have matches nothing, so that a slip is seen. */
export function compile<R>(
  query: string | readonly Term[],
  fields: Fields<R>,
  textOf: (row: R) => string,
): (row: R) => boolean {
  const terms = typeof query === "string" ? parse(query) : query;
  const tests = terms.map(({ key, values, not }) => {
    if (key === null) {
      const fits = holds(values[0]!);
      return (row: R) => fits(textOf(row)) !== not;
    }
    const field = fields[key];
    if (!field) return () => false;
    const each = values.map((value) => (field.exact ? (own: string) => own === value : holds(value)));
    return (row: R) => field.of(row).some((own) => each.some((fits) => fits(own))) !== not;
  });
  return (row) => tests.every((test) => test(row));
}

/** A test for what has a text in it; stars at its ends change nothing, one within stands for anything. */
function holds(value: string): (own: string) => boolean {
  const parts = value.split("*").filter(Boolean);
  if (parts.length < 2) return (own) => own.includes(parts[0] ?? "");
  const pattern = new RegExp(parts.map((part) => part.replace(/[^\w\s]/g, "\\$&")).join(".*"), "s");
  return (own) => pattern.test(own);
}
