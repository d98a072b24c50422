//! One door's life: closed until a datagram waits, open while datagrams go, closed again when none did for a
//! minute.
//!
//! 1. A datagram waits: connect, within [`PATIENCE`].
//! 2. It does not work: the next try comes after a pause that doubles, and what waited meanwhile is forgotten.
//! 3. It works: both ways at once until one of them breaks, or nothing was sent for [`IDLE`]. Then from 1.
//!
//! A connection that broke while in use is made again at once, and the machine is told: the coordinator's services
//! must hear something to know where this device is now.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::keys::PublicKey;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tracing::{debug, info};

use super::connect::{Opened, Opener};
use super::{Closed, State};
use crate::sockets::{Doors, Outlet};

/// How long opening may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A door is closed when nothing was sent through it for so long. A session that uses it has a keep-alive every 25 s.
const IDLE: Duration = Duration::from_secs(60);

/// First and longest pause between tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Tries to open a door again that broke while in use; after them, half a minute, it waits until it is needed.
const INTERRUPTED_TRIES: u32 = 6;

/// Everything one door needs.
pub(super) struct Visit {
    pub(super) key: PublicKey,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) addr: SocketAddr,
    pub(super) outlet: Arc<Outlet>,
    pub(super) doors: Doors,
    pub(super) opener: Opener,
    pub(super) state: watch::Sender<State>,
    /// The addresses this computer has; a change ends a pause.
    pub(super) network: watch::Receiver<Vec<IpAddr>>,
    pub(super) reopened: mpsc::Sender<PublicKey>,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nobody needs it.
    Idle,
    /// It broke.
    Broken,
    /// The address it was made from is gone.
    Moved,
}

impl Visit {
    pub(super) async fn run(mut self) {
        let mut tries = 0;
        let mut is_interrupted = false;
        loop {
            if !is_interrupted {
                self.outlet.wanted().await;
            }
            self.state.send_replace(State::Opening);
            let opening = timeout(PATIENCE, self.opener.open(&self.host, self.port)).await;
            match opening.unwrap_or_else(|_| Err(self.too_slow())) {
                Ok(opened) => {
                    debug!(host = self.host, proxy = ?opened.proxy, "door open");
                    self.state.send_replace(State::Open { proxy: opened.proxy.clone() });
                    if is_interrupted {
                        // Full: the engine is told already.
                        let _ = self.reopened.try_send(self.key);
                    }
                    let begun = Instant::now();
                    let end = self.carry(opened).await;
                    debug!(host = self.host, ?end, "door closed");
                    is_interrupted = end != End::Idle;
                    // One that falls over at once is no reason to hurry.
                    tries = if begun.elapsed() >= IDLE || end == End::Moved { 0 } else { tries };
                    self.state.send_replace(State::Closed);
                    if end == End::Broken && begun.elapsed() < IDLE {
                        self.pause(&mut tries).await;
                    }
                }
                Err(closed) => {
                    if tries == 0 {
                        info!("{closed}");
                    } else {
                        debug!("{closed}");
                    }
                    is_interrupted &= tries < INTERRUPTED_TRIES;
                    self.state.send_replace(State::Failed { why: closed.to_string() });
                    self.pause(&mut tries).await;
                    self.outlet.clear();
                }
            }
        }
    }

    fn too_slow(&self) -> Closed {
        let place = super::proxy::authority(&self.host, self.port);
        Closed::NoConnection { place, why: format!("no answer in {} s", PATIENCE.as_secs()) }
    }

    /// Waits, longer each time; a change of network ends it.
    async fn pause(&mut self, tries: &mut u32) {
        let longest = PAUSE.0.saturating_mul(1_u32.checked_shl(*tries).unwrap_or(u32::MAX)).min(PAUSE.1);
        *tries = tries.saturating_add(1);
        // Half of it at random: after a coordinator's restart not everybody comes at once.
        let share = u32::from(getrandom::u32().unwrap_or_default() as u8);
        let wait = longest / 2 + longest / 2 * share / 256;
        tokio::select! {
            () = sleep_until(Instant::now() + wait) => {}
            changed = self.network.changed() => if changed.is_ok() {
                *tries = 0;
            },
        }
    }

    /// Moves datagrams both ways, each way beside the other: if one waited for the other, two full streams
    /// would wait for each other for ever.
    async fn carry(&self, opened: Opened) -> End {
        let Opened { stream, local, .. } = opened;
        let (sink, stream) = stream.split();
        let mut network = self.network.clone();
        let moved = async {
            let is_gone = |addrs: &Vec<IpAddr>| {
                local
                    .is_some_and(|local| !local.is_loopback() && !addrs.is_empty() && !addrs.contains(&local))
            };
            if network.wait_for(is_gone).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            end = outbound(sink, &self.outlet) => end,
            () = inbound(stream, &self.doors, self.addr) => End::Broken,
            () = moved => End::Moved,
        }
    }
}

/// Writes what waits, and only then flushes: many datagrams share one write.
async fn outbound(mut sink: impl Sink<Message> + Unpin, outlet: &Outlet) -> End {
    loop {
        let Ok(datagram) = timeout(IDLE, outlet.next()).await else {
            // Good manners only.
            let _ = timeout(Duration::from_secs(1), sink.close()).await;
            return End::Idle;
        };
        let mut next = Some(datagram);
        while let Some(datagram) = next {
            if sink.feed(Message::Binary(datagram.into())).await.is_err() {
                return End::Broken;
            }
            next = outlet.pop();
        }
        if sink.flush().await.is_err() {
            return End::Broken;
        }
    }
}

/// Hands on what services send: behind a door there are no peers and no STUN servers.
async fn inbound<E>(
    mut stream: impl Stream<Item = Result<Message, E>> + Unpin,
    doors: &Doors,
    addr: SocketAddr,
) {
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Binary(bytes) => match classify(&bytes) {
                Class::Relay | Class::Lanyard => doors.arrived(addr, bytes.into()),
                Class::WireGuard | Class::Stun | Class::Noise => {}
            },
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Text(_) | Message::Close(_) | Message::Frame(_) => return,
        }
    }
}
