//! Memberships: which device is in which network, in which state, under which name and addresses.
//!
//! A removed member keeps its row. Its addresses stay with it for 30 days, so that a neighbour's stale cache never
//! leads to a different machine, and then return to the pool.

use std::net::{Ipv4Addr, Ipv6Addr};

use lanyard_wire::ids::{DeviceId, DeviceNumber, NetworkId, Revision};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, NetworkName};
use serde::Serialize;

use super::Index;
use super::audit::Actor;
use super::authority::Need;
use super::db::{FromRow, Row, Target, sql};
use super::devices::number_from;
use super::draft::{Draft, Entry, revision_from, revision_to};
use super::error::{IndexError, Result};
use super::groups::{Word, tags_from};
use super::networks::{Network, unknown};
use super::outbox::{Change, MemberChange};
use super::text::{self, text_enum};

/// How long the addresses of a removed member stay out of the pool.
pub const ADDRESS_REST_MS: i64 = 30 * 24 * 3_600_000;

/// Names tried with a number behind them before a name counts as taken.
const NAME_SUFFIXES: u32 = 99;

text_enum! {
    /// Where a membership stands.
    MemberState {
        /// Waits for an administrator.
        Pending = "pending",
        /// In.
        Active = "active",
        /// In, but switched off for now.
        Suspended = "suspended",
        /// Out, by its own or an administrator's wish.
        Left = "left",
        /// Turned down.
        Denied = "denied",
    }
}

impl MemberState {
    /// Whether devices hear of it at all.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Active | Self::Suspended)
    }
}

text_enum! {
    /// By which door a device came in.
    JoinedVia {
        /// With an invite.
        Invite = "invite",
        /// With the network's password.
        Password = "password",
        /// By asking.
        Request = "request",
        /// An administrator put it in.
        Admin = "admin",
    }
}

text_enum! {
    /// Who ended a membership.
    LeftBy {
        /// The device itself.
        Device = "device",
        /// An administrator.
        Admin = "admin",
    }
}

/// A device in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Row id.
    pub id: String,
    /// Its network.
    #[serde(with = "text")]
    pub network_id: NetworkId,
    /// Name of its network.
    #[serde(with = "text")]
    pub network: NetworkName,
    /// The device.
    #[serde(with = "text")]
    pub device: DeviceId,
    /// The digits people read out.
    #[serde(with = "text")]
    pub number: DeviceNumber,
    /// Identity key.
    #[serde(with = "text")]
    pub identity: PublicKey,
    /// Tunnel key.
    #[serde(with = "text")]
    pub wireguard: PublicKey,
    /// Its name in this network.
    #[serde(with = "text")]
    pub name: DeviceName,
    /// Where it stands.
    pub state: MemberState,
    /// Overlay address.
    pub ip4: Option<Ipv4Addr>,
    /// Overlay address.
    pub ip6: Option<Ipv6Addr>,
    /// By which door it came.
    pub joined_via: JoinedVia,
    /// Row id of the invite it came with.
    pub invite_id: Option<String>,
    /// Who ended it.
    pub left_by: Option<LeftBy>,
    /// The network's revision at its last change.
    #[serde(with = "text::revision")]
    pub revision: Revision,
    /// Whether the device was last reported online.
    pub online: bool,
    /// Epoch milliseconds of the device's last transition.
    pub last_seen_at: Option<i64>,
    /// Epoch milliseconds, when its device was suspended everywhere.
    pub device_suspended_at: Option<i64>,
    /// Row id of the user its device belongs to.
    pub owner: Option<String>,
    /// Its tags, in their order.
    pub tags: Vec<Word>,
    /// Epoch milliseconds, when it ends by itself.
    pub expires_at: Option<i64>,
    /// Epoch milliseconds.
    pub created_at: i64,
}

macro_rules! select_member {
    ($($rest:tt)+) => {
        concat!(
            "SELECT m.*, n.slug, d.number, d.identity_key, d.wg_key, d.online, d.last_seen_at, d.user_id, \
             d.suspended_at AS device_suspended_at, \
             (SELECT string_agg(t.tag, ' ') FROM member_tags t WHERE t.membership_id = m.id) AS tags FROM memberships m \
             JOIN networks n ON n.id = m.network_id JOIN devices d ON d.id = m.device_id \
             WHERE n.deleted_at IS NULL AND ",
            $($rest)+
        )
    };
}
pub(super) use select_member;

impl Member {
    /// Members that devices hear of, by revision.
    pub(super) const SELECT_LIVE: &str =
        select_member!("m.state IN ('pending', 'active', 'suspended') ORDER BY m.network_id, m.revision");

    /// This row as a roster change; `None` for a live member without addresses, which cannot be.
    pub(super) fn change(&self) -> Option<Change> {
        if !self.state.is_live() {
            return Some(Change::MemberGone {
                network: self.network_id,
                revision: self.revision,
                device: self.device,
            });
        }
        Some(Change::Member(MemberChange {
            network: self.network_id,
            revision: self.revision,
            identity: self.identity,
            number: self.number,
            wireguard: self.wireguard,
            name: self.name.clone(),
            ip4: self.ip4?,
            ip6: self.ip6?,
            state: self.state_for_devices(),
        }))
    }

    /// Where it stands for the others: a device that is suspended everywhere is so here.
    #[must_use]
    pub const fn state_for_devices(&self) -> MemberState {
        match self.state {
            MemberState::Active if self.device_suspended_at.is_some() => MemberState::Suspended,
            MemberState::Pending
            | MemberState::Active
            | MemberState::Suspended
            | MemberState::Left
            | MemberState::Denied => self.state,
        }
    }
}

/// An administrator's verdict on a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Approve,
    /// Turn it down; it may not ask again until approved.
    Deny,
    /// Put it out; it may come back with an invite it has not used yet.
    Remove,
    /// Switch it off for now; it keeps its name and addresses.
    Suspend,
    /// Switch it on again.
    Resume,
}

impl FromRow for Member {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            network_id: text::column(row, "network_id")?,
            network: text::column(row, "slug")?,
            device: text::column(row, "device_id")?,
            number: number_from(row.get("number")?)?,
            identity: text::column(row, "identity_key")?,
            wireguard: text::column(row, "wg_key")?,
            name: text::column(row, "nickname")?,
            state: text::column(row, "state")?,
            ip4: text::optional_column(row, "ip4")?,
            ip6: text::optional_column(row, "ip6")?,
            joined_via: text::column(row, "joined_via")?,
            invite_id: row.get("invite_id")?,
            left_by: text::optional_column(row, "left_by")?,
            revision: revision_from(row.get("revision")?)?,
            online: row.get("online")?,
            last_seen_at: row.get("last_seen_at")?,
            device_suspended_at: row.get("device_suspended_at")?,
            owner: row.get("user_id")?,
            tags: tags_from(row, "tags")?,
            expires_at: row.get("expires_at")?,
            created_at: row.get("created_at")?,
        })
    }
}

impl Index {
    /// Members of a network by name; those that left or were denied only on request.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] when there is no such network.
    pub async fn members_of(&self, slug: &NetworkName, with_gone: bool) -> Result<Vec<Member>> {
        self.network(slug).await?;
        sql!(select_member!(
            "n.slug = $1 AND ($2 OR m.state IN ('pending', 'active', 'suspended')) ORDER BY m.nickname, d.number"
        ))
        .bind(slug.to_string())
        .bind(with_gone)
        .fetch_all(&self.db)
        .await
    }

    /// The member of that id, else of that number, else of that name, in whatever state.
    ///
    /// # Errors
    /// [`IndexError::NotFound`], [`IndexError::Ambiguous`].
    pub async fn member_named(&self, slug: &NetworkName, name: &str) -> Result<Member> {
        let network = self.network(slug).await?;
        find_member(Target::from(&self.db), &network, name).await
    }

    /// Memberships of a device, by network.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn memberships_of(&self, device: DeviceId) -> Result<Vec<Member>> {
        sql!(select_member!("m.device_id = $1 ORDER BY n.slug"))
            .bind(device.to_string())
            .fetch_all(&self.db)
            .await
    }

    /// Carries out an administrator's verdict on the member of that name, number or id.
    ///
    /// A verdict that is already in force changes nothing and is no error.
    ///
    /// # Errors
    /// [`IndexError::NotFound`], [`IndexError::Ambiguous`], [`IndexError::State`] for who is not in and is to be suspended,
    /// or [`IndexError::Full`] when an approved member finds no address.
    pub async fn judge_member(
        &self,
        slug: &NetworkName,
        name: &str,
        verdict: Verdict,
        actor: &Actor,
    ) -> Result<Member> {
        let mut draft = self.draft(actor).await?;
        let network = draft.network(slug).await?.ok_or_else(|| unknown(slug))?;
        let before = draft.find_member(&network, name).await?;
        // Whose device it is may take it out.
        let owner = before.owner.clone().filter(|_| verdict == Verdict::Remove);
        draft.must(&Need::Member { network: network.id, owner })?;
        draft.must_be_as_seen("member", &before)?;
        refuse_untimely(&before, verdict)?;
        let (state, code) = match verdict {
            Verdict::Approve => (MemberState::Active, "member.approve"),
            Verdict::Deny => (MemberState::Denied, "member.deny"),
            Verdict::Remove => (MemberState::Left, "member.remove"),
            Verdict::Suspend => (MemberState::Suspended, "member.suspend"),
            Verdict::Resume => (MemberState::Active, "member.resume"),
        };
        let is_done =
            before.state == state || (verdict == Verdict::Remove && before.state == MemberState::Denied);
        if is_done {
            return Ok(before);
        }
        let mut after = before.clone();
        after.state = state;
        after.left_by = (!state.is_live()).then_some(LeftBy::Admin);
        // Who is let in again is so without the end that has passed.
        after.expires_at = before.expires_at.filter(|end| !state.is_live() || *end > draft.now());
        if state.is_live() {
            draft.settle_addresses(&network, &mut after).await?;
            after.name = draft.free_name(&network, &before.name, after.device).await?;
        }
        let after = draft.write_member(code, Some(&before), after).await?;
        if state.is_live() {
            draft.bring_back(after.device).await?;
        }
        draft.commit().await?;
        Ok(after)
    }

    /// A device leaves a network by its own wish; leaving twice is no error.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave(&self, network: NetworkId, device: DeviceId, actor: &Actor) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        let owner = draft.device(device).await?.and_then(|device| device.user_id);
        draft.must(&Need::Device { id: device, owner })?;
        let Some(before) = draft.member(network, device).await?.filter(|member| member.state.is_live())
        else {
            return Ok(());
        };
        let mut after = before.clone();
        after.state = MemberState::Left;
        after.left_by = Some(LeftBy::Device);
        draft.write_member("member.leave", Some(&before), after).await?;
        draft.commit().await
    }
}

impl Draft<'_> {
    /// The membership of a device in a network, in whatever state.
    pub(super) async fn member(&mut self, network: NetworkId, device: DeviceId) -> Result<Option<Member>> {
        sql!(select_member!("m.network_id = $1 AND m.device_id = $2"))
            .bind(network.to_string())
            .bind(device.to_string())
            .fetch_optional(self.connection())
            .await
    }

    /// Live memberships of a device in other networks than this one.
    pub(super) async fn other_memberships(
        &mut self,
        device: DeviceId,
        except: NetworkId,
    ) -> Result<Vec<Member>> {
        sql!(select_member!(
            "m.device_id = $1 AND m.network_id <> $2 AND m.state IN ('pending', 'active', 'suspended')"
        ))
        .bind(device.to_string())
        .bind(except.to_string())
        .fetch_all(self.connection())
        .await
    }

    /// How many devices wait for approval.
    pub(super) async fn pending_members(&mut self, network: NetworkId) -> Result<i64> {
        sql!("SELECT COUNT(*) FROM memberships WHERE network_id = $1 AND state = 'pending'")
            .bind(network.to_string())
            .fetch_one(self.connection())
            .await
    }

    /// The member of that id, else of that number, else of that name.
    pub(super) async fn find_member(&mut self, network: &Network, name: &str) -> Result<Member> {
        find_member(self.connection(), network, name).await
    }

    /// The wanted name, or with a number behind it when another member has it.
    ///
    /// # Errors
    /// [`IndexError::Taken`] when a hundred members share the name.
    pub(super) async fn free_name(
        &mut self,
        network: &Network,
        wanted: &DeviceName,
        device: DeviceId,
    ) -> Result<DeviceName> {
        let stem: String = wanted.as_str().chars().take(60).collect();
        let stem = stem.trim_end_matches('-');
        // Asked for the states that are in, SQLite would read every member that is.
        let taken: Vec<String> = sql!(
            "SELECT nickname FROM memberships WHERE network_id = $1 AND nickname = $3 AND device_id <> $2 \
             AND state NOT IN ('left', 'denied') UNION ALL \
             SELECT nickname FROM memberships WHERE network_id = $1 AND nickname > $4 AND nickname < $5 AND device_id <> $2 \
             AND state NOT IN ('left', 'denied')",
        )
        .bind(network.id.to_string())
        .bind(device.to_string())
        .bind(wanted.to_string())
        .bind(format!("{stem}-"))
        .bind(format!("{stem}."))
        .fetch_all(self.connection())
        .await?;
        let is_free = |name: &DeviceName| !taken.iter().any(|other| other == name.as_str());
        let numbered =
            (2..=NAME_SUFFIXES).filter_map(|number| DeviceName::parse(&format!("{stem}-{number}")).ok());
        core::iter::once(wanted.clone())
            .chain(numbered)
            .find(is_free)
            .ok_or_else(|| IndexError::Taken { what: "member", name: wanted.to_string() })
    }

    /// Writes a membership, new or changed: revision, row, audit, outbox. Returns it as written.
    pub(super) async fn write_member(
        &mut self,
        code: &'static str,
        before: Option<&Member>,
        mut after: Member,
    ) -> Result<Member> {
        after.revision = self.bump(after.network_id).await?;
        let now = self.now();
        sql!(
            "INSERT INTO memberships (id, network_id, device_id, state, nickname, ip4, ip6, joined_via, invite_id, \
             left_by, revision, expires_at, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (network_id, device_id) \
             DO UPDATE SET state = excluded.state, nickname = excluded.nickname, ip4 = excluded.ip4, \
             ip6 = excluded.ip6, joined_via = excluded.joined_via, invite_id = excluded.invite_id, \
             left_by = excluded.left_by, revision = excluded.revision, \
             expires_at = excluded.expires_at, updated_at = excluded.updated_at",
        )
        .bind(after.id.clone())
        .bind(after.network_id.to_string())
        .bind(after.device.to_string())
        .bind(after.state.as_str())
        .bind(after.name.to_string())
        .bind(after.ip4.map(|ip| ip.to_string()))
        .bind(after.ip6.map(|ip| ip.to_string()))
        .bind(after.joined_via.as_str())
        .bind(after.invite_id.clone())
        .bind(after.left_by.map(LeftBy::as_str))
        .bind(revision_to(after.revision))
        .bind(after.expires_at)
        .bind(after.created_at)
        .bind(now)
        .execute(self.connection())
        .await?;
        self.write_tags(before, &after).await?;
        let network = Some(after.network_id);
        self.record(Entry { code, entity: "member", id: &after.id, network, before, after: Some(&after) })
            .await?;
        if let Some(change) = after.change() {
            self.publish(&change).await?;
        }
        Ok(after)
    }
}

/// The member of that id, else of that number, else of that name; of several with one name, the one that is still in.
///
/// A device chooses its name, and may choose what reads like the id or the number of another: the other is meant.
async fn find_member(target: Target<'_>, network: &Network, name: &str) -> Result<Member> {
    let (id, number) = (name.to_ascii_lowercase(), DeviceNumber::parse(name).ok());
    let mut found: Vec<Member> =
        sql!(select_member!("m.network_id = $1 AND (d.number = $2 OR m.device_id = $3 OR m.nickname = $3)"))
            .bind(network.id.to_string())
            .bind(number.map(|number| i64::from(number.value())))
            .bind(id.clone())
            .fetch_all(target)
            .await?;
    let meant = found.iter().position(|member| member.device.to_string() == id);
    let meant = meant.or_else(|| found.iter().position(|member| Some(member.number) == number));
    if let Some(meant) = meant {
        return Ok(found.swap_remove(meant));
    }
    if found.len() > 1 {
        found.retain(|member| member.state.is_live());
    }
    if found.len() > 1 {
        return Err(IndexError::Ambiguous { what: "member", name: name.to_owned() });
    }
    found.pop().ok_or_else(|| IndexError::NotFound {
        what: "member",
        name: name.to_owned(),
        hint: ": \"lanyard-server member list NETWORK\" shows names and numbers",
    })
}

/// Only who is in is switched off and on: anything else is approved, denied or removed.
fn refuse_untimely(member: &Member, verdict: Verdict) -> Result<()> {
    let is_switch = matches!(verdict, Verdict::Suspend | Verdict::Resume);
    if is_switch && !matches!(member.state, MemberState::Active | MemberState::Suspended) {
        let (name, state) = (&member.name, member.state);
        return Err(IndexError::State(format!(
            "\"{name}\" is {state}: only a member that is in is suspended"
        )));
    }
    Ok(())
}
