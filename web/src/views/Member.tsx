// One membership: a device in one network, with its tags, its end, and what is written about it there.

import { useState } from "preact/hooks";
import { members } from "../api/calls";
import { about } from "../api/metadata";
import type * as T from "../api/types";
import { moment } from "../format";
import { t, word } from "../i18n/t";
import { mayChangeMember, mayEditMember } from "../may";
import { Button } from "../parts/Button";
import { Copy } from "../parts/Copy";
import { EditDialog } from "../parts/Edit";
import { Empty } from "../parts/Empty";
import { EndField } from "../parts/EndField";
import { EntriesCard } from "../parts/Entries";
import { TextField } from "../parts/Field";
import { Facts } from "../parts/Page";
import { TagField } from "../parts/TagField";
import { opening, to } from "../route";
import { store } from "../store/store";
import { MemberState } from "./DeviceParts";
import { Ends, Tags, knownTags } from "./MemberParts";

/** In the drawer. */
export function MemberDetail({ member }: { member: T.Member | undefined }) {
  const [isEditing, setEditing] = useState(false);
  if (!member) return <Empty icon="devices" title={t("device.gone")} />;
  const mayEdit = mayEditMember(member);
  return (
    <div class="detail">
      {mayEdit && (
        <div class="detail-actions">
          <Button small icon="edit" onClick={() => setEditing(true)} data-key="edit">
            {t("edit")}
          </Button>
        </div>
      )}
      <Facts
        facts={[
          [t("network"), <a href={to("networks", member.network)}>{member.network}</a>],
          [
            t("device"),
            <a href={opening("device", member.device_id)}>
              {store.devices.get(member.device_id)?.name ?? member.number}
            </a>,
          ],
          [t("member.state"), <MemberState member={member} />],
          [t("tags"), member.tags.length > 0 ? <Tags tags={member.tags} /> : null],
          [t("member.ends"), member.expires_at === null ? t("time.never") : <Ends at={member.expires_at} />],
          [
            t("device.address"),
            member.ip4 && (
              <>
                <Copy text={member.ip4} /> {member.ip6 && <Copy text={member.ip6} />}
              </>
            ),
          ],
          [t("member.via"), word("door", member.joined_via)],
          [t("device.created"), moment(member.created_at)],
        ]}
      />
      {/* Whoever has no role in the network knows of their device in it, and no more. */}
      {store.network(member.network) && <EntriesCard of={about.member(member)} mayEdit={mayEdit} />}
      {isEditing && <EditMember member={member} onClose={() => setEditing(false)} />}
    </div>
  );
}

const draftOf = ({ name, tags, expires_at }: T.Member) => ({ name, tags: tags.join(), expires_at });

/** Its name, and for administrators its tags and its end. */
export function EditMember({ member, onClose }: { member: T.Member; onClose: () => void }) {
  return (
    <EditDialog
      title={t("member.edit", { name: member.name, network: member.network })}
      load={() => members.one(member)}
      draftOf={draftOf}
      save={({ tags, ...changed }, ifMatch) =>
        members.set(member, { ...changed, ...(tags === undefined ? {} : { tags: split(tags) }) }, { ifMatch })
      }
      onSaved={(saved) => store.members.put(saved)}
      theirs={({ name, tags, expires_at }) =>
        [name, ...tags, ...(expires_at === null ? [] : [moment(expires_at)])].join(", ")
      }
      onClose={onClose}
    >
      {(draft, change) => (
        <>
          <TextField
            label={t("device.name")}
            hint={t("name.hint")}
            value={draft.name}
            required
            maxLength={63}
            autofocus
            onInput={(event) => change({ name: event.currentTarget.value })}
          />
          {mayChangeMember(member) && (
            <>
              <TagField
                label={t("tags")}
                tags={split(draft.tags)}
                onTags={(tags) => change({ tags: tags.join() })}
                known={knownTags.value}
              />
              <EndField
                label={t("member.ends")}
                at={draft.expires_at}
                onEnd={(expires_at) => change({ expires_at })}
              />
            </>
          )}
        </>
      )}
    </EditDialog>
  );
}

function split(tags: string): string[] {
  return tags.split(",").filter(Boolean);
}
