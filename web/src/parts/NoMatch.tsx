// What stands where a filter leaves nothing.

import { n, t } from "../i18n/t";
import { Button } from "./Button";
import { Empty } from "./Empty";

interface Props {
  text: string;
  total: number;
  onClear: () => void;
  /** Whether the server is still asked. */
  isAsking: boolean;
}

export function NoMatch({ text, total, onClear, isAsking }: Props) {
  if (isAsking) return <p class="palette-none">{t("loading")}</p>;
  return (
    <Empty icon="search" title={t("filter.nothing", { text })}>
      <p>{n("filter.without", total)}</p>
      <Button onClick={onClear}>{t("filter.clear")}</Button>
    </Empty>
  );
}
