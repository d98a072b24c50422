// The filter of a page: what is typed, the same as chips, and quick choices. The address has it too.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Words } from "../complete";
import { t, word } from "../i18n/t";
import { parse, valueOf, withKey, without } from "../query";
import { go, here, route } from "../route";
import { IconButton } from "./Button";
import { type Choice, Select } from "./Field";
import { FilterBox } from "./FilterBox";
import { Menu } from "./Menu";

/** The address follows the keyboard after this; browsers limit how often it may change. */
const SETTLE_MS = 250;

export interface Quick {
  key: string;
  label: string;
  choices: readonly Choice<string>[];
}

/** The filter's text, which the address keeps. */
export function useFilter(): [string, (text: string) => void] {
  const inAddress = route.value.query.get("q") ?? "";
  const [text, setText] = useState(inAddress);
  const written = useRef(inAddress);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => {
    if (inAddress === written.current) return;
    written.current = inAddress;
    setText(inAddress);
  }, [inAddress]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const change = (next: string) => {
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      written.current = next.trim();
      go(here({ q: next.trim() }), "replace");
    }, SETTLE_MS);
  };
  return [text, change];
}

const NONE: readonly Quick[] = [];

interface Props {
  text: string;
  onText: (text: string) => void;
  placeholder: string;
  quick?: readonly Quick[];
  /** For completions. */
  words?: Words;
  /** What is wrong with the text. */
  wrong?: string;
}

export function Filter({ text, onText, placeholder, quick = NONE, words, wrong = "" }: Props) {
  return (
    <div class="filter">
      <FilterBox text={text} onText={onText} placeholder={placeholder} words={words} wrong={wrong} />
      {quick.length > 0 && (
        <Menu icon="filter" label={t("filter.quick")} shown>
          {() => (
            <div class="quick">
              {quick.map(({ key, label, choices }) => (
                <label key={key} class="quick-line">
                  <span>{label}</span>
                  <Select
                    label={label}
                    value={valueOf(text, key)}
                    choices={[{ value: "", label: t("filter.any") }, ...choices]}
                    onPick={(value) => onText(withKey(text, key, value))}
                  />
                </label>
              ))}
            </div>
          )}
        </Menu>
      )}
    </div>
  );
}

/** The terms of a filter, each with a way to take it out. */
export function Chips({ text, onText }: { text: string; onText: (text: string) => void }) {
  const terms = parse(text)
    .map((term, at) => ({ ...term, at }))
    .filter((term) => term.key !== null);
  if (terms.length === 0) return null;
  return (
    <ul class="chips" aria-label={t("filter.active")}>
      {terms.map(({ key, values, not, at }) => (
        <li key={`${key}${values}${not}`} class="chip">
          <span>
            {not && <em>{t("filter.not")}</em>}
            <span class="chip-key">{word("filter.key", key ?? "")}</span>
            {values.map((value) => word("state", value)).join(t("filter.or"))}
          </span>
          <IconButton
            icon="close"
            label={t("filter.drop", { key: key ?? "", value: values.join(",") })}
            onClick={() => onText(without(text, at))}
          />
        </li>
      ))}
      <li>
        <button type="button" class="link" onClick={() => onText("")}>
          {t("filter.clear")}
        </button>
      </li>
    </ul>
  );
}
