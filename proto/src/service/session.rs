//! Sessions with devices, found by index, and what is remembered of each device.
//!
//! A device has at most two sessions here: the current one, and one that was granted but under whose keys
//! nothing was heard yet. The first DATA of the second ends the first. So whoever replays a HELLO or
//! a RESUME, or has one answered to an address that is not theirs, takes nothing away from anybody.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::checkpoint::Register;
use lanyard_wire::envelope::DataHeader;
use lanyard_wire::ids::{DeviceId, SessionIndex};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::seal::ServiceWindow;

use super::bucket::{Rate, Source, TokenBucket};
use super::place::Place;
use crate::noise::SessionKeys;
use crate::rng::Rng;
use crate::time::Instant;

/// Bits of an index that count slots: four million sessions. The other ten are random, so that an index that
/// is used again is not the same index.
const SLOT_BITS: u32 = 22;

/// Datagrams that one session may send: enough for a device that wakes up with hundreds of peers, far from
/// enough to keep a core busy.
const INBOUND: Rate = Rate { per_s: 100, burst: 400 };

/// How far the counter may jump to a number that cannot be guessed. There are 2^31 such jumps in a session.
const COUNTER_JUMP: u64 = 1 << 32;

/// Round trip that is assumed until one was measured.
const RTT_UNKNOWN: Duration = Duration::from_millis(50);

/// Round trips longer than this are an agent that slept, not a way.
const RTT_MAX: Duration = Duration::from_secs(2);

/// One session with one device.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) device: DeviceId,
    pub(super) identity: PublicKey,
    pub(super) place: Place,
    /// The index by which the device finds the session.
    pub(super) remote_index: SessionIndex,
    pub(super) keys: SessionKeys,
    pub(super) window: ServiceWindow,
    /// When the last authentic datagram came, or the session was granted.
    pub(super) heard: Instant,
    /// When WELCOME or RESUMED was sent; taken once the answer to it was timed.
    pub(super) granted: Option<Instant>,
    /// What the device wants to register, until it shows that it is where that came from.
    pub(super) registering: Option<Box<Register>>,
    /// The source this session counts for while its device is member of nothing, and since when.
    pub(super) guest_of: Option<(Source, Instant)>,
    newest: Option<u64>,
    counter: u64,
    rtts: [Duration; 3],
    inbound: TokenBucket,
}

impl Session {
    pub(super) fn new(
        identity: PublicKey,
        keys: SessionKeys,
        remote: SocketAddr,
        remote_index: SessionIndex,
        now: Instant,
    ) -> Self {
        Self {
            device: DeviceId::of(&identity),
            identity,
            place: Place::proven_at(remote),
            registering: None,
            remote_index,
            keys,
            window: ServiceWindow::new(),
            heard: now,
            granted: Some(now),
            guest_of: None,
            newest: None,
            counter: 0,
            rtts: [Duration::MAX; 3],
            inbound: TokenBucket::full(INBOUND, now),
        }
    }

    /// Notes an authentic datagram of `length` bytes; says whether the session moved to another address.
    ///
    /// Only the newest datagram moves it: one that was overtaken on the way comes from where the device was
    /// before.
    pub(super) fn hear(&mut self, counter: u64, remote: SocketAddr, length: usize, now: Instant) -> bool {
        self.heard = now;
        let is_newest = self.newest.is_none_or(|newest| counter > newest);
        let moved = is_newest && self.place.follow(remote);
        self.place.earn(remote, length);
        if is_newest {
            self.newest = Some(counter);
            // Of a later one, heard first, nobody knows whether it is a repetition (RFC 6298 section 3, Karn's algorithm).
            if let Some(granted) = self.granted.take()
                && counter == 0
            {
                self.time(now.saturating_since(granted));
            }
        }
        moved
    }

    /// Takes the device's word that it hears us where it is now; says whether it is one.
    ///
    /// How far it was before says nothing about how far it is from here.
    pub(super) fn prove(&mut self, counter: u64, now: Instant) -> bool {
        let Some(took) = self.place.prove(counter, now) else { return false };
        self.rtts = [Duration::MAX; 3];
        self.time(took);
        true
    }

    /// Whether anything was heard under these keys.
    pub(super) const fn is_confirmed(&self) -> bool {
        self.newest.is_some()
    }

    /// Whether one more datagram of this session may be worked on.
    pub(super) fn may_speak(&mut self, now: Instant) -> bool {
        self.inbound.take(INBOUND, 1, now)
    }

    /// Notes how long an answer took.
    pub(super) fn time(&mut self, rtt: Duration) {
        if rtt <= RTT_MAX {
            self.rtts.rotate_right(1);
            self.rtts[0] = rtt;
        }
    }

    /// The shortest of the last three round trips.
    pub(super) fn rtt(&self) -> Duration {
        let shortest = self.rtts.iter().min().copied().unwrap_or(Duration::MAX);
        if shortest == Duration::MAX { RTT_UNKNOWN } else { shortest }
    }

    /// Seals a body into the next datagram for the device. `None` if its address is not proven and has had as
    /// many bytes as came from it: then the body waits for the proof.
    pub(super) fn say(&mut self, body: Vec<u8>) -> Option<Vec<u8>> {
        if self.place.spend(body.len()) {
            return Some(self.seal(false, &body));
        }
        self.place.hold(body);
        None
    }

    /// A datagram that asks the device to show that it hears us, if that is due.
    pub(super) fn ask_for_proof(&mut self, rng: &mut Rng, now: Instant) -> Option<Vec<u8>> {
        if !self.place.may_ask(now) {
            return None;
        }
        // Whoever does not receive the datagram does not know its number.
        self.counter += rng.below(COUNTER_JUMP);
        self.place.asked(self.counter, now);
        Some(self.seal(true, &[]))
    }

    fn seal(&mut self, answer: bool, body: &[u8]) -> Vec<u8> {
        let header = DataHeader { answer, receiver: self.remote_index, counter: self.counter };
        self.counter += 1;
        header.seal(&self.keys.sealing, body)
    }
}

/// All sessions, in slots that are used again.
#[derive(Debug)]
pub(super) struct Sessions {
    slots: Vec<Slot>,
    free: Vec<u32>,
    used: usize,
    limit: usize,
    rng: Rng,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    session: Option<Box<Session>>,
}

impl Sessions {
    /// No sessions; at most `limit` later.
    pub(super) fn new(limit: usize, rng: Rng) -> Self {
        let limit = limit.min(1 << SLOT_BITS);
        Self { slots: Vec::new(), free: Vec::new(), used: 0, limit, rng }
    }

    pub(super) const fn len(&self) -> usize {
        self.used
    }

    pub(super) const fn is_full(&self) -> bool {
        self.used >= self.limit
    }

    /// The index that [`Sessions::insert`] would give next; `None` when there is no room.
    pub(super) fn reserve(&mut self) -> Option<SessionIndex> {
        if self.is_full() {
            return None;
        }
        if self.free.is_empty() {
            self.free.push(u32::try_from(self.slots.len()).ok()?);
            let generation = self.rng.u32() >> SLOT_BITS;
            self.slots.push(Slot { generation, session: None });
        }
        let slot = *self.free.last()?;
        self.slots.get(usize::try_from(slot).ok()?).map(|entry| index_of(slot, entry.generation))
    }

    /// Puts a session under the index that was reserved last.
    pub(super) fn insert(&mut self, session: Session) -> Option<SessionIndex> {
        let index = self.reserve()?;
        let slot = self.free.pop()?;
        let entry = self.slots.get_mut(usize::try_from(slot).ok()?)?;
        entry.session = Some(Box::new(session));
        self.used += 1;
        Some(index)
    }

    pub(super) fn get(&self, index: SessionIndex) -> Option<&Session> {
        let (slot, generation) = parts_of(index);
        let entry = self.slots.get(slot)?;
        if entry.generation == generation { entry.session.as_deref() } else { None }
    }

    pub(super) fn get_mut(&mut self, index: SessionIndex) -> Option<&mut Session> {
        let (slot, generation) = parts_of(index);
        let entry = self.slots.get_mut(slot)?;
        if entry.generation == generation { entry.session.as_deref_mut() } else { None }
    }

    pub(super) fn remove(&mut self, index: SessionIndex) -> Option<Box<Session>> {
        let (slot, generation) = parts_of(index);
        let entry = self.slots.get_mut(slot)?;
        if entry.generation != generation {
            return None;
        }
        let session = entry.session.take()?;
        // Any other generation will do; the next free one of the ring would be guessable.
        let step = 1 + u32::try_from(self.rng.below((1 << (32 - SLOT_BITS)) - 1)).unwrap_or(0);
        entry.generation = (generation + step) % (1 << (32 - SLOT_BITS));
        self.free.push(u32::try_from(slot).ok()?);
        self.used -= 1;
        Some(session)
    }
}

fn index_of(slot: u32, generation: u32) -> SessionIndex {
    SessionIndex::new((generation << SLOT_BITS) | slot)
}

fn parts_of(index: SessionIndex) -> (usize, u32) {
    let slot = index.value() & ((1 << SLOT_BITS) - 1);
    (usize::try_from(slot).unwrap_or(usize::MAX), index.value() >> SLOT_BITS)
}

/// What is remembered of one device.
#[derive(Debug)]
pub(super) struct Remembered {
    /// The session that speaks.
    pub(super) current: Option<SessionIndex>,
    /// The session that was granted and has not spoken yet.
    pub(super) pending: Option<SessionIndex>,
    /// How often the device may ask for a session.
    pub(super) asks: TokenBucket,
    /// The last boots seen, newest first, each with the newest timestamp of a HELLO or RESUME.
    boots: [(u64, u64); Self::BOOTS],
}

impl Remembered {
    /// Boots that are remembered: an agent that restarts in a loop still cannot be confused by a replay of
    /// the last ones.
    const BOOTS: usize = 4;

    /// How often one device may ask for a session.
    pub(super) const ASKS: Rate = Rate { per_s: 1, burst: 10 };

    fn new(now: Instant) -> Self {
        let asks = TokenBucket::full(Self::ASKS, now);
        Self { current: None, pending: None, asks, boots: [(0, 0); Self::BOOTS] }
    }

    /// Takes note of a HELLO's or RESUME's timestamp; says whether it is newer than all of its boot.
    ///
    /// A timestamp says nothing across boots, as a device's clock may have been set back in between.
    pub(super) fn is_fresh(&mut self, boot: u64, timestamp_ms: u64) -> bool {
        // Zero stands for an empty place, so it is moved aside for a boot that really is zero.
        let stamp = timestamp_ms.saturating_add(1);
        match self.boots.iter().position(|(known, newest)| *known == boot && *newest != 0) {
            Some(place) => {
                let newer = self.boots[place].1 < stamp;
                if newer {
                    self.boots[place].1 = stamp;
                }
                newer
            }
            None => {
                self.boots.rotate_right(1);
                self.boots[0] = (boot, stamp);
                true
            }
        }
    }

    pub(super) const fn has_session(&self) -> bool {
        self.current.is_some() || self.pending.is_some()
    }
}

/// Devices that have or lately had a session.
#[derive(Debug, Default)]
pub(super) struct Devices(BTreeMap<DeviceId, Remembered>);

impl Devices {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, device: &DeviceId) -> Option<&Remembered> {
        self.0.get(device)
    }

    pub(super) fn get_mut(&mut self, device: &DeviceId) -> Option<&mut Remembered> {
        self.0.get_mut(device)
    }

    pub(super) fn entry(&mut self, device: DeviceId, now: Instant) -> &mut Remembered {
        self.0.entry(device).or_insert_with(|| Remembered::new(now))
    }

    pub(super) fn remove(&mut self, device: &DeviceId) {
        self.0.remove(device);
    }
}

#[cfg(test)]
mod tests {
    use lanyard_wire::keys::SymmetricKey;

    use super::*;

    #[test]
    fn an_index_that_is_used_again_is_another_index() {
        let mut sessions = Sessions::new(4, Rng::from_seed([1; 32]));
        let reserved = sessions.reserve().unwrap();
        let first = sessions.insert(session()).unwrap();
        assert_eq!(first, reserved);
        assert!(sessions.remove(first).is_some());
        assert!(sessions.remove(first).is_none());
        let second = sessions.insert(session()).unwrap();
        assert_ne!(first, second);
        assert!(sessions.get(first).is_none());
        assert!(sessions.get(second).is_some());
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn a_full_table_takes_no_more() {
        let mut sessions = Sessions::new(2, Rng::from_seed([1; 32]));
        assert!(sessions.insert(session()).is_some());
        assert!(sessions.insert(session()).is_some());
        assert!(sessions.insert(session()).is_none());
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn a_datagram_that_was_overtaken_does_not_move_the_session_back() {
        let (home, away) = (addr(1), addr(2));
        let mut session = session();
        assert!(!session.hear(0, home, 32, Instant::ZERO));
        assert!(session.hear(2, away, 32, Instant::ZERO));
        assert!(!session.hear(1, home, 32, Instant::ZERO));
        assert_eq!(session.place.addr(), away);
    }

    #[test]
    fn the_shortest_recent_round_trip_counts() {
        let mut session = session();
        assert_eq!(session.rtt(), RTT_UNKNOWN);
        for millis in [10, 80, 60, 70] {
            session.time(Duration::from_millis(millis));
        }
        assert_eq!(session.rtt(), Duration::from_millis(60));
        session.time(Duration::from_secs(9));
        assert_eq!(session.rtt(), Duration::from_millis(60), "an agent that slept");
    }

    #[test]
    fn a_session_whose_first_datagram_was_lost_is_not_timed_by_a_later_one() {
        let mut prompt = session();
        prompt.hear(0, addr(1), 32, Instant::from_millis(80));
        assert_eq!(prompt.rtt(), Duration::from_millis(80));
        let mut repeated = session();
        repeated.hear(3, addr(1), 32, Instant::from_millis(546));
        repeated.hear(0, addr(1), 32, Instant::from_millis(550));
        repeated.hear(4, addr(1), 32, Instant::from_millis(900));
        assert_eq!(repeated.rtt(), RTT_UNKNOWN);
    }

    #[test]
    fn the_round_trips_of_the_place_before_do_not_count_once_the_new_one_is_proven() {
        let mut session = session();
        session.hear(0, addr(1), 32, Instant::from_millis(10));
        session.hear(1, addr(2), 32, Instant::from_millis(500));
        session.place.asked(7, Instant::from_millis(500));
        assert!(!session.prove(6, Instant::from_millis(590)), "a guess");
        assert_eq!(session.rtt(), Duration::from_millis(10));
        assert!(session.prove(7, Instant::from_millis(590)));
        assert_eq!(session.rtt(), Duration::from_millis(90));
    }

    #[test]
    fn a_timestamp_is_fresh_once_and_older_ones_of_the_same_boot_never() {
        let mut device = Remembered::new(Instant::ZERO);
        assert!(device.is_fresh(7, 1_000));
        assert!(!device.is_fresh(7, 1_000));
        assert!(!device.is_fresh(7, 999));
        assert!(device.is_fresh(8, 5), "a restarted device whose clock was set back");
        assert!(!device.is_fresh(7, 1_000), "the boot before is still known");
        assert!(device.is_fresh(0, 0));
        assert!(!device.is_fresh(0, 0));
    }

    fn addr(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn session() -> Session {
        let key = || SymmetricKey::from_bytes([1; 32]);
        let keys = SessionKeys { sealing: key(), opening: key(), resumption: key() };
        let identity = PublicKey::from_bytes([2; 32]);
        Session::new(identity, keys, addr(1), SessionIndex::new(3), Instant::ZERO)
    }
}
