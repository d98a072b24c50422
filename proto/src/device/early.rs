//! Packets that do not wait for WireGuard's handshake.
//!
//! A handshake is a round trip, and only then would a pair's first packet leave. So it goes at once, sealed by itself to the
//! peer's prekey, beside the handshake's first message; so does the answer to it. It goes once more through the session when
//! there is one, and the data plane of the other end drops it there if it came early: nothing has to be acknowledged, and what
//! is lost here costs no more than it did.
//!
//! A prekey lives for a day, in memory alone. It reaches the members with this device's presence.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::early::{Early, PrekeyTag};
use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::ids::{Channel, DeviceId};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::limits::EARLY_PACKET_MAX;

use super::Device;
use super::event::Event;
use super::peer::Peer;
use super::ration::Ration;
use crate::noise::early::{open_early, seal_early};
use crate::overlay::{Observation, Path};
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::transmit::{Datagram, SocketId, Transmit};

/// How long a prekey is announced, give or take a tenth: what was sealed to it stays closed afterwards. Each change is told to all
/// members, fifty bytes each.
const PREKEY_TIME: Duration = Duration::from_secs(24 * 3_600);

/// How long the one before still opens: by then every member was told, and repeated pushes have ended.
const GRACE: Duration = Duration::from_secs(600);

/// Early packets to one peer, and how soon one more may go: as many as a data plane keeps for a session. Each costs both ends
/// three agreements on a curve, a fifth of a millisecond.
const SENT: (u32, Duration) = (8, Duration::from_secs(1));

/// The same for what a peer sends, with room for what networks hold up and let go together.
const OPENED: (u32, Duration) = (16, Duration::from_millis(500));

/// How far the sender's clock and ours may be apart, the way included: nobody holds a packet back for longer and then delivers
/// it, as WireGuard's three minutes have it. Whose clock is worse waits for the session.
const APART_MAX_US: u64 = 120_000_000;

/// Peers that something was sealed for or opened from within a prekey's time: four times what one network of a thousand members
/// has. With more, packets of the others wait for their session.
const PAIRS_MAX: usize = 4_096;

/// Numbers that are remembered of each peer; one below all of them is a replay.
const NUMBERS: usize = 32;

/// Own prekeys, and what was sealed and opened with each peer.
#[derive(Debug)]
pub(super) struct EarlyPackets {
    current: Prekey,
    previous: Option<Prekey>,
    pairs: BTreeMap<DeviceId, Pair>,
    /// The last number given to a packet.
    number: u64,
    rng: Rng,
}

/// A prekey and the end of its time.
#[derive(Debug)]
struct Prekey {
    secret: SecretKey,
    public: PublicKey,
    since: Instant,
    until: Instant,
}

#[derive(Debug, Default)]
struct Pair {
    sent: Ration,
    opened: Ration,
    numbers: BTreeSet<u64>,
    /// The highest number that is remembered no more.
    below: u64,
    /// When it was used last.
    used_at: Instant,
}

impl EarlyPackets {
    /// With a prekey of its own.
    pub(super) fn new(mut rng: Rng, now: Instant) -> Self {
        let current = Prekey::draw(&mut rng, now);
        Self { current, previous: None, pairs: BTreeMap::new(), number: 0, rng }
    }

    /// The key that peers are to seal to.
    pub(super) const fn prekey(&self) -> PublicKey {
        self.current.public
    }

    /// Draws the next prekey when it is time and forgets the one before; says whether there is a new one.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.previous.as_ref().is_some_and(|previous| previous.until <= now) {
            self.previous = None;
            // What came before nothing opens any more, so nobody can send it again.
            let since = self.current.since;
            self.pairs.retain(|_, pair| pair.used_at >= since);
        }
        let is_over = self.current.until <= now;
        if is_over {
            let next = Prekey::draw(&mut self.rng, now);
            let last = core::mem::replace(&mut self.current, next);
            self.previous = Some(Prekey { until: now + GRACE, ..last });
        }
        is_over
    }

    /// When that is.
    pub(super) fn poll_timeout(&self) -> Wakeup {
        let previous = self.previous.as_ref().map_or(Instant::MAX, |previous| previous.until);
        Wakeup { at: self.current.until.min(previous), why: "a prekey's time" }
    }

    fn pair(&mut self, device: DeviceId, now: Instant) -> Option<&mut Pair> {
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&device) {
            return None;
        }
        let pair = self.pairs.entry(device).or_default();
        pair.used_at = now;
        Some(pair)
    }

    /// Seals a packet; `None` if it is too long, too many were sealed, or the keys do not agree.
    fn seal(
        &mut self,
        me: &SecretKey,
        (device, identity): (DeviceId, PublicKey),
        prekey: PublicKey,
        packet: &[u8],
        (unix_ms, now): (u64, Instant),
    ) -> Option<Vec<u8>> {
        if packet.is_empty() || packet.len() > EARLY_PACKET_MAX {
            return None;
        }
        if !self.pair(device, now)?.sent.take(SENT.0, SENT.1, now) {
            return None;
        }
        // Grows from one start of this device to the next, as long as its clock does.
        self.number = unix_ms.saturating_mul(1_000).max(self.number.saturating_add(1));
        let noise = seal_early(me, &identity, &prekey, self.number, packet, &mut self.rng)?;
        Some(Early { tag: PrekeyTag::of(&prekey), noise: &noise }.encode())
    }

    /// Opens what a peer sealed.
    fn open(
        &mut self,
        me: &SecretKey,
        (device, identity): (DeviceId, PublicKey),
        datagram: &[u8],
        (unix_ms, now): (u64, Instant),
    ) -> Result<Vec<u8>, Rejected> {
        let early = Early::parse(datagram).map_err(|_| Rejected::Malformed)?;
        let is_for = |prekey: &&Prekey| PrekeyTag::of(&prekey.public) == early.tag;
        let prekey = self.previous.iter().chain([&self.current]).find(is_for).ok_or(Rejected::Expired)?;
        let secret = prekey.secret.clone();
        if !self.pair(device, now).ok_or(Rejected::Full)?.opened.take(OPENED.0, OPENED.1, now) {
            return Err(Rejected::RateLimited);
        }
        let (number, packet) = open_early(me, &secret, &identity, early.noise, &mut self.rng)
            .ok_or(Rejected::Unauthenticated)?;
        if number.abs_diff(unix_ms.saturating_mul(1_000)) > APART_MAX_US {
            return Err(Rejected::Expired);
        }
        let is_new = self.pair(device, now).is_some_and(|pair| pair.is_new(number));
        if is_new { Ok(packet) } else { Err(Rejected::Replayed) }
    }
}

impl Prekey {
    fn draw(rng: &mut Rng, now: Instant) -> Self {
        let secret = SecretKey::from_bytes(rng.bytes());
        let public = secret.public();
        Self { secret, public, since: now, until: now + rng.jitter(PREKEY_TIME, 10) }
    }
}

impl Pair {
    fn is_new(&mut self, number: u64) -> bool {
        if number <= self.below || !self.numbers.insert(number) {
            return false;
        }
        if self.numbers.len() > NUMBERS {
            self.below = self.numbers.pop_first().unwrap_or(self.below);
        }
        true
    }
}

impl Device {
    /// A packet waits for a session with this peer: it goes early if it may.
    pub(super) fn send_early(&mut self, peer: DeviceId, packet: &[u8], now: Instant) {
        // It is traffic, which is what gives the pair its relay if it has none.
        self.with_peer(&peer, now, |peer| peer.connect(now));
        let Some(path @ Path::Relayed { relay, channel }) = self.peers.get(&peer).map(Peer::path) else {
            return;
        };
        let Some(identity) = self.member(&peer).map(|member| member.identity) else { return };
        let mut members = self.coordinators.iter().filter_map(|owner| owner.directory().member(&peer));
        let Some(prekey) = members.find_map(|(_, member)| member.availability.prekey()) else { return };
        let Some(early) = &mut self.early else { return };
        let moment = (self.shared.wall.unix_ms(now), now);
        let sealed = early.seal(&self.shared.identity, (peer, identity), prekey, packet, moment);
        let Some(datagram) = sealed else { return };
        let Ok(length) = u16::try_from(datagram.len()) else { return };
        let bytes = [&RelayHeader { channel, length }.encode(), datagram.as_slice()].concat();
        let device = peer;
        self.with_peer(&device, now, |peer| {
            peer.observe(
                &Observation { tx_packets: 1, tx_bytes: u64::from(length), ..Observation::of(device) },
                now,
            );
        });
        tracing::trace!(%peer, ?path, "early packet sent");
        self.outbox.push(Transmit { local: SocketId::MAIN, remote: relay, bytes });
    }

    /// Takes an EARLY out of a frame of the pair whose channel it is.
    pub(super) fn handle_early(
        &mut self,
        channel: Channel,
        inner: Datagram<'_>,
        now: Instant,
    ) -> Result<(), Rejected> {
        let device = self.forwarding.heard_on(inner.remote, channel).ok_or(Rejected::UnknownChannel)?;
        let identity = self.member(&device).ok_or(Rejected::UnknownPeer)?.identity;
        let early = self.early.as_mut().ok_or(Rejected::Unsupported)?;
        let moment = (self.shared.wall.unix_ms(now), now);
        let packet = early.open(&self.shared.identity, (device, identity), inner.bytes, moment)?;
        let path = Path::Relayed { relay: inner.remote, channel };
        self.with_peer(&device, now, |peer| {
            let bytes = u64::try_from(inner.bytes.len()).unwrap_or(u64::MAX);
            peer.observe(&Observation { rx: [(path, 1, bytes)].into(), ..Observation::of(device) }, now);
        });
        self.push_event(Event::Early { peer: device, packet });
        Ok(())
    }

    /// Lets prekeys age; a new one is told to the coordinators.
    pub(super) fn early_timeout(&mut self, now: Instant) {
        let Some(early) = &mut self.early else { return };
        if early.handle_timeout(now) {
            self.register(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_secs(1_000);

    #[test]
    fn a_packet_opens_once() {
        let (mut a, mut b) = ends();
        let datagram = a.sealed(&b, b"packet", NOW).unwrap();
        assert_eq!(b.opened(&a, &datagram, NOW), Ok(b"packet".to_vec()));
        assert_eq!(b.opened(&a, &datagram, NOW), Err(Rejected::Replayed));
    }

    #[test]
    fn packets_that_overtake_each_other_open_and_old_ones_do_not() {
        let (mut a, mut b) = ends();
        let old = a.sealed(&b, b"old", NOW).unwrap();
        let first = a.sealed(&b, b"first", NOW).unwrap();
        let second = a.sealed(&b, b"second", NOW).unwrap();
        assert!(b.opened(&a, &second, NOW).is_ok() && b.opened(&a, &first, NOW).is_ok());
        for second in 0..40 {
            let at = NOW + Duration::from_secs(second);
            let datagram = a.sealed(&b, b"more", at).unwrap();
            b.opened(&a, &datagram, at).unwrap();
        }
        assert_eq!(
            b.opened(&a, &old, NOW + Duration::from_secs(60)),
            Err(Rejected::Replayed),
            "below all that are remembered"
        );
    }

    #[test]
    fn neither_end_does_more_than_its_ration() {
        let (mut a, mut b) = ends();
        let all: Vec<_> = (0..20).filter_map(|_| a.sealed(&b, b"packet", NOW)).collect();
        assert_eq!(all.len(), 8);
        let forged: Vec<u8> = all[0].iter().map(|byte| byte ^ u8::from(*byte > 0xF0)).collect();
        let tries = (0..40).map(|_| b.opened(&a, &forged, NOW));
        assert_eq!(tries.filter(|tried| *tried != Err(Rejected::RateLimited)).count(), 16);
        let later = NOW + Duration::from_secs(1);
        assert!(a.sealed(&b, b"packet", later).is_some() && a.sealed(&b, b"packet", later).is_none());
    }

    #[test]
    fn long_and_empty_packets_wait_for_the_session() {
        let (mut a, b) = ends();
        assert_eq!(a.sealed(&b, &[0; EARLY_PACKET_MAX + 1], NOW), None);
        assert_eq!(a.sealed(&b, &[], NOW), None);
        assert!(a.sealed(&b, &[0; EARLY_PACKET_MAX], NOW).is_some());
    }

    #[test]
    fn a_prekey_opens_for_a_day_and_a_grace_and_never_after() {
        let (mut a, mut b) = ends();
        let first = b.packets.prekey();
        let turn = b.packets.poll_timeout().at;
        let early = a.sealed(&b, b"packet", turn).unwrap();
        let late = a.sealed(&b, b"later", turn + GRACE).unwrap();
        assert!(turn >= NOW + PREKEY_TIME * 9 / 10 && turn <= NOW + PREKEY_TIME * 11 / 10);
        assert!(!b.packets.handle_timeout(NOW), "not before its time");
        assert!(b.packets.handle_timeout(turn));
        assert_ne!(b.packets.prekey(), first);
        assert!(b.opened(&a, &early, turn).is_ok(), "not everybody has heard of the new one");
        assert_eq!(b.packets.poll_timeout().at, turn + GRACE);
        assert!(!b.packets.handle_timeout(turn + GRACE));
        assert_eq!(b.opened(&a, &late, turn + GRACE), Err(Rejected::Expired));
    }

    #[test]
    fn numbers_are_remembered_for_as_long_as_a_prekey_opens() {
        let (mut a, mut b) = ends();
        let turn = b.packets.poll_timeout().at;
        let datagram = a.sealed(&b, b"packet", turn).unwrap();
        b.opened(&a, &datagram, turn).unwrap();
        b.packets.handle_timeout(turn);
        assert_eq!(b.opened(&a, &datagram, turn), Err(Rejected::Replayed));
        let datagram = a.sealed(&b, b"packet", turn + GRACE).unwrap();
        b.opened(&a, &datagram, turn + GRACE).unwrap();
        b.packets.handle_timeout(turn + GRACE);
        assert_eq!(b.opened(&a, &datagram, turn + GRACE), Err(Rejected::Replayed));
        let next = b.packets.poll_timeout().at;
        b.packets.handle_timeout(next);
        b.packets.handle_timeout(next + GRACE);
        assert!(b.packets.pairs.is_empty(), "nothing that it said opens any more");
    }

    #[test]
    fn a_restarted_sender_is_heard_and_one_whose_clock_went_back_a_little_as_well() {
        let (mut a, mut b) = ends();
        let datagram = a.sealed(&b, b"packet", NOW).unwrap();
        b.opened(&a, &datagram, NOW).unwrap();
        for before in [0, 60] {
            let mut again = End::new(1, 9);
            let datagram = again.sealed(&b, b"packet", Instant::from_secs(1_001 - before)).unwrap();
            assert!(b.opened(&again, &datagram, NOW).is_ok());
        }
    }

    #[test]
    fn what_was_held_back_is_not_taken_nor_what_a_wrong_clock_numbered() {
        let (mut a, mut b) = ends();
        let sealed = |a: &mut End, b: &End| a.sealed(b, b"packet", NOW).unwrap();
        let [in_time, late, early] = [(); 3].map(|()| sealed(&mut a, &b));
        assert!(b.opened(&a, &in_time, NOW + Duration::from_secs(119)).is_ok());
        assert_eq!(b.opened(&a, &late, NOW + Duration::from_secs(121)), Err(Rejected::Expired));
        let (_, mut behind) = ends();
        assert_eq!(behind.opened(&a, &early, Instant::from_secs(879)), Err(Rejected::Expired));
    }

    /// A device and what it keeps.
    struct End {
        secret: SecretKey,
        packets: EarlyPackets,
    }

    impl End {
        fn new(number: u8, seed: u8) -> Self {
            let secret = SecretKey::from_bytes([number; 32]);
            Self { secret, packets: EarlyPackets::new(Rng::from_seed([seed; 32]), NOW) }
        }

        fn name(&self) -> (DeviceId, PublicKey) {
            let identity = self.secret.public();
            (DeviceId::of(&identity), identity)
        }

        fn sealed(&mut self, to: &Self, packet: &[u8], now: Instant) -> Option<Vec<u8>> {
            let moment = (now.as_micros() / 1_000, now);
            self.packets.seal(&self.secret, to.name(), to.packets.prekey(), packet, moment)
        }

        fn opened(&mut self, from: &Self, datagram: &[u8], now: Instant) -> Result<Vec<u8>, Rejected> {
            self.packets.open(&self.secret, from.name(), datagram, (now.as_micros() / 1_000, now))
        }
    }

    fn ends() -> (End, End) {
        (End::new(1, 1), End::new(2, 2))
    }
}
