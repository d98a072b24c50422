//! When CHECKPOINT hears how data goes to and from peers: now and then while it flows, and soon after a path changed.
//!
//! People look at their network in the panel, and nobody else needs to know: reports are rare, small, lost without
//! harm, and sent a little before the keep-alive that they stand in for. A device without data says nothing.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use lanyard_wire::checkpoint::{LinkPath, LinkReport, Links};
use lanyard_wire::ids::DeviceId;
use lanyard_wire::limits::LINKS_MAX;

use super::Device;
use super::candidates::Rank;
use super::coordinator::Coordinator;
use super::event::CoordinatorState;
use super::peer::Peer;
use crate::overlay::Path;
use crate::time::{Instant, Wakeup};
use crate::transmit::{SocketId, Way};

/// A changed path is reported after this: an attempt changes it two or three times in a row.
const SOON: Duration = Duration::from_secs(1);

/// While data flows it is told no later than this after the last time; sooner where a keep-alive would go sooner.
const EVERY: Duration = Duration::from_secs(20);

/// Share of the time between keep-alives after which a report goes, in percent: those are early by a tenth at the most.
const BEFORE_KEEP_ALIVE: u32 = 85;

/// Peers told at a time; the rest follows after [`SOON`].
const PEERS_MAX: usize = 8 * LINKS_MAX;

/// The peers there is something to say of.
#[derive(Debug, Default)]
pub(super) struct Reports {
    news: BTreeSet<DeviceId>,
    due_at: Option<Instant>,
}

impl Reports {
    /// Data went to or came from a peer.
    pub(super) fn flowed(&mut self, peer: DeviceId, keep_alive: Duration, now: Instant) {
        self.news.insert(peer);
        let wait = (keep_alive * BEFORE_KEEP_ALIVE / 100).min(EVERY);
        self.due_at.get_or_insert(now + wait);
    }

    /// Another path is taken to a peer.
    pub(super) fn moved(&mut self, peer: DeviceId, now: Instant) {
        self.news.insert(peer);
        let soon = now + SOON;
        self.due_at = Some(self.due_at.map_or(soon, |at| at.min(soon)));
    }

    /// When there is something to tell.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        self.due_at.map(|at| Wakeup { at, why: "tell how data goes" })
    }

    /// Whom to tell of now.
    fn take(&mut self, now: Instant) -> Vec<DeviceId> {
        if self.due_at.take_if(|at| *at <= now).is_none() {
            return Vec::new();
        }
        let mut due: Vec<DeviceId> = mem::take(&mut self.news).into_iter().collect();
        if due.len() > PEERS_MAX {
            self.news = due.split_off(PEERS_MAX).into_iter().collect();
            self.due_at = Some(now + SOON);
        }
        due
    }
}

impl Device {
    /// Tells every coordinator what is due of the peers that it knows.
    pub(super) fn tell_links(&mut self, now: Instant) {
        let due = self.reports.take(now);
        let is_heard = |coordinator: &Coordinator, peer: &DeviceId| {
            matches!(coordinator.state(), CoordinatorState::Online { .. })
                && coordinator.directory().member(peer).is_some()
        };
        let mut links: Vec<LinkReport> = Vec::new();
        for device in due {
            // What nobody hears is told later, if anything more happens.
            if self.coordinators.iter().any(|coordinator| is_heard(coordinator, &device)) {
                links.extend(self.peers.get_mut(&device).map(|peer| report(device, peer, now)));
            }
        }
        for coordinator in &mut self.coordinators {
            let known: Vec<LinkReport> =
                links.iter().filter(|link| is_heard(coordinator, &link.peer)).copied().collect();
            for some in known.chunks(LINKS_MAX) {
                coordinator.tell_links(Links { links: some.to_vec() }, now);
            }
        }
    }
}

fn report(device: DeviceId, peer: &mut Peer, now: Instant) -> LinkReport {
    let path = peer.path();
    let way = match path {
        Path::Direct { local, remote } => Some(Way { local, remote }),
        Path::Relayed { relay, .. } => Some(Way { local: SocketId::MAIN, remote: relay }),
        Path::None => None,
    };
    let kind = match path {
        Path::None => LinkPath::None,
        Path::Direct { remote, .. } => match Rank::of(remote) {
            Rank::Lan => LinkPath::Lan,
            Rank::Tcp => LinkPath::Tcp,
            Rank::Ipv6 | Rank::Ipv4 => LinkPath::Direct,
        },
        Path::Relayed { .. } if peer.is_carriers(path) => LinkPath::Member,
        Path::Relayed { .. } => LinkPath::Relay,
    };
    let pings = peer.ping_status(now).into_iter().find(|ping| Some(ping.way) == way);
    let (pings, lost) = pings.map_or((0, 0), |ping| (narrow(ping.pings), narrow(ping.lost)));
    let rtt_us = peer.path_rtt().map(|rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
    let (tx_bytes, rx_bytes) = peer.take_untold();
    LinkReport { peer: device, path: kind, rtt_us, pings, lost, tx_bytes, rx_bytes }
}

fn narrow(count: u32) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(10);

    #[test]
    fn data_is_told_of_just_before_the_keep_alive_and_a_changed_path_within_a_second() {
        let mut reports = Reports::default();
        assert_eq!(reports.poll_timeout(), None, "nothing to say");
        reports.flowed(device(1), KEEP_ALIVE, at(0));
        reports.flowed(device(2), KEEP_ALIVE, at(4_000));
        reports.flowed(device(1), KEEP_ALIVE, at(5_000));
        assert_eq!(reports.take(at(8_499)), []);
        assert_eq!(reports.take(at(8_500)), [device(1), device(2)]);
        assert_eq!(reports.poll_timeout(), None);
        reports.flowed(device(1), KEEP_ALIVE, at(9_000));
        reports.moved(device(1), at(9_100));
        reports.moved(device(1), at(9_900));
        assert_eq!(reports.take(at(10_099)), []);
        assert_eq!(reports.take(at(10_100)), [device(1)], "once for both changes");
        reports.flowed(device(1), Duration::from_secs(60), at(20_000));
        assert_eq!(reports.poll_timeout().map(|wakeup| wakeup.at), Some(at(40_000)));
    }

    #[test]
    fn of_very_many_peers_some_are_told_a_second_later() {
        let mut reports = Reports::default();
        (0..=255).for_each(|number| reports.moved(device(number), at(0)));
        let first = reports.take(at(1_000));
        let second = reports.take(at(2_000));
        assert_eq!((first.len(), first.len() + second.len()), (PEERS_MAX, 256));
        assert_eq!(reports.poll_timeout(), None);
    }

    fn device(number: u8) -> DeviceId {
        DeviceId::from_bytes([number; 16])
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }
}
