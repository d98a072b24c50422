//! What one peer's datagrams add up to, path by path, and what of it was dropped.
//!
//! Whoever moves a peer's packets holds its lock already, so [`Book`] adds with a load and a store; whoever reads takes no
//! lock, and stops nobody. The list of paths is a snapshot. It is replaced when the peer is first sent to or heard by
//! another path, which is the only time that anything is allocated here.

use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lanyard_proto::overlay::table::Path;
use lanyard_proto::time::Instant;
use lanyard_wire::door::is_door;
use lanyard_wire::ids::DeviceId;

use super::counters::{Counters, Counts};
use crate::clock::Clock;

/// Paths of one peer that are counted each by itself; of more, the one that was left longest ago joins the others.
///
/// A pair has one path, a relay beside it, and a few from other networks it has been in.
pub const PATHS_MAX: usize = 8;

/// Where a path leads, whatever socket of ours its datagrams use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// To the peer's own address.
    Direct(SocketAddr),
    /// To a relay's address.
    Relayed(SocketAddr),
}

impl Lead {
    /// Where this path leads; `None` for none.
    #[must_use]
    pub const fn of(path: Path) -> Option<Self> {
        match path {
            Path::Direct { remote, .. } => Some(Self::Direct(remote)),
            Path::Relayed { relay, .. } => Some(Self::Relayed(relay)),
            Path::None => None,
        }
    }

    /// The kind of path it is.
    #[must_use]
    pub fn class(self) -> Class {
        let (is_relayed, remote) = match self {
            Self::Direct(remote) => (false, remote),
            Self::Relayed(relay) => (true, relay),
        };
        let medium = if is_door(remote) {
            Medium::Tcp
        } else if remote.ip().to_canonical().is_ipv4() {
            Medium::Ip4
        } else {
            Medium::Ip6
        };
        Class { is_relayed, medium }
    }

    fn is_of(self, path: Path) -> bool {
        match (self, path) {
            (Self::Direct(lead), Path::Direct { remote, .. }) => lead == remote,
            (Self::Relayed(lead), Path::Relayed { relay, .. }) => lead == relay,
            (Self::Direct(_) | Self::Relayed(_), Path::Direct { .. } | Path::Relayed { .. } | Path::None) => {
                false
            }
        }
    }
}

/// A kind of path. There are six.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// Through a relay, or another member.
    pub is_relayed: bool,
    /// What carries its datagrams.
    pub medium: Medium,
}

/// What carries datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Medium {
    /// UDP over IPv4.
    Ip4,
    /// UDP over IPv6.
    Ip6,
    /// A TCP connection.
    Tcp,
}

/// Datagrams and their bytes, WireGuard's own included and relay headers not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Datagrams sent.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Authentic datagrams received.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.tx_packets = self.tx_packets.wrapping_add(other.tx_packets);
        self.tx_bytes = self.tx_bytes.wrapping_add(other.tx_bytes);
        self.rx_packets = self.rx_packets.wrapping_add(other.rx_packets);
        self.rx_bytes = self.rx_bytes.wrapping_add(other.rx_bytes);
    }
}

/// Traffic with one peer since it appeared in the forwarding table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCounters {
    /// The peer.
    pub device: DeviceId,
    /// The paths it was reached or heard by, the one taken last first; [`PATHS_MAX`] at most.
    pub paths: Vec<PathCounters>,
    /// Paths from before those together, by kind.
    pub others: Vec<(Class, Totals)>,
    /// Its packets that went no further, as far as they are known to be its.
    pub dropped: Counters,
    /// How long ago the keys in use were agreed on, known within a quarter of a second; `None` without a session.
    pub session_age: Option<Duration>,
}

impl PeerCounters {
    /// All paths together.
    #[must_use]
    pub fn total(&self) -> Totals {
        let mut total = Totals::default();
        self.paths.iter().for_each(|path| total += path.totals);
        self.others.iter().for_each(|(_, totals)| total += *totals);
        total
    }
}

/// Traffic by one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathCounters {
    /// Where it leads.
    pub lead: Lead,
    /// When it was first used.
    pub since: Instant,
    /// What went by it.
    pub totals: Totals,
}

/// The counters of one peer while they run. Most peers are only known: for them there is nothing but the room to begin.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// None until a path is used.
    list: ArcSwapOption<List>,
    /// Made with the first drop.
    dropped: OnceLock<Box<Counts>>,
    /// When the keys in use were agreed on, in microseconds of the agent's clock; 0 for no session.
    session_at: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct List {
    accounts: Vec<Arc<Account>>,
    others: Vec<(Class, Totals)>,
}

/// The counters of one path.
#[derive(Debug)]
struct Account {
    lead: Lead,
    since: Instant,
    /// Grows with each account taken up or left: the least one was left longest ago.
    turn: AtomicU64,
    tx_packets: AtomicU64,
    tx_bytes: AtomicU64,
    rx_packets: AtomicU64,
    rx_bytes: AtomicU64,
}

impl Traffic {
    /// Drops of this peer's packets.
    pub(super) fn dropped(&self) -> &Counts {
        self.dropped.get_or_init(|| Box::new(Counts::new()))
    }

    /// Says how old the session's keys are now.
    pub(super) fn set_session(&self, age: Option<Duration>, now: Instant) {
        let age = age.map(|age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        let at = age.map_or(0, |age| now.as_micros().saturating_sub(age).max(1));
        self.session_at.store(at, Ordering::Relaxed);
    }

    /// Everything at this moment.
    pub(super) fn read(&self, device: DeviceId) -> PeerCounters {
        let list = self.list.load_full().unwrap_or_default();
        let mut accounts: Vec<_> = list.accounts.iter().collect();
        accounts.sort_by_key(|account| std::cmp::Reverse(account.turn.load(Ordering::Relaxed)));
        let session_at = Some(self.session_at.load(Ordering::Relaxed)).filter(|at| *at > 0);
        PeerCounters {
            device,
            paths: accounts.into_iter().map(|account| account.read()).collect(),
            others: list.others.clone(),
            dropped: self.dropped.get().map_or_else(|| Counts::new().read(), |counts| counts.read()),
            session_age: session_at.map(|at| Clock.now().saturating_since(Instant::from_micros(at))),
        }
    }
}

impl Account {
    fn new(lead: Lead) -> Self {
        let [turn, tx_packets, tx_bytes, rx_packets, rx_bytes] = [const { AtomicU64::new(0) }; 5];
        Self { lead, since: Clock.now(), turn, tx_packets, tx_bytes, rx_packets, rx_bytes }
    }

    fn read(&self) -> PathCounters {
        let totals = Totals {
            tx_packets: self.tx_packets.load(Ordering::Relaxed),
            tx_bytes: self.tx_bytes.load(Ordering::Relaxed),
            rx_packets: self.rx_packets.load(Ordering::Relaxed),
            rx_bytes: self.rx_bytes.load(Ordering::Relaxed),
        };
        PathCounters { lead: self.lead, since: self.since, totals }
    }
}

/// The only writer of a peer's [`Traffic`]: it is kept under the peer's lock.
#[derive(Debug, Default)]
pub(super) struct Book {
    traffic: Arc<Traffic>,
    sending: Option<Arc<Account>>,
    hearing: Option<Arc<Account>>,
    turn: u64,
}

impl Book {
    /// What it writes to, for those who read.
    pub(super) const fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Counts datagrams sent by a path.
    pub(super) fn sent(&mut self, path: Path, packets: u32, bytes: u64) {
        if !self.sending.as_ref().is_some_and(|account| account.lead.is_of(path)) {
            self.sending = self.open(path);
        }
        if let Some(account) = &self.sending {
            add(&account.tx_packets, packets.into());
            add(&account.tx_bytes, bytes);
        }
    }

    /// Counts an authentic datagram that came by a path.
    pub(super) fn heard(&mut self, path: Path, bytes: u64) {
        if !self.hearing.as_ref().is_some_and(|account| account.lead.is_of(path)) {
            self.hearing = self.open(path);
        }
        if let Some(account) = &self.hearing {
            add(&account.rx_packets, 1);
            add(&account.rx_bytes, bytes);
        }
    }

    /// The account of another path than the last time.
    fn open(&mut self, path: Path) -> Option<Arc<Account>> {
        let lead = Lead::of(path)?;
        self.turn += 2;
        // The one that is left was in use until now.
        for account in self.sending.iter().chain(&self.hearing) {
            account.turn.store(self.turn - 1, Ordering::Relaxed);
        }
        let list = self.traffic.list.load_full().unwrap_or_default();
        let known = list.accounts.iter().find(|account| account.lead == lead).map(Arc::clone);
        let account = known.unwrap_or_else(|| {
            let mut next = List::clone(&list);
            next.make_room();
            let account = Arc::new(Account::new(lead));
            next.accounts.push(Arc::clone(&account));
            self.traffic.list.store(Some(Arc::new(next)));
            account
        });
        account.turn.store(self.turn, Ordering::Relaxed);
        Some(account)
    }
}

impl List {
    /// Adds to the others what was left longest ago. What is in use was stamped a moment ago, and there are only two of these.
    fn make_room(&mut self) {
        if self.accounts.len() < PATHS_MAX {
            return;
        }
        let turns = self.accounts.iter().map(|account| account.turn.load(Ordering::Relaxed));
        let Some((oldest, _)) = turns.enumerate().min_by_key(|(_, turn)| *turn) else { return };
        let PathCounters { lead, totals, .. } = self.accounts.remove(oldest).read();
        match self.others.iter_mut().find(|(class, _)| *class == lead.class()) {
            Some((_, sum)) => *sum += totals,
            None => self.others.push((lead.class(), totals)),
        }
    }
}

/// Adds where nobody else does at the same time.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use lanyard_proto::transmit::SocketId;
    use lanyard_wire::ids::Channel;

    use super::super::counters::Dropped;
    use super::*;

    #[test]
    fn each_path_has_its_own_counters_and_the_one_taken_last_stands_first() {
        let mut book = Book::default();
        book.sent(relayed(1), 1, 148);
        book.heard(relayed(1), 92);
        book.sent(direct(1), 40, 50_000);
        book.heard(direct(1), 1_312);
        book.heard(relayed(1), 32);
        book.heard(direct(1), 1_312);
        let read = read(&book);
        let [first, second] = read.paths[..] else { panic!("{:?}", read.paths) };
        assert_eq!(first.lead, Lead::Direct(addr(1)));
        assert_eq!(first.totals, totals(40, 50_000, 2, 2_624));
        assert_eq!(second.lead, Lead::Relayed(addr(1)), "the same address means something else");
        assert_eq!(second.totals, totals(1, 148, 2, 124));
        assert!(second.since <= first.since && first.since <= Clock.now());
        assert_eq!(read.total(), totals(41, 50_148, 4, 2_748));
        assert!(read.others.is_empty());
    }

    #[test]
    fn another_socket_of_ours_or_another_channel_is_no_other_path() {
        let mut book = Book::default();
        book.heard(direct(1), 1);
        book.heard(Path::Direct { local: SocketId(7), remote: addr(1) }, 1);
        book.heard(relayed(2), 1);
        book.heard(Path::Relayed { relay: addr(2), channel: Channel::new(8).unwrap() }, 1);
        book.sent(Path::None, 1, 1);
        assert_eq!(read(&book).paths.len(), 2);
    }

    #[test]
    fn of_many_paths_the_ones_left_longest_ago_are_added_up_by_kind() {
        let mut book = Book::default();
        // Used all the time, and so never the oldest.
        book.sent(direct(200), 1, 10);
        for last in 0..20 {
            book.heard(direct(last), 100);
            book.heard(relayed(last), 1);
        }
        let counted = read(&book);
        assert_eq!(counted.paths.len(), PATHS_MAX);
        assert!(counted.paths.iter().any(|path| path.lead == Lead::Direct(addr(200))));
        let leads = [19, 18, 17].map(|last| Lead::Direct(addr(last)));
        assert!(leads.iter().all(|lead| counted.paths.iter().any(|path| path.lead == *lead)));
        let sum = |is_relayed| {
            let class = Class { is_relayed, medium: Medium::Ip4 };
            counted.others.iter().find(|(other, _)| *other == class).unwrap().1.rx_packets
        };
        assert_eq!((sum(false), sum(true)), (17, 16));
        assert_eq!(counted.total(), totals(1, 10, 40, 20 * 101), "nothing is lost or counted twice");
        // One that comes back is counted anew, and what it had before stays where it is.
        book.heard(direct(0), 5);
        assert_eq!(read(&book).total(), totals(1, 10, 41, 20 * 101 + 5));
    }

    #[test]
    fn a_path_in_use_for_long_is_not_old_when_it_is_left() {
        let mut book = Book::default();
        book.heard(direct(100), 1);
        for last in 0..7 {
            book.sent(direct(last), 1, 1);
        }
        book.heard(direct(101), 1);
        let paths = read(&book).paths;
        assert!(paths.iter().any(|path| path.lead == Lead::Direct(addr(100))), "{paths:?}");
        assert!(paths.iter().all(|path| path.lead != Lead::Direct(addr(0))), "{paths:?}");
    }

    #[test]
    fn a_kind_is_told_by_what_carries_it() {
        let class = |addr: &str| Lead::Direct(addr.parse().unwrap()).class().medium;
        assert_eq!(class("192.0.2.1:7"), Medium::Ip4);
        assert_eq!(class("[::ffff:192.0.2.1]:7"), Medium::Ip4);
        assert_eq!(class("[2001:db8::1]:7"), Medium::Ip6);
        let door = Lead::Relayed(lanyard_wire::door::addr(0, 1)).class();
        assert_eq!(door, Class { is_relayed: true, medium: Medium::Tcp });
    }

    #[test]
    fn drops_and_the_age_of_the_session_are_told_with_the_paths() {
        let book = Book::default();
        assert_eq!(read(&book).session_age, None);
        book.traffic().dropped().add(Dropped::Replayed, 3);
        book.traffic().set_session(Some(Duration::from_secs(20)), Clock.now());
        let told = read(&book);
        assert_eq!(told.dropped.of(Dropped::Replayed), 3);
        let age = told.session_age.unwrap();
        assert!((Duration::from_secs(20)..Duration::from_secs(30)).contains(&age), "{age:?}");
        book.traffic().set_session(None, Clock.now());
        assert_eq!(read(&book).session_age, None);
    }

    #[test]
    fn whoever_reads_needs_no_lock_and_sees_the_sum_grow() {
        let mut book = Book::default();
        let traffic = Arc::clone(book.traffic());
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = 0;
                while last < 100_000 {
                    let total = traffic.read(device()).total().rx_packets;
                    assert!(total >= last, "{last}, and then {total}");
                    last = total;
                }
            });
            for number in 0..100_000_u32 {
                book.heard(direct((number / 100 % 60) as u8), 1);
            }
            reader.join().unwrap();
        });
    }

    fn read(book: &Book) -> PeerCounters {
        book.traffic().read(device())
    }

    fn device() -> DeviceId {
        DeviceId::from_bytes([1; 16])
    }

    fn totals(tx_packets: u64, tx_bytes: u64, rx_packets: u64, rx_bytes: u64) -> Totals {
        Totals { tx_packets, tx_bytes, rx_packets, rx_bytes }
    }

    fn direct(last: u8) -> Path {
        Path::Direct { local: SocketId::MAIN, remote: addr(last) }
    }

    fn relayed(last: u8) -> Path {
        Path::Relayed { relay: addr(last), channel: Channel::new(7).unwrap() }
    }

    fn addr(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 7_000).into()
    }
}
