// A value that a click copies.

import { useState } from "preact/hooks";
import { t } from "../i18n/t";
import { complain } from "../store/later";
import { Icon } from "./Icon";

const SHOWN_MS = 1_500;

/** Puts text on the clipboard, also where the page came without TLS and there is no clipboard API. */
export async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error(t("copy.failed"));
}

export function Copy({ text, label }: { text: string; label?: string }) {
  /** The text that was copied just now: the same button may show another later. */
  const [copied, setCopied] = useState<string | undefined>(undefined);
  const done = copied === text;
  const run = async () => {
    try {
      await copy(text);
      setCopied(text);
      setTimeout(() => setCopied(undefined), SHOWN_MS);
    } catch (error) {
      complain(error);
    }
  };
  const says = done ? t("copy.done") : t("copy.what", { what: label === undefined ? text : `${label}: ${text}` });
  return (
    <button type="button" class="copy" onClick={run} aria-label={says} title={says}>
      <span class="copy-text">{text}</span>
      <Icon name={done ? "check" : "copy"} size={14} />
    </button>
  );
}
