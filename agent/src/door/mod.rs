//! Doors: the way to a coordinator where UDP does not get out.
//!
//! The machine decides when a door is used; it knows it by an address that stands for it
//! (`lanyard_wire::door`) and by nothing else. Here is what such an address leads to: a TLS connection to the
//! coordinator (`connect`), perhaps through a proxy (`proxy`), opened by the first datagram and closed when none
//! came for a minute (`visit`).

mod connect;
pub mod proxy;
mod visit;
pub mod web;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lanyard_wire::door;
use lanyard_wire::keys::PublicKey;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use self::connect::Opener;
use self::proxy::Proxies;
use self::visit::Visit;
use crate::sockets::{Outlet, Sockets};

/// Words about doors that were opened again that wait for the engine: there are few doors.
const REOPENED_MAX: usize = 32;

/// How long to wait between two looks whether the queues are empty, and how often to look.
const GOOD_BYE: (Duration, u32) = (Duration::from_millis(10), 20);

/// Why a door does not open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Closed {
    /// Its name leads nowhere.
    #[error("the door at {place} is not found: {why}")]
    NoAddress {
        /// Host and port.
        place: String,
        /// What the name server said.
        why: String,
    },
    /// Nobody answers.
    #[error("the door at {place} is not reached: {why}")]
    NoConnection {
        /// Host and port, of the proxy where one is used.
        place: String,
        /// What the system said.
        why: String,
    },
    /// The proxy does not let us through.
    #[error("the proxy {proxy} does not let lanyard through: {why}")]
    Proxy {
        /// Its host and port.
        proxy: String,
        /// What it said.
        why: String,
    },
    /// Whoever answers does not speak TLS.
    #[error("the door at {place} does not speak TLS: {why}")]
    NoTls {
        /// Host and port.
        place: String,
        /// What went wrong.
        why: String,
    },
    /// Whoever answers is no coordinator, or has no door.
    #[error("there is no door at {place}: {why}")]
    NoDoor {
        /// Host and port.
        place: String,
        /// What it said.
        why: String,
    },
}

/// How a door stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nobody needs it.
    #[default]
    Closed,
    /// On the way.
    Opening,
    /// Datagrams go through it.
    Open {
        /// Through this proxy.
        proxy: Option<String>,
    },
    /// It did not open.
    Failed {
        /// Why.
        why: String,
    },
}

/// The doors of all coordinators.
pub struct Doorkeeper {
    sockets: Sockets,
    opener: Opener,
    doors: BTreeMap<PublicKey, Door>,
    next: u32,
    network: watch::Sender<Vec<IpAddr>>,
    reopened: mpsc::Sender<PublicKey>,
}

struct Door {
    host: String,
    port: u16,
    addr: SocketAddr,
    outlet: Arc<Outlet>,
    state: watch::Receiver<State>,
    visit: JoinHandle<()>,
}

impl Doorkeeper {
    /// No door yet, and where to hear whose was opened again after it broke.
    ///
    /// `proxy` is the setting of that name, `environment` answers for a variable.
    ///
    /// # Errors
    ///
    /// When there is no TLS, which is a fault of this build.
    pub fn new(
        sockets: Sockets,
        proxy: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, mpsc::Receiver<PublicKey>), rustls::Error> {
        let (reopened, receiver) = mpsc::channel(REOPENED_MAX);
        let guard = sockets.clone();
        let opener = Opener::new(Proxies::of(proxy, environment), move |ip| guard.is_overlay(ip))?;
        let keeper = Self {
            sockets,
            opener,
            doors: BTreeMap::new(),
            next: 1,
            network: watch::Sender::default(),
            reopened,
        };
        Ok((keeper, receiver))
    }

    /// The address that stands for a coordinator's door.
    pub fn addr(&mut self, key: PublicKey, host: &str, port: u16) -> SocketAddr {
        if let Some(door) = self.doors.get(&key)
            && (door.host.as_str(), door.port) == (host, port)
        {
            return door.addr;
        }
        self.close(&key);
        let addr = door::addr(0, self.next);
        self.next += 1;
        let (state, receiver) = watch::channel(State::Closed);
        let outlet = self.sockets.doors().add(addr);
        let visit = Visit {
            key,
            host: host.to_owned(),
            port,
            addr,
            outlet: Arc::clone(&outlet),
            doors: self.sockets.doors().clone(),
            opener: self.opener.clone(),
            state,
            network: self.network.subscribe(),
            reopened: self.reopened.clone(),
        };
        let visit = tokio::spawn(visit.run());
        self.doors.insert(key, Door { host: host.to_owned(), port, addr, outlet, state: receiver, visit });
        addr
    }

    /// Gives what waits at open doors a moment to leave: a good-bye is worth `GOOD_BYE`, and no more.
    pub async fn drain(&self) {
        let is_open = |door: &&Door| matches!(*door.state.borrow(), State::Open { .. });
        let mut moments = 0..if self.doors.values().any(|door| is_open(&door)) { GOOD_BYE.1 } else { 0 };
        let is_drained = || self.doors.values().filter(is_open).all(|door| door.outlet.is_empty());
        // One more after the queues are empty: the last datagram is on its way through TLS.
        while moments.next().is_some() {
            let was_drained = is_drained();
            sleep_until(Instant::now() + GOOD_BYE.0).await;
            if was_drained {
                return;
            }
        }
    }

    /// Closes a coordinator's door for good.
    pub fn close(&mut self, key: &PublicKey) {
        if let Some(door) = self.doors.remove(key) {
            door.visit.abort();
            self.sockets.doors().remove(door.addr);
        }
    }

    /// How a coordinator's door stands, and its port.
    #[must_use]
    pub fn state(&self, key: &PublicKey) -> Option<(State, u16)> {
        self.doors.get(key).map(|door| (door.state.borrow().clone(), door.port))
    }

    /// Looks at what TCP to a coordinator's host comes to, without proxy.
    pub fn look(&self, host: &str, port: u16) -> impl Future<Output = web::Look> + Send + 'static {
        web::look(self.opener.clone(), host.to_owned(), port)
    }

    /// Whether a proxy finds this host, so that its name need not lead anywhere here.
    #[must_use]
    pub fn has_proxy(&self, host: &str) -> bool {
        self.opener.has_proxy(host)
    }

    /// The computer has these addresses now.
    pub fn network_changed(&self, addresses: Vec<IpAddr>) {
        self.network.send_replace(addresses);
    }
}

impl Drop for Doorkeeper {
    fn drop(&mut self) {
        for door in self.doors.values() {
            door.visit.abort();
        }
    }
}
