//! A pair of devices is called to try for a direct path once more: somebody has opened a router, and does not want to wait.

use lanyard_wire::ids::{DeviceId, NetworkId};
use serde::Serialize;

use super::Index;
use super::audit::Actor;
use super::authority::{Need, Role};
use super::db::sql;
use super::draft::Entry;
use super::error::{IndexError, Result};
use super::outbox::Change;
use super::text;

/// What the audit trail says of it.
#[derive(Serialize)]
struct Wish {
    #[serde(with = "text")]
    a: DeviceId,
    #[serde(with = "text")]
    b: DeviceId,
}

impl Index {
    /// Has CHECKPOINT call both ends; what comes of it they report as ever.
    ///
    /// # Errors
    /// [`IndexError::NotFound`] when they share no network; [`IndexError::Forbidden`] unless an administrator of a network that they
    /// share asks, or the owner of one of them.
    pub async fn try_again(&self, one: DeviceId, other: DeviceId, actor: &Actor) -> Result<()> {
        let mut draft = self.draft(actor).await?;
        let shared: Vec<(String, String)> = sql!(
            "SELECT x.network_id, COALESCE(d.user_id, '') FROM memberships x \
             JOIN memberships y ON x.network_id = y.network_id JOIN devices d ON d.id IN (x.device_id, y.device_id) \
             WHERE x.device_id = $1 AND y.device_id = $2 AND $1 <> $2 AND x.state = 'active' AND y.state = 'active' \
             ORDER BY x.network_id"
        )
        .bind(one.to_string())
        .bind(other.to_string())
        .fetch_all(draft.connection())
        .await?;
        let needs: Vec<Need> = shared.iter().filter_map(|(network, owner)| need(network, owner)).collect();
        let Some(first) = needs.first() else {
            return Err(IndexError::NotFound { what: "link", name: format!("{one}/{other}"), hint: "" });
        };
        let need = needs.iter().find(|need| draft.may(need)).unwrap_or(first).clone();
        draft.must(&need)?;
        let (a, b) = (one.min(other), one.max(other));
        let (code, id, wish) = ("link.try_again", format!("{a}/{b}"), Wish { a, b });
        draft
            .record(Entry { code, entity: "link", id: &id, network: None, before: None, after: Some(&wish) })
            .await?;
        draft.publish(&Change::TryAgain { a, b }).await?;
        draft.commit().await
    }
}

/// What one of their networks, and whose one of them is, would allow.
fn need(network: &str, owner: &str) -> Option<Need> {
    let network: NetworkId = network.parse().ok()?;
    Some(if owner.is_empty() {
        Need::Network(network, Role::Admin)
    } else {
        Need::Member { network, owner: Some(owner.to_owned()) }
    })
}
