//! A port of the router that leads to the agent's UDP socket, asked for by PCP, NAT-PMP or UPnP-IGD.
//!
//! Who is behind a router that gives every destination another port is found by nobody, unless the router
//! itself opens a port. [`PortMapper::start`] has one task that asks the router of the present network for one,
//! keeps the lease alive and gives it back in the end; nothing waits for it. What is asked in which order
//! stands in `ask`, when in `keeper`; `pcp` and `upnp` speak to the router by libraries. Only IPv4 is mapped,
//! and only where this device has a private address: elsewhere no NAT is in the way, or none of ours.
//!
//! Everybody on the LAN may pose as the router or send what looks like its answer. So requests go out from
//! connected sockets or count only if the router's address answers, every answer has a bound in size and time, and a
//! forged one gains what the router could do anyway: to name a wrong candidate, which no probe ever proves.
//! Terms: RFC 6887 (PCP), RFC 6886 (NAT-PMP), UPnP Forum's WANIPConnection:2 (UPnP-IGD).

mod announce;
mod ask;
mod epoch;
mod keeper;
mod pcp;
mod upnp;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::debug;

use keeper::Keeper;

/// How long the end of the agent waits for the router to take a port back.
///
/// A router on the LAN answers within milliseconds; what it does not hear lapses with the lease.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// The way out of the network this device is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Router {
    /// Its address.
    pub gateway: Ipv4Addr,
    /// This device's address towards it.
    pub local: Ipv4Addr,
}

/// How a port was asked for; the order is that of preference.
///
/// PCP says whether the router restarted and guards a mapping with a nonce, NAT-PMP does the former, UPnP-IGD
/// neither, and it takes several round trips of XML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Port Control Protocol (RFC 6887).
    Pcp,
    /// NAT Port Mapping Protocol (RFC 6886).
    NatPmp,
    /// UPnP Internet Gateway Device.
    Upnp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}

/// A mapping as the router granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// By what it was asked for.
    pub protocol: Protocol,
    /// The address outside, as the router names it: behind another NAT a private one.
    pub external: SocketAddrV4,
    /// How long it holds without being renewed; zero is for ever.
    pub lifetime: Duration,
}

/// How this device stands with its router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is nothing to ask for: no IPv4 router, or a public address without one in between.
    Unneeded,
    /// The router of a new network is being asked.
    Asking,
    /// It does not answer or gives no port.
    Refused,
    /// It gave one.
    Mapped(Lease),
}

/// Keeps a port mapped on the router, whatever network this device is in.
#[derive(Debug)]
pub struct PortMapper {
    routers: watch::Sender<Option<Router>>,
    state: watch::Receiver<State>,
    /// Dropped to end the task.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl PortMapper {
    /// Starts to keep a mapping to the UDP port `port`. Needs a Tokio runtime.
    ///
    /// `secret` is this device's own and always the same: by what is made from it a router knows the owner of
    /// a mapping again.
    #[must_use]
    pub fn start(port: NonZeroU16, secret: [u8; 16]) -> Self {
        let (routers, attached) = watch::channel(None);
        let (sender, state) = watch::channel(State::Unneeded);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(Keeper::new(port, secret, attached, sender).run(stopped));
        Self { routers, state, stop, task }
    }

    /// Tells that the network changed, and which router is the way out now.
    ///
    /// The same one again counts: it may have restarted and forgotten every mapping.
    pub fn attach(&self, router: Option<Router>) {
        self.routers.send_replace(router);
    }

    /// How this device stands with its router.
    #[must_use]
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Waits for the next change of the state. Dropping the future loses nothing.
    pub async fn changed(&mut self) -> State {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.state.borrow_and_update()
    }

    /// Gives the port back to the router and ends; takes a second at most.
    pub async fn stop(self) {
        drop(self.stop);
        let abort = self.task.abort_handle();
        if timeout(STOP_WITHIN, self.task).await.is_err() {
            debug!("the router does not take the mapped port back; it lapses with its lease");
            abort.abort();
        }
    }
}

/// Whether an address is behind a NAT: private, or of a carrier's inside (RFC 6598).
fn is_inside(ip: Ipv4Addr) -> bool {
    ip.is_private() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64)
}
