//! Who sees which devices and members.

use super::{Filter, Listed, Page, Reader};
use crate::index::Index;
use crate::index::authority::Grants;
use crate::index::db::{Target, sql};
use crate::index::devices::Device;
use crate::index::error::Result;
use crate::index::memberships::{Member, MemberState, select_member};
use crate::index::metadata::Kind;

// Each list is one text, whatever it is asked for, and what a query adds to it. What names few rows is said once more at its
// beginning, alone: behind "OR ... IS NULL" no index would be used for it.

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
             AND ($10 IS NULL OR d.id = $10)"
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
                 OR ($11 IS NULL AND m.state IN ('pending', 'active', 'suspended')))"
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
        let filter = Filter { query: filter.query.clone().sized(&self.db).await?, ..filter.clone() };
        let rows = devices(Target::from(&self.db), &self.reader(grants), &filter, page).await?;
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
    let statement = statement
        .bind(page.after.0.clone())
        .bind(page.after.1.clone())
        .bind(reader.is_server_admin)
        .bind(reader.user.clone())
        .bind(reader.only.clone())
        .bind(reader.now)
        .bind(filter.online)
        .bind(filter.user.clone())
        .bind(filter.network_text())
        .bind(filter.id.clone());
    page.end(filter.query.narrow(Kind::Device, statement)?, " ORDER BY d.name, d.id LIMIT {rows}")
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
    let statement = statement
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
        .bind(filter.state.map(MemberState::as_str));
    page.end(filter.query.narrow(Kind::Member, statement)?, " ORDER BY m.nickname, m.id LIMIT {rows}")
        .fetch_all(target)
        .await
}
