//! Who sees which users, networks, roles and invites.

use super::{Filter, Listed, Page, Reader};
use crate::index::Index;
use crate::index::authority::Grants;
use crate::index::db::{Target, sql};
use crate::index::error::Result;
use crate::index::invites::Invite;
use crate::index::metadata::Kind;
use crate::index::networks::Network;
use crate::index::roles::NetworkRole;
use crate::index::users::User;

// What names few rows stands alone at the beginning, for the sake of an index (see `machines`).
macro_rules! select_invite {
    ($first:literal) => {
        concat!(
            "SELECT i.*, n.slug FROM invites i JOIN networks n ON n.id = i.network_id \
             WHERE ",
            $first,
            "n.deleted_at IS NULL AND ($1 = '' OR i.id < $1) \
             AND ($2 OR EXISTS (SELECT 1 FROM network_roles r WHERE r.network_id = i.network_id AND r.user_id = $3 \
                 AND r.role IN ('admin', 'owner') AND (r.expires_at IS NULL OR r.expires_at > $5))) \
             AND ($4 IS NULL OR i.network_id = $4) \
             AND ($6 IS NULL OR i.network_id = $6) AND ($7 IS NULL OR i.id = $7) \
             ORDER BY i.id DESC LIMIT $8"
        )
    };
}

impl Index {
    /// Networks by name: those where a user has a role, all for a server administrator.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn networks_page(
        &self,
        grants: &Grants,
        filter: &Filter,
        page: &Page,
    ) -> Result<Listed<Network>> {
        let rows = networks(Target::from(&self.db), &self.reader(grants), filter, page).await?;
        Ok(page.cut(rows, |network| (network.slug.to_string(), network.id.to_string())))
    }

    /// Users by name: oneself, who has a role in a network one administers, and all for a server administrator.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn users_page(&self, grants: &Grants, filter: &Filter, page: &Page) -> Result<Listed<User>> {
        let rows = users(Target::from(&self.db), &self.reader(grants), filter, page).await?;
        Ok(page.cut(rows, |user| (user.name.to_string(), user.id.clone())))
    }

    /// Roles by network and user: one's own, and all of networks one administers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn roles_page(
        &self,
        grants: &Grants,
        filter: &Filter,
        page: &Page,
    ) -> Result<Listed<NetworkRole>> {
        let reader = self.reader(grants);
        let rows: Vec<NetworkRole> = sql!(
            "SELECT r.*, n.slug, u.name FROM network_roles r JOIN networks n ON n.id = r.network_id \
             JOIN users u ON u.id = r.user_id WHERE n.deleted_at IS NULL AND (n.slug, u.name) > ($1, $2) \
             AND ($3 OR r.user_id = $4 OR EXISTS (SELECT 1 FROM network_roles o WHERE o.network_id = r.network_id \
                 AND o.user_id = $4 AND o.role IN ('admin', 'owner') AND (o.expires_at IS NULL OR o.expires_at > $6))) \
             AND ($5 IS NULL OR r.network_id = $5) AND (r.expires_at IS NULL OR r.expires_at > $6) \
             AND ($7 IS NULL OR r.network_id = $7) AND ($8 IS NULL OR r.user_id = $8) \
             ORDER BY n.slug, u.name LIMIT $9"
        )
        .bind(page.after.0.clone())
        .bind(page.after.1.clone())
        .bind(reader.is_server_admin)
        .bind(reader.user)
        .bind(reader.only)
        .bind(reader.now)
        .bind(filter.network_text())
        .bind(filter.user.clone())
        .bind(page.rows())
        .fetch_all(&self.db)
        .await?;
        Ok(page.cut(rows, |role| (role.network.to_string(), role.user.to_string())))
    }

    /// Invites, the newest first, of networks one administers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invites_page(
        &self,
        grants: &Grants,
        filter: &Filter,
        page: &Page,
    ) -> Result<Listed<Invite>> {
        let reader = self.reader(grants);
        let statement = match filter {
            Filter { id: Some(_), .. } => sql!(select_invite!("i.id = $7 AND ")),
            Filter { network: Some(_), .. } => sql!(select_invite!("i.network_id = $6 AND ")),
            Filter { id: None, network: None, .. } => sql!(select_invite!("")),
        };
        let rows: Vec<Invite> = statement
            .bind(page.after.1.clone())
            .bind(reader.is_server_admin)
            .bind(reader.user)
            .bind(reader.only)
            .bind(reader.now)
            .bind(filter.network_text())
            .bind(filter.id.clone())
            .bind(page.rows())
            .fetch_all(&self.db)
            .await?;
        Ok(page.cut(rows, |invite| (String::new(), invite.id.clone())))
    }
}

/// Rows of [`Index::networks_page`].
pub(super) async fn networks(
    target: Target<'_>,
    reader: &Reader,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Network>> {
    let statement = sql!(
        "SELECT n.*, \
         (SELECT COUNT(*) FROM memberships m WHERE m.network_id = n.id AND m.state = 'active') AS active, \
         (SELECT COUNT(*) FROM memberships m WHERE m.network_id = n.id AND m.state = 'pending') AS pending \
         FROM networks n WHERE n.deleted_at IS NULL AND (n.slug, n.id) > ($1, $2) \
         AND ($3 OR EXISTS (SELECT 1 FROM network_roles r WHERE r.network_id = n.id AND r.user_id = $4 \
             AND (r.expires_at IS NULL OR r.expires_at > $6))) \
         AND ($5 IS NULL OR n.id = $5) AND ($7 IS NULL OR n.id = $7 OR n.slug = $7)"
    )
    .bind(page.after.0.clone())
    .bind(page.after.1.clone())
    .bind(reader.is_server_admin)
    .bind(reader.user.clone())
    .bind(reader.only.clone())
    .bind(reader.now)
    .bind(filter.id.clone());
    page.end(filter.query.narrow(Kind::Network, statement)?, " ORDER BY n.slug, n.id LIMIT {rows}")
        .fetch_all(target)
        .await
}

/// Rows of [`Index::users_page`].
pub(super) async fn users(
    target: Target<'_>,
    reader: &Reader,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<User>> {
    let statement = sql!(
        "SELECT u.* FROM users u WHERE (u.name, u.id) > ($1, $2) \
         AND (($3 AND $5 IS NULL) OR u.id = $4 OR EXISTS (SELECT 1 FROM network_roles theirs \
             WHERE theirs.user_id = u.id AND (theirs.expires_at IS NULL OR theirs.expires_at > $6) \
             AND ($5 IS NULL OR theirs.network_id = $5) \
             AND ($3 OR EXISTS (SELECT 1 FROM network_roles mine WHERE mine.network_id = theirs.network_id \
                 AND mine.user_id = $4 AND mine.role IN ('admin', 'owner') \
                 AND (mine.expires_at IS NULL OR mine.expires_at > $6))))) \
         AND ($7 IS NULL OR u.id = $7)"
    )
    .bind(page.after.0.clone())
    .bind(page.after.1.clone())
    .bind(reader.is_server_admin)
    .bind(reader.user.clone())
    .bind(reader.only.clone())
    .bind(reader.now)
    .bind(filter.id.clone());
    page.end(filter.query.narrow(Kind::User, statement)?, " ORDER BY u.name, u.id LIMIT {rows}")
        .fetch_all(target)
        .await
}
