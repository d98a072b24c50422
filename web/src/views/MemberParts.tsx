// What several pages show of a membership: its tags, when it ends, and how many are changed at once.

import { computed } from "@preact/signals";
import { useState } from "preact/hooks";
import type * as T from "../api/types";
import { ago, moment, now } from "../format";
import { n, t } from "../i18n/t";
import { mayEditMember } from "../may";
import { Button } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { EndField } from "../parts/EndField";
import { Section } from "../parts/Page";
import { TagField } from "../parts/TagField";
import { opening, scope } from "../route";
import { endMembers, tagMembers } from "../store/actions";
import { store } from "../store/store";
import { union } from "../tags";

/** What ends sooner than this is worth a warning. */
const SOON_MS = 7 * 86_400_000;

/** Every tag there is. */
export const knownTags = computed(() => [...new Set(store.members.all.value.flatMap(({ tags }) => tags))].sort());

/** Tags of all memberships of a device. */
export function tagsOf({ members }: { members: readonly T.Member[] }): readonly string[] {
  return members.length === 1 ? members[0]!.tags : members.reduce<string[]>((all, { tags }) => union(all, tags), []);
}

/** When the first of a device's memberships ends. */
export function firstEnd({ members }: { members: readonly T.Member[] }): number | null {
  const ends = members.flatMap(({ expires_at }) => expires_at ?? []);
  return ends.length > 0 ? Math.min(...ends) : null;
}

export function Tags({ tags }: { tags: readonly string[] }) {
  if (tags.length === 0) return null;
  return (
    <span class="tags">
      {tags.map((tag) => (
        <span key={tag} class="tag">
          {tag}
        </span>
      ))}
    </span>
  );
}

/** When something ends, and that it is soon. */
export function Ends({ at }: { at: number | null }) {
  if (at === null) return null;
  const left = at - now.value;
  return (
    <time class={left < SOON_MS ? "tag soon" : "tag"} dateTime={new Date(at).toISOString()} title={moment(at)}>
      {t(left > 0 ? "ends" : "ended", { ago: ago(at) })}
    </time>
  );
}

/** Memberships that end soon, of those one may do something about. */
export function EndingSoon() {
  const list = store.members.all.value
    .filter(
      (member) =>
        member.expires_at !== null &&
        member.expires_at < now.value + SOON_MS &&
        (scope.value === "" || member.network === scope.value) &&
        mayEditMember(member),
    )
    .sort((a, b) => a.expires_at! - b.expires_at!);
  if (list.length === 0) return null;
  return (
    <Section title={t("member.ending")}>
      <ul class="lines">
        {list.slice(0, 8).map((member) => (
          <li key={member.id} class="line">
            <a class="line-main" href={opening("member", member.id)}>
              <span>{t("member.in", { name: member.name, network: member.network })}</span>
            </a>
            <Ends at={member.expires_at} />
          </li>
        ))}
      </ul>
      {list.length > 8 && <p class="more quiet">{n("more", list.length - 8)}</p>}
    </Section>
  );
}

/** What a line of a membership says besides its state. */
export function Marks({ member }: { member: T.Member }) {
  if (member.expires_at === null && member.tags.length === 0) return null;
  return (
    <span class="tags">
      <Ends at={member.expires_at} />
      <Tags tags={member.tags} />
    </span>
  );
}

/** Buttons that change tags and end of several members. */
export function Bulk({ members, onDone }: { members: readonly T.Member[]; onDone: () => void }) {
  const [what, open] = useState<"tags" | "end" | undefined>(undefined);
  const close = () => open(undefined);
  if (members.length === 0) return null;
  return (
    <>
      <Button small icon="plus" onClick={() => open("tags")}>
        {t("tags.add")}
      </Button>
      <Button small onClick={() => open("end")}>
        {t("end.set")}
      </Button>
      {what && <BulkDialog what={what} members={members} onClose={close} onDone={onDone} />}
    </>
  );
}

interface BulkProps {
  what: "tags" | "end";
  members: readonly T.Member[];
  onClose: () => void;
  onDone: () => void;
}

function BulkDialog({ what, members, onClose, onDone }: BulkProps) {
  const [tags, setTags] = useState<readonly string[]>([]);
  const [end, setEnd] = useState<number | null>(null);
  const title = what === "tags" ? t("tags.add") : t("end.set");
  const send = () => {
    if (what === "end") endMembers(members, end);
    else if (tags.length > 0) tagMembers(members, tags);
    onClose();
    onDone();
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <p class="quiet">{n("members.changed", members.length, { name: members[0]!.name })}</p>
        {what === "tags" ? (
          <TagField label={t("tags")} tags={tags} onTags={setTags} known={knownTags.value} />
        ) : (
          <EndField label={t("member.ends")} at={end} onEnd={setEnd} />
        )}
        <div class="dialog-foot">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" look="main" disabled={what === "tags" && tags.length === 0}>
            {title}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
