// The keys, on one sheet.

import { type Key, t } from "../i18n/t";
import { Dialog } from "../parts/Dialog";
import { isHelpOpen } from "../keys";

const KEYS: readonly (readonly [string, Key])[] = [
  ["Ctrl K", "help.palette"],
  ["/", "help.filter"],
  ["j k", "help.move"],
  ["x", "help.select"],
  ["Enter", "help.open"],
  ["e", "help.edit"],
  ["t", "help.twin"],
  ["g o", "overview"],
  ["g d", "devices"],
  ["g n", "networks"],
  ["g p", "people"],
  ["g m", "map"],
  ["g r", "rules"],
  ["g a", "activity"],
  ["g s", "settings"],
  ["Esc", "help.close"],
  ["?", "help"],
];

export function Help() {
  if (!isHelpOpen.value) return null;
  return (
    <Dialog title={t("help")} onClose={() => (isHelpOpen.value = false)}>
      <dl class="keys">
        {KEYS.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              {keys.split(" ").map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{t(what)}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
