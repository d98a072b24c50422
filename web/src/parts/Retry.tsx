// A pair is asked to try for a direct path now: for who has just opened a router and does not want to wait.

import type * as T from "../api/types";
import { t } from "../i18n/t";
import { mayRetry } from "../may";
import { asked, retryLink } from "../store/actions";
import { stateOfLink } from "../verdict";
import { Button } from "./Button";

interface Props {
  link: T.Link;
  /** Within a text, as a word of it. */
  inline?: boolean;
}

/** Nothing where the path is direct already, or the caller may not. */
export function Retry({ link, inline = false }: Props) {
  const isBest = stateOfLink(link) === "direct" && link.report?.path !== "tcp";
  if (isBest || !mayRetry(link)) return null;
  const isAsked = asked.value.has(link.id);
  const label = t(isAsked ? "retry.asked" : "retry.now");
  const attributes = {
    // Not `disabled`, which would take the focus away.
    "aria-disabled": isAsked,
    "aria-label": inline ? t("retry.what", { label, here: link.device, there: link.peer }) : undefined,
    onClick: () => void retryLink(link),
  };
  if (inline) {
    return (
      <button type="button" class="link" {...attributes}>
        {label}
      </button>
    );
  }
  return (
    <Button small icon={isAsked ? "check" : "again"} {...attributes}>
      {label}
    </Button>
  );
}
