//! CHECKPOINT: who is here, who shares a network with whom, and the start of every attempt.
//!
//! It answers from what INDEX fed it, so no question of a device costs a look into a database. Unknown devices
//! may register and ask to join; whatever else they ask is answered as if there were nothing. What is told about
//! a device is told to those who take part in a network with it, and to nobody else.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::checkpoint::{
    BeginAnswer, BeginOutcome, FromCheckpoint, Invited, LinkReport, Links, PairVerdict, Register, Registered,
    Roster as RosterPage, RosterAsk, Services, ToCheckpoint,
};
use lanyard_wire::codec::Wire;
use lanyard_wire::ids::{AttemptId, DeviceId, NetworkId, PushId, Revision};
use lanyard_wire::keys::{PublicKey, SymmetricKey};
use lanyard_wire::limits::{BODY_MAX, NETWORKS_MAX};
use lanyard_wire::seal::Ticket;

use self::asks::Ask;
use self::grants::Grants;
use self::pushes::{About, Repeat};
use self::registry::Registry;
use self::roster::{Roster, Since};
use super::bucket::{Rate, SourceBuckets, TokenBucket};
use super::command::EndpointEvent;
use super::config::CheckpointConfig;
use super::say::Says;
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::timers::Timers;

mod asks;
mod feed;
mod grants;
mod news;
mod pushes;
mod registry;
mod roster;

pub use self::roster::{MemberRecord, NetworkRecord};

/// Wishes to join from one source: enough for an office, too few to guess an invite of 40 bits.
const JOINS: Rate = Rate { per_s: 1, burst: 64 };

/// Verdicts of pairs from one device. Each ends an attempt, and attempts have pauses; a device with many peers ends many
/// of them at once when its network changes.
const VERDICTS: Rate = Rate { per_s: 1, burst: 64 };

/// Reports of links from one device: one in place of a keep-alive, one after a change of path, each in several datagrams
/// where it has hundreds of peers.
const LINKS: Rate = Rate { per_s: 4, burst: 64 };

/// For how long both ends of a pair, and repetitions, get the same attempt.
///
/// Longer than two wishes of the same moment are apart, shorter than the second in which a device asks once: its
/// next wish is for a new attempt, in which the other end takes part anew.
const SAME_ATTEMPT: Duration = Duration::from_millis(800);

/// Pairs whose last attempt is remembered; the oldest goes.
const RECENT_MAX: usize = 8_192;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Tell a device the news that came together for it.
    Tell(DeviceId),
    /// Send a push again.
    Push(DeviceId, PushId),
    /// INDEX took too long.
    Ask(u64),
}

/// The checkpoint of one endpoint.
#[derive(Debug)]
pub(super) struct Checkpoint {
    services: Services,
    grants: Grants,
    roster: Roster,
    /// Whether the roster shows all there is: before, nobody is told that something is not there.
    is_complete: bool,
    registry: Registry,
    asks: BTreeMap<u64, Ask>,
    last_ask: u64,
    joins: SourceBuckets,
    /// The attempts of the last seconds, by pair with the lower device first.
    recent: BTreeMap<(DeviceId, DeviceId), AttemptId>,
    recent_ends: Timers<(DeviceId, DeviceId)>,
    timers: Timers<Timer>,
    rng: Rng,
    /// The date, as of the call under way.
    now_s: u64,
}

impl Checkpoint {
    pub(super) fn new(config: CheckpointConfig, token_key: SymmetricKey, mut rng: Rng, now: Instant) -> Self {
        Self {
            services: config.services,
            grants: Grants::new(token_key),
            roster: Roster::default(),
            is_complete: false,
            registry: Registry::default(),
            asks: BTreeMap::new(),
            last_ask: 0,
            joins: SourceBuckets::new(JOINS, &mut rng, now),
            recent: BTreeMap::new(),
            recent_ends: Timers::new(),
            timers: Timers::new(),
            rng,
            now_s: 0,
        }
    }

    /// Sets the date, before every other call.
    pub(super) const fn set_date(&mut self, now_s: u64) {
        self.now_s = now_s;
    }

    /// Whether the roster shows all there is.
    pub(super) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether a device has a membership of any state.
    pub(super) fn is_known(&self, device: &DeviceId) -> bool {
        self.roster.is_known(device)
    }

    pub(super) fn networks(&self) -> usize {
        self.roster.len()
    }

    /// Whether two devices take part in one network and neither refuses the other.
    pub(super) fn may_meet(&self, first: &DeviceId, second: &DeviceId) -> bool {
        self.roster.share_a_network(first, second)
            && !self.refuses(first, second)
            && !self.refuses(second, first)
    }

    /// A device speaks under a new session.
    pub(super) fn opened(
        &mut self,
        device: DeviceId,
        identity: PublicKey,
        remote: SocketAddr,
        says: &mut Says,
        now: Instant,
    ) {
        if self.registry.open(device, identity, remote) {
            self.announce(device, true, says, now);
        }
    }

    /// A device's session is at another address, which is proven: what was pushed to the old one is sent again.
    pub(super) fn moved(&mut self, device: DeviceId, remote: SocketAddr, now: Instant) {
        let Some(client) = self.registry.get_mut(&device) else { return };
        client.remote = remote;
        for push in client.pushes.begin_again() {
            self.timers.set(Timer::Push(device, push), now);
        }
    }

    /// A device has no session any more.
    pub(super) fn closed(&mut self, device: DeviceId, says: &mut Says, now: Instant) {
        if self.registry.close(&device) {
            self.timers.cancel(&Timer::Tell(device));
            self.announce(device, false, says, now);
        }
    }

    /// Takes a message, Register aside.
    pub(super) fn handle(
        &mut self,
        device: DeviceId,
        message: ToCheckpoint,
        says: &mut Says,
        now: Instant,
    ) -> Result<(), Rejected> {
        match message {
            ToCheckpoint::Register(_) => Err(Rejected::Unexpected),
            ToCheckpoint::Leave { .. }
            | ToCheckpoint::RosterAsk(_)
            | ToCheckpoint::Begin { .. }
            | ToCheckpoint::PairVerdict(_)
            | ToCheckpoint::Links(_)
                if !self.is_complete =>
            {
                Err(Rejected::NotReady)
            }
            ToCheckpoint::Join(join) => self.join(device, join, says, now),
            ToCheckpoint::Leave { request, network } => self.leave(device, request, network, says, now),
            ToCheckpoint::RosterAsk(ask) => {
                self.roster_ask(device, &ask, says);
                Ok(())
            }
            ToCheckpoint::Begin { request, peer } => {
                let outcome = self.begin(device, peer, says, now);
                says.tell(device, &FromCheckpoint::BeginAnswer(BeginAnswer { request, peer, outcome }));
                Ok(())
            }
            ToCheckpoint::Ack { .. } => Err(Rejected::Unexpected),
            ToCheckpoint::PairVerdict(verdict) => self.note_verdict(device, verdict, says, now),
            ToCheckpoint::Links(Links { links }) => self.note_links(device, links, says, now),
            ToCheckpoint::Consent(consent) => {
                if let Some(client) = self.registry.get_mut(&device) {
                    client.refused = consent.refused.into_iter().collect();
                }
                says.tell(device, &FromCheckpoint::Accepted { request: consent.request });
                Ok(())
            }
        }
    }

    /// A device says how it reaches a peer: it is believed about pairs that share a network, and not too often.
    fn note_verdict(
        &mut self,
        device: DeviceId,
        verdict: PairVerdict,
        says: &mut Says,
        now: Instant,
    ) -> Result<(), Rejected> {
        if device == verdict.peer || !self.roster.share_a_network(&device, &verdict.peer) {
            return Err(Rejected::NotAllowed);
        }
        let client = self.registry.get_mut(&device).ok_or(Rejected::UnknownPeer)?;
        if !client.verdicts.get_or_insert_with(|| TokenBucket::full(VERDICTS, now)).take(VERDICTS, 1, now) {
            return Err(Rejected::RateLimited);
        }
        says.note(EndpointEvent::PairVerdict { device, verdict });
        Ok(())
    }

    /// A device says how data goes between it and its peers; it is believed as it is about verdicts.
    fn note_links(
        &mut self,
        device: DeviceId,
        mut links: Vec<LinkReport>,
        says: &mut Says,
        now: Instant,
    ) -> Result<(), Rejected> {
        let client = self.registry.get_mut(&device).ok_or(Rejected::UnknownPeer)?;
        if !client.links.get_or_insert_with(|| TokenBucket::full(LINKS, now)).take(LINKS, 1, now) {
            return Err(Rejected::RateLimited);
        }
        let roster = &self.roster;
        links.retain(|link| {
            device != link.peer && link.lost <= link.pings && roster.share_a_network(&device, &link.peer)
        });
        if links.is_empty() {
            return Err(Rejected::NotAllowed);
        }
        says.note(EndpointEvent::Links { device, links });
        Ok(())
    }

    /// Takes a Register; the answer brings a fresh ticket, and waits until the roster is complete.
    pub(super) fn register(
        &mut self,
        device: DeviceId,
        register: Register,
        observed: SocketAddr,
        ticket: Ticket,
        says: &mut Says,
        now: Instant,
    ) {
        if !self.is_complete {
            if let Some(client) = self.registry.get_mut(&device) {
                client.waiting = Some((register, observed, ticket));
            }
            return;
        }
        let networks: Vec<(NetworkId, Revision)> = self
            .roster
            .networks_of(&device)
            .map(|(id, network)| (*id, network.revision()))
            .take(NETWORKS_MAX)
            .collect();
        let number = self
            .roster
            .networks_of(&device)
            .find_map(|(_, network)| network.member(&device))
            .map(|member| member.number);
        let Some(client) = self.registry.get_mut(&device) else { return };
        client.told = networks.iter().copied().collect();
        let is_first = client.card.replace(register.card).is_none();
        let is_other = (client.relays, client.prekey) != (register.relays, register.prekey);
        (client.relays, client.prekey) = (register.relays, register.prekey);
        let services = self.services.clone();
        let mut registered =
            Registered { request: register.request, number, observed, services, networks, ticket };
        shorten(&mut registered);
        says.tell(device, &FromCheckpoint::Registered(registered));
        if is_first {
            self.tell_who_is_here(device, now);
        }
        if is_other {
            self.spread(device, now);
        }
    }

    /// Takes an acknowledgement; gives the round trip if it tells one.
    pub(super) fn acknowledged(&mut self, device: DeviceId, push: PushId, now: Instant) -> Option<Duration> {
        self.timers.cancel(&Timer::Push(device, push));
        self.registry.get_mut(&device)?.pushes.acknowledge(push, now)
    }

    pub(super) fn handle_timeout(&mut self, says: &mut Says, now: Instant) {
        while !says.is_long()
            && let Some(timer) = self.timers.pop_due(now)
        {
            match timer {
                Timer::Tell(device) => self.tell(device, says, now),
                Timer::Push(device, push) => self.push_again(device, push, says, now),
                Timer::Ask(ask) => self.ask_expired(ask, says),
            }
        }
        while let Some(pair) = self.recent_ends.pop_due(now) {
            self.recent.remove(&pair);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let why = |timer: &Timer| match timer {
            Timer::Tell(_) => "news for a device",
            Timer::Push(..) => "repeat a push",
            Timer::Ask(_) => "end of a wish",
        };
        let first = self.timers.first().map(|(at, timer)| Wakeup { at, why: why(timer) });
        let recent = self.recent_ends.first().map(|(at, _)| Wakeup { at, why: "forget a pair's attempt" });
        Wakeup::earliest(first, recent)
    }

    fn push_again(&mut self, device: DeviceId, push: PushId, says: &mut Says, now: Instant) {
        let Some(client) = self.registry.get_mut(&device) else { return };
        match client.pushes.repeat(push, now) {
            Repeat::Again(body, next) => {
                self.timers.set(Timer::Push(device, push), next);
                says.tell_bytes(device, body);
            }
            Repeat::GivenUp(about) => self.missed(device, about),
            Repeat::Settled => {}
        }
    }

    fn refuses(&self, device: &DeviceId, peer: &DeviceId) -> bool {
        self.registry.get(device).is_some_and(|client| client.refused.contains(peer))
    }

    /// Answers with one page: all members, or what changed since the device's revision.
    fn roster_ask(&self, device: DeviceId, ask: &RosterAsk, says: &mut Says) {
        let known = self.roster.network(&ask.network);
        let Some((network, card)) = known.and_then(|known| Some((known, known.card(&device)?))) else {
            let answer = FromCheckpoint::NotMember { request: ask.request, network: ask.network };
            return says.tell(device, &answer);
        };
        let is_behind = |other: &&DeviceId| ask.after.is_none_or(|after| **other > after);
        let mut page = RosterPage {
            request: ask.request,
            network: card,
            from: ask.since,
            to: network.revision(),
            full: false,
            next: None,
            changes: Vec::new(),
        };
        // The message's type, and the next device once the page turns out to be full.
        let head = 1 + page.encoded_len() + 16;
        match network.since(ask.since) {
            _ if !network.is_active(&device) => {
                (page.full, page.from) = (true, Revision::ZERO);
            }
            // After a change of its own standing the device may have missed everything before.
            Since::Changed(devices) if ask.since > Revision::ZERO && !devices.contains(&device) => {
                let devices = devices.iter().filter(is_behind);
                page.next = self.fill(network, device, devices, head, &mut page.changes);
            }
            Since::Changed(_) | Since::Everything => {
                (page.full, page.from) = (true, Revision::ZERO);
                let devices = network.active().map(|(device, _)| device).filter(is_behind);
                page.next = self.fill(network, device, devices, head, &mut page.changes);
            }
        }
        says.tell(device, &FromCheckpoint::Roster(page));
    }

    /// Begins an attempt of two devices, if they may meet and the peer is here.
    fn begin(&mut self, device: DeviceId, peer: DeviceId, says: &mut Says, now: Instant) -> BeginOutcome {
        if device == peer || !self.roster.share_a_network(&device, &peer) {
            return BeginOutcome::NoSharedNetwork;
        }
        if !self.may_meet(&device, &peer) {
            return BeginOutcome::Refused;
        }
        if !self.registry.is_here(&peer) {
            return BeginOutcome::Offline;
        }
        let pair = (device.min(peer), device.max(peer));
        let known = self.recent.get(&pair).copied();
        let attempt = known.unwrap_or_else(|| AttemptId::new(self.rng.u64()));
        let ticket = self.grants.attempt(device, peer, attempt, self.now_s);
        let handshake = self.grants.handshake(device, peer, self.services.handshake.len());
        if known.is_none() {
            self.remember(pair, attempt, now);
            self.invite(peer, attempt, device, says, now);
        }
        BeginOutcome::Started { attempt, ticket, handshake }
    }

    /// Calls both ends of a pair to an attempt that neither asked for; nothing happens where one is not here, refuses the other, or
    /// has just been called.
    pub(super) fn try_again(&mut self, a: DeviceId, b: DeviceId, says: &mut Says, now: Instant) {
        let pair = (a.min(b), a.max(b));
        let are_here = self.registry.is_here(&a) && self.registry.is_here(&b);
        if a == b || !are_here || !self.may_meet(&a, &b) || self.recent.contains_key(&pair) {
            return;
        }
        let attempt = AttemptId::new(self.rng.u64());
        self.remember(pair, attempt, now);
        self.invite(a, attempt, b, says, now);
        self.invite(b, attempt, a, says, now);
    }

    fn invite(
        &mut self,
        device: DeviceId,
        attempt: AttemptId,
        peer: DeviceId,
        says: &mut Says,
        now: Instant,
    ) {
        let ticket = self.grants.attempt(device, peer, attempt, self.now_s);
        let handshake = self.grants.handshake(device, peer, self.services.handshake.len());
        let Some(client) = self.registry.get_mut(&device) else { return };
        // Without room the pair stays on the relay until the next attempt.
        if client.pushes.has_room_to_invite() {
            let push = client.pushes.next_id();
            let invited = Invited { push, attempt, ticket, peer, handshake };
            self.push(device, push, About::Moment, &FromCheckpoint::Invited(invited), says, now);
        }
    }

    fn remember(&mut self, pair: (DeviceId, DeviceId), attempt: AttemptId, now: Instant) {
        if self.recent.len() >= RECENT_MAX
            && let Some(oldest) = self.recent_ends.pop_due(Instant::MAX)
        {
            self.recent.remove(&oldest);
        }
        self.recent.insert(pair, attempt);
        self.recent_ends.set(pair, now + SAME_ATTEMPT);
    }
}

/// Leaves out addresses of services, from the end, until the answer fits a datagram.
fn shorten(registered: &mut Registered) {
    while registered.encoded_len() + 1 > BODY_MAX {
        let services = &mut registered.services;
        let lists = [&mut services.relay, &mut services.handshake];
        let longest = lists.into_iter().flatten().filter(|service| service.addrs.len() > 1);
        if services.stun.len() > 4 {
            services.stun.pop();
        } else if let Some(service) = longest.max_by_key(|service| service.addrs.len()) {
            service.addrs.pop();
        } else if services.stun.pop().is_none() && services.relay.pop().is_none() {
            return;
        }
    }
}
