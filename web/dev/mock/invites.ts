// Invites of the made-up server.

import type * as T from "../../src/api/types";
import { Refused } from "./refused.ts";
import type { World } from "./world.ts";

export function addInvite(
  { invites, me }: World,
  network: T.Network,
  body: Record<string, unknown>,
  put: (invite: T.Invite) => void,
): T.NewInvite {
  const isAdmin = me.server_admin || network.role === "admin" || network.role === "owner";
  const isOwn = body.owner_id === me.user.id && Number(body.max_uses) <= 10 && Number(body.expires_in) <= 604_800;
  if (!isAdmin && (!isOwn || body.tags !== undefined || body.member_for !== undefined))
    throw new Refused(403, "index.forbidden", "an administrator of this network could");
  const isPerson = body.target === "person";
  const invite: T.Invite = {
    id: `i_${network.name}_${invites.size}`,
    network: network.name,
    code_prefix: "R9",
    max_uses: Number(body.max_uses),
    uses: 0,
    auto_approve: Boolean(body.auto_approve),
    target: isPerson ? "person" : "device",
    role: isPerson ? String(body.role ?? "member") : null,
    owner_id: (body.owner_id as string | undefined) ?? null,
    tags: (body.tags as string[] | undefined) ?? [],
    member_for: (body.member_for as number | undefined) ?? null,
    expires_at: Date.now() + Number(body.expires_in) * 1_000,
    revoked_at: null,
    created_by: me.user.id,
    created_at: Date.now(),
  };
  put(invite);
  const join = `lanyard://vpn.example.org/${network.name}?invite=R9Q2-MX4D#p=wQ3n8cVx1rJ5sT7uY2aBd4eF6gH9kLmN0pRzXcVbNmA`;
  return {
    ...invite,
    code: "R9Q2-MX4D",
    join_string: isPerson ? null : join,
    join_url: `https://vpn.example.org/${isPerson ? "invite" : "join"}/R9Q2-MX4D`,
  };
}
