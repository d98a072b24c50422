//! Between the control machine and INDEX: the roster comes in, wishes and presence go out.
//!
//! 1. Each time the link comes up: subscribe, take the snapshot, take out of the machine what the snapshot lacks, and
//!    tell who is online.
//! 2. Changes become commands, in order.
//! 3. A wish to join goes to INDEX and its answer comes back under its number. While the link is down the answer is
//!    at once that nobody can decide now; the device asks again later.
//! 4. Transitions of presence are collected for a second; only the newest of each device is told.
//!
//! The feed never waits for INDEX: what does not fit into the link stays here or is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lanyard_proto::service::{EndpointCommand, EndpointEvent, MemberRecord, NetworkRecord};
use lanyard_wire::checkpoint::{Join, JoinOutcome, JoinRefusal, LinkReport, MemberState};
use lanyard_wire::handshake::Verdict;
use lanyard_wire::ids::{DeviceId, NetworkId, Revision};
use lanyard_wire::keys::PublicKey;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::bus::{
    Carried, FromIndex, Interest, LINKS_MAX, Link, PRESENCE_MAX, Reported, ToIndex, Transition, VERDICTS_MAX,
};
use crate::config::Service;
use crate::door::source_of;
use crate::health::{Health, State};
use crate::index::memberships;
use crate::index::outbox::{Change, MemberChange};

/// How long transitions are collected.
const COLLECT: Duration = Duration::from_secs(1);

/// Wishes to join and leave under way at INDEX; more are refused.
const ASKS_MAX: usize = 1_024;

/// Verdicts of pairs that wait to be told; of further pairs they are dropped, and come again with the next attempt.
const UNTOLD_VERDICTS_MAX: usize = 4_096;

/// Links of which reports wait for the index; of more, the bytes are lost to the sums.
const UNTOLD_LINKS_MAX: usize = 65_536;

/// What is known of one network.
#[derive(Debug, Default)]
struct Known {
    revision: Revision,
    members: BTreeSet<DeviceId>,
}

/// The feed of one control machine.
#[derive(Debug)]
pub struct Feed {
    link: Option<Link>,
    interest: Interest,
    commands: mpsc::Sender<EndpointCommand>,
    health: Health,
    is_up: bool,
    known: BTreeMap<NetworkId, Known>,
    /// What the snapshot under way contained so far.
    seen: Option<BTreeMap<NetworkId, BTreeSet<DeviceId>>>,
    online: BTreeMap<DeviceId, Option<IpAddr>>,
    untold: BTreeMap<DeviceId, Transition>,
    /// By pair, the lower device first.
    verdicts: BTreeMap<(DeviceId, DeviceId), Reported>,
    /// By who reported and about whom.
    links: BTreeMap<(DeviceId, DeviceId), LinkReport>,
    asks: BTreeSet<u64>,
}

impl Feed {
    /// A feed that has heard nothing yet; without a link it refuses and remembers, as with one that is down.
    #[must_use]
    pub fn new(
        link: Option<Link>,
        interest: Interest,
        commands: mpsc::Sender<EndpointCommand>,
        health: Health,
    ) -> Self {
        Self {
            link,
            interest,
            commands,
            health,
            is_up: false,
            known: BTreeMap::new(),
            seen: None,
            online: BTreeMap::new(),
            untold: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            links: BTreeMap::new(),
            asks: BTreeSet::new(),
        }
    }

    /// Runs until `stop` turns true, the machine ends, or INDEX is gone for good.
    pub async fn run(mut self, mut events: mpsc::Receiver<EndpointEvent>, mut stop: watch::Receiver<bool>) {
        let mut collect = interval(COLLECT);
        collect.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.report();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.hear_machine(event).await,
                    None => break,
                },
                message = next(&mut self.link) => match message {
                    Some(message) => self.hear_index(message).await,
                    None => break,
                },
                _ = collect.tick() => {
                    self.tell_presence();
                    self.tell_verdicts();
                    self.tell_links();
                }
                () = ordered(&mut stop) => break,
            }
        }
        self.tell_presence();
        self.tell_verdicts();
        self.tell_links();
    }

    async fn hear_machine(&mut self, event: EndpointEvent) {
        match event {
            EndpointEvent::JoinAsked { ask, identity, remote, request } => {
                self.ask_to_join(ask, identity, remote, request).await;
            }
            EndpointEvent::LeaveAsked { ask, device, network } => {
                if !self.tell(ToIndex::Leave { ask, device, network }) {
                    tracing::warn!(%device, "the index is away or behind; a device has to ask again to leave");
                }
            }
            EndpointEvent::Presence { device, online, remote } => {
                let ip = remote.map(|remote| source_of(remote.ip()));
                if online {
                    self.online.insert(device, ip);
                } else {
                    self.online.remove(&device);
                }
                self.untold.insert(device, Transition { device, online, ip });
            }
            EndpointEvent::PairVerdict { device, verdict } => {
                let pair = (device.min(verdict.peer), device.max(verdict.peer));
                if self.verdicts.len() < UNTOLD_VERDICTS_MAX || self.verdicts.contains_key(&pair) {
                    self.verdicts.insert(pair, Reported { device, verdict });
                }
            }
            EndpointEvent::Links { device, links } => {
                for link in links {
                    let pair = (device, link.peer);
                    if self.links.len() < UNTOLD_LINKS_MAX || self.links.contains_key(&pair) {
                        let told =
                            self.links.entry(pair).or_insert(LinkReport { tx_bytes: 0, rx_bytes: 0, ..link });
                        let tx_bytes = told.tx_bytes.saturating_add(link.tx_bytes);
                        let rx_bytes = told.rx_bytes.saturating_add(link.rx_bytes);
                        *told = LinkReport { tx_bytes, rx_bytes, ..link };
                    }
                }
            }
            EndpointEvent::Verdict { a, b, from, verdict } => {
                tracing::debug!(%a, %b, %from, ?verdict, "a device reported");
                let word = match verdict {
                    Verdict::Direct { .. } => "direct",
                    Verdict::Relayed => "relayed",
                    Verdict::None => "none",
                };
                metrics::counter!("lanyard_handshake_verdicts_total", "verdict" => word).increment(1);
            }
        }
    }

    async fn ask_to_join(&mut self, ask: u64, identity: PublicKey, remote: SocketAddr, join: Join) {
        let message = ToIndex::Join { ask, identity, ip: source_of(remote.ip()), join };
        if self.asks.len() < ASKS_MAX && self.tell(message) {
            self.asks.insert(ask);
        } else {
            self.decide(ask, JoinOutcome::Refused(JoinRefusal::Unavailable)).await;
        }
    }

    async fn decide(&mut self, ask: u64, outcome: JoinOutcome) {
        self.asks.remove(&ask);
        let word = match outcome {
            JoinOutcome::Joined { .. } => "joined",
            JoinOutcome::Pending { .. } => "pending",
            JoinOutcome::Refused(JoinRefusal::Unavailable) => "unavailable",
            JoinOutcome::Refused(_) => "refused",
        };
        metrics::counter!("lanyard_checkpoint_joins_total", "outcome" => word).increment(1);
        self.command(EndpointCommand::JoinDecided { ask, outcome }).await;
    }

    async fn hear_index(&mut self, message: FromIndex) {
        match message {
            FromIndex::Up => {
                self.is_up = true;
                self.is_up = self.tell(ToIndex::Subscribe { interest: self.interest });
                for (device, ip) in &self.online {
                    let transition = Transition { device: *device, online: true, ip: *ip };
                    self.untold.entry(*device).or_insert(transition);
                }
                self.report();
            }
            FromIndex::Down => {
                self.is_up = false;
                self.seen = None;
                self.report();
                for ask in core::mem::take(&mut self.asks) {
                    self.decide(ask, JoinOutcome::Refused(JoinRefusal::Unavailable)).await;
                }
            }
            FromIndex::SnapshotBegins => self.seen = Some(BTreeMap::new()),
            FromIndex::Changed { change } => self.apply(change).await,
            FromIndex::SnapshotEnds => self.remove_unseen().await,
            FromIndex::JoinDecided { ask, outcome } => self.decide(ask, outcome).await,
            FromIndex::LeaveDone { ask } => self.command(EndpointCommand::LeaveDone { ask }).await,
        }
    }

    async fn apply(&mut self, change: Change) {
        match change {
            Change::Network(network) => {
                self.known.entry(network.id).or_default().revision = network.revision;
                if let Some(seen) = &mut self.seen {
                    seen.entry(network.id).or_default();
                }
                self.command(EndpointCommand::Network(NetworkRecord {
                    id: network.id,
                    name: network.name,
                    prefix4: (network.prefix4.network(), network.prefix4.prefix()),
                    prefix6: network.prefix6,
                    peer_relay: network.peer_relay,
                    revision: network.revision,
                }))
                .await;
            }
            Change::NetworkGone { id } => {
                self.known.remove(&id);
                self.command(EndpointCommand::RemoveNetwork(id)).await;
            }
            Change::Member(member) => {
                let device = DeviceId::of(&member.identity);
                let known = self.known.entry(member.network).or_default();
                known.revision = known.revision.max(member.revision);
                known.members.insert(device);
                if let Some(seen) = &mut self.seen {
                    seen.entry(member.network).or_default().insert(device);
                }
                let Some((network, revision, member)) = record(member) else { return };
                self.command(EndpointCommand::Member { network, revision, member }).await;
            }
            Change::MemberGone { network, revision, device } => {
                let known = self.known.entry(network).or_default();
                known.revision = known.revision.max(revision);
                known.members.remove(&device);
                self.command(EndpointCommand::MemberGone { network, revision, device }).await;
            }
            Change::TryAgain { a, b } => self.command(EndpointCommand::TryAgain { a, b }).await,
            Change::Invite { .. }
            | Change::User { .. }
            | Change::Role { .. }
            | Change::Device { .. }
            | Change::Presence { .. }
            | Change::Link { .. }
            | Change::About { .. }
            | Change::Path { .. }
            | Change::Event { .. }
            | Change::Setting { .. } => {}
        }
    }

    /// After a snapshot: what the machine knows and the snapshot lacks went while the link was down.
    async fn remove_unseen(&mut self) {
        let Some(seen) = self.seen.take() else { return };
        let mut gone = Vec::new();
        for (network, known) in &mut self.known {
            let Some(members) = seen.get(network) else {
                gone.push(EndpointCommand::RemoveNetwork(*network));
                continue;
            };
            let revision = known.revision;
            gone.extend(known.members.difference(members).map(|device| EndpointCommand::MemberGone {
                network: *network,
                revision,
                device: *device,
            }));
            known.members.clone_from(members);
        }
        self.known.retain(|network, _| seen.contains_key(network));
        for command in gone {
            self.command(command).await;
        }
        self.command(EndpointCommand::RosterComplete).await;
        tracing::info!(networks = self.known.len(), "the roster is loaded");
    }

    /// Sends what was collected, as far as the link takes it.
    fn tell_presence(&mut self) {
        while self.is_up && !self.untold.is_empty() {
            let transitions: Vec<Transition> = self.untold.values().take(PRESENCE_MAX).copied().collect();
            let devices: Vec<DeviceId> = transitions.iter().map(|transition| transition.device).collect();
            if !self.tell(ToIndex::Presence { transitions }) {
                break;
            }
            for device in devices {
                self.untold.remove(&device);
            }
        }
        metrics::gauge!("lanyard_checkpoint_online").set(self.online.len() as f64);
    }

    /// Sends the verdicts that were collected, as far as the link takes them.
    fn tell_verdicts(&mut self) {
        while self.is_up && !self.verdicts.is_empty() {
            let reports: Vec<Reported> = self.verdicts.values().take(VERDICTS_MAX).copied().collect();
            let pairs: Vec<_> = self.verdicts.keys().take(VERDICTS_MAX).copied().collect();
            if !self.tell(ToIndex::Verdicts { reports }) {
                break;
            }
            for pair in pairs {
                self.verdicts.remove(&pair);
            }
        }
    }

    /// The same for reports of links.
    fn tell_links(&mut self) {
        while self.is_up && !self.links.is_empty() {
            let some = self.links.iter().take(LINKS_MAX);
            let reports: Vec<Carried> =
                some.map(|((device, _), link)| Carried { device: *device, link: *link }).collect();
            let pairs: Vec<_> = self.links.keys().take(LINKS_MAX).copied().collect();
            if !self.tell(ToIndex::Links { reports }) {
                break;
            }
            for pair in pairs {
                self.links.remove(&pair);
            }
        }
    }

    /// Puts a message into the link; `false` when it is down or full.
    fn tell(&self, message: ToIndex) -> bool {
        self.is_up && self.link.as_ref().is_some_and(|link| link.tx.try_send(message).is_ok())
    }

    async fn command(&self, command: EndpointCommand) {
        // A machine that has ended needs nothing any more.
        let _ = self.commands.send(command).await;
    }

    fn report(&self) {
        metrics::gauge!("lanyard_index_connected").set(if self.is_up { 1.0 } else { 0.0 });
        let state = if self.is_up {
            State::Ok
        } else {
            State::Degraded { why: "the index cannot be reached; nobody can join".to_owned() }
        };
        self.health.set(Service::Checkpoint, state);
    }
}

/// The next message; never without a link.
async fn next(link: &mut Option<Link>) -> Option<FromIndex> {
    match link {
        Some(link) => link.rx.recv().await,
        None => std::future::pending().await,
    }
}

/// Returns once `stop` is true or its sender is gone.
async fn ordered(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// A member as the machine takes it; `None` for one that devices do not hear of.
fn record(member: MemberChange) -> Option<(NetworkId, Revision, MemberRecord)> {
    let state = match member.state {
        memberships::MemberState::Active => MemberState::Active,
        memberships::MemberState::Pending => MemberState::Pending,
        memberships::MemberState::Suspended => MemberState::Suspended,
        memberships::MemberState::Left | memberships::MemberState::Denied => return None,
    };
    let record = MemberRecord {
        identity: member.identity,
        number: member.number,
        wireguard: member.wireguard,
        name: member.name,
        ip4: member.ip4,
        ip6: member.ip6,
        state,
    };
    Some((member.network, member.revision, record))
}
