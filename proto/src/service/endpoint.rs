//! One endpoint of a coordinator: the services behind one identity and one socket, and their sessions.
//!
//! A datagram's life:
//! 1. A relay frame goes to [`Endpoint::forward`]: one look-up, and its bytes go on as they are.
//! 2. HELLO and RESUME go to `admission`, which grants sessions.
//! 3. DATA is opened by `admission`; if it opened a session or moved one, the services are told first.
//! 4. Its message goes to CHECKPOINT, HANDSHAKE or RELAY, whichever it concerns and runs here: `dispatch`.
//! 5. What they say is sealed under the session of whom it concerns, and queued.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::body::DeviceBody;
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::envelope::{
    CARRY, DATA, EARLY, HELLO, PING, PONG, RESUME, RESUMED, RETRY, RelayHeader, UNKNOWN, Unknown, WELCOME,
};
use lanyard_wire::ids::DeviceId;

use super::admission::{Admission, Arrival};
use super::checkpoint::Checkpoint;
use super::command::{EndpointCommand, EndpointEvent};
use super::config::EndpointConfig;
use super::handshake::Handshake;
use super::place::Spot;
use super::register::{Bounds, Register};
use super::relay::{Relay, RelayCounters};
use super::say::Says;
use super::tickets::Tickets;
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup, WallClock};
use crate::transmit::{Datagram, Outbox, SocketId, Transmit};

mod dispatch;

#[cfg(test)]
mod tests;

/// Datagrams that wait to be sent; the oldest goes. One call says a few hundred at the most.
const OUTBOX_MAX: usize = 4_096;

/// Facts that wait for the program; the oldest goes.
const EVENTS_MAX: usize = 4_096;

/// What is to be done with a relay frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Send the very same bytes there.
    To(SocketAddr),
    /// Send this back: no longer than the frame was.
    Hint(Vec<u8>),
    /// Nothing, and why.
    Drop(Rejected),
}

/// Sizes of an endpoint's tables and what it counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions, of members and of others.
    pub sessions: usize,
    /// Sessions of devices that are member of nothing.
    pub guests: usize,
    /// Devices that have a session or are remembered against replays.
    pub devices: usize,
    /// Networks known.
    pub networks: usize,
    /// Relay channels.
    pub bindings: usize,
    /// Attempts under way.
    pub attempts: usize,
    /// What was relayed.
    pub relayed: RelayCounters,
    /// Datagrams that a full outbox lost.
    pub unsent: u64,
    /// Facts that a full queue lost.
    pub untold: u64,
    /// Datagrams that were ignored, by reason.
    pub rejected: BTreeMap<Rejected, u64>,
}

/// The services behind one identity.
#[derive(Debug)]
pub struct Endpoint {
    admission: Admission,
    checkpoint: Option<Checkpoint>,
    handshake: Option<Handshake>,
    relay: Option<Relay>,
    wall: WallClock,
    draining: bool,
    says: Says,
    /// The body of the datagram under work; kept for its memory.
    body: Vec<u8>,
    outbox: Outbox,
    events: VecDeque<EndpointEvent>,
    untold: u64,
    rejected: BTreeMap<Rejected, u64>,
}

impl Endpoint {
    /// An endpoint that knows nobody yet.
    #[must_use]
    pub fn new(config: EndpointConfig, now: Instant) -> Self {
        Self::with_bounds(config, Bounds::USUAL, now)
    }

    pub(super) fn with_bounds(config: EndpointConfig, bounds: Bounds, now: Instant) -> Self {
        let mut rng = Rng::from_seed(config.seed);
        let token_key = config.fleet.token_key();
        let register = Register::new(bounds, rng.fork(b"sessions"));
        let tickets = Tickets::new(config.fleet);
        let admission =
            Admission::new(config.identity, tickets, register, config.wall, rng.fork(b"admission"));
        let checkpoint = config
            .checkpoint
            .map(|checkpoint| Checkpoint::new(checkpoint, token_key.clone(), rng.fork(b"checkpoint"), now));
        Self {
            admission,
            checkpoint,
            handshake: config.handshake.then(|| Handshake::new(token_key.clone())),
            relay: config.relay.map(|relay| Relay::new(relay, token_key)),
            wall: config.wall,
            draining: false,
            says: Says::default(),
            body: Vec::new(),
            outbox: Outbox::with_capacity(OUTBOX_MAX),
            events: VecDeque::new(),
            untold: 0,
            rejected: BTreeMap::new(),
        }
    }

    /// Takes a datagram.
    ///
    /// # Errors
    ///
    /// Why it was ignored; each reason is also counted in [`Endpoint::stats`].
    pub fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Rejected> {
        if classify(datagram.bytes) == Class::Relay {
            return self.relay_datagram(datagram, now);
        }
        let result = self.receive(datagram, now);
        self.settle(now);
        result.inspect_err(|why| self.count(*why))
    }

    /// Takes what INDEX knows or has decided.
    pub fn handle_command(&mut self, command: EndpointCommand, now: Instant) {
        self.set_date(now);
        match command {
            EndpointCommand::Network(record) => {
                if let Some(checkpoint) = &mut self.checkpoint {
                    checkpoint.network(record, now);
                }
            }
            EndpointCommand::RemoveNetwork(network) => {
                let devices = match &mut self.checkpoint {
                    Some(checkpoint) => checkpoint.remove_network(network, now),
                    None => Vec::new(),
                };
                for device in devices {
                    self.cut(device);
                }
            }
            EndpointCommand::Member { network, revision, member } => {
                let device = DeviceId::of(&member.identity);
                if let Some(checkpoint) = &mut self.checkpoint {
                    checkpoint.member(network, revision, member, &mut self.says, now);
                    if checkpoint.is_known(&device) {
                        self.admission.register_mut().promote(&device);
                    }
                    self.cut(device);
                }
            }
            EndpointCommand::MemberGone { network, revision, device } => {
                if let Some(checkpoint) = &mut self.checkpoint {
                    checkpoint.member_gone(network, revision, device, now);
                }
                self.cut(device);
            }
            EndpointCommand::RosterComplete => self.roster_complete(now),
            EndpointCommand::JoinDecided { ask, outcome } => {
                if let Some(checkpoint) = &mut self.checkpoint {
                    checkpoint.join_decided(ask, outcome, &mut self.says);
                }
            }
            EndpointCommand::TryAgain { a, b } => {
                if let Some(checkpoint) = &mut self.checkpoint {
                    checkpoint.try_again(a, b, &mut self.says, now);
                }
            }
            EndpointCommand::LeaveDone { ask } => {
                if let Some(checkpoint) = &mut self.checkpoint {
                    checkpoint.leave_done(ask, &mut self.says);
                }
            }
            EndpointCommand::Drain => {
                self.draining = true;
                self.admission.drain();
                if let Some(relay) = &mut self.relay {
                    relay.drain(now);
                }
            }
        }
        self.settle(now);
    }

    /// Does what has come due; a call too many changes nothing.
    ///
    /// When much is due at once this does a part of it and [`Endpoint::poll_timeout`] still names a moment
    /// that has come: send what there is to send and call again.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.set_date(now);
        self.admission.register_mut().handle_timeout(now);
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.handle_timeout(&mut self.says, now);
        }
        if let Some(handshake) = &mut self.handshake {
            handshake.handle_timeout(now);
        }
        if let Some(relay) = &mut self.relay {
            relay.handle_timeout(&mut self.says, now);
        }
        self.settle(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop()
    }

    /// The next fact for the program.
    pub fn poll_event(&mut self) -> Option<EndpointEvent> {
        self.events.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Wakeup> {
        let wakeups = [
            self.admission.register().poll_timeout(),
            self.checkpoint.as_ref().and_then(Checkpoint::poll_timeout),
            self.handshake.as_ref().and_then(Handshake::poll_timeout),
            self.relay.as_ref().and_then(Relay::poll_timeout),
        ];
        wakeups.into_iter().fold(None, Wakeup::earliest)
    }

    /// Decides about a relay frame, `0xC0` in front; copies nothing.
    ///
    /// For shells that forward in batches; [`Endpoint::handle_datagram`] does the same for one frame.
    pub fn forward(&mut self, remote: SocketAddr, frame: &[u8], now: Instant) -> Forward {
        let Some(relay) = &mut self.relay else {
            self.count(Rejected::Unsupported);
            return Forward::Drop(Rejected::Unsupported);
        };
        let why = match relay.forward(remote, frame, self.wall.unix_s(now), now) {
            Ok(target) => return Forward::To(target),
            Err(why) => why,
        };
        self.count(why);
        // A stranger to a channel may be its end after a NAT changed the address: the hint makes it say so
        // under its session. Whether the channel exists does not show.
        let may_be_lost = matches!(why, Rejected::UnknownChannel | Rejected::NotAllowed);
        let channel =
            RelayHeader::parse(frame).ok().filter(|_| may_be_lost).map(|(header, _)| header.channel);
        let hint = channel
            .and_then(|channel| self.admission.hint(remote, frame.len(), Unknown::Channel(channel), now));
        hint.map_or(Forward::Drop(why), Forward::Hint)
    }

    /// Decides about relay frames of `stride` bytes, the last one perhaps shorter, that came as one; copies nothing.
    ///
    /// `None` when each of them is to be shown to [`Endpoint::forward`], or to [`Endpoint::handle_datagram`] if they are
    /// no relay frames.
    pub fn forward_train(
        &mut self,
        remote: SocketAddr,
        bytes: &[u8],
        stride: usize,
        now: Instant,
    ) -> Option<Result<SocketAddr, Rejected>> {
        let relay = self.relay.as_mut()?;
        let decided = relay.forward_train(remote, bytes, stride, self.wall.unix_s(now), now)?;
        if let Err(why) = decided {
            let count = bytes.len().div_ceil(stride.max(1));
            *self.rejected.entry(why).or_default() += u64::try_from(count).unwrap_or(u64::MAX);
        }
        Some(decided)
    }

    /// How many sessions there are.
    #[must_use]
    pub const fn sessions(&self) -> usize {
        self.admission.register().sessions()
    }

    /// How many relay channels are bound.
    #[must_use]
    pub fn bindings(&self) -> usize {
        self.relay.as_ref().map_or(0, Relay::len)
    }

    /// What was relayed.
    #[must_use]
    pub fn relayed(&self) -> RelayCounters {
        self.relay.as_ref().map(Relay::counters).unwrap_or_default()
    }

    /// Sizes and counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let register = self.admission.register();
        Stats {
            sessions: register.sessions(),
            guests: register.guests(),
            devices: register.devices(),
            networks: self.checkpoint.as_ref().map_or(0, Checkpoint::networks),
            bindings: self.bindings(),
            attempts: self.handshake.as_ref().map_or(0, Handshake::len),
            relayed: self.relayed(),
            unsent: self.outbox.dropped(),
            untold: self.untold,
            rejected: self.rejected.clone(),
        }
    }

    fn relay_datagram(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Rejected> {
        let (remote, bytes) = match self.forward(datagram.remote, datagram.bytes, now) {
            Forward::To(target) => (target, datagram.bytes.to_vec()),
            Forward::Hint(hint) => (datagram.remote, hint),
            Forward::Drop(why) => return Err(why),
        };
        self.outbox.push(Transmit { local: datagram.local, remote, bytes });
        Ok(())
    }

    fn receive(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Rejected> {
        match datagram.bytes.first().copied() {
            Some(DATA) => self.receive_data(datagram, now),
            Some(HELLO) => {
                let checkpoint = self.checkpoint.as_ref();
                // Apart from a checkpoint nobody is known until a token was good.
                let is_known = |device: &DeviceId| checkpoint.is_some_and(|known| known.is_known(device));
                self.admission.handle_hello(datagram, is_known, &mut self.outbox, now)
            }
            Some(RESUME) => {
                let roster = complete(self.checkpoint.as_ref());
                let is_known = |device: &DeviceId| roster.is_none_or(|known| known.is_known(device));
                self.admission.handle_resume(datagram, is_known, &mut self.outbox, now)
            }
            Some(RETRY | WELCOME | RESUMED | UNKNOWN) => Err(Rejected::WrongDirection),
            Some(PING | PONG | CARRY | EARLY) => Err(Rejected::Unsupported),
            Some(_) | None => Err(Rejected::NotOurs),
        }
    }

    fn receive_data(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<(), Rejected> {
        let arrival = self.admission.handle_data(datagram, &mut self.body, &mut self.outbox, now)?;
        self.set_date(now);
        self.note_place(arrival, now);
        if arrival.excess {
            return Err(Rejected::RateLimited);
        }
        let result = match DeviceBody::parse(&self.body) {
            Ok(body) => self.dispatch(arrival, body, datagram.remote, now),
            Err(_) => Err(Rejected::Malformed),
        };
        if arrival.wants_answer && !self.says.has_for(&arrival.device) {
            self.says.tell_bytes(arrival.device, Vec::new());
        }
        result
    }

    /// Tells the services that a device was heard and, if that is new, where it is.
    fn note_place(&mut self, arrival: Arrival, now: Instant) {
        let device = arrival.device;
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.heard(device, now);
        }
        if !arrival.opened && !arrival.moved {
            return;
        }
        let Some(session) = self.admission.register_mut().session_mut(arrival.index) else { return };
        let (identity, proven, spot) = (session.identity, session.place.proven(), session.place.spot());
        for body in session.place.release() {
            self.says.tell_bytes(device, body);
        }
        if arrival.opened
            && let Some(checkpoint) = &mut self.checkpoint
        {
            checkpoint.opened(device, identity, proven, &mut self.says, now);
        }
        self.settle_in(device, spot, now);
        let _registered = self.register_held(arrival, now);
    }

    /// Tells the services where a device is.
    fn settle_in(&mut self, device: DeviceId, spot: Spot, now: Instant) {
        if let Some(relay) = &mut self.relay {
            relay.place(device, Some(spot));
        }
        if let Some(checkpoint) = &mut self.checkpoint
            && spot.is_proven
        {
            checkpoint.moved(device, spot.addr, now);
        }
    }

    /// Makes up for what had to wait: registrations, and the end of what removed members have.
    fn roster_complete(&mut self, now: Instant) {
        let Some(checkpoint) = &mut self.checkpoint else { return };
        for device in checkpoint.roster_complete(&mut self.says, now) {
            if complete(self.checkpoint.as_ref()).is_some_and(|known| known.is_known(&device)) {
                self.admission.register_mut().promote(&device);
            }
            self.cut(device);
        }
    }

    /// Ends what a device has with those whom it no longer may meet.
    fn cut(&mut self, device: DeviceId) {
        let checkpoint = self.checkpoint.as_ref();
        if checkpoint.is_some_and(|checkpoint| !checkpoint.is_complete()) {
            return;
        }
        let is_over =
            |peer: &DeviceId| checkpoint.is_none_or(|checkpoint| !checkpoint.may_meet(&device, peer));
        if let Some(relay) = &mut self.relay {
            relay.cut(device, is_over);
        }
        if let Some(handshake) = &mut self.handshake {
            handshake.cut(device, is_over);
        }
    }

    /// Tells the services which sessions ended, then seals and queues all that was said.
    fn settle(&mut self, now: Instant) {
        for device in self.admission.register_mut().take_ended() {
            if let Some(relay) = &mut self.relay {
                relay.place(device, None);
            }
            if let Some(checkpoint) = &mut self.checkpoint {
                checkpoint.closed(device, &mut self.says, now);
            }
        }
        let (messages, events) = self.says.take();
        for (device, body) in messages {
            if let Some(session) = self.admission.register_mut().current_mut(&device)
                && let Some(bytes) = session.say(body)
            {
                let remote = session.place.addr();
                self.outbox.push(Transmit { local: SocketId::MAIN, remote, bytes });
            }
        }
        for event in events {
            if self.events.len() >= EVENTS_MAX {
                self.events.pop_front();
                self.untold += 1;
            }
            self.events.push_back(event);
        }
    }

    fn set_date(&mut self, now: Instant) {
        let now_s = self.wall.unix_s(now);
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.set_date(now_s);
        }
    }

    fn count(&mut self, why: Rejected) {
        *self.rejected.entry(why).or_default() += 1;
    }
}

/// A checkpoint once it knows of every membership; before, it has no say in who is a member.
fn complete(checkpoint: Option<&Checkpoint>) -> Option<&Checkpoint> {
    checkpoint.filter(|checkpoint| checkpoint.is_complete())
}
