//! When to send which probe to which candidate.
//!
//! Both ends start at the same moment (HANDSHAKE's `Go`), so that each one's first probe opens its own NAT
//! before the other's arrives. A punch ends when its time is spent; it never decides about paths or relays,
//! `path` and `attempt` do. A recall is the same thing on a slower schedule: it looks for a peer at
//! addresses where it was reached before, without anybody to give the start signal.
//! Terms: RFC 8445 (candidates), RFC 4787 (mapping and filtering).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::candidate::{Candidate, CandidateKind};

use super::candidates::Rank;
use super::status::CandidateStatus;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::transmit::{SocketId, Way};

/// When one candidate is probed, in milliseconds after the start.
///
/// The first five gaps double, so a start that is skewed by up to 400 ms still has two probes crossing
/// within one round trip of each other (reference: the lab's table of skews).
const PUNCH_MS: [u64; 6] = [0, 30, 80, 180, 380, 780];

/// Steps of [`PUNCH_MS`] at which a full-size probe goes along with the small one.
///
/// A path counts only when it carries full-size datagrams. Sent along, they prove it in the same round
/// trip; two are enough, since the first sign of life from the other end triggers more. An address that
/// only a ping told us gets none before it answers: a recorded ping must not turn 64 bytes into a
/// kilobyte for somebody else.
const FULL_AT: [usize; 2] = [0, 2];

/// A punch lasts this long beyond two round trips, ...
const PUNCH_TAIL: Duration = Duration::from_secs(1);

/// ... and at least so long: the last probe leaves at 780 ms and its answer takes a round trip.
const PUNCH_MIN: Duration = Duration::from_millis(1_500);

/// When one address is probed by a recall, in milliseconds after the start.
const RECALL_MS: [u64; 6] = [0, 1_000, 2_000, 4_000, 8_000, 15_000];

/// Then at intervals drawn from this range.
///
/// The longest is under the 30 s that the shortest-lived NAT bindings last (RFC 4787, REQ-5; Hatonen et
/// al. 2010), so two ends that recall each other keep their NATs open until they meet.
const RECALL_EVERY: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(28));

/// Addresses that one punch probes at the most: the peer's candidates and as many learnt on the way.
///
/// 16 addresses x (6 small + 2 full-size probes) is 48 kB, a quarter of what one attempt may cost.
const TARGETS_MAX: usize = 16;

/// How large a probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// The bare message: it opens NATs and measures.
    Small,
    /// As large as the tunnel's datagrams that every path has to carry: it proves that this one does.
    Full,
    /// As large as the datagram of a packet of so many bytes, which is more.
    Packet(u16),
}

/// One probe to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// From where to where.
    pub(super) way: Way,
    /// How large.
    pub(super) size: Size,
}

/// A series of probes to several addresses.
#[derive(Clone, Debug)]
pub(super) struct Punch {
    pace: Pace,
    local: SocketId,
    targets: Vec<Target>,
    stop_at: Option<Instant>,
    probes: VecDeque<Probe>,
}

/// Which schedule a punch keeps.
#[derive(Clone, Debug)]
enum Pace {
    /// [`PUNCH_MS`], then silence.
    Punch,
    /// [`RECALL_MS`], then [`RECALL_EVERY`].
    Recall { rng: Rng },
}

/// One address and how far its schedule has come.
#[derive(Clone, Debug)]
struct Target {
    candidate: Candidate,
    started: Instant,
    step: usize,
    next_at: Option<Instant>,
    sent: u32,
    answered: bool,
}

impl Punch {
    /// A punch that starts at `start` and takes the peer's answers to be `rtt` away.
    pub(super) fn new(candidates: &[Candidate], start: Instant, rtt: Option<Duration>) -> Self {
        let length = (PUNCH_TAIL + rtt.unwrap_or_default() * 2).max(PUNCH_MIN);
        Self::start(Pace::Punch, candidates, start, Some(start + length))
    }

    /// A recall that starts at `start` and goes on until `stop_at`.
    pub(super) fn recall(candidates: &[Candidate], start: Instant, stop_at: Instant, rng: Rng) -> Self {
        Self::start(Pace::Recall { rng }, candidates, start, Some(stop_at))
    }

    /// The same from another socket than the main one.
    pub(super) fn from(self, local: SocketId) -> Self {
        Self { local, ..self }
    }

    fn start(pace: Pace, candidates: &[Candidate], start: Instant, stop_at: Option<Instant>) -> Self {
        let local = SocketId::MAIN;
        let mut punch = Self { pace, local, targets: Vec::new(), stop_at, probes: VecDeque::new() };
        for candidate in candidates {
            punch.add(*candidate, start);
        }
        punch
    }

    /// Probes one more address from `start` on; an address that is known is left as it is.
    pub(super) fn add(&mut self, candidate: Candidate, start: Instant) {
        let is_known = self.targets.iter().any(|target| target.candidate.addr == candidate.addr);
        if !is_known && self.targets.len() < TARGETS_MAX {
            self.targets.push(Target {
                candidate,
                started: start,
                step: 0,
                next_at: Some(start),
                sent: 0,
                answered: false,
            });
        }
    }

    /// An authenticated ping came this way, maybe from an address that nobody told us.
    pub(super) fn heard_from(&mut self, way: Way, now: Instant) {
        if way.local == self.local {
            self.add(Candidate { kind: CandidateKind::PeerReflexive, addr: way.remote }, now);
        }
    }

    /// An authenticated answer came this way: a punch need not knock there again.
    pub(super) fn answered(&mut self, way: Way) {
        let (pace, local) = (&self.pace, self.local);
        let is_it = |target: &&mut Target| local == way.local && target.candidate.addr == way.remote;
        for target in self.targets.iter_mut().filter(is_it) {
            target.answered = true;
            if matches!(pace, Pace::Punch) {
                target.next_at = None;
            }
        }
    }

    /// A path of this rank works: only better ones are still interesting.
    pub(super) fn narrow(&mut self, found: Rank) {
        for target in self.targets.iter_mut().filter(|target| Rank::of(target.candidate.addr) >= found) {
            target.next_at = None;
        }
    }

    /// Queues the probes that are due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.is_over(now) {
            self.targets.iter_mut().for_each(|target| target.next_at = None);
            return;
        }
        for target in &mut self.targets {
            if target.next_at.is_none_or(|at| at > now) {
                continue;
            }
            let way = Way { local: self.local, remote: target.candidate.addr };
            self.probes.push_back(Probe { way, size: Size::Small });
            let is_told = target.candidate.kind != CandidateKind::PeerReflexive;
            if is_told && (matches!(self.pace, Pace::Recall { .. }) || FULL_AT.contains(&target.step)) {
                self.probes.push_back(Probe { way, size: Size::Full });
            }
            target.sent += 1;
            target.step += 1;
            target.next_at = match &mut self.pace {
                Pace::Punch => at_step(target.started, &PUNCH_MS, target.step),
                Pace::Recall { rng } => at_step(target.started, &RECALL_MS, target.step)
                    .or_else(|| Some(now + rng.between(RECALL_EVERY.0, RECALL_EVERY.1))),
            };
        }
    }

    /// The next probe to send.
    pub(super) fn poll_probe(&mut self) -> Option<Probe> {
        self.probes.pop_front()
    }

    /// When the next probe is due or the time is spent.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let stop = self.stop_at.map(|at| Wakeup { at, why: "the time of a punch is spent" });
        Wakeup::earliest(self.next_probe(), stop)
    }

    /// When the next probe is due.
    pub(super) fn next_probe(&self) -> Option<Wakeup> {
        let next = self.targets.iter().filter_map(|target| target.next_at).min();
        next.map(|at| Wakeup { at, why: "probe a candidate" })
    }

    /// When the time is spent.
    pub(super) const fn stop_at(&self) -> Option<Instant> {
        self.stop_at
    }

    /// The time is spent.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.stop_at.is_some_and(|at| at <= now)
    }

    /// What came of each candidate.
    pub(super) fn tried(&self) -> Vec<CandidateStatus> {
        self.targets
            .iter()
            .map(|target| CandidateStatus {
                candidate: target.candidate,
                probes_sent: target.sent,
                answered: target.answered,
            })
            .collect()
    }
}

fn at_step(started: Instant, schedule: &[u64], step: usize) -> Option<Instant> {
    schedule.get(step).map(|millis| started + Duration::from_millis(*millis))
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;

    #[test]
    fn a_candidate_is_probed_at_the_doubling_gaps_and_then_left_alone() {
        let mut punch = Punch::new(&[candidate("192.0.2.1:1")], Instant::from_secs(1), None);
        let sent = run(&mut punch);
        let small: Vec<u64> = millis(&sent, Size::Small);
        assert_eq!(small, [1_000, 1_030, 1_080, 1_180, 1_380, 1_780]);
        assert_eq!(millis(&sent, Size::Full), [1_000, 1_080]);
        assert!(punch.is_over(Instant::from_millis(2_500)));
        assert!(!punch.is_over(Instant::from_millis(2_499)));
        assert_eq!(punch.tried()[0].probes_sent, 6);
        assert!(!punch.tried()[0].answered);
    }

    #[test]
    fn a_far_peer_is_given_two_round_trips_more() {
        let punch = Punch::new(&[], Instant::ZERO, Some(Duration::from_millis(600)));
        assert!(!punch.is_over(Instant::from_millis(2_199)));
        assert!(punch.is_over(Instant::from_millis(2_200)));
    }

    #[test]
    fn an_answered_candidate_is_not_probed_again() {
        let mut punch = Punch::new(&[candidate("192.0.2.1:1")], Instant::ZERO, None);
        punch.handle_timeout(Instant::ZERO);
        punch.answered(candidate("192.0.2.1:1").addr.into());
        while punch.poll_probe().is_some() {}
        punch.handle_timeout(Instant::from_millis(200));
        assert_eq!(punch.poll_probe(), None);
        assert!(punch.tried()[0].answered);
    }

    #[test]
    fn an_address_learnt_on_the_way_is_probed_at_once() {
        let mut punch = Punch::new(&[], Instant::ZERO, None);
        let now = Instant::from_millis(300);
        punch.heard_from(Way::main("198.51.100.4:9".parse().unwrap()), now);
        punch.handle_timeout(now);
        assert_eq!(punch.poll_probe().unwrap().way.remote, "198.51.100.4:9".parse().unwrap());
        assert_eq!(punch.tried()[0].candidate.kind, CandidateKind::PeerReflexive);
        assert!(run(&mut punch).iter().all(|(_, probe)| probe.size == Size::Small), "nobody vouched for it");
    }

    #[test]
    fn once_a_path_works_only_better_ones_are_tried() {
        let mut punch = Punch::new(
            &[candidate("192.168.1.4:1"), candidate("203.0.113.4:1"), candidate("[2001:db8::1]:1")],
            Instant::ZERO,
            None,
        );
        punch.narrow(Rank::Ipv6);
        let remotes: Vec<SocketAddr> =
            run(&mut punch).into_iter().map(|(_, probe)| probe.way.remote).collect();
        assert!(remotes.iter().all(|remote| *remote == candidate("192.168.1.4:1").addr));
        assert!(!remotes.is_empty());
    }

    #[test]
    fn strangers_cannot_make_a_punch_larger_than_its_bound() {
        let mut punch = Punch::new(&[], Instant::ZERO, None);
        for port in 1..=500 {
            punch.heard_from(Way::main(([198, 51, 100, 4], port).into()), Instant::ZERO);
        }
        assert_eq!(punch.tried().len(), TARGETS_MAX);
    }

    #[test]
    fn a_recall_slows_down_and_keeps_asking_until_its_end() {
        let stop_at = Instant::from_secs(120);
        let rng = Rng::from_seed([1; 32]);
        let mut recall = Punch::recall(&[candidate("192.0.2.1:1")], Instant::ZERO, stop_at, rng);
        recall.answered(candidate("192.0.2.1:1").addr.into());
        let sent = millis(&run(&mut recall), Size::Full);
        assert_eq!(sent[..6], RECALL_MS);
        for pair in sent[5..].windows(2) {
            let gap = Duration::from_millis(pair[1] - pair[0]);
            assert!(gap >= RECALL_EVERY.0 && gap <= RECALL_EVERY.1, "{gap:?}");
        }
        assert!(*sent.last().unwrap() > 90_000);
    }

    #[test]
    fn an_extra_wake_up_changes_nothing() {
        let mut punch = Punch::new(&[candidate("192.0.2.1:1")], Instant::ZERO, None);
        punch.handle_timeout(Instant::ZERO);
        while punch.poll_probe().is_some() {}
        punch.handle_timeout(Instant::from_millis(10));
        punch.handle_timeout(Instant::from_millis(20));
        assert_eq!(punch.poll_probe(), None);
    }

    fn run(punch: &mut Punch) -> Vec<(Instant, Probe)> {
        let mut sent = Vec::new();
        while let Some(wakeup) = punch.poll_timeout() {
            punch.handle_timeout(wakeup.at);
            while let Some(probe) = punch.poll_probe() {
                sent.push((wakeup.at, probe));
            }
            if punch.is_over(wakeup.at) {
                break;
            }
        }
        sent
    }

    fn millis(sent: &[(Instant, Probe)], size: Size) -> Vec<u64> {
        sent.iter().filter(|(_, probe)| probe.size == size).map(|(at, _)| at.as_micros() / 1_000).collect()
    }

    fn candidate(text: &str) -> Candidate {
        Candidate { kind: CandidateKind::Host, addr: text.parse().unwrap() }
    }
}
