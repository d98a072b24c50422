// What several pages show of a device.

import type * as T from "../api/types";
import { n, t } from "../i18n/t";
import { Icon } from "../parts/Icon";
import { Menu, MenuItem } from "../parts/Menu";
import { Dot, State } from "../parts/Dot";
import { mayChangeMember, mayEditMember } from "../may";
import { opening } from "../route";
import { actOn, removeMembers } from "../store/actions";
import type { DeviceRow } from "../store/rows";

/** A device's dot and name; a click opens it in the drawer. */
export function DeviceName({ row }: { row: DeviceRow }) {
  return (
    <a class="name" href={opening("device", row.device.id)}>
      <Dot state={row.state} />
      <span class="name-text">{row.name}</span>
      <span class="unseen">{t(`state.${row.state}`)}</span>
    </a>
  );
}

/** How a device reaches the others: counts by kind of path. */
export function Paths({ links }: { links: DeviceRow["links"] }) {
  const kinds = (["direct", "relayed", "failed"] as const).filter((kind) => links[kind] > 0);
  if (kinds.length === 0) return <span class="quiet">{t("none")}</span>;
  return (
    <span class="paths">
      {kinds.map((kind) => (
        <span key={kind} class="path" title={n(`links.${kind}`, links[kind])}>
          <Dot state={kind} />
          {links[kind]}
          <span class="unseen">{t(`state.${kind}`)}</span>
        </span>
      ))}
    </span>
  );
}

export function Os({ os }: { os: string }) {
  return <span class="os">{os || t("unknown")}</span>;
}

/** What a member is in its network. */
export function MemberState({ member }: { member: T.Member }) {
  if (member.state === "active") return <State state={member.online ? "online" : "offline"} />;
  if (member.state === "pending" || member.state === "suspended") return <State state={member.state} />;
  return <span class="quiet">{t(`state.${member.state}`)}</span>;
}

interface ActionsProps {
  member: T.Member;
  onRename: (member: T.Member) => void;
}

/** What can be done with a member, for those who may. */
export function MemberActions({ member, onRename }: ActionsProps) {
  if (!mayEditMember(member)) return null;
  const mayChange = mayChangeMember(member);
  if (member.state === "pending" && mayChange) {
    return (
      <span class="row-actions">
        <button type="button" class="button main small" onClick={() => void actOn([member], "approve")}>
          <Icon name="check" size={16} />
          {t("approve")}
          <span class="unseen">{member.name}</span>
        </button>
        <button type="button" class="button plain small" onClick={() => void actOn([member], "deny")}>
          {t("deny")}
          <span class="unseen">{member.name}</span>
        </button>
      </span>
    );
  }
  return (
    <Menu icon="more" label={t("member.actions", { name: member.name })}>
      {(close) => {
        const then = (run: () => void) => () => {
          close();
          run();
        };
        return (
          <>
            <MenuItem icon="edit" onPick={then(() => onRename(member))}>
              {t("edit")}
            </MenuItem>
            {!mayChange ? null : member.state === "suspended" ? (
              <MenuItem icon="play" onPick={then(() => void actOn([member], "resume"))}>
                {t("resume")}
              </MenuItem>
            ) : (
              <MenuItem icon="pause" onPick={then(() => void actOn([member], "suspend"))}>
                {t("suspend")}
              </MenuItem>
            )}
            <MenuItem icon="trash" danger onPick={then(() => removeMembers([member]))}>
              {t("member.remove", { network: member.network })}
            </MenuItem>
          </>
        );
      }}
    </Menu>
  );
}
