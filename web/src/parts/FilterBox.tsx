// Where a filter is typed: completions below while typing, and what is wrong with it.

import { useId, useRef, useState } from "preact/hooks";
import { type Completion, type Words, complete } from "../complete";
import { t, word } from "../i18n/t";
import { Icon } from "./Icon";

const NONE: readonly Completion[] = [];

interface Props {
  text: string;
  onText: (text: string) => void;
  placeholder: string;
  words: Words | undefined;
  wrong: string;
}

export function FilterBox({ text, onText, placeholder, words, wrong }: Props) {
  const [options, setOptions] = useState(NONE);
  /** The completion that Enter takes; none before an arrow key chose one. */
  const [at, setAt] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  const id = useId();
  const isOpen = options.length > 0;
  const offer = (next: readonly Completion[]) => {
    setOptions(next);
    setAt(-1);
  };
  const take = (option: Completion) => {
    onText(option.text);
    const element = input.current!;
    element.value = option.text;
    element.setSelectionRange(option.caret, option.caret);
    offer(words ? complete(option.text, option.caret, words) : NONE);
  };
  const onKey = (event: KeyboardEvent) => {
    if (!isOpen) return;
    const count = options.length;
    if (event.key === "ArrowDown") setAt((at + 1) % count);
    else if (event.key === "ArrowUp") setAt((at <= 0 ? count : at) - 1);
    else if (event.key === "Escape") offer(NONE);
    else if (event.key === "Enter" && at >= 0) take(options[at]!);
    else return;
    event.preventDefault();
  };
  return (
    <div class="filter-box">
      <Icon name="search" size={16} />
      <input
        ref={input}
        type="text"
        role="combobox"
        aria-expanded={isOpen}
        aria-controls={isOpen ? id : undefined}
        aria-autocomplete="list"
        aria-activedescendant={at >= 0 ? `${id}-${at}` : undefined}
        aria-describedby={wrong ? `${id}-wrong` : undefined}
        aria-invalid={wrong ? true : undefined}
        enterKeyHint="search"
        data-key="filter"
        value={text}
        placeholder={placeholder}
        aria-label={placeholder}
        spellcheck={false}
        autocomplete="off"
        autocapitalize="off"
        onInput={(event) => {
          const { value, selectionStart } = event.currentTarget;
          onText(value);
          offer(words ? complete(value, selectionStart ?? value.length, words) : NONE);
        }}
        onKeyDown={onKey}
        onBlur={() => offer(NONE)}
      />
      <kbd aria-hidden="true">/</kbd>
      {isOpen && (
        <ul id={id} role="listbox" aria-label={t("filter.completions")} class="completions">
          {options.map((option, index) => (
            <li
              key={option.shown}
              id={`${id}-${index}`}
              role="option"
              aria-selected={index === at}
              onPointerDown={(event) => {
                // The field keeps the focus.
                event.preventDefault();
                take(option);
              }}
            >
              {option.shown}
              {option.shown.endsWith(":") && <span class="quiet">{word("filter.key", option.shown.slice(0, -1))}</span>}
            </li>
          ))}
        </ul>
      )}
      {wrong && (
        <p class="hint wrong" id={`${id}-wrong`} role="alert">
          {wrong}
        </p>
      )}
    </div>
  );
}
