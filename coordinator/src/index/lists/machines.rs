//! Who sees which devices, members, and ways between devices.

use super::{Filter, Listed, Page, Reader};
use crate::index::Index;
use crate::index::authority::Grants;
use crate::index::db::{Target, sql};
use crate::index::devices::Device;
use crate::index::error::Result;
use crate::index::memberships::{Member, MemberState, select_member};
use crate::index::verdicts::Pair;

// Each list is one text, whatever it is asked for. What names few rows is said once more at its beginning, alone: behind
// "OR ... IS NULL" no index would be used for it.

// A list takes the devices of the reader's networks all at once; one device, or those of a user, are looked up one by one.

macro_rules! select_device {
    ($first:literal, $is_member:literal) => {
        concat!(
            "SELECT d.* FROM devices d WHERE ",
            $first,
            "d.removed_at IS NULL AND (d.name, d.id) > ($1, $2) \
             AND (($3 AND $5 IS NULL) OR ($5 IS NULL AND d.user_id = $4) OR ",
            $is_member,
            "m.state IN ('pending', 'active', 'suspended') \
                 AND m.network_id IN (SELECT n.id FROM networks n WHERE n.deleted_at IS NULL \
                     AND ($5 IS NULL OR n.id = $5) AND ($3 OR EXISTS (SELECT 1 FROM network_roles r \
                         WHERE r.network_id = n.id AND r.user_id = $4 AND (r.expires_at IS NULL OR r.expires_at > $6)))))) \
             AND ($7 IS NULL OR d.online = $7) AND ($8 IS NULL OR d.user_id = $8) \
             AND ($9 IS NULL OR d.id IN (SELECT m.device_id FROM memberships m WHERE m.network_id = $9 \
                 AND m.state IN ('pending', 'active', 'suspended'))) \
             AND ($10 IS NULL OR d.id = $10) \
             AND ($11 IS NULL OR d.name LIKE $11 ESCAPE '!' OR CAST(d.number AS TEXT) LIKE $13 ESCAPE '!' \
                 OR lower(d.os) LIKE $11 ESCAPE '!') \
             ORDER BY d.name, d.id LIMIT $12"
        )
    };
}

macro_rules! select_seen_member {
    ($first:literal) => {
        select_member!(
            $first,
            "(m.nickname, m.id) > ($1, $2) \
             AND ($3 OR ($5 IS NULL AND d.user_id = $4) OR EXISTS (SELECT 1 FROM network_roles r \
                 WHERE r.network_id = m.network_id AND r.user_id = $4 AND (r.expires_at IS NULL OR r.expires_at > $6))) \
             AND ($5 IS NULL OR m.network_id = $5) AND ($7 IS NULL OR m.network_id = $7) \
             AND ($8 IS NULL OR m.id = $8) AND ($9 IS NULL OR m.device_id = $9) \
             AND ($10 OR ($11 IS NOT NULL AND $11 = CASE WHEN m.state = 'active' AND d.suspended_at IS NOT NULL \
                     THEN 'suspended' ELSE m.state END) \
                 OR ($11 IS NULL AND m.state IN ('pending', 'active', 'suspended'))) \
             AND ($12 IS NULL OR m.nickname LIKE $12 ESCAPE '!' OR CAST(d.number AS TEXT) LIKE $14 ESCAPE '!' \
                 OR m.ip4 LIKE $12 ESCAPE '!') \
             ORDER BY m.nickname, m.id LIMIT $13"
        )
    };
}

macro_rules! select_link {
    ($first:literal) => {
        concat!(
            "SELECT v.reporter, one.name AS reporter_name, other.id AS peer, other.name AS peer_name, v.code, v.plan, \
             v.took_ms, v.at FROM pair_verdicts v \
             JOIN devices one ON one.id = v.reporter \
             JOIN devices other ON other.id = CASE v.reporter WHEN v.a THEN v.b ELSE v.a END WHERE ",
            $first,
            "(v.a, v.b) > ($1, $2) AND EXISTS ( \
                 SELECT 1 FROM memberships x JOIN memberships y ON x.network_id = y.network_id \
                 WHERE x.device_id = v.a AND y.device_id = v.b AND x.state = 'active' AND y.state = 'active' \
                 AND ($5 IS NULL OR x.network_id = $5) AND ($7 IS NULL OR x.network_id = $7) \
                 AND ($3 OR ($5 IS NULL AND (one.user_id = $4 OR other.user_id = $4)) OR EXISTS ( \
                     SELECT 1 FROM network_roles r WHERE r.network_id = x.network_id AND r.user_id = $4 \
                     AND (r.expires_at IS NULL OR r.expires_at > $6)))) \
             AND ($8 IS NULL OR v.a = $8 OR v.b = $8) AND ($9 IS NULL OR v.a = $9 OR v.b = $9) \
             ORDER BY v.a, v.b LIMIT $10"
        )
    };
}

impl Index {
    /// Devices by name: one's own, and those in networks where one has a role.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn devices_page(
        &self,
        grants: &Grants,
        filter: &Filter,
        page: &Page,
    ) -> Result<Listed<Device>> {
        let rows = devices(Target::from(&self.db), &self.reader(grants), filter, page).await?;
        Ok(page.cut(rows, |device| (device.name.to_string(), device.id.to_string())))
    }

    /// Members by name: of networks where one has a role, and one's own devices.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members_page(
        &self,
        grants: &Grants,
        filter: &Filter,
        page: &Page,
    ) -> Result<Listed<Member>> {
        let rows = members(Target::from(&self.db), &self.reader(grants), filter, page).await?;
        Ok(page.cut(rows, |member| (member.name.to_string(), member.id.clone())))
    }

    /// Pairs of devices that share a network where one has a role, or of which one is one's own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn links_page(&self, grants: &Grants, filter: &Filter, page: &Page) -> Result<Listed<Pair>> {
        let rows = links(Target::from(&self.db), &self.reader(grants), filter, page).await?;
        Ok(page.cut(rows, |pair| {
            let (a, b) = (pair.reporter.min(pair.peer), pair.reporter.max(pair.peer));
            (a.to_string(), b.to_string())
        }))
    }
}

/// Rows of [`Index::devices_page`].
pub(super) async fn devices(
    target: Target<'_>,
    reader: &Reader,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Device>> {
    let statement = match filter {
        Filter { id: Some(_), .. } => sql!(select_device!(
            "d.id = $10 AND ",
            "EXISTS (SELECT 1 FROM memberships m WHERE m.device_id = d.id AND "
        )),
        Filter { user: Some(_), .. } => sql!(select_device!(
            "d.user_id = $8 AND ",
            "EXISTS (SELECT 1 FROM memberships m WHERE m.device_id = d.id AND "
        )),
        Filter { id: None, user: None, .. } => {
            sql!(select_device!("", "d.id IN (SELECT m.device_id FROM memberships m WHERE "))
        }
    };
    statement
        .bind(page.after.0.clone())
        .bind(page.after.1.clone())
        .bind(reader.is_server_admin)
        .bind(reader.user.clone())
        .bind(reader.only.clone())
        .bind(reader.now)
        .bind(filter.online)
        .bind(filter.user.clone())
        .bind(filter.network_text())
        .bind(filter.id.clone())
        .bind(filter.pattern())
        .bind(page.rows())
        .bind(filter.number_pattern())
        .fetch_all(target)
        .await
}

/// Rows of [`Index::members_page`].
pub(super) async fn members(
    target: Target<'_>,
    reader: &Reader,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Member>> {
    let statement = match filter {
        Filter { id: Some(_), .. } => sql!(select_seen_member!("m.id = $8 AND ")),
        Filter { device: Some(_), .. } => sql!(select_seen_member!("m.device_id = $9 AND ")),
        Filter { network: Some(_), .. } => sql!(select_seen_member!("m.network_id = $7 AND ")),
        Filter { id: None, device: None, network: None, .. } => sql!(select_seen_member!("")),
    };
    statement
        .bind(page.after.0.clone())
        .bind(page.after.1.clone())
        .bind(reader.is_server_admin)
        .bind(reader.user.clone())
        .bind(reader.only.clone())
        .bind(reader.now)
        .bind(filter.network_text())
        .bind(filter.id.clone())
        .bind(filter.device.map(|device| device.to_string()))
        .bind(filter.with_gone)
        .bind(filter.state.map(MemberState::as_str))
        .bind(filter.pattern())
        .bind(page.rows())
        .bind(filter.number_pattern())
        .fetch_all(target)
        .await
}

/// Rows of [`Index::links_page`].
pub(super) async fn links(
    target: Target<'_>,
    reader: &Reader,
    filter: &Filter,
    page: &Page,
) -> Result<Vec<Pair>> {
    let statement = match (filter.device, filter.peer) {
        (Some(_), Some(_)) => sql!(select_link!("v.a IN ($8, $9) AND v.b IN ($8, $9) AND ")),
        (Some(_), None) => sql!(select_link!("(v.a = $8 OR v.b = $8) AND ")),
        (None, _) if filter.network.is_some() => sql!(select_link!(
            "v.a IN (SELECT m.device_id FROM memberships m WHERE m.network_id = $7 AND m.state = 'active') AND "
        )),
        (None, Some(_) | None) => sql!(select_link!("")),
    };
    statement
        .bind(page.after.0.clone())
        .bind(page.after.1.clone())
        .bind(reader.is_server_admin)
        .bind(reader.user.clone())
        .bind(reader.only.clone())
        .bind(reader.now)
        .bind(filter.network_text())
        .bind(filter.device.map(|device| device.to_string()))
        .bind(filter.peer.map(|device| device.to_string()))
        .bind(page.rows())
        .fetch_all(target)
        .await
}
