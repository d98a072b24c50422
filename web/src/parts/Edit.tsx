// Editing something others may edit too: it is read with its ETag, and sent back only if it is still the same.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type Answer, Problem } from "../api/client";
import { t } from "../i18n/t";
import { sentence } from "../store/later";
import { Button } from "./Button";
import { Dialog } from "./Dialog";

interface Props<S, D> {
  title: string;
  /** Reads the thing. */
  load: () => Promise<Answer<S>>;
  /** What can be changed of it. */
  draftOf: (thing: S) => D;
  /** Sends what was changed, at least one field. */
  save: (changed: Partial<D>, ifMatch: string | undefined) => Promise<Answer<S>>;
  onSaved: (thing: S) => void;
  onClose: () => void;
  /** What another changed meanwhile, in words. */
  theirs: (thing: S) => string;
  children: (draft: D, change: (fields: Partial<D>) => void) => ComponentChildren;
}

export function EditDialog<S, D extends object>({
  title,
  load,
  draftOf,
  save,
  onSaved,
  onClose,
  theirs,
  children,
}: Props<S, D>) {
  const [etag, setEtag] = useState<string | undefined>(undefined);
  /** What the thing was like when it was read last. */
  const [base, setBase] = useState<D | undefined>(undefined);
  const [draft, setDraft] = useState<D | undefined>(undefined);
  const [conflict, setConflict] = useState<S | undefined>(undefined);
  const [wrong, setWrong] = useState("");
  const [isBusy, setBusy] = useState(false);

  const read = async (): Promise<S | undefined> => {
    try {
      const answer = await load();
      setEtag(answer.etag);
      setBase(draftOf(answer.value));
      return answer.value;
    } catch (error) {
      setWrong(sentence(error));
      return undefined;
    }
  };
  useEffect(() => void read().then((thing) => thing && setDraft(draftOf(thing))), []);

  const send = async () => {
    if (!draft || !base) return;
    const changed = changes(base, draft);
    if (Object.keys(changed).length === 0) return onClose();
    setBusy(true);
    setWrong("");
    try {
      const { value } = await save(changed, etag);
      onSaved(value);
      onClose();
    } catch (error) {
      // The next try is based on what is there now: whoever presses the button again has seen it.
      if (error instanceof Problem && error.isConflict) setConflict(await read());
      else setWrong(sentence(error));
    } finally {
      setBusy(false);
    }
  };
  const takeTheirs = () => {
    if (conflict) setDraft(draftOf(conflict));
    setConflict(undefined);
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        {draft
          ? children(draft, (fields) => setDraft({ ...draft, ...fields }))
          : wrong === "" && <p class="loading">{t("loading")}</p>}
        {conflict && (
          <div class="conflict" role="alert">
            <p>{t("edit.conflict", { theirs: theirs(conflict) })}</p>
            <Button small onClick={takeTheirs}>
              {t("edit.theirs")}
            </Button>
          </div>
        )}
        {wrong && (
          <p class="wrong" role="alert">
            {wrong}
          </p>
        )}
        <div class="dialog-foot">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" look="main" disabled={isBusy || !draft}>
            {t(conflict ? "edit.overwrite" : "save")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** The fields of a draft that are not as they were. */
function changes<D extends object>(base: D, draft: D): Partial<D> {
  const names = Object.keys(draft) as (keyof D)[];
  return Object.fromEntries(
    names.filter((name) => draft[name] !== base[name]).map((name) => [name, draft[name]]),
  ) as Partial<D>;
}
