//! Looking for a peer where it was before, without anybody to give the start signal.
//!
//! Addresses of direct paths outlive the paths, and the device's restarts. When no coordinator answers they
//! are all there is; beside a coordinator they bring a path back that only hiccuped.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::candidate::{Candidate, CandidateKind};

use super::candidates::Rank;
use super::punch::{Probe, Punch};
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::transmit::Way;

/// Addresses are recalled for so long when no coordinator answers, ...
const ALONE: Duration = Duration::from_secs(3_600);

/// ... and for so long beside a new attempt after a path died.
const BESIDE: Duration = Duration::from_secs(20);

/// Recalls that traffic alone asks for begin at least so far apart.
const APART: Duration = Duration::from_secs(15);

/// Addresses remembered per peer.
const ENDPOINTS_MAX: usize = 4;

/// Whether somebody else can bring the two ends together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Help {
    /// No coordinator answers.
    Alone,
    /// A coordinator begins an attempt meanwhile.
    Coordinator,
}

/// What is remembered of a peer, and the knocking there.
#[derive(Clone, Debug, Default)]
pub(super) struct Recall {
    remembered: Vec<SocketAddr>,
    punch: Option<Punch>,
    began_at: Option<Instant>,
}

impl Recall {
    /// Remembers these addresses, best first, before those that were remembered already.
    pub(super) fn remember(&mut self, endpoints: &[SocketAddr]) {
        self.remembered = self.endpoints(endpoints.to_vec());
    }

    /// `first` and then what is remembered, each once and not too many.
    pub(super) fn endpoints(&self, first: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let mut endpoints = first;
        for remote in &self.remembered {
            if !endpoints.contains(remote) {
                endpoints.push(*remote);
            }
        }
        endpoints.truncate(ENDPOINTS_MAX);
        endpoints
    }

    /// The peer may be at this address.
    pub(super) fn knows(&self, remote: SocketAddr) -> bool {
        self.remembered.contains(&remote)
    }

    /// Knocks from `start` on at what is remembered and at `others`; `lost` is the address in use until now.
    ///
    /// Beside a coordinator only addresses are tried where an early packet harms no NAT: the one that was
    /// in use, and those without translation. HANDSHAKE starts the others at one moment.
    pub(super) fn begin(
        &mut self,
        lost: Option<SocketAddr>,
        others: &[SocketAddr],
        help: Help,
        start: Instant,
        rng: Rng,
    ) {
        let mut candidates: Vec<Candidate> = Vec::new();
        for addr in lost.iter().chain(&self.remembered).chain(others).copied() {
            let is_harmless = help == Help::Alone || lost == Some(addr) || Rank::of(addr) != Rank::Ipv4;
            if is_harmless && !candidates.iter().any(|known| known.addr == addr) {
                candidates.push(Candidate { kind: CandidateKind::ServerReflexive, addr });
            }
        }
        let length = if help == Help::Alone { ALONE } else { BESIDE };
        self.began_at = Some(start);
        self.punch = (!candidates.is_empty()).then(|| Punch::recall(&candidates, start, start + length, rng));
    }

    /// Not begun lately and not running: traffic may begin one.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.punch.is_none() && self.began_at.is_none_or(|at| now.saturating_since(at) >= APART)
    }

    /// Knocks no more.
    pub(super) fn stop(&mut self) {
        self.punch = None;
    }

    /// An authenticated answer came this way.
    pub(super) fn answered(&mut self, way: Way) {
        if let Some(punch) = &mut self.punch {
            punch.answered(way);
        }
    }

    /// Queues the probes that are due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(punch) = &mut self.punch {
            punch.handle_timeout(now);
            if punch.is_over(now) {
                self.punch = None;
            }
        }
    }

    /// The next probe to send.
    pub(super) fn poll_probe(&mut self) -> Option<Probe> {
        self.punch.as_mut()?.poll_probe()
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        self.punch.as_ref()?.poll_timeout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_every_address_is_tried_and_beside_a_coordinator_only_harmless_ones() {
        let mut recall = Recall::default();
        recall.remember(&[addr("203.0.113.4:1"), addr("192.168.1.4:1")]);
        let others = [addr("[2001:db8::4]:1"), addr("203.0.113.5:1")];
        recall.begin(None, &others, Help::Alone, Instant::ZERO, Rng::from_seed([1; 32]));
        assert_eq!(remotes(&mut recall).len(), 4);
        let lost = Some(addr("203.0.113.4:1"));
        recall.begin(lost, &others, Help::Coordinator, Instant::ZERO, Rng::from_seed([1; 32]));
        assert_eq!(
            remotes(&mut recall),
            [addr("203.0.113.4:1"), addr("192.168.1.4:1"), addr("[2001:db8::4]:1")]
        );
    }

    #[test]
    fn the_newest_addresses_are_remembered_first_and_few() {
        let mut recall = Recall::default();
        for last in 1..=9 {
            recall.remember(&[([192, 0, 2, last], 1).into()]);
        }
        let endpoints = recall.endpoints(Vec::new());
        assert_eq!(endpoints.len(), ENDPOINTS_MAX);
        assert_eq!(endpoints.first(), Some(&addr("192.0.2.9:1")));
        assert!(recall.knows(addr("192.0.2.9:1")) && !recall.knows(addr("192.0.2.1:1")));
    }

    #[test]
    fn traffic_cannot_begin_recalls_in_a_row() {
        let mut recall = Recall::default();
        assert!(recall.is_due(Instant::ZERO));
        recall.remember(&[addr("203.0.113.4:1")]);
        recall.begin(None, &[], Help::Alone, Instant::ZERO, Rng::from_seed([1; 32]));
        assert!(!recall.is_due(Instant::from_secs(60)), "it is running");
        recall.stop();
        assert!(!recall.is_due(Instant::from_secs(14)));
        assert!(recall.is_due(Instant::from_secs(15)));
    }

    #[test]
    fn nothing_remembered_means_nothing_sent() {
        let mut recall = Recall::default();
        recall.begin(None, &[], Help::Alone, Instant::ZERO, Rng::from_seed([1; 32]));
        assert_eq!(recall.poll_timeout(), None);
    }

    fn remotes(recall: &mut Recall) -> Vec<SocketAddr> {
        recall.handle_timeout(Instant::ZERO);
        let mut remotes: Vec<SocketAddr> =
            core::iter::from_fn(|| recall.poll_probe()).map(|probe| probe.way.remote).collect();
        remotes.dedup();
        remotes
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }
}
