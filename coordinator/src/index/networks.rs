//! Networks: their names, prefixes and how one gets in.

use std::net::Ipv6Addr;

use ipnetwork::Ipv4Network;
use lanyard_wire::ids::{NetworkId, Revision};
use lanyard_wire::names::NetworkName;
use serde::Serialize;

use super::Index;
use super::addresses::{check_prefix, draw_prefix, member_ip6, overlap, subnet6};
use super::audit::Actor;
use super::authority::{Need, Role};
use super::db::{FromRow, Row, sql};
use super::draft::{Draft, Entry, revision_from, revision_to};
use super::error::{IndexError, Result};
use super::outbox::Change;
use super::text::{self, text_enum};

text_enum! {
    /// Who may ask to join.
    JoinMode {
        /// Nobody, not even with an invite.
        Locked = "locked",
        /// Whoever holds an invite.
        Invite = "invite",
        /// Whoever knows the network's password, or holds an invite.
        Password = "password",
        /// Everybody; without an invite an administrator decides.
        Request = "request",
    }
}

text_enum! {
    /// What an invite is worth.
    Approve {
        /// Its holder is a member at once.
        Auto = "auto",
        /// Its holder waits for an administrator.
        Manual = "manual",
    }
}

/// A network, with the number of its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its id, the same on the wire.
    #[serde(with = "text")]
    pub id: NetworkId,
    /// Its name in join strings.
    #[serde(with = "text")]
    pub slug: NetworkName,
    /// Who may ask to join.
    pub join_mode: JoinMode,
    /// Whether it has a password.
    pub has_password: bool,
    /// What an invite is worth.
    pub approve: Approve,
    /// Its IPv4 prefix.
    #[serde(with = "text")]
    pub prefix4: Ipv4Network,
    /// Whether an administrator chose the prefix.
    pub prefix4_fixed: bool,
    /// Its IPv6 /64.
    pub prefix6: Ipv6Addr,
    /// Whether members may pass on frames for each other.
    pub peer_relay: bool,
    /// Count of changes that devices see.
    #[serde(with = "text::revision")]
    pub revision: Revision,
    /// Active members.
    pub active: i64,
    /// Devices that wait for approval.
    pub pending: i64,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// What a new network shall be.
#[derive(Debug, Clone)]
pub struct NewNetwork {
    /// Its name.
    pub slug: NetworkName,
    /// Its prefix; `None` draws one.
    pub prefix4: Option<Ipv4Network>,
    /// Who may ask to join.
    pub join_mode: JoinMode,
    /// What an invite is worth.
    pub approve: Approve,
    /// Prefixes the server itself routes, not to be drawn.
    pub avoid: Vec<Ipv4Network>,
}

impl NewNetwork {
    /// A network that is joined by invite, with a drawn prefix.
    #[must_use]
    pub const fn by_invite(slug: NetworkName, avoid: Vec<Ipv4Network>) -> Self {
        Self { slug, prefix4: None, join_mode: JoinMode::Invite, approve: Approve::Auto, avoid }
    }
}

/// What is stored of a network's password; it does not show in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredPassword(pub(super) String);

impl core::fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("StoredPassword(..)")
    }
}

text_enum! {
    /// Who makes networks.
    NetworksBy {
        /// Administrators of the server.
        Admins = "admins",
        /// Every user; each owns what they make, up to [`OWNED_MAX`].
        Users = "users",
    }
}

/// Most networks that a user owns who does not administer the server.
pub const OWNED_MAX: i64 = 16;

/// What is to be changed about a network; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkWishes {
    /// Who may ask to join.
    pub join_mode: Option<JoinMode>,
    /// What [`super::credentials::PasswordHashing::hash_join`] made of another password.
    pub password: Option<StoredPassword>,
    /// What an invite is worth.
    pub approve: Option<Approve>,
    /// Whether members may pass on frames for each other.
    pub peer_relay: Option<bool>,
}

impl Network {
    /// All columns; counts included.
    pub(super) const SELECT_ALL: &str = "SELECT n.*, \
        (SELECT COUNT(*) FROM memberships m WHERE m.network_id = n.id AND m.state = 'active') AS active, \
        (SELECT COUNT(*) FROM memberships m WHERE m.network_id = n.id AND m.state = 'pending') AS pending \
        FROM networks n WHERE n.deleted_at IS NULL ORDER BY n.slug";

    const SELECT_BY_SLUG: &str = "SELECT n.*, \
        (SELECT COUNT(*) FROM memberships m WHERE m.network_id = n.id AND m.state = 'active') AS active, \
        (SELECT COUNT(*) FROM memberships m WHERE m.network_id = n.id AND m.state = 'pending') AS pending \
        FROM networks n WHERE n.deleted_at IS NULL AND n.slug = $1";
}

impl FromRow for Network {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: text::column(row, "id")?,
            slug: text::column(row, "slug")?,
            join_mode: text::column(row, "join_mode")?,
            has_password: row.get::<Option<String>>("password_hash")?.is_some(),
            approve: text::column(row, "approve")?,
            prefix4: text::column(row, "prefix4")?,
            prefix4_fixed: row.get("prefix4_fixed")?,
            prefix6: text::column(row, "prefix6")?,
            peer_relay: row.get("peer_relay")?,
            revision: revision_from(row.get("revision")?)?,
            active: row.get("active")?,
            pending: row.get("pending")?,
            created_at: row.get("created_at")?,
        })
    }
}

impl Index {
    /// Every network, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn networks(&self) -> Result<Vec<Network>> {
        sql!(Network::SELECT_ALL).fetch_all(&self.db).await
    }

    /// The network of that name.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] when there is none.
    pub async fn network(&self, slug: &NetworkName) -> Result<Network> {
        sql!(Network::SELECT_BY_SLUG)
            .bind(slug.to_string())
            .fetch_optional(&self.db)
            .await?
            .ok_or_else(|| unknown(slug))
    }

    /// What is stored of the password by which a network is joined now, if it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn join_password(&self, slug: &NetworkName) -> Result<Option<StoredPassword>> {
        let stored: Option<String> = sql!(
            "SELECT password_hash FROM networks WHERE slug = $1 AND deleted_at IS NULL AND join_mode = 'password' \
             AND password_hash IS NOT NULL"
        )
        .bind(slug.to_string())
        .fetch_optional(&self.db)
        .await?;
        Ok(stored.map(StoredPassword))
    }

    /// Makes a network.
    ///
    /// # Errors
    /// [`IndexError::Taken`] when the name is in use, [`IndexError::Prefix`] when the chosen prefix cannot be used;
    /// [`IndexError::Forbidden`] unless an administrator of the server asks, or a user where [`NetworksBy::Users`] holds;
    /// [`IndexError::State`] for who owns [`OWNED_MAX`] already.
    pub async fn add_network(&self, new: &NewNetwork, actor: &Actor) -> Result<Network> {
        let mut draft = self.draft(actor).await?;
        match self.networks_by {
            NetworksBy::Admins => draft.must(&Need::Server)?,
            NetworksBy::Users => {
                draft.must(&Need::Anybody)?;
                draft.must_own_few().await?;
            }
        }
        let prefix4 = match new.prefix4 {
            Some(chosen) => check_prefix(chosen, &draft.network_prefixes(None).await?)?,
            None => draft.draw_prefix(None, &new.avoid).await?,
        };
        let network = Network {
            id: NetworkId::from_bytes(self.ids.new_bytes(draft.now())?),
            slug: new.slug.clone(),
            join_mode: new.join_mode,
            has_password: false,
            approve: new.approve,
            prefix4,
            prefix4_fixed: new.prefix4.is_some(),
            prefix6: draft.draw_prefix6().await?,
            peer_relay: true,
            revision: Revision::new(1),
            active: 0,
            pending: 0,
            created_at: draft.now(),
        };
        draft.insert_network(&network).await?;
        draft.record_network("network.add", None, Some(&network)).await?;
        draft.publish(&Change::from(&network)).await?;
        draft.give_to_maker(&network).await?;
        draft.commit().await?;
        Ok(network)
    }

    /// Changes settings of a network; those that are as they are wished change nothing.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] when there is no network of that name.
    pub async fn set_network(
        &self,
        slug: &NetworkName,
        wishes: NetworkWishes,
        actor: &Actor,
    ) -> Result<Network> {
        let mut draft = self.draft(actor).await?;
        let before = draft.network(slug).await?.ok_or_else(|| unknown(slug))?;
        draft.must(&Need::Network(before.id, Role::Admin))?;
        draft.must_be_as_seen("network", &before)?;
        let mut network = Network {
            join_mode: wishes.join_mode.unwrap_or(before.join_mode),
            approve: wishes.approve.unwrap_or(before.approve),
            peer_relay: wishes.peer_relay.unwrap_or(before.peer_relay),
            ..before.clone()
        };
        network.has_password |= wishes.password.is_some();
        if network.join_mode == JoinMode::Password && !network.has_password {
            let why = "the network has no password yet: give it one with the same change".to_owned();
            return Err(IndexError::Invalid { what: "join_mode", why });
        }
        if network == before && wishes.password.is_none() {
            return Ok(network);
        }
        if let Some(StoredPassword(hash)) = wishes.password {
            draft.write_network_password(network.id, &hash).await?;
        }
        // How one gets in is nothing that devices see.
        if network.peer_relay != before.peer_relay {
            network.revision = draft.bump(network.id).await?;
        }
        draft.update_network(&network).await?;
        draft.record_network("network.set", Some(&before), Some(&network)).await?;
        draft.publish(&Change::from(&network)).await?;
        draft.commit().await?;
        Ok(network)
    }
}

impl Draft<'_> {
    /// The network of that name, as it is under the write lock.
    pub(super) async fn network(&mut self, slug: &NetworkName) -> Result<Option<Network>> {
        sql!(Network::SELECT_BY_SLUG).bind(slug.to_string()).fetch_optional(self.connection()).await
    }

    /// Draws another prefix when a device reports that it already routes this one, as long as nobody else uses it.
    ///
    /// Returns the network as it is then. Once there is a second member the prefix stays: the newcomer's agent
    /// presents the network over IPv6.
    pub(super) async fn settle_prefix(
        &mut self,
        mut network: Network,
        reported: &[Ipv4Network],
    ) -> Result<Network> {
        let collides = reported.iter().any(|prefix| overlap(*prefix, network.prefix4));
        if network.prefix4_fixed || !collides {
            return Ok(network);
        }
        let members: i64 = sql!("SELECT COUNT(*) FROM memberships WHERE network_id = $1 AND ip4 IS NOT NULL")
            .bind(network.id.to_string())
            .fetch_one(self.connection())
            .await?;
        if members > 0 {
            tracing::warn!(network = %network.slug, prefix = %network.prefix4, "a joining device already routes the network's prefix");
            return Ok(network);
        }
        let before = network.clone();
        network.prefix4 = self.draw_prefix(Some(network.id), reported).await?;
        network.revision = self.bump(network.id).await?;
        sql!("UPDATE networks SET prefix4 = $2 WHERE id = $1")
            .bind(network.id.to_string())
            .bind(network.prefix4.to_string())
            .execute(self.connection())
            .await?;
        self.record_network("network.redraw_prefix", Some(&before), Some(&network)).await?;
        self.publish(&Change::from(&network)).await?;
        Ok(network)
    }

    /// Refuses who has made enough, unless they administer the server.
    async fn must_own_few(&mut self) -> Result<()> {
        let Some(user) = self.actor().user_id().map(str::to_owned) else { return Ok(()) };
        if self.may(&Need::Server) {
            return Ok(());
        }
        let owned: i64 = sql!(
            "SELECT COUNT(*) FROM network_roles r JOIN networks n ON n.id = r.network_id \
             WHERE r.user_id = $1 AND r.role = 'owner' AND n.deleted_at IS NULL"
        )
        .bind(user)
        .fetch_one(self.connection())
        .await?;
        if owned >= OWNED_MAX {
            return Err(IndexError::State(format!(
                "you own {OWNED_MAX} networks: pass one on, or remove one first"
            )));
        }
        Ok(())
    }

    async fn insert_network(&mut self, network: &Network) -> Result<()> {
        let inserted = sql!(
            "INSERT INTO networks (id, slug, join_mode, approve, prefix4, prefix4_fixed, prefix6, revision, \
             created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
        )
        .bind(network.id.to_string())
        .bind(network.slug.to_string())
        .bind(network.join_mode.as_str())
        .bind(network.approve.as_str())
        .bind(network.prefix4.to_string())
        .bind(network.prefix4_fixed)
        .bind(network.prefix6.to_string())
        .bind(revision_to(network.revision))
        .bind(network.created_at)
        .execute(self.connection())
        .await;
        match inserted {
            Err(error) if error.is_unique_violation() => {
                Err(IndexError::Taken { what: "network", name: network.slug.to_string() })
            }
            other => other.map(|_| ()),
        }
    }

    async fn update_network(&mut self, network: &Network) -> Result<()> {
        let now = self.now();
        sql!(
            "UPDATE networks SET join_mode = $2, approve = $3, peer_relay = $4, updated_at = $5 WHERE id = $1",
        )
        .bind(network.id.to_string())
        .bind(network.join_mode.as_str())
        .bind(network.approve.as_str())
        .bind(network.peer_relay)
        .bind(now)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn write_network_password(&mut self, network: NetworkId, hash: &str) -> Result<()> {
        sql!("UPDATE networks SET password_hash = $2 WHERE id = $1")
            .bind(network.to_string())
            .bind(hash)
            .execute(self.connection())
            .await
            .map(drop)
    }

    /// What is stored of a network's password.
    pub(super) async fn network_password(&mut self, network: NetworkId) -> Result<Option<String>> {
        sql!("SELECT password_hash FROM networks WHERE id = $1 AND password_hash IS NOT NULL")
            .bind(network.to_string())
            .fetch_optional(self.connection())
            .await
    }

    /// Writes the audit row of a network.
    pub(super) async fn record_network(
        &mut self,
        code: &'static str,
        before: Option<&Network>,
        after: Option<&Network>,
    ) -> Result<()> {
        let Some(network) = after.or(before) else { return Ok(()) };
        let id = network.id.to_string();
        self.record(Entry { code, entity: "network", id: &id, network: Some(network.id), before, after })
            .await
    }

    /// A prefix that overlaps no network here, nothing devices report and nothing in `avoid`.
    async fn draw_prefix(&mut self, except: Option<NetworkId>, avoid: &[Ipv4Network]) -> Result<Ipv4Network> {
        let mut taken = self.network_prefixes(except).await?;
        taken.extend_from_slice(avoid);
        let reported: Vec<String> =
            sql!("SELECT DISTINCT local_prefixes FROM devices").fetch_all(self.connection()).await?;
        for list in &reported {
            let list: Vec<String> = serde_json::from_str(list).map_err(|error| IndexError::Unreadable {
                column: "local_prefixes",
                why: error.to_string(),
            })?;
            taken.extend(list.iter().filter_map(|text| text.parse::<Ipv4Network>().ok()));
        }
        draw_prefix(&taken, || Ok(getrandom::u32()?))
    }

    async fn network_prefixes(&mut self, except: Option<NetworkId>) -> Result<Vec<Ipv4Network>> {
        let texts: Vec<String> = sql!("SELECT prefix4 FROM networks WHERE deleted_at IS NULL AND id <> $1")
            .bind(except.map_or_else(String::new, |id| id.to_string()))
            .fetch_all(self.connection())
            .await?;
        texts
            .iter()
            .map(|text| {
                text.parse().map_err(|_| IndexError::Unreadable {
                    column: "prefix4",
                    why: format!("\"{text}\" is no prefix"),
                })
            })
            .collect()
    }

    /// The first /64 of the coordinator's /48 that no network ever had.
    async fn draw_prefix6(&mut self) -> Result<Ipv6Addr> {
        let ula = self.ula().await?;
        let used: Vec<String> = sql!("SELECT prefix6 FROM networks").fetch_all(self.connection()).await?;
        (1..=u16::MAX)
            .map(|number| subnet6(ula, number))
            .find(|subnet| !used.contains(&subnet.to_string()))
            .ok_or_else(|| IndexError::Full("the coordinator's IPv6 prefix".to_owned()))
    }
}

impl Network {
    /// The IPv6 address that belongs to a place in the IPv4 prefix.
    pub(super) fn ip6_at(&self, place: u32) -> Ipv6Addr {
        member_ip6(self.prefix6, place)
    }
}

/// The error for a name nobody has.
pub(super) fn unknown(slug: &NetworkName) -> IndexError {
    IndexError::NotFound {
        what: "network",
        name: slug.to_string(),
        hint: ": \"lanyard-server network list\" shows what there is",
    }
}
