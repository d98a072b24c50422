//! Asking a router for a port by all three protocols at once, without leaving more than one mapping behind.
//!
//! PCP asks for the mapping itself. NAT-PMP and UPnP begin with a question that opens nothing (for the address
//! outside), and ask for the port when it is their turn: routers differ in whether two protocols' mappings of
//! one port are one or two, so that giving back the one not needed could close the other.

use std::future::Future;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::epoch::Epoch;
use super::{Lease, Protocol, Router, pcp, upnp};

/// How long a better protocol is waited for when another has answered.
///
/// A router on the LAN answers within milliseconds; this is when a lost datagram is repeated (RFC 6886, 3.1).
const FIRST: Duration = Duration::from_millis(250);

/// How long all of it may take; a router that has not answered three times does not.
const WITHIN: Duration = Duration::from_secs(2);

/// The lease asked for: what RFC 6886, section 3.3, recommends.
const LIFETIME: Duration = Duration::from_secs(7_200);

/// A mapping, by whichever protocol.
#[derive(Debug)]
pub(super) enum Held {
    Pcp(pcp::Mapping),
    Upnp(upnp::Mapping),
}

/// What a protocol answers first.
enum Offer {
    Mapped(pcp::Mapping),
    NatPmp(Ipv4Addr),
    Upnp(upnp::Found),
}

/// Asks for a mapping of `port` to the same port outside, and takes what is given.
///
/// `secret` is what PCP's nonces are made from.
pub(super) async fn ask(router: Router, port: NonZeroU16, secret: &[u8; 16]) -> Option<Held> {
    let nonce = pcp::nonce(secret, router, port);
    let mut race = Race::new(FIRST, WITHIN);
    race.enter(Protocol::Pcp, async move {
        pcp::Mapping::by_pcp(router, port, nonce, LIFETIME).await.map(Offer::Mapped)
    });
    race.enter(
        Protocol::NatPmp,
        async move { pcp::external_address(router.gateway).await.map(Offer::NatPmp) },
    );
    race.enter(Protocol::Upnp, async move { upnp::find(router, WITHIN).await.map(Offer::Upnp) });
    let deadline = race.deadline;
    while let Some(offer) = race.next().await {
        let taken = match offer {
            Offer::Mapped(mapping) => return Some(Held::Pcp(mapping)),
            Offer::NatPmp(address) => {
                let mapping = pcp::Mapping::by_natpmp(router, address, port, LIFETIME);
                timeout_at(deadline, mapping).await.ok().flatten().map(Held::Pcp)
            }
            Offer::Upnp(found) => {
                timeout_at(deadline, found.map(port, LIFETIME)).await.ok().flatten().map(Held::Upnp)
            }
        };
        if taken.is_some() {
            return taken;
        }
    }
    None
}

impl Held {
    /// What the router granted.
    pub(super) fn lease(&self) -> Lease {
        match self {
            Self::Pcp(mapping) => mapping.lease(),
            Self::Upnp(mapping) => mapping.lease(),
        }
    }

    /// The router's clock with its newest answer, where it tells one.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Pcp(mapping) => Some(mapping.epoch()),
            Self::Upnp(_) => None,
        }
    }

    /// Asks for the same mapping once more.
    pub(super) async fn renewed(&self) -> Option<Self> {
        let renewed = async {
            match self {
                Self::Pcp(mapping) => mapping.renewed().await.map(Self::Pcp),
                Self::Upnp(mapping) => mapping.renewed().await.map(Self::Upnp),
            }
        };
        timeout_at(Instant::now() + WITHIN, renewed).await.ok().flatten()
    }

    /// Gives the mapping back.
    pub(super) async fn release(self) {
        match self {
            Self::Pcp(mapping) => mapping.release().await,
            Self::Upnp(mapping) => mapping.release().await,
        }
    }

    /// Whether the router can tell by itself that a request is not about a mapping of somebody else.
    ///
    /// After a change of network another router may have the address of the last one. PCP guards a mapping with
    /// a nonce and NAT-PMP knows only the asker's own; UPnP takes away whatever has that port.
    pub(super) const fn is_guarded(&self) -> bool {
        matches!(self, Self::Pcp(_))
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = (Protocol, Option<T>)> + Send>>;

/// Answers in the order of preference, as far as they come in time.
struct Race<T> {
    running: FuturesUnordered<Answer<T>>,
    waited_for: Vec<Protocol>,
    answered: Vec<(Protocol, T)>,
    /// From here on the best there is will do.
    settle_at: Instant,
    deadline: Instant,
}

impl<T: 'static> Race<T> {
    fn new(first: Duration, within: Duration) -> Self {
        let now = Instant::now();
        Self {
            running: FuturesUnordered::new(),
            waited_for: Vec::new(),
            answered: Vec::new(),
            settle_at: now + first,
            deadline: now + within,
        }
    }

    fn enter(&mut self, protocol: Protocol, answer: impl Future<Output = Option<T>> + Send + 'static) {
        self.waited_for.push(protocol);
        self.running.push(Box::pin(async move { (protocol, answer.await) }));
    }

    /// The best answer that was not given out yet; `None` when there will be no more.
    async fn next(&mut self) -> Option<T> {
        loop {
            let best = (0..self.answered.len()).min_by_key(|at| self.answered[*at].0);
            let until = match best {
                None => self.deadline,
                Some(at) => {
                    let is_best = !self.waited_for.iter().any(|other| *other < self.answered[at].0);
                    if is_best || Instant::now() >= self.settle_at {
                        return Some(self.answered.swap_remove(at).1);
                    }
                    self.settle_at
                }
            };
            match timeout_at(until, self.running.next()).await {
                Ok(Some((protocol, answer))) => {
                    self.waited_for.retain(|other| *other != protocol);
                    self.answered.extend(answer.map(|answer| (protocol, answer)));
                }
                Ok(None) | Err(_) if self.answered.is_empty() => return None,
                Ok(None) | Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep_until;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_better_protocol_is_waited_for_and_the_others_are_in_reserve() {
        let mut race = Race::new(LONG, LONG);
        race.enter(Protocol::Upnp, answer(Duration::ZERO, Some("upnp")));
        race.enter(Protocol::NatPmp, answer(Duration::ZERO, Some("nat-pmp")));
        race.enter(Protocol::Pcp, answer(SOON, Some("pcp")));
        assert_eq!(race.next().await, Some("pcp"));
        assert_eq!(race.next().await, Some("nat-pmp"));
        assert_eq!(race.next().await, Some("upnp"));
        assert_eq!(race.next().await, None);
    }

    #[tokio::test]
    async fn a_better_protocol_that_fails_is_not_waited_for() {
        let mut race = Race::new(LONG, LONG);
        race.enter(Protocol::Upnp, answer(Duration::ZERO, Some("upnp")));
        race.enter(Protocol::Pcp, answer(SOON, None));
        assert_eq!(race.next().await, Some("upnp"));
        assert_eq!(race.next().await, None);
    }

    #[tokio::test]
    async fn a_silent_router_is_given_up_and_a_slow_answer_is_better_than_none() {
        let mut race = Race::<&str>::new(Duration::ZERO, 2 * SOON);
        race.enter(Protocol::Pcp, answer(LONG, Some("pcp")));
        race.enter(Protocol::Upnp, answer(SOON, Some("upnp")));
        assert_eq!(race.next().await, Some("upnp"), "the better one is late");
        assert_eq!(race.next().await, None);
    }

    async fn answer(after: Duration, what: Option<&'static str>) -> Option<&'static str> {
        sleep_until(Instant::now() + after).await;
        what
    }
}
