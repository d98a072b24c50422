//! Who sees which webhooks, and what was sent to them.

use super::{Filter, Listed, Page};
use crate::index::Index;
use crate::index::authority::Grants;
use crate::index::db::sql;
use crate::index::error::Result;
use crate::index::webhooks::deliveries::Delivery;
use crate::index::webhooks::{Stored, Webhook, select_webhook};

impl Index {
    /// Webhooks, the newest first: of networks that one administers, and those of the server for its administrators.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhooks_page(
        &self,
        grants: &Grants,
        filter: &Filter,
        page: &Page,
    ) -> Result<Listed<Webhook>> {
        let reader = self.reader(grants);
        let rows: Vec<Stored> = sql!(select_webhook!(
            "($1 = '' OR w.id < $1) AND ($4 IS NULL OR w.network_id = $4) \
             AND ($2 OR EXISTS (SELECT 1 FROM network_roles r WHERE r.network_id = w.network_id AND r.user_id = $3 \
                 AND r.role IN ('admin', 'owner') AND (r.expires_at IS NULL OR r.expires_at > $5))) \
             AND ($6 IS NULL OR w.network_id = $6) AND ($7 IS NULL OR w.id = $7) ORDER BY w.id DESC LIMIT $8"
        ))
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
        let rows = rows.into_iter().map(|stored| self.opened(stored).0).collect();
        Ok(page.cut(rows, |webhook: &Webhook| (String::new(), webhook.id.clone())))
    }

    /// Deliveries of a webhook, the newest first. Whoever may see the webhook may see them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deliveries_page(&self, webhook: &Webhook, page: &Page) -> Result<Listed<Delivery>> {
        let rows: Vec<Delivery> = sql!(
            "SELECT * FROM webhook_deliveries WHERE webhook_id = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3"
        )
        .bind(webhook.id.clone())
        .bind(page.after.1.clone())
        .bind(page.rows())
        .fetch_all(&self.db)
        .await?;
        Ok(page.cut(rows, |delivery| (String::new(), delivery.id.clone())))
    }
}
