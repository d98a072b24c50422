//! Values of the coordinator as a whole: its public key, its IPv6 prefix, the one-time admin link.

use std::net::{IpAddr, Ipv6Addr};

use lanyard_wire::keys::{PublicKey, ct_eq};
use lanyard_wire::names::InviteCode;
use serde::{Deserialize, Serialize};

use super::Index;
use super::addresses::draw_ula;
use super::audit::Actor;
use super::authority::Need;
use super::db::sql;
use super::draft::{Draft, Entry};
use super::error::{IndexError, Result};
use super::outbox::Change;
use super::users::{NewUser, User};

/// How long a one-time admin link may be used.
pub const LINK_LIFETIME_MS: i64 = 3_600_000;

const PUBLIC_KEY: &str = "public_key";
const ULA: &str = "ula48";
const LINK: &str = "admin_link";

/// A one-time link as stored: the code itself is not.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Link {
    hash: String,
    expires_at: i64,
    used_at: Option<i64>,
}

/// What the audit trail says of a link; the hash stays out of it.
#[derive(Debug, Serialize)]
struct LinkRecord {
    expires_at: i64,
    used_at: Option<i64>,
}

/// How a code stands that somebody presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOutcome {
    /// Right, and not used yet.
    Good,
    /// No such code.
    Wrong,
    /// Right, but used before.
    Used,
    /// Right, but older than an hour.
    Expired,
}

impl Index {
    /// The coordinator's identity key, which every join string pins.
    ///
    /// # Errors
    /// When the database fails or was not made by `init`.
    pub async fn public_key(&self) -> Result<PublicKey> {
        let text = self.setting(PUBLIC_KEY).await?.ok_or(IndexError::NotFound {
            what: "setting",
            name: PUBLIC_KEY.to_owned(),
            hint: ": this database was not made by \"lanyard-server init\"",
        })?;
        text.parse().map_err(|_| IndexError::Unreadable { column: PUBLIC_KEY, why: "not a key".to_owned() })
    }

    /// Stores the coordinator's identity key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_public_key(&self, key: &PublicKey, actor: &Actor) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::Server)?;
        let before = draft.setting(PUBLIC_KEY).await?;
        draft.set(PUBLIC_KEY, &key.to_string()).await?;
        draft.record_setting("setting.set", PUBLIC_KEY, before.as_ref(), Some(&key.to_string())).await?;
        draft.commit().await
    }

    /// Draws a new one-time admin code; the one before loses its use.
    ///
    /// # Errors
    /// When the database fails or the operating system gives no random numbers.
    pub async fn new_admin_link(&self, actor: &Actor) -> Result<InviteCode> {
        let code = draw_code()?;
        let mut draft = self.draft(actor).await?;
        draft.must(&Need::Server)?;
        let link =
            Link { hash: self.hash_code(code), expires_at: draft.now() + LINK_LIFETIME_MS, used_at: None };
        draft.set_link(&link).await?;
        draft.record_setting("admin_link.add", LINK, None, Some(&link.record())).await?;
        draft.commit().await?;
        Ok(code)
    }

    /// How a one-time admin code stands; it is not used yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look_at_admin_link(&self, code: InviteCode) -> Result<LinkOutcome> {
        let link = self.setting(LINK).await?.map(|text| link_from(&text)).transpose()?;
        Ok(link.map_or(LinkOutcome::Wrong, |link| link.outcome(&self.hash_code(code), self.clock.now_ms())))
    }

    /// Uses a one-time admin code up: whoever holds it becomes an administrator of this server.
    ///
    /// `stored` is what [`PasswordHashing::hash`] made of their password. `None` when the code is not good any more.
    ///
    /// # Errors
    /// [`IndexError::Taken`] when there is such a user; the code is not spent then.
    ///
    /// [`PasswordHashing::hash`]: super::credentials::PasswordHashing::hash
    pub async fn use_admin_link(
        &self,
        code: InviteCode,
        new: &NewUser,
        stored: &str,
        ip: Option<IpAddr>,
    ) -> Result<Option<User>> {
        let actor = Actor::link_holder("admin link", ip);
        let mut draft = self.draft(&actor).await?;
        draft.must(&Need::Link)?;
        let Some(mut link) = draft.link().await? else { return Ok(None) };
        if link.outcome(&self.hash_code(code), draft.now()) != LinkOutcome::Good {
            return Ok(None);
        }
        let before = link.record();
        link.used_at = Some(draft.now());
        draft.set_link(&link).await?;
        draft.record_setting("admin_link.use", LINK, Some(&before), Some(&link.record())).await?;
        let user = draft.insert_user(new).await?;
        draft.write_password(&user, stored, None).await?;
        draft.commit().await?;
        Ok(Some(user))
    }

    async fn setting(&self, key: &str) -> Result<Option<String>> {
        sql!("SELECT value FROM settings WHERE key = $1").bind(key.to_owned()).fetch_optional(&self.db).await
    }
}

impl Link {
    fn outcome(&self, hash: &str, now_ms: i64) -> LinkOutcome {
        if !ct_eq(self.hash.as_bytes(), hash.as_bytes()) {
            LinkOutcome::Wrong
        } else if self.used_at.is_some() {
            LinkOutcome::Used
        } else if self.expires_at <= now_ms {
            LinkOutcome::Expired
        } else {
            LinkOutcome::Good
        }
    }

    const fn record(&self) -> LinkRecord {
        LinkRecord { expires_at: self.expires_at, used_at: self.used_at }
    }
}

impl Draft<'_> {
    /// The coordinator's IPv6 /48; drawn when first asked for.
    pub(super) async fn ula(&mut self) -> Result<Ipv6Addr> {
        if let Some(text) = self.setting(ULA).await? {
            return text
                .parse()
                .map_err(|_| IndexError::Unreadable { column: ULA, why: "not an address".to_owned() });
        }
        let drawn = draw_ula()?;
        self.set(ULA, &drawn.to_string()).await?;
        self.record_setting("setting.set", ULA, None, Some(&drawn.to_string())).await?;
        Ok(drawn)
    }

    async fn setting(&mut self, key: &'static str) -> Result<Option<String>> {
        sql!("SELECT value FROM settings WHERE key = $1").bind(key).fetch_optional(self.connection()).await
    }

    async fn set(&mut self, key: &'static str, value: &str) -> Result<()> {
        sql!(
            "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value.to_owned())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn link(&mut self) -> Result<Option<Link>> {
        self.setting(LINK).await?.map(|text| link_from(&text)).transpose()
    }

    async fn set_link(&mut self, link: &Link) -> Result<()> {
        let text = serde_json::to_string(link)
            .map_err(|error| IndexError::Unreadable { column: LINK, why: error.to_string() })?;
        self.set(LINK, &text).await
    }

    async fn record_setting<T: Serialize>(
        &mut self,
        code: &'static str,
        key: &'static str,
        before: Option<&T>,
        after: Option<&T>,
    ) -> Result<()> {
        self.record(Entry { code, entity: "setting", id: key, network: None, before, after }).await?;
        self.publish(&Change::Setting { key: key.to_owned() }).await
    }
}

fn link_from(text: &str) -> Result<Link> {
    serde_json::from_str(text)
        .map_err(|error| IndexError::Unreadable { column: LINK, why: error.to_string() })
}

/// Draws 40 random bits as a code people can type.
pub(super) fn draw_code() -> Result<InviteCode> {
    let mut random = [0; 5];
    getrandom::fill(&mut random)?;
    Ok(InviteCode::from_bytes(random))
}
