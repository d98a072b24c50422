//! What acts of a scenario do to the world, and what they excuse.

use std::ops::Range;
use std::time::Duration;

use lanyard_proto::device::Command;
use lanyard_proto::overlay::Path;
use lanyard_wire::names::NetworkName;

use crate::attack;
use crate::link::Link;
use crate::net::{HostId, Place, ServerId, SiteId};
use crate::oracle::{Disturbance, KEEP_ALIVE};
use crate::rule;
use crate::script::{Act, Flow};
use crate::services::control_addrs;
use crate::trace::Party;
use crate::world::World;

/// Longest pause of a device that found its coordinator away, with its jitter.
const BACK_OFF: Duration = Duration::from_secs(65);

/// A pair in use moves to another path within this.
const MOVE: Duration = Duration::from_secs(2);

/// A pair leaves a carrier whose link loses much within this: each suspicion has a chance to be answered by luck.
const CARRIER_LEFT: Duration = Duration::from_secs(10);

/// After an attempt failed the next one but one may be this far away.
const RETRY: Duration = Duration::from_secs(180);

/// Forged packets of services or peers that a router takes in make it show those another port, as if its mapping
/// depended on the destination: until it forgets them (30 s) and the device's next netcheck (330 s) and retry are over.
const MISLED: Duration = Duration::from_secs(30 + 330 + RETRY.as_secs());

/// A dear guess that failed is not repeated between the same two networks for ten minutes, which is what it may cost by
/// design; then the next retry is waited for.
pub(crate) const REST: Duration = Duration::from_secs(600 + RETRY.as_secs());

impl World {
    /// An act begins.
    pub(crate) fn begin(&mut self, act: Act) {
        self.excuse(&act, act.lasts(), |_, _| true);
        self.trace.note(self.now, Party::Stranger, || format!("{act:?}"));
        match act {
            Act::Crash(host, _) => self.with_host(host, |computer, now| computer.stop(false, now)),
            Act::Shutdown(host, _) => self.with_host(host, |computer, now| computer.stop(true, now)),
            Act::Suspend(host, away) => {
                let until = self.now + away;
                for agent in self.agents(host) {
                    self.with_host(agent, |computer, _| {
                        computer.asleep_until = Some(until);
                        crate::host::Effects::default()
                    });
                }
            }
            Act::Roam(host, site) => {
                self.plug(self.net.computer_of(host), site);
                for agent in self.agents(host) {
                    self.plug(agent, site);
                    self.announce_later(agent);
                }
                self.excuse_arrival(host);
            }
            Act::ClockJump(host, seconds) => {
                if let Some(computer) = self.hosts.get_mut(host.0) {
                    computer.clock_error_s = seconds;
                }
            }
            Act::NatReboot(site) => self.net.reboot(site),
            Act::NatRebind(site) => self.net.rebind(site),
            Act::NewAddress(site) => {
                self.net.renumber(site);
                for number in 0..self.hosts.len() {
                    self.note_footprint(HostId(number));
                }
            }
            Act::SetLink(site, link) => {
                if let Some(site) = self.net.site_mut(site) {
                    site.config.link = link;
                }
            }
            Act::Lossy(site, percent, _) => self.set_weather(site, |link| link.lossy(percent)),
            Act::BlackHole(site, mtu, _) => self.set_weather(site, |link| link.narrow(mtu)),
            Act::UplinkDown(site, _) => self.set_down(site, true),
            Act::Partition(site, coordinator, _) => self.set_partition(site, coordinator, true, true),
            Act::OneWay(site, coordinator, _) => self.set_partition(site, coordinator, true, false),
            Act::Sever(a, b, _) => self.set_severed(a, b, true),
            Act::CoordinatorCrash(coordinator, _) => self.crash_servers(coordinator, 0..usize::MAX),
            Act::RelayCrash(coordinator, _) => self.crash_servers(coordinator, 1..2),
            Act::RelayDrain(coordinator, _) => self.end_relay(coordinator),
            Act::Further(site, machine, longer) => self.set_further(site, machine, longer),
            Act::Hostile(count) => attack::attack(self, count),
            Act::Leave(host, network) => self.leave(host, network),
            Act::Remove(host, network) => self.remove(host, network),
            Act::Join(host, network) => self.join(host, network),
            Act::Refuse(host, peer, refused) => self.refuse(host, peer, refused),
        }
    }

    /// An act that lasts ends.
    pub(crate) fn finish(&mut self, act: Act) {
        self.trace.note(self.now, Party::Stranger, || format!("end of {act:?}"));
        match act {
            Act::Crash(host, _) | Act::Shutdown(host, _) => self.switch_on(host),
            Act::Lossy(site, ..) | Act::BlackHole(site, ..) => self.set_weather(site, |link| link),
            Act::UplinkDown(site, _) => self.set_down(site, false),
            Act::Partition(site, coordinator, _) => self.set_partition(site, coordinator, false, true),
            Act::OneWay(site, coordinator, _) => self.set_partition(site, coordinator, false, false),
            Act::Sever(a, b, _) => self.set_severed(a, b, false),
            Act::CoordinatorCrash(coordinator, _) => {
                let places = self.coordinators.get(coordinator).map_or(0, |entry| entry.servers.len());
                for place in 0..places {
                    self.start_server(coordinator, place);
                }
            }
            Act::RelayCrash(coordinator, _) => self.start_server(coordinator, 1),
            Act::RelayDrain(coordinator, _) => self.crash_servers(coordinator, 1..2),
            Act::Suspend(..)
            | Act::Roam(..)
            | Act::ClockJump(..)
            | Act::NatReboot(_)
            | Act::NatRebind(_)
            | Act::NewAddress(_)
            | Act::SetLink(..)
            | Act::Further(..)
            | Act::Hostile(_)
            | Act::Leave(..)
            | Act::Remove(..)
            | Act::Join(..)
            | Act::Refuse(..) => {}
        }
    }

    /// A sleeping computer wakes up.
    pub(crate) fn wake_up(&mut self, host: HostId) {
        if let Some(computer) = self.hosts.get_mut(host.0) {
            computer.asleep_until = None;
        }
        self.trace.note(self.now, Party::Device(host.0), || "wakes up".to_owned());
    }

    /// A host asks to join a network, with the invite that its join string carries.
    pub(crate) fn join(&mut self, host: HostId, network: usize) {
        let Some((name, key, invite)) = self.invitation(network) else { return };
        self.joined.insert((host, network));
        self.with_host(host, |computer, now| computer.join(key, name, Some(invite), now));
    }

    fn invitation(
        &self,
        network: usize,
    ) -> Option<(NetworkName, lanyard_wire::keys::PublicKey, lanyard_wire::names::InviteCode)> {
        let wanted = format!("net-{network}");
        self.coordinators.iter().find_map(|coordinator| {
            let door = coordinator.door()?;
            let (_, name, invite) =
                coordinator.index.invitations().find(|(_, name, _)| name.as_str() == wanted)?;
            Some((name, door.key, invite))
        })
    }

    fn leave(&mut self, host: HostId, network: usize) {
        if let Some((_, id)) = self.network_id(network) {
            self.with_host(host, |computer, now| {
                computer.commanded(Command::Leave { tag: 2, network: id }, now)
            });
        }
    }

    fn remove(&mut self, host: HostId, network: usize) {
        let (Some((coordinator, id)), Some(computer)) = (self.network_id(network), self.hosts.get(host.0))
        else {
            return;
        };
        let (device, now) = (computer.device, self.now);
        if let Some(entry) = self.coordinators.get_mut(coordinator) {
            let all = entry.remove(id, device, now);
            self.apply_answers(coordinator, all);
        }
    }

    fn refuse(&mut self, host: HostId, peer: HostId, refused: bool) {
        let Some(device) = self.hosts.get(peer.0).map(|computer| computer.device) else { return };
        self.with_host(host, |computer, now| computer.refuse(device, refused, now));
    }

    fn network_id(&self, network: usize) -> Option<(usize, lanyard_wire::ids::NetworkId)> {
        let wanted = format!("net-{network}");
        self.coordinators.iter().enumerate().find_map(|(number, coordinator)| {
            let found = coordinator.index.invitations().find(|(_, name, _)| name.as_str() == wanted)?;
            Some((number, found.0))
        })
    }

    /// The uplink as it was built, with something changed.
    fn set_weather(&mut self, site: SiteId, change: impl Fn(Link) -> Link) {
        if let (Some(built), Some(entry)) = (self.scenario.sites.get(site.0), self.net.site_mut(site)) {
            entry.config.link = change(built.link);
        }
    }

    fn set_down(&mut self, site: SiteId, is_down: bool) {
        if let Some(site) = self.net.site_mut(site) {
            site.down = is_down;
        }
    }

    fn set_partition(&mut self, site: SiteId, coordinator: usize, is_cut: bool, both_ways: bool) {
        let outermost = self.outermost(site);
        let servers: Vec<_> = self
            .coordinators
            .get(coordinator)
            .map(|entry| entry.servers.iter().map(|server| server.id).collect())
            .unwrap_or_default();
        for server in servers {
            self.net.cut(Place::Server(server), Place::Gate(outermost), is_cut);
            if both_ways {
                self.net.cut(Place::Gate(outermost), Place::Server(server), is_cut);
            }
        }
    }

    fn set_further(&mut self, site: SiteId, machine: usize, longer: Duration) {
        let server = self.coordinators.first().and_then(|entry| entry.servers.get(machine));
        if let Some(server) = server.map(|server| server.id) {
            self.net.set_further(Place::Gate(self.outermost(site)), Place::Server(server), longer);
        }
    }

    fn set_severed(&mut self, a: SiteId, b: SiteId, is_cut: bool) {
        let (a, b) = (Place::Gate(self.outermost(a)), Place::Gate(self.outermost(b)));
        self.net.cut(a, b, is_cut);
        self.net.cut(b, a, is_cut);
    }

    fn crash_servers(&mut self, coordinator: usize, places: Range<usize>) {
        if let Some(entry) = self.coordinators.get_mut(coordinator) {
            for place in places.start..places.end.min(entry.servers.len()) {
                entry.crash(place);
            }
        }
    }

    fn end_relay(&mut self, coordinator: usize) {
        let now = self.now;
        if let Some(entry) = self.coordinators.get_mut(coordinator) {
            let all = entry.end(1, now);
            self.apply_answers(coordinator, all);
        }
    }

    fn outermost(&self, site: SiteId) -> SiteId {
        self.chain(site).last().copied().unwrap_or(site)
    }

    pub(crate) fn chain(&self, site: SiteId) -> Vec<SiteId> {
        std::iter::successors(Some(site), |site| self.net.site(*site).and_then(|entry| entry.config.via))
            .collect()
    }

    /// A computer arrives where faults began before: from those it is excused for what is left of them, as everybody
    /// there is. A move takes two seconds where links are good, and on one that loses most of what it carries as long as
    /// anything does there.
    fn excuse_arrival(&mut self, host: HostId) {
        let now = self.now;
        let begun = self.scenario.acts.iter().filter(|(at, _)| *at <= now);
        let left: Vec<_> = begun.map(|(at, act)| (*act, (*at + act.lasts()).saturating_since(now))).collect();
        for (act, left) in left.into_iter().filter(|(_, left)| !left.is_zero()) {
            self.excuse(&act, left, |world, end| world.net.computer_of(end) == world.net.computer_of(host));
        }
    }

    /// Tells every flow that the act touches, and that has an end of which `concerns` says so, what it is excused from
    /// by an act that takes `lasts` from now on.
    fn excuse(&mut self, act: &Act, lasts: Duration, concerns: impl Fn(&Self, HostId) -> bool) {
        let now = self.now;
        for number in 0..self.flows.len() {
            let Some(state) = self.flows.get(number) else { continue };
            let (flow, is_lively) = (state.flow, state.watch.is_lively(now));
            if ![flow.from, flow.to].into_iter().any(|end| concerns(self, end)) {
                continue;
            }
            let disturbance = self.disturbance(act, lasts, &flow, is_lively);
            // The guess that the act foiled may have been one of another pair between the same networks.
            let may_rest = !act.is_harmless() && rule::is_dear(&self.net, flow.from, flow.to);
            if may_rest && let Some(state) = self.flows.get_mut(number) {
                state.watch.excuse_direct(lasts + REST, now);
            }
            let Some(disturbance) = disturbance else { continue };
            let view = self.view(flow.from, flow.to);
            if let Some(state) = self.flows.get_mut(number) {
                state.watch.on_disturbance(disturbance, &view, now);
            }
        }
    }

    /// Whether the router of either end remembers packets that nobody inside asked for.
    fn takes_in_strangers(&self, flow: &Flow) -> bool {
        let homes = [flow.from, flow.to].into_iter().filter_map(|host| self.net.site_of(host));
        let sites = homes.flat_map(|home| self.chain(home)).filter_map(|site| self.net.site(site));
        sites.into_iter().any(|site| site.config.nat.accepts_strangers)
    }

    /// Whether an end of a pair sends through a member that relays, and one of those is at this site.
    fn is_carried_at(&self, flow: &Flow, site: SiteId) -> bool {
        let is_server = |relay| {
            (0..self.scenario.services.coordinators * self.scenario.services.machines())
                .any(|server| control_addrs(ServerId(server)).contains(&relay))
        };
        let is_carried = |end: HostId, other: HostId| {
            let peer = self.host(other).map(|host| host.device);
            let path = self.host(end).zip(peer).map(|(host, peer)| host.path_to(&peer));
            matches!(path, Some(Path::Relayed { relay, .. }) if !is_server(relay))
        };
        let mut relaying = (0..).map(HostId).zip(&self.scenario.hosts).filter(|(_, plan)| plan.relays);
        (is_carried(flow.from, flow.to) || is_carried(flow.to, flow.from))
            && relaying
                .any(|(host, _)| self.net.site_of(host).is_some_and(|home| self.chain(home).contains(&site)))
    }

    fn disturbance(&self, act: &Act, lasts: Duration, flow: &Flow, is_lively: bool) -> Option<Disturbance> {
        let at_host = |host: &HostId| *host == flow.from || *host == flow.to;
        let computers = [flow.from, flow.to].map(|host| self.net.computer_of(host));
        let at_computer = |host: &HostId| computers.contains(&self.net.computer_of(*host));
        let at_site = |site: &SiteId| {
            let mine = [flow.from, flow.to].into_iter().filter_map(|host| self.net.site_of(host));
            mine.flat_map(|home| self.chain(home)).any(|other| other == *site)
        };
        let moved = if is_lively { MOVE } else { KEEP_ALIVE };
        let (excused, relayed, spares_direct) = match act {
            Act::NatReboot(site) | Act::NatRebind(site) | Act::NewAddress(site) if at_site(site) => {
                (moved, moved, false)
            }
            Act::SetLink(site, _) if at_site(site) => (moved, RETRY, false),
            Act::Roam(host, _) if at_computer(host) => (Duration::from_millis(2_500), MOVE, false),
            Act::Crash(host, _) | Act::Shutdown(host, _) if at_host(host) => {
                (lasts + Duration::from_secs(5), lasts + Duration::from_secs(30), false)
            }
            Act::Suspend(host, _) if at_computer(host) => {
                (lasts + Duration::from_secs(10), lasts + RETRY, false)
            }
            // Of two packets on such a link and back one in eight arrives, and sessions end for want of an answer.
            Act::Lossy(site, ..) if at_site(site) => (lasts + BACK_OFF, lasts + BACK_OFF + RETRY, false),
            // Its carrier has such a link: of what goes there and on again less than half comes, and still some probes are answered.
            Act::Lossy(site, ..) if self.is_carried_at(flow, *site) => (lasts + CARRIER_LEFT, Duration::ZERO, true),
            // Small packets go on as if nothing were; whether a direct path for large ones is left is open.
            Act::BlackHole(site, ..) if at_site(site) => (Duration::ZERO, lasts + RETRY, false),
            Act::UplinkDown(site, _) if at_site(site) => (lasts + BACK_OFF, lasts + BACK_OFF + RETRY, false),
            Act::Partition(site, ..) | Act::OneWay(site, ..) if at_site(&self.outermost(*site)) => {
                (lasts + BACK_OFF, lasts + BACK_OFF + RETRY, true)
            }
            Act::Sever(a, b, _) if at_site(&self.outermost(*a)) && at_site(&self.outermost(*b)) => {
                (moved, lasts + RETRY, false)
            }
            Act::CoordinatorCrash(..) | Act::RelayCrash(..) => {
                (lasts + BACK_OFF, lasts + BACK_OFF + RETRY, true)
            }
            Act::Hostile(_) if self.takes_in_strangers(flow) => (Duration::ZERO, MISLED, false),
            Act::Refuse(host, peer, true) if at_host(host) && at_host(peer) => (MOVE, MOVE, false),
            // Nobody is told that a refusal ended: who was refused tries again with ever longer pauses.
            Act::Refuse(host, peer, false) if at_host(host) && at_host(peer) => (BACK_OFF, RETRY, false),
            Act::Join(host, _) | Act::Leave(host, _) | Act::Remove(host, _) if at_host(host) => {
                (MOVE, MOVE, false)
            }
            Act::NatReboot(_)
            | Act::NatRebind(_)
            | Act::NewAddress(_)
            | Act::SetLink(..)
            | Act::Roam(..)
            | Act::Crash(..)
            | Act::Shutdown(..)
            | Act::Suspend(..)
            | Act::UplinkDown(..)
            | Act::Partition(..)
            | Act::OneWay(..)
            | Act::Lossy(..)
            | Act::BlackHole(..)
            | Act::Sever(..)
            | Act::ClockJump(..)
            // Whoever has another relay goes there before this one ends.
            | Act::RelayDrain(..)
            // Nothing stops because something takes longer.
            | Act::Further(..)
            | Act::Hostile(_)
            | Act::Refuse(..)
            | Act::Join(..)
            | Act::Leave(..)
            | Act::Remove(..) => return None,
        };
        Some(Disturbance { excused, relayed, spares_direct })
    }
}
