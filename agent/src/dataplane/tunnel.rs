//! One peer's WireGuard session: boringtun, and the fences around it.
//!
//! boringtun is named in this file alone. It is sound where it is used as meant, and this is where that is
//! seen to (versions 0.6 to 0.7.1 were read for this list):
//!
//! * a data packet whose counter is near 2^64 resets the replay window or panics: [`parse`] drops it before;
//! * a limiter of its own per peer would count answers too and refuse when no source is given: there is one
//!   [`WireGuard::limiter`] for all peers, and every message is shown to it with its source;
//! * its cookies prove an address without the port, and one flooding source puts everybody under load: the
//!   caller counts handshakes per source first (`sources.rs`);
//! * its buffers must be large enough or it panics: every call here checks, and gives `None` instead;
//! * it queues up to 256 packets while there is no session and forgets them after 90 s, when it also gives up
//!   until the next packet: nothing is ever queued in it, the caller keeps what waits and asks for the next
//!   initiation ([`Tunnel::initiate`]) by its own back-off;
//! * after it has something to send, it must be asked again until it has nothing: [`Tunnel::open`] does;
//! * it goes back to an older session that a packet comes by, unless it was agreed on before the last tick: [`Tunnel::open`]
//!   has time pass between the two sessions of initiations that cross.

#[cfg(any(lanyard_plain, test))]
mod plain;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519;
use lanyard_wire::keys::{PublicKey, SecretKey};

#[cfg(lanyard_plain)]
use self::plain::Plain;

/// What a data packet is longer than what it carries.
pub(super) const OVERHEAD: usize = 32;
/// The longest message of a handshake.
pub(super) const HANDSHAKE_MAX: usize = 148;
/// The shortest data packet: a keep-alive.
const DATA_MIN: usize = 32;

/// A packet that came early is at most so much older than the session that was agreed on beside it.
const BESIDE: Duration = Duration::from_secs(2);

/// Data counters from here on are refused.
///
/// WireGuard itself stops sending at this number (REJECT_AFTER_MESSAGES, 2^64 - 2^13 - 1); boringtun computes
/// with greater ones and overflows.
const COUNTER_LIMIT: u64 = u64::MAX - (1 << 13);

/// Handshake messages a second, from all peers together, before cookies are asked for.
///
/// One costs a quarter of a millisecond, so this is 5 % of a core. The limiter is asked twice for each, once
/// before the peer is known and once by the tunnel itself.
const HANDSHAKES_PER_S: u64 = 2 * 200;

/// This device's side of all tunnels.
pub(super) struct WireGuard {
    secret: x25519::StaticSecret,
    public: x25519::PublicKey,
    limiter: Arc<RateLimiter>,
}

/// What a datagram of WireGuard is, before any cryptography.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Names its sender, encrypted to us.
    Initiation,
    /// A response or a cookie: for the tunnel with this index.
    Answer {
        /// Our index, see [`Tunnel::new`].
        index: u32,
    },
    /// A packet or a keep-alive: for the tunnel with this index.
    Data {
        /// Our index, see [`Tunnel::new`].
        index: u32,
    },
}

/// Why a datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not a message of WireGuard at all.
    Malformed,
    /// A counter that no session reaches.
    CounterLimit,
    /// Its session is not known here.
    NoSession,
    /// Seen before, or too old to tell.
    Replayed,
    /// Not made by the peer.
    Unauthenticated,
    /// Too many handshakes, and no cookie.
    UnderLoad,
}

/// What came of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// A packet of this length is in the buffer, and is the peer's.
    Packet(usize),
    /// Authentic, and carried nothing.
    KeepAlive,
    /// Part of a handshake; this many bytes of the buffer are to be sent back where it came from.
    Reply(usize),
    /// A cookie was taken in; the next initiation will carry its proof.
    Cookie,
}

/// What a timer wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// Nothing.
    Quiet,
    /// This many bytes of the buffer are to be sent to the peer.
    Send(usize),
    /// Its keys are gone: nothing was heard for long.
    Expired,
}

impl WireGuard {
    /// The side that holds this key.
    pub(super) fn new(secret: &SecretKey) -> Self {
        let secret = x25519::StaticSecret::from(*secret.to_bytes());
        let public = x25519::PublicKey::from(&secret);
        let limiter = Arc::new(RateLimiter::new(&public, HANDSHAKES_PER_S));
        Self { secret, public, limiter }
    }

    /// Whether a handshake message knows our public key and, under load, its own address; with the cookie to
    /// send back if it should prove that.
    pub(super) fn admit<'b>(
        &self,
        source: IpAddr,
        datagram: &[u8],
        cookie: &'b mut [u8; HANDSHAKE_MAX],
    ) -> Result<(), (Refusal, &'b [u8])> {
        match self.limiter.verify_packet(Some(source), datagram, cookie) {
            Ok(_) => Ok(()),
            Err(TunnResult::WriteToNetwork(reply)) => Err((Refusal::UnderLoad, reply)),
            Err(_) => Err((Refusal::Unauthenticated, &[])),
        }
    }

    /// The static key an initiation names. Costs one scalar multiplication, so only for admitted ones.
    pub(super) fn initiator(&self, datagram: &[u8]) -> Option<PublicKey> {
        let Ok(Packet::HandshakeInit(initiation)) = Tunn::parse_incoming_packet(datagram) else {
            return None;
        };
        let half = parse_handshake_anon(&self.secret, &self.public, &initiation).ok()?;
        Some(PublicKey::from_bytes(half.peer_static_public))
    }

    /// To be called once a second: the limiter's count starts again.
    pub(super) fn tick(&self) {
        self.limiter.reset_count();
    }
}

/// Looks at the outside of a datagram.
///
/// # Errors
///
/// [`Refusal::Malformed`] for wrong lengths, [`Refusal::CounterLimit`] for data no session can have sent.
pub(super) fn parse(datagram: &[u8]) -> Result<Message, Refusal> {
    let index = |at: usize| {
        let bytes = datagram.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes) >> 8)
    };
    let found = match (datagram.first(), datagram.len()) {
        (Some(1), 148) => Some(Message::Initiation),
        (Some(2), 92) => index(8).map(|index| Message::Answer { index }),
        (Some(3), 64) => index(4).map(|index| Message::Answer { index }),
        (Some(4), DATA_MIN..) => {
            let counter = datagram.get(8..).and_then(<[u8]>::first_chunk::<8>);
            if counter.is_none_or(|counter| u64::from_le_bytes(*counter) >= COUNTER_LIMIT) {
                return Err(Refusal::CounterLimit);
            }
            index(4).map(|index| Message::Data { index })
        }
        _ => None,
    };
    found.ok_or(Refusal::Malformed)
}

/// The session with one peer.
pub(super) struct Tunnel {
    /// In a place of its own: it has 11 KB, which a peer that is only known must not have.
    tunn: Box<Tunn>,
    /// When the peer showed that it does not have the keys that were in use then.
    doubted_at: Option<Instant>,
    #[cfg(lanyard_plain)]
    plain: Plain,
}

/// A tunnel that has keys, for as long as this is held.
///
/// Whether there are keys is asked once for a train: the answer costs boringtun a look at the clock. Without keys it
/// would queue what is to be sealed.
pub(super) struct Session<'t> {
    tunn: &'t mut Tunn,
    #[cfg(lanyard_plain)]
    plain: &'t mut Plain,
}

impl Tunnel {
    /// A tunnel without a session yet. `index` (24 bits) stands in every message the peer sends us; it is
    /// drawn at random by the caller, since boringtun makes the session's number from it by adding a counter.
    pub(super) fn new(own: &WireGuard, peer: &PublicKey, index: u32) -> Self {
        let peer = x25519::PublicKey::from(*peer.as_bytes());
        let limiter = Some(Arc::clone(&own.limiter));
        Self {
            tunn: Box::new(Tunn::new(own.secret.clone(), peer, None, None, index, limiter)),
            doubted_at: None,
            #[cfg(lanyard_plain)]
            plain: Plain::default(),
        }
    }

    /// Whether packets can be sent now.
    pub(super) fn has_session(&self) -> bool {
        let is_newer = |age| self.doubted_at.is_none_or(|at| age < at.elapsed());
        self.session_age().is_some_and(is_newer)
    }

    /// The peer has no session, as it shows by a packet that came early: nothing is sent by the one that stands, unless
    /// that is so new that it was agreed on beside the packet.
    pub(super) fn doubt(&mut self) {
        if self.session_age().is_some_and(|age| age >= BESIDE) {
            self.doubted_at = Some(Instant::now());
        }
    }

    /// What packets are sealed with, if they can be sent now.
    pub(super) fn session(&mut self) -> Option<Session<'_>> {
        self.has_session().then_some(Session {
            tunn: &mut self.tunn,
            #[cfg(lanyard_plain)]
            plain: &mut self.plain,
        })
    }

    /// How long ago the keys in use were agreed on.
    pub(super) fn session_age(&self) -> Option<Duration> {
        self.tunn.time_since_last_handshake()
    }

    /// Writes a handshake initiation, a new one even if an earlier one is unanswered.
    pub(super) fn initiate(&mut self, room: &mut [u8]) -> Option<usize> {
        if room.len() < HANDSHAKE_MAX {
            return None;
        }
        match self.tunn.format_handshake_initiation(room, true) {
            TunnResult::WriteToNetwork(initiation) => Some(initiation.len()),
            TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => None,
        }
    }

    /// Takes in a datagram that [`parse`] found good and meant for this tunnel; `room` must be at least as
    /// long and have [`HANDSHAKE_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// Why it is dropped; nothing has changed then.
    pub(super) fn open(
        &mut self,
        source: IpAddr,
        datagram: &[u8],
        room: &mut [u8],
    ) -> Result<Opened, Refusal> {
        if datagram.is_empty() || room.len() < datagram.len().max(HANDSHAKE_MAX) {
            return Err(Refusal::Malformed);
        }
        #[cfg(lanyard_plain)]
        if let Some(opened) = self.plain.open(datagram, room) {
            return opened;
        }
        let is_data = datagram.first() == Some(&4);
        match self.tunn.decapsulate(Some(source), datagram, room) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                #[cfg(lanyard_plain)]
                self.plain.note_opened(datagram);
                Ok(Opened::Packet(packet.len()))
            }
            TunnResult::Done if is_data => {
                #[cfg(lanyard_plain)]
                self.plain.note_opened(datagram);
                Ok(Opened::KeepAlive)
            }
            TunnResult::Done => Ok(Opened::Cookie),
            TunnResult::WriteToNetwork(reply) => {
                let length = reply.len();
                #[cfg(lanyard_plain)]
                self.plain.doubt();
                self.drain();
                if datagram.first() == Some(&1) {
                    self.part();
                }
                Ok(Opened::Reply(length))
            }
            TunnResult::Err(error) => Err(refusal(&error)),
        }
    }

    /// Lets time pass; to be called four times a second while it is in use, since boringtun stamps everything in between with
    /// the time of this call, and once a second else.
    pub(super) fn tick(&mut self, room: &mut [u8]) -> Tick {
        if room.len() < HANDSHAKE_MAX {
            return Tick::Quiet;
        }
        #[cfg(lanyard_plain)]
        self.plain.doubt();
        match self.tunn.update_timers(room) {
            TunnResult::WriteToNetwork(message) => Tick::Send(message.len()),
            TunnResult::Err(WireGuardError::ConnectionExpired) => Tick::Expired,
            TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => Tick::Quiet,
        }
    }

    /// Makes a session that is agreed on from here on newer than one that the peer's initiation just began.
    ///
    /// If ours was on its way then, there will be two. WireGuard sends by the one it began itself, also when it hears the
    /// peer by the other (Linux: `wg_noise_received_with_keypair` goes on to a next keypair, never back to the previous).
    /// boringtun goes to the other if both are of the same tick. A peer need not have that one whole: wireguard-go, when it
    /// takes in our initiation and our response side by side, keeps it to send, and has forgotten the number by
    /// which it would receive.
    fn part(&mut self) {
        // Nothing is due: the initiation was something heard, the response something sent, the session is new.
        let _ = self.tunn.update_timers(&mut [0; HANDSHAKE_MAX]);
    }

    /// Empties boringtun's own queue. Only a keep-alive due without a session ever gets there, and it need
    /// not be sent.
    fn drain(&mut self) {
        let mut unused = [0; HANDSHAKE_MAX];
        while let TunnResult::WriteToNetwork(_) = self.tunn.decapsulate(None, &[], &mut unused) {}
    }
}

impl Session<'_> {
    /// Encrypts a packet into `room`; `None` if the room is too small by any byte.
    ///
    /// The room must have [`OVERHEAD`] more than the packet. What comes out is exactly that long.
    pub(super) fn seal(&mut self, packet: &[u8], room: &mut [u8]) -> Option<usize> {
        if room.len() < packet.len() + OVERHEAD {
            return None;
        }
        #[cfg(lanyard_plain)]
        if let Some(length) = self.plain.seal(packet, room) {
            return Some(length);
        }
        match self.tunn.encapsulate(packet, room) {
            TunnResult::WriteToNetwork(sealed) => {
                #[cfg(lanyard_plain)]
                self.plain.note_sealed(sealed);
                Some(sealed.len())
            }
            TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => None,
        }
    }
}

fn refusal(error: &WireGuardError) -> Refusal {
    match error {
        WireGuardError::NoCurrentSession | WireGuardError::WrongIndex | WireGuardError::ConnectionExpired => {
            Refusal::NoSession
        }
        WireGuardError::InvalidCounter
        | WireGuardError::DuplicateCounter
        | WireGuardError::WrongTai64nTimestamp => Refusal::Replayed,
        WireGuardError::UnderLoad => Refusal::UnderLoad,
        WireGuardError::DestinationBufferTooSmall
        | WireGuardError::IncorrectPacketLength
        | WireGuardError::InvalidPacket => Refusal::Malformed,
        WireGuardError::UnexpectedPacket
        | WireGuardError::WrongPacketType
        | WireGuardError::WrongKey
        | WireGuardError::InvalidTai64nTimestamp
        | WireGuardError::InvalidMac
        | WireGuardError::InvalidAeadTag
        | WireGuardError::LockFailed => Refusal::Unauthenticated,
    }
}

#[cfg(test)]
mod tests;
