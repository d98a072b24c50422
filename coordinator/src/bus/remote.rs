//! The bus between processes: one sealed TCP stream for each client.
//!
//! INDEX listens, the others connect and reconnect. Both ends hold the fleet key; nobody else gets past the
//! handshake.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lanyard_wire::keys::SymmetricKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::sealed::{End, bus_key, carry, shake_hands};
use super::{Client, FromIndex, Link, QUEUE, ToIndex};
use crate::problem::Problem;

/// Most clients at once; also bounds what strangers can hold open.
const CLIENTS_MAX: usize = 64;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// First wait before connecting again; doubles.
const RETRY_FIRST: Duration = Duration::from_millis(200);

/// Longest wait before connecting again.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// INDEX's door, bound but not open yet.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    key: SymmetricKey,
}

impl Door {
    /// Binds the address.
    ///
    /// # Errors
    /// [`Problem`] `bus.unavailable` when the address cannot be bound.
    pub async fn bind(address: &str, fleet: &SymmetricKey) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let text = format!(
                "bus.listen: tcp {address} cannot be opened ({error}): free it or set another address"
            );
            Problem::new("bus.unavailable", text)
        })?;
        Ok(Self { listener, key: bus_key(fleet) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn address(&self) -> anyhow::Result<std::net::SocketAddr> {
        self.listener.local_addr().context("ask for the address of the bus")
    }

    /// Lets clients in until INDEX stops.
    pub async fn open(self, clients: mpsc::Sender<Client>) {
        let slots = Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = clients.closed() => return,
            };
            let Ok((stream, remote)) = accepted else {
                // Out of file descriptors: let others finish first.
                tokio::task::yield_now().await;
                continue;
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
            let (clients, key) = (clients.clone(), self.key.clone());
            tokio::spawn(async move {
                if let Err(error) = welcome(stream, &key, &clients).await {
                    tracing::debug!(%remote, %error, "a bus connection ended");
                }
                drop(slot);
            });
        }
    }
}

/// One client, from its handshake to its end.
async fn welcome(
    mut stream: TcpStream,
    key: &SymmetricKey,
    clients: &mpsc::Sender<Client>,
) -> std::io::Result<()> {
    let seal = shake_hands(&mut stream, key, End::Index).await?;
    let (to_index, from_client) = mpsc::channel::<ToIndex>(QUEUE);
    let (to_client, mut from_index) = mpsc::channel::<FromIndex>(QUEUE);
    let client = Client { rx: from_client, tx: to_client };
    if clients.send(client).await.is_err() {
        return Ok(());
    }
    carry(stream, seal, &mut from_index, &to_index).await
}

/// Makes a link that keeps itself connected to the INDEX at `address`, which may be a name.
#[must_use]
pub fn connect(address: String, fleet: &SymmetricKey) -> Link {
    let (to_index, mut from_client) = mpsc::channel::<ToIndex>(QUEUE);
    let (to_client, from_index) = mpsc::channel::<FromIndex>(QUEUE);
    let key = bus_key(fleet);
    tokio::spawn(async move {
        let mut retry = RETRY_FIRST;
        let mut is_known_down = false;
        while !to_client.is_closed() {
            match meet(&address, &key).await {
                Ok((stream, seal)) => {
                    tracing::info!(index = %address, "connected to the index");
                    (retry, is_known_down) = (RETRY_FIRST, false);
                    // What was asked before belongs to a connection that is gone.
                    while from_client.try_recv().is_ok() {}
                    if to_client.send(FromIndex::Up).await.is_err() {
                        return;
                    }
                    let ended = carry(stream, seal, &mut from_client, &to_client).await;
                    if ended.is_ok() || to_client.send(FromIndex::Down).await.is_err() {
                        return;
                    }
                    tracing::warn!(index = %address, error = ?ended.err(), "lost the index; going on with what is known");
                }
                Err(error) if !is_known_down => {
                    is_known_down = true;
                    tracing::warn!(index = %address, %error, "the index cannot be reached; trying again");
                }
                Err(error) => tracing::debug!(index = %address, %error, "the index cannot be reached"),
            }
            sleep_until(Instant::now() + retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    });
    Link { tx: to_index, rx: from_index }
}

async fn meet(address: &str, key: &SymmetricKey) -> std::io::Result<(TcpStream, snow::TransportState)> {
    let mut stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    let seal = shake_hands(&mut stream, key, End::Client).await?;
    Ok((stream, seal))
}
