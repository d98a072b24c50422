// Formatters of the language shown: dear to make and cheap to use, so each is made once.

import { signal } from "@preact/signals";

/** The language shown now. */
export const language = signal("en");

const made = new Map<string, unknown>();

function kept<F>(kind: string, options: object, make: (language: string) => F): F {
  const key = `${language.value} ${kind} ${JSON.stringify(options)}`;
  let formatter = made.get(key) as F | undefined;
  if (formatter === undefined) made.set(key, (formatter = make(language.value)));
  return formatter;
}

export function numbers(options: Intl.NumberFormatOptions = {}): Intl.NumberFormat {
  return kept("number", options, (of) => new Intl.NumberFormat(of, options));
}

export function dates(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  return kept("date", options, (of) => new Intl.DateTimeFormat(of, options));
}

export function ages(options: Intl.RelativeTimeFormatOptions): Intl.RelativeTimeFormat {
  return kept("age", options, (of) => new Intl.RelativeTimeFormat(of, options));
}

export function plurals(): Intl.PluralRules {
  return kept("plural", {}, (of) => new Intl.PluralRules(of));
}
