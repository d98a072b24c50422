// A field for tags: each is a chip, and what is typed becomes one by a comma, a space or Enter.

import { useId, useState } from "preact/hooks";
import { t } from "../i18n/t";
import { readTags, union } from "../tags";
import { IconButton } from "./Button";
import { Frame } from "./Field";

interface Props {
  label: string;
  tags: readonly string[];
  onTags: (tags: readonly string[]) => void;
  /** Tags that are there already. */
  known: readonly string[];
}

export function TagField({ label, tags, onTags, known }: Props) {
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState("");
  const id = useId();
  const take = () => {
    const typed = readTags(text);
    if (typed.tags.length > 0) onTags(union(tags, typed.tags));
    setText(typed.wrong.join(" "));
    setWrong(typed.wrong.length > 0 ? t("tags.wrong", { tag: typed.wrong[0]! }) : "");
  };
  const onKey = (event: KeyboardEvent) => {
    if (["Enter", ",", " "].includes(event.key) && text.trim() !== "") {
      event.preventDefault();
      take();
    } else if (event.key === "Backspace" && text === "") onTags(tags.slice(0, -1));
  };
  return (
    <Frame id={id} label={label} hint={t("tags.hint")} error={wrong || undefined}>
      <div class="tag-box">
        {tags.map((tag) => (
          <span key={tag} class="chip">
            {tag}
            <IconButton
              icon="close"
              label={t("tags.drop", { tag })}
              onClick={() => onTags(tags.filter((other) => other !== tag))}
            />
          </span>
        ))}
        <input
          id={id}
          value={text}
          list={`${id}-known`}
          autocomplete="off"
          spellcheck={false}
          aria-describedby={`${id}-about`}
          aria-invalid={wrong ? true : undefined}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={onKey}
          onBlur={take}
        />
        <datalist id={`${id}-known`}>
          {known
            .filter((tag) => !tags.includes(tag))
            .map((tag) => (
              <option key={tag} value={tag} />
            ))}
        </datalist>
      </div>
    </Frame>
  );
}
