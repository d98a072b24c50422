//! Who sees which events of the audit trail.

use super::{Filter, Listed, Page};
use crate::index::Index;
use crate::index::audit::AuditEvent;
use crate::index::authority::Grants;
use crate::index::db::sql;
use crate::index::error::Result;

// What names few rows stands alone at the beginning, for the sake of an index (see `machines`).
//
// A token hears nothing of sessions (addresses and browsers of its user) nor of other tokens, as in `/me`.
macro_rules! select_event {
    ($first:literal) => {
        concat!(
            "SELECT e.* FROM audit_events e WHERE ",
            $first,
            "($1 = '' OR e.id < $1) \
             AND (($2 AND $4 IS NULL) OR ($4 IS NULL AND e.actor_kind = 'user' AND e.actor_id = $3) \
                 OR ($4 IS NULL AND e.entity_type = 'user' AND e.entity_id = $3) \
                 OR (e.network_id IS NOT NULL AND ($4 IS NULL OR e.network_id = $4) AND ($2 OR EXISTS ( \
                     SELECT 1 FROM network_roles r WHERE r.network_id = e.network_id AND r.user_id = $3 \
                     AND r.role IN ('admin', 'owner') AND (r.expires_at IS NULL OR r.expires_at > $5))))) \
             AND ($6 IS NULL OR e.network_id = $6) AND ($7 IS NULL OR e.entity_type = $7) \
             AND ($8 IS NULL OR e.entity_id = $8) AND ($9 IS NULL OR e.id = $9) \
             AND (NOT $11 OR e.entity_type NOT IN ('session', 'token')) \
             ORDER BY e.id DESC LIMIT $10"
        )
    };
}

impl Index {
    /// Events, the newest first: all for a server administrator, else those of networks that one administers, and what one
    /// did oneself or was done to one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_page(
        &self,
        grants: &Grants,
        filter: &Filter,
        page: &Page,
    ) -> Result<Listed<AuditEvent>> {
        let reader = self.reader(grants);
        let statement = match filter {
            Filter { id: Some(_), .. } => sql!(select_event!("e.id = $9 AND ")),
            Filter { entity: Some((_, Some(_))), .. } => {
                sql!(select_event!("e.entity_type = $7 AND e.entity_id = $8 AND "))
            }
            Filter { network: Some(_), .. } => sql!(select_event!("e.network_id = $6 AND ")),
            Filter { entity: Some(_), .. } => sql!(select_event!("e.entity_type = $7 AND ")),
            Filter { id: None, network: None, entity: None, .. } if reader.is_server_admin => {
                sql!(select_event!(""))
            }
            Filter { id: None, network: None, entity: None, .. } => sql!(select_event!(
                "e.id IN (SELECT o.id FROM (SELECT x.id FROM audit_events x WHERE x.actor_kind = 'user' \
                     AND x.actor_id = $3 AND ($1 = '' OR x.id < $1) \
                     AND (NOT $11 OR x.entity_type NOT IN ('session', 'token')) ORDER BY x.id DESC LIMIT $10) o \
                 UNION ALL SELECT x.id FROM audit_events x WHERE x.entity_type = 'user' AND x.entity_id = $3 \
                 UNION ALL SELECT x.id FROM network_roles r JOIN audit_events x ON x.id IN ( \
                     SELECT y.id FROM audit_events y WHERE y.network_id = r.network_id AND ($1 = '' OR y.id < $1) \
                     AND (NOT $11 OR y.entity_type NOT IN ('session', 'token')) ORDER BY y.id DESC LIMIT $10) \
                     WHERE r.user_id = $3 AND r.role IN ('admin', 'owner') \
                     AND ($4 IS NULL OR r.network_id = $4)) AND "
            )),
        };
        let rows: Vec<AuditEvent> = statement
            .bind(page.after.1.clone())
            .bind(reader.is_server_admin)
            .bind(reader.user)
            .bind(reader.only)
            .bind(reader.now)
            .bind(filter.network_text())
            .bind(filter.entity.as_ref().map(|(kind, _)| kind.clone()))
            .bind(filter.entity.as_ref().and_then(|(_, id)| id.clone()))
            .bind(filter.id.clone())
            .bind(page.rows())
            .bind(reader.by_token)
            .fetch_all(&self.db)
            .await?;
        Ok(page.cut(rows, |event| (String::new(), event.id.clone())))
    }
}
