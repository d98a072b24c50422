//! The bus inside one process: two bounded channels.

use tokio::sync::mpsc;

use super::{Client, FromIndex, Link, QUEUE};

/// Makes a link that is up, and hands INDEX its end.
///
/// `None` when INDEX has stopped.
pub async fn connect(clients: &mpsc::Sender<Client>) -> Option<Link> {
    let (to_index, from_client) = mpsc::channel(QUEUE);
    let (to_client, from_index) = mpsc::channel(QUEUE);
    to_client.try_send(FromIndex::Up).ok()?;
    clients.send(Client { rx: from_client, tx: to_client }).await.ok()?;
    Some(Link { tx: to_index, rx: from_index })
}
