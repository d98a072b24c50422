//! A device asks to join a network: what happens, in one transaction.
//!
//! 1. The network must exist and not be locked.
//! 2. A device that is in already stays in, with its row brought up to date and no invite spent: joining is
//!    idempotent, because the answer to the first try may have been lost.
//! 3. Otherwise an open invite, or a network that takes requests, makes it active or pending.
//! 4. A network nobody uses yet gets another prefix when the device already routes the first one.
//! 5. It gets the lowest free addresses and its name, or its name with a number.
//!
//! A refusal writes nothing.

use std::net::IpAddr;

use lanyard_wire::checkpoint::{JoinOutcome, JoinRefusal};
use lanyard_wire::ids::DeviceId;
use lanyard_wire::names::{InviteCode, NetworkName};

use super::Index;
use super::audit::Actor;
use super::authority::Need;
use super::devices::{Device, Introduction};
use super::draft::Draft;
use super::error::{IndexError, Result};
use super::invites::{Gives, Invite, Unredeemable};
use super::memberships::{JoinedVia, LeftBy, Member, MemberState};
use super::networks::{Approve, JoinMode, Network, StoredPassword};

/// Most devices that may wait for approval in one network.
///
/// A stranger can make as many identities as it likes; each waiting one holds an address and a line of the list.
const PENDING_MAX: i64 = 64;

/// A wish to join.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// The network's name.
    pub network: NetworkName,
    /// The code it came with.
    pub invite: Option<InviteCode>,
    /// What the right password that it came with is stored as; a wrong one is told at once ([`Index::join_password`]).
    pub password: Option<StoredPassword>,
    /// Who asks.
    pub device: Introduction,
    /// Where it asks from.
    pub ip: Option<IpAddr>,
}

/// How a device may come in.
enum Admission {
    Refused(JoinRefusal),
    ByInvite(Box<Invite>),
    ByPassword,
    ByRequest,
}

impl Index {
    /// Lets a device in, makes it wait, or says why not.
    ///
    /// # Errors
    /// When the database fails; a refusal is an outcome.
    pub async fn join(&self, request: &JoinRequest) -> Result<JoinOutcome> {
        let id = DeviceId::of(&request.device.identity);
        let actor = Actor::device(id, request.ip);
        let mut draft = self.draft(&actor).await?;
        let outcome = match draft.join(id, request).await {
            Err(IndexError::Full(_)) => return Ok(JoinOutcome::Refused(JoinRefusal::Full)),
            Err(IndexError::Taken { what: "member", .. }) => {
                return Ok(JoinOutcome::Refused(JoinRefusal::NameTaken));
            }
            Err(IndexError::Taken { .. }) => return Ok(JoinOutcome::Refused(JoinRefusal::Denied)),
            other => other?,
        };
        match outcome {
            JoinOutcome::Refused(_) => return Ok(outcome),
            JoinOutcome::Joined { .. } | JoinOutcome::Pending { .. } => {}
        }
        draft.commit_if_recorded().await?;
        Ok(outcome)
    }
}

impl Draft<'_> {
    async fn join(&mut self, id: DeviceId, request: &JoinRequest) -> Result<JoinOutcome> {
        let Some(network) = self.network(&request.network).await? else {
            return Ok(JoinOutcome::Refused(JoinRefusal::UnknownNetwork));
        };
        let device = self.device(id).await?;
        self.must(&Need::Device { id, owner: device.as_ref().and_then(|device| device.user_id.clone()) })?;
        if device.as_ref().is_some_and(|device| device.suspended_at.is_some()) {
            return Ok(JoinOutcome::Refused(JoinRefusal::Denied));
        }
        let member = self.member(network.id, id).await?;
        match member.as_ref().map(|member| member.state) {
            Some(MemberState::Active) => {
                return self.refresh(&network, device.as_ref(), member, request).await;
            }
            Some(MemberState::Pending) if request.invite.is_none() && request.password.is_none() => {
                return self.refresh(&network, device.as_ref(), member, request).await;
            }
            Some(MemberState::Suspended | MemberState::Denied) => {
                return Ok(JoinOutcome::Refused(JoinRefusal::Denied));
            }
            Some(MemberState::Pending | MemberState::Left) | None => {}
        }
        let admission = match self.admission(&network, id, member.as_ref(), request).await? {
            Admission::Refused(why) => return Ok(JoinOutcome::Refused(why)),
            admission @ (Admission::ByInvite(_) | Admission::ByPassword | Admission::ByRequest) => admission,
        };
        self.admit(network, id, device, member, request, admission).await
    }

    /// What the network says to a device that is not in.
    async fn admission(
        &mut self,
        network: &Network,
        device: DeviceId,
        member: Option<&Member>,
        JoinRequest { invite, password, .. }: &JoinRequest,
    ) -> Result<Admission> {
        if network.join_mode == JoinMode::Locked {
            return Ok(Admission::Refused(JoinRefusal::Locked));
        }
        let Some(code) = invite else {
            if network.join_mode == JoinMode::Password {
                return self.by_password(network, member, password.as_ref()).await;
            }
            if network.join_mode != JoinMode::Request {
                return Ok(Admission::Refused(JoinRefusal::InvalidInvite));
            }
            let is_full = self.pending_members(network.id).await? >= PENDING_MAX;
            return Ok(if is_full { Admission::Refused(JoinRefusal::Full) } else { Admission::ByRequest });
        };
        let invite = match self.open_invite(network, *code).await? {
            Ok(invite) => invite,
            Err(Unredeemable::Invalid) => return Ok(Admission::Refused(JoinRefusal::InvalidInvite)),
            Err(Unredeemable::Expired) => return Ok(Admission::Refused(JoinRefusal::InviteExpired)),
            Err(Unredeemable::UsedUp) => return Ok(Admission::Refused(JoinRefusal::InviteUsedUp)),
        };
        // Whoever was put out does not come back with the very invite that is still in their shell history.
        let was_removed = member.is_some_and(|member| member.left_by == Some(LeftBy::Admin));
        if was_removed && self.has_used(&invite, device).await? {
            return Ok(Admission::Refused(JoinRefusal::Denied));
        }
        Ok(Admission::ByInvite(Box::new(invite)))
    }

    /// Writes the new member.
    async fn admit(
        &mut self,
        network: Network,
        id: DeviceId,
        device: Option<Device>,
        before: Option<Member>,
        request: &JoinRequest,
        admission: Admission,
    ) -> Result<JoinOutcome> {
        let network = self.settle_prefix(network, &request.device.local_prefixes).await?;
        let is_new_key = self.enrol(device.as_ref(), &request.device).await?;
        let Some(device) = self.device(id).await? else {
            return Err(IndexError::State("the device just enrolled is not there; report this".to_owned()));
        };
        let (joined_via, invite, is_approved, gives) = match admission {
            Admission::ByInvite(invite) => {
                self.use_invite(&invite, id).await?;
                let is_approved = invite.auto_approve && network.approve == Approve::Auto;
                (JoinedVia::Invite, Some(invite.id), is_approved, invite.gives)
            }
            Admission::ByPassword => {
                (JoinedVia::Password, None, network.approve == Approve::Auto, Gives::membership())
            }
            Admission::ByRequest | Admission::Refused(_) => {
                (JoinedVia::Request, None, false, Gives::membership())
            }
        };
        let owner = self.hand_over(&device, gives.owner_id.as_deref()).await?;
        let mut after = Member {
            id: before.as_ref().map_or_else(|| self.new_id(), |before| Ok(before.id.clone()))?,
            network_id: network.id,
            network: network.slug.clone(),
            device: id,
            number: device.number,
            identity: device.identity,
            wireguard: device.wireguard,
            name: self.free_name(&network, &request.device.name, id).await?,
            state: if is_approved { MemberState::Active } else { MemberState::Pending },
            ip4: before.as_ref().and_then(|before| before.ip4),
            ip6: before.as_ref().and_then(|before| before.ip6),
            joined_via,
            invite_id: invite,
            left_by: None,
            revision: network.revision,
            online: device.online,
            last_seen_at: device.last_seen_at,
            device_suspended_at: device.suspended_at,
            owner,
            expires_at: gives.end(self.now()),
            tags: gives.tags,
            created_at: before.as_ref().map_or(self.now(), |before| before.created_at),
        };
        self.settle_addresses(&network, &mut after).await?;
        self.write_member("member.join", before.as_ref(), after).await?;
        if is_new_key {
            self.republish_elsewhere(&network, id).await?;
        }
        Ok(if is_approved {
            JoinOutcome::Joined { network: network.id }
        } else {
            JoinOutcome::Pending { network: network.id }
        })
    }

    /// With the password that holds now a device comes in, or waits as many as may.
    async fn by_password(
        &mut self,
        network: &Network,
        member: Option<&Member>,
        password: Option<&StoredPassword>,
    ) -> Result<Admission> {
        let stored = self.network_password(network.id).await?.map(StoredPassword);
        if password.is_none() || password != stored.as_ref() {
            return Ok(Admission::Refused(JoinRefusal::WrongPassword));
        }
        // Whoever was put out knows the password still.
        if member.is_some_and(|member| member.left_by == Some(LeftBy::Admin)) {
            return Ok(Admission::Refused(JoinRefusal::Denied));
        }
        let waits = network.approve == Approve::Manual;
        let is_full = waits && self.pending_members(network.id).await? >= PENDING_MAX;
        Ok(if is_full { Admission::Refused(JoinRefusal::Full) } else { Admission::ByPassword })
    }

    /// Gives a device that is nobody's to a user; whose it is then.
    async fn hand_over(&mut self, device: &Device, to: Option<&str>) -> Result<Option<String>> {
        if let (None, Some(to)) = (&device.user_id, to) {
            let after = Device { user_id: Some(to.to_owned()), ..device.clone() };
            self.write_device("device.set", device, &after).await?;
            return Ok(after.user_id);
        }
        Ok(device.user_id.clone())
    }

    /// A device that is in (or waits) asks again: only what it says about itself may have changed.
    async fn refresh(
        &mut self,
        network: &Network,
        device: Option<&Device>,
        member: Option<Member>,
        request: &JoinRequest,
    ) -> Result<JoinOutcome> {
        let (Some(device), Some(before)) = (device, member) else {
            return Err(IndexError::State("a member without a device; report this".to_owned()));
        };
        let is_new_key = self.enrol(Some(device), &request.device).await?;
        let name = if request.device.name == device.name {
            before.name.clone()
        } else {
            self.free_name(network, &request.device.name, before.device).await?
        };
        if is_new_key || name != before.name {
            let mut after = before.clone();
            after.name = name;
            after.wireguard = request.device.wireguard;
            self.write_member("member.update", Some(&before), after).await?;
        }
        if is_new_key {
            self.republish_elsewhere(network, before.device).await?;
        }
        Ok(match before.state {
            MemberState::Pending => JoinOutcome::Pending { network: network.id },
            MemberState::Active | MemberState::Suspended | MemberState::Left | MemberState::Denied => {
                JoinOutcome::Joined { network: network.id }
            }
        })
    }

    /// Tells the device's other networks its new tunnel key.
    async fn republish_elsewhere(&mut self, network: &Network, device: DeviceId) -> Result<()> {
        for member in self.other_memberships(device, network.id).await? {
            self.write_member("member.update", Some(&member), member.clone()).await?;
        }
        Ok(())
    }
}
