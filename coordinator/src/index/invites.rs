//! Invites: codes that let a number of devices join one network for a while.
//!
//! A code has 40 bits, short enough to be read out, so a plain hash of it could be reversed by trying all of them
//! in minutes, and a slow hash would let strangers spend the server's time with every wrong code. It is therefore
//! hashed with BLAKE2s under a key that is not in the database (derived from `fleet.key`): a copy of the database
//! alone reveals no code, and a look-up is one index access. Guessing over the network is bounded by CHECKPOINT's
//! per-source limits: 2^40 codes, a few tries a second, a life of hours.

use lanyard_wire::codec::Wire;
use lanyard_wire::ids::{DeviceId, NetworkId};
use lanyard_wire::keys::keyed_hash;
use lanyard_wire::names::{InviteCode, NetworkName};
use serde::Serialize;

use super::Index;
use super::audit::Actor;
use super::authority::{Need, Role};
use super::db::{FromRow, Row, sql};
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::groups::{self, Word};
use super::networks::{Network, unknown};
use super::outbox::Change;
use super::settings::draw_code;
use super::text;
use super::users::User;

/// Most devices, and longest life in milliseconds, of an invite that a member makes for their own devices.
const OWN_USES_MAX: u32 = 10;
const OWN_LIFE_MAX_MS: i64 = 7 * 24 * 3_600_000;

/// An invite as listed; its code is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invite {
    /// Row id.
    pub id: String,
    /// Its network.
    #[serde(with = "text")]
    pub network_id: NetworkId,
    /// Name of its network.
    #[serde(with = "text")]
    pub network: NetworkName,
    /// First two characters of the code.
    pub code_prefix: String,
    /// How many it may let in.
    pub max_uses: i64,
    /// How many it has let in.
    pub uses: i64,
    /// Whether its holder is a member at once.
    pub auto_approve: bool,
    /// What it gives.
    #[serde(flatten)]
    pub gives: Gives,
    /// Epoch milliseconds.
    pub expires_at: i64,
    /// Epoch milliseconds, when it was revoked.
    pub revoked_at: Option<i64>,
    /// Who made it.
    pub created_by: String,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// What an invite gives to who comes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gives {
    /// What a person becomes in the network; `None` for an invite that lets devices in.
    pub role: Option<Role>,
    /// Row id of the user whose the devices become, unless they have one.
    pub owner_id: Option<String>,
    /// How long it lasts, in milliseconds from then; `None` for ever.
    pub member_life_ms: Option<i64>,
    /// Tags of the devices.
    pub tags: Vec<Word>,
}

impl Gives {
    /// A membership for devices, for ever.
    #[must_use]
    pub const fn membership() -> Self {
        Self { role: None, owner_id: None, member_life_ms: None, tags: Vec::new() }
    }

    /// When what it gives ends, given now.
    pub(super) fn end(&self, now_ms: i64) -> Option<i64> {
        self.member_life_ms.map(|life| now_ms.saturating_add(life))
    }
}

/// What a new invite shall be.
#[derive(Debug, Clone)]
pub struct NewInvite {
    /// Its network.
    pub network: NetworkName,
    /// How many it may let in.
    pub max_uses: u32,
    /// How long it can be used, in milliseconds.
    pub lifetime_ms: i64,
    /// Whether its holder is a member at once.
    pub auto_approve: bool,
    /// What it gives.
    pub gives: Gives,
}

impl NewInvite {
    /// One that lets a number of devices in for ever, at once where the network approves by itself.
    #[must_use]
    pub const fn for_devices(network: NetworkName, max_uses: u32, lifetime_ms: i64) -> Self {
        Self { network, max_uses, lifetime_ms, auto_approve: true, gives: Gives::membership() }
    }

    /// Whether it does nothing but bring devices of that user, few and soon: then any member may make it for themselves.
    fn is_for_own_devices(&self, user: Option<&str>) -> bool {
        self.gives == Gives { owner_id: user.map(str::to_owned), ..Gives::membership() }
            && user.is_some()
            && self.max_uses <= OWN_USES_MAX
            && self.lifetime_ms <= OWN_LIFE_MAX_MS
    }
}

/// Why a code opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unredeemable {
    Invalid,
    Expired,
    UsedUp,
}

impl Invite {
    /// Whether it can let somebody in at that instant.
    #[must_use]
    pub const fn is_open(&self, now_ms: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at > now_ms && self.uses < self.max_uses
    }
}

/// Invites of networks that are there.
macro_rules! select_invite {
    ($rest:literal) => {
        concat!(
            "SELECT i.*, n.slug FROM invites i JOIN networks n ON n.id = i.network_id \
             WHERE n.deleted_at IS NULL AND ",
            $rest
        )
    };
}
pub(super) use select_invite;

/// The tags of an invite from their column.
fn tags(column: &str) -> Result<Vec<Word>> {
    serde_json::from_str(column)
        .map_err(|error| IndexError::Unreadable { column: "invites.tags", why: error.to_string() })
}

impl FromRow for Invite {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            network_id: text::column(row, "network_id")?,
            network: text::column(row, "slug")?,
            code_prefix: row.get("code_prefix")?,
            max_uses: row.get("max_uses")?,
            uses: row.get("uses")?,
            auto_approve: row.get("auto_approve")?,
            gives: Gives {
                role: text::optional_column(row, "role")?,
                owner_id: row.get("owner_id")?,
                member_life_ms: row.get("member_life")?,
                tags: tags(&row.get::<String>("tags")?)?,
            },
            expires_at: row.get("expires_at")?,
            revoked_at: row.get("revoked_at")?,
            created_by: row.get("created_by")?,
            created_at: row.get("created_at")?,
        })
    }
}

impl Index {
    /// Makes an invite and returns it with its code, which is shown this once.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] when there is no such network; [`IndexError::Forbidden`] unless an administrator asks, an owner for
    /// an invite that makes administrators, or a member for one that brings a few devices of their own.
    pub async fn add_invite(&self, new: &NewInvite, actor: &Actor) -> Result<(Invite, InviteCode)> {
        let mut draft = self.draft(actor).await?;
        let network = draft.network(&new.network).await?.ok_or_else(|| unknown(&new.network))?;
        let role = match new.gives.role {
            Some(Role::Admin | Role::Owner) => Role::Owner,
            None if new.is_for_own_devices(actor.user_id()) => Role::Member,
            None | Some(Role::Member | Role::Guest) => Role::Admin,
        };
        draft.must(&Need::Network(network.id, role))?;
        let gives = draft.check_gives(network.id, &new.gives).await?;
        let code = draw_code()?;
        let invite = Invite {
            id: draft.new_id()?,
            network_id: network.id,
            network: network.slug,
            code_prefix: code.to_string().chars().take(2).collect(),
            max_uses: i64::from(new.max_uses.max(1)),
            uses: 0,
            auto_approve: new.auto_approve,
            gives,
            expires_at: draft.now().saturating_add(new.lifetime_ms),
            revoked_at: None,
            created_by: actor.id().to_owned(),
            created_at: draft.now(),
        };
        draft.insert_invite(&invite, &self.hash_code(code)).await?;
        draft.record_invite("invite.add", None, &invite).await?;
        draft.commit().await?;
        Ok((invite, code))
    }

    /// Invites, newest first; of one network or of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invites(&self, network: Option<&NetworkName>) -> Result<Vec<Invite>> {
        if let Some(slug) = network {
            self.network(slug).await?;
        }
        sql!(select_invite!("($1 IS NULL OR n.slug = $1) ORDER BY i.created_at DESC, i.id DESC"))
            .bind(network.map(|slug| slug.to_string()))
            .fetch_all(&self.db)
            .await
    }

    /// Ends an invite, named by its id, the beginning of its id, or its whole code.
    ///
    /// Ending it twice is no error: the wish is fulfilled.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] or [`IndexError::Ambiguous`].
    pub async fn revoke_invite(&self, name: &str, actor: &Actor) -> Result<Invite> {
        let hash = InviteCode::parse(name).ok().map(|code| self.hash_code(code));
        let mut draft = self.draft(actor).await?;
        let mut found: Vec<Invite> = sql!(
            "SELECT i.*, n.slug FROM invites i JOIN networks n ON n.id = i.network_id \
             WHERE i.code_hash = $1 OR (length($2) >= 6 AND i.id >= $2 AND i.id <= $2 || '~')",
        )
        .bind(hash)
        .bind(name.to_ascii_lowercase())
        .fetch_all(draft.connection())
        .await?;
        if found.len() > 1 {
            return Err(IndexError::Ambiguous { what: "invite", name: name.to_owned() });
        }
        let Some(before) = found.pop() else {
            let hint = ": \"lanyard-server invite list\" shows the ids";
            return Err(IndexError::NotFound { what: "invite", name: name.to_owned(), hint });
        };
        draft.must(&Need::Network(before.network_id, Role::Admin))?;
        if before.revoked_at.is_some() {
            return Ok(before);
        }
        let mut after = before.clone();
        after.revoked_at = Some(draft.now());
        sql!("UPDATE invites SET revoked_at = $2 WHERE id = $1")
            .bind(after.id.clone())
            .bind(after.revoked_at)
            .execute(draft.connection())
            .await?;
        draft.record_invite("invite.revoke", Some(&before), &after).await?;
        draft.commit().await?;
        Ok(after)
    }

    /// The hash under which a one-time code is stored.
    pub(super) fn hash_code(&self, code: InviteCode) -> String {
        let hash = keyed_hash(self.code_key.as_bytes(), &[b"code", &code.to_bytes()]);
        data_encoding::HEXLOWER.encode(&hash)
    }
}

impl Draft<'_> {
    /// Finds the open invite of that code for that network. It is not used yet.
    pub(super) async fn open_invite(
        &mut self,
        network: &Network,
        code: InviteCode,
    ) -> Result<core::result::Result<Invite, Unredeemable>> {
        let hash = self.index().hash_code(code);
        let invite: Option<Invite> = sql!(select_invite!("i.code_hash = $1 AND i.network_id = $2"))
            .bind(hash)
            .bind(network.id.to_string())
            .fetch_optional(self.connection())
            .await?;
        Ok(match invite {
            // A person's code opens a page, and lets no device in.
            Some(invite) if invite.gives.role.is_some() => Err(Unredeemable::Invalid),
            Some(invite) if invite.is_open(self.now()) => Ok(invite),
            Some(invite) if invite.revoked_at.is_some() => Err(Unredeemable::Invalid),
            Some(invite) if invite.expires_at <= self.now() => Err(Unredeemable::Expired),
            Some(_) => Err(Unredeemable::UsedUp),
            None => Err(Unredeemable::Invalid),
        })
    }

    /// Whether that device has used that invite before.
    pub(super) async fn has_used(&mut self, invite: &Invite, device: DeviceId) -> Result<bool> {
        let uses: i64 = sql!("SELECT COUNT(*) FROM invite_uses WHERE invite_id = $1 AND device_id = $2")
            .bind(invite.id.clone())
            .bind(device.to_string())
            .fetch_one(self.connection())
            .await?;
        Ok(uses > 0)
    }

    /// Counts one use; the CHECK constraint would stop one too many.
    pub(super) async fn use_invite(&mut self, invite: &Invite, device: DeviceId) -> Result<()> {
        let (now, id) = (self.now(), self.new_id()?);
        sql!("UPDATE invites SET uses = uses + 1 WHERE id = $1")
            .bind(invite.id.clone())
            .execute(self.connection())
            .await?;
        sql!("INSERT INTO invite_uses (id, invite_id, device_id, at) VALUES ($1, $2, $3, $4)")
            .bind(id)
            .bind(invite.id.clone())
            .bind(device.to_string())
            .bind(now)
            .execute(self.connection())
            .await?;
        let after = Invite { uses: invite.uses + 1, ..invite.clone() };
        self.record_invite("invite.use", Some(invite), &after).await
    }

    /// The same for a person.
    pub(super) async fn use_invite_for_person(&mut self, invite: &Invite, user: &User) -> Result<()> {
        let (now, id) = (self.now(), self.new_id()?);
        sql!("UPDATE invites SET uses = uses + 1 WHERE id = $1")
            .bind(invite.id.clone())
            .execute(self.connection())
            .await?;
        sql!("INSERT INTO invite_people (id, invite_id, user_id, at) VALUES ($1, $2, $3, $4)")
            .bind(id)
            .bind(invite.id.clone())
            .bind(user.id.clone())
            .bind(now)
            .execute(self.connection())
            .await?;
        let after = Invite { uses: invite.uses + 1, ..invite.clone() };
        self.record_invite("invite.use", Some(invite), &after).await
    }

    /// What an invite shall give, in order, if it can be.
    async fn check_gives(&mut self, network: NetworkId, gives: &Gives) -> Result<Gives> {
        let wrong = |what, why: &str| Err(IndexError::Invalid { what, why: why.to_owned() });
        if gives.role == Some(Role::Owner) {
            return wrong("role", "an invite makes nobody an owner: pass the network on instead");
        }
        let is_for_people = gives.role.is_some();
        if is_for_people && (gives.owner_id.is_some() || !gives.tags.is_empty()) {
            return wrong("invite", "one for people has no tags and no owner, which are of devices");
        }
        if gives.member_life_ms.is_some_and(|life| life <= 0) {
            return wrong("member_life", "it lasts for a while, or for ever");
        }
        let owner_id = match &gives.owner_id {
            Some(owner) => {
                let owner = self.find_user(owner).await?;
                // Nobody's devices are those of somebody who is nothing here.
                if self.role(network, &owner.id).await?.is_none() && !owner.is_server_admin {
                    let why = format!("\"{}\" has no role in this network: give them one first", owner.name);
                    return Err(IndexError::State(why));
                }
                Some(owner.id)
            }
            None => None,
        };
        Ok(Gives { owner_id, tags: groups::sorted(gives.tags.clone())?, ..gives.clone() })
    }

    async fn insert_invite(&mut self, invite: &Invite, hash: &str) -> Result<()> {
        sql!(
            "INSERT INTO invites (id, network_id, code_prefix, code_hash, max_uses, auto_approve, expires_at, \
             created_by, created_at, target, role, owner_id, member_life, tags) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(invite.id.clone())
        .bind(invite.network_id.to_string())
        .bind(invite.code_prefix.clone())
        .bind(hash.to_owned())
        .bind(invite.max_uses)
        .bind(invite.auto_approve)
        .bind(invite.expires_at)
        .bind(invite.created_by.clone())
        .bind(invite.created_at)
        .bind(if invite.gives.role.is_some() { "person" } else { "device" })
        .bind(invite.gives.role.map(Role::as_str))
        .bind(invite.gives.owner_id.clone())
        .bind(invite.gives.member_life_ms)
        .bind(serde_json::to_string(&invite.gives.tags).unwrap_or_else(|_| "[]".to_owned()))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn record_invite(
        &mut self,
        code: &'static str,
        before: Option<&Invite>,
        after: &Invite,
    ) -> Result<()> {
        let network = Some(after.network_id);
        self.record(Entry { code, entity: "invite", id: &after.id, network, before, after: Some(after) })
            .await?;
        self.publish(&Change::Invite { network: after.network_id, id: after.id.clone() }).await
    }
}
