//! Looking at a running world on the oracle's behalf, and the packets of flows.

use std::net::{IpAddr, SocketAddr};

use lanyard_proto::overlay::Path;
use lanyard_proto::time::Instant;
use lanyard_wire::checkpoint::{LinkReport, PairVerdict};
use lanyard_wire::envelope;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::limits::PROBE_LEN;

use crate::acts::REST;
use crate::echo::Echo;
use crate::host::Fact;
use crate::net::HostId;
use crate::oracle::{KEEP_ALIVE, QUIET_AFTER, REMOVED_WITHIN, View};
use crate::plane::SPARES_MAX;
use crate::rule::{self, Expect, PROOF};
use crate::script::Flow;
use crate::services::is_joined;
use crate::world::World;

impl World {
    /// A quarter of a second is over: every flow, every table, every clock is looked at.
    pub(crate) fn look(&mut self) {
        let (now, calm_at) = (self.now, self.calm_at());
        let calm_since = self.scenario.calm_since(now);
        self.note_online();
        for number in 0..self.flows.len() {
            let Some(flow) = self.flows.get(number).map(|state| state.flow) else { continue };
            // A pair that rests is owed nothing.
            if flow.spells.is_some() && flow.spell_at(now).is_none() {
                continue;
            }
            let view = self.view(flow.from, flow.to);
            let put_off_at = self.ran_out_at(&flow).max(self.crowded_at(&flow));
            let Some(state) = self.flows.get_mut(number) else { continue };
            if let Some(at) = put_off_at {
                state.watch.excuse_direct(REST, at);
            }
            if let Err(violation) = state.watch.check(&view, calm_since, now) {
                self.violation.get_or_insert(violation);
            }
        }
        self.check_tables();
        self.check_bounds();
        let silent_from = self.flows.iter().map(|state| state.flow.end).max().unwrap_or(Instant::ZERO);
        if silent_from < Instant::MAX && now > silent_from.max(calm_at) + QUIET_AFTER {
            self.quiet_from.get_or_insert(now);
        }
    }

    /// When the router of either end last had no port left: nobody punches through that one.
    fn ran_out_at(&self, flow: &Flow) -> Option<Instant> {
        let homes = [flow.from, flow.to].into_iter().filter_map(|host| self.net.site_of(host));
        homes.flat_map(|home| self.chain(home)).filter_map(|site| self.net.site(site)?.nat.full_at()).max()
    }

    /// When guesses last held so much of the block of either end that the pair's own one is put off, if it needs one.
    fn crowded_at(&self, flow: &Flow) -> Option<Instant> {
        let homes = [flow.from, flow.to].into_iter().filter_map(|host| self.net.site_of(host));
        let sites = homes.flat_map(|home| self.chain(home));
        let last = sites.filter_map(|site| self.net.site(site)?.nat.crowded_at()).max()?;
        rule::is_dear(&self.net, flow.from, flow.to).then_some(last)
    }

    /// A pair as it is now.
    pub(crate) fn view(&self, a: HostId, b: HostId) -> View {
        let nothing = View {
            is_online: false,
            is_possible: false,
            expect: Expect::Nothing,
            forth: Path::None,
            back: Path::None,
        };
        let (Some(first), Some(second)) = (self.hosts.get(a.0), self.hosts.get(b.0)) else { return nothing };
        let refuses = first.refused.contains(&second.device) || second.refused.contains(&first.device);
        let shares = self
            .coordinators
            .iter()
            .find(|coordinator| coordinator.index.shared_address(&first.device, &second.device).is_some());
        let serves =
            shares.is_some_and(|coordinator| coordinator.servers.iter().all(|s| s.endpoint().is_some()));
        let is_possible = first.is_awake() && second.is_awake() && shares.is_some() && !refuses;
        View {
            is_online: is_possible && serves && first.is_online() && second.is_online(),
            is_possible,
            expect: rule::expect(&self.net, a, b),
            forth: first.path_to(&second.device),
            back: second.path_to(&first.device),
        }
    }

    /// Sends the next packet of a flow to where its target was last known.
    pub(crate) fn send_ask(&mut self, number: usize, flow: Flow) {
        let (Some(from), Some(to)) = (self.hosts.get(flow.from.0), self.hosts.get(flow.to.0)) else { return };
        let known = self.coordinators.iter().find_map(|coordinator| {
            let target = coordinator.index.shared_address(&from.device, &to.device)?;
            Some((coordinator.index.shared_address(&to.device, &from.device)?, target))
        });
        let Some(state) = self.flows.get_mut(number) else { return };
        state.address = known.or(state.address);
        let Some((source, target)) = state.address else { return };
        state.sequence += 1;
        state.watch.record.asked += 1;
        let id = u16::try_from(number).unwrap_or(u16::MAX);
        if let Some(echo) = Echo::question(source, target, id, state.sequence, flow.size) {
            self.with_host(flow.from, |host, now| host.send_echo(echo, now).1);
        }
    }

    /// A packet of a flow came out of a tunnel.
    pub(crate) fn on_echo(&mut self, host: HostId, path: Path, echo: &Echo) {
        let now = self.now;
        if !echo.is_answer {
            let answer = echo.answer();
            self.with_host(host, |computer, now| computer.send_echo(answer, now).1);
            return;
        }
        let Some(state) = self.flows.get_mut(usize::from(echo.flow)) else { return };
        if state.flow.from == host && state.answered.insert(echo.sequence) {
            if state.answered.len() > 256 {
                state.answered.pop_first();
            }
            state.watch.on_answer(path.is_direct(), now);
        }
    }

    /// The run is over: what was to become quiet is quiet.
    pub(crate) fn judge_end(&mut self) {
        let Some(from) = self.quiet_from else { return };
        let halves = self.now.saturating_since(from).as_secs() / 30 + 1;
        let peers = u64::try_from(self.hosts.len()).unwrap_or(1);
        // Keep-alives to every service, one netcheck, and per peer two pings with answers or one more attempt.
        // That attempt may have to probe 16 ports six times, where ports are counted.
        let budget = halves * (60 + 60 * peers) + 96 * peers;
        let loud =
            self.late_sends.iter().find(|(_, sent)| **sent > budget).map(|(host, sent)| (*host, *sent));
        if let Some((host, sent)) = loud {
            let detail = format!("d{} sent {sent} datagrams since {from}, {budget} are enough", host.0);
            self.broken("quiet", detail, vec![host]);
        }
    }

    /// What a host reported.
    pub(crate) fn judge_fact(&mut self, host: HostId, fact: &Fact) {
        match fact {
            Fact::Joined(outcome) if !is_joined(outcome) => {
                self.broken("join", format!("d{}: {outcome:?}", host.0), vec![host]);
            }
            // Between the end of a membership and the peer's new table its old address may still come.
            Fact::Spoofed(peer, Some(source)) if self.owned(source) == Some(*peer) => {}
            Fact::Spoofed(peer, source) => {
                let detail = format!("d{} got an inner packet from {source:?}, not its peer {peer}", host.0);
                self.broken("spoofing", detail, vec![host]);
            }
            Fact::Flood(count) => {
                let detail = format!("d{} wants {count} datagrams sent at once", host.0);
                self.broken("queue", detail, vec![host]);
            }
            Fact::Sockets => {
                let detail = format!("d{} wants more than {SPARES_MAX} spare sockets", host.0);
                self.broken("queue", detail, vec![host]);
            }
            Fact::Closed(local) => {
                let detail = format!("d{} sends a tunnel's data by {local}, which is closed", host.0);
                self.broken("socket", detail, vec![host]);
            }
            Fact::Joined(_) | Fact::Left(_) | Fact::Removed(_) | Fact::Path { .. } | Fact::Table(_) => {}
        }
    }

    /// Only members of one network exchange packets.
    pub(crate) fn check_membership(&mut self, host: HostId, from: HostId) {
        if let Some(since) = self.apart_since(host, from)
            && self.is_long_online(host, since)
        {
            let detail = format!("d{} took a packet of d{}, and they share no network", host.0, from.0);
            self.broken("membership", detail, vec![host, from]);
        }
    }

    /// A probe goes to an address where a member of a shared network is or was, and nowhere else: nobody outside
    /// the network hears of a candidate.
    pub(crate) fn check_disclosure(&mut self, host: HostId, target: SocketAddr, bytes: &[u8]) {
        if !matches!(bytes.first(), Some(&(envelope::PING | envelope::PONG | envelope::CARRY))) {
            return;
        }
        if self.provoked.contains(&(host, target, bytes.len())) {
            return;
        }
        let is_known = self.hosts.iter().any(|other| {
            other.id != host
                && self.footprints.get(&other.id).is_some_and(|ips| ips.contains(&target.ip()))
                && self.apart_since(host, other.id).is_none_or(|since| !self.is_long_online(host, since))
        });
        if !is_known {
            let detail = format!("d{} probes {target}, where no member of its networks is", host.0);
            self.broken("disclosure", detail, vec![host]);
        }
    }

    /// A recording of something authentic reaches a host from anywhere: the host may ask there for a proof, and
    /// answers a ping with as much as came.
    pub(crate) fn note_provocation(&mut self, host: HostId, source: SocketAddr, bytes: &[u8]) {
        let lengths = match bytes.first() {
            Some(&envelope::PING) => [PROBE_LEN, bytes.len()],
            // Data that is not yet known vouches for its source: WireGuard's roaming rule.
            Some(4) => [PROBE_LEN, PROOF],
            _ => return,
        };
        self.provoked.extend(lengths.map(|length| (host, source, length)));
    }

    /// What the first coordinator was told of a pair last, and by whom.
    #[must_use]
    pub fn verdict_of(&self, one: HostId, other: HostId) -> Option<(HostId, PairVerdict)> {
        let (one, other) = (self.hosts.get(one.0)?.device, self.hosts.get(other.0)?.device);
        let told = self.coordinators.first()?.verdicts.get(&(one.min(other), one.max(other)))?;
        Some((self.host_of(&told.0)?, told.1))
    }

    /// What the first coordinator was told last of the data between two, by the first of them, and the bytes of all it was told:
    /// sent and received.
    #[must_use]
    pub fn carried(&self, one: HostId, other: HostId) -> Option<(LinkReport, (u64, u64))> {
        let pair = (self.hosts.get(one.0)?.device, self.hosts.get(other.0)?.device);
        self.coordinators.first()?.carried.get(&pair).copied()
    }

    /// Removed members are gone from the tables of everybody who could have heard of it.
    fn check_tables(&mut self) {
        let mut wrong = None;
        for host in &self.hosts {
            let Some(table) = host.table() else { continue };
            for peer in &table.peers {
                let Some(other) = self.host_of(&peer.device) else { continue };
                if let Some(since) = self.apart_since(host.id, other)
                    && self.is_long_online(host.id, since)
                {
                    wrong = Some((host.id, other, "is a stranger"));
                }
                if host.refused.contains(&peer.device) {
                    wrong = Some((host.id, other, "is refused"));
                }
            }
        }
        if let Some((host, other, why)) = wrong {
            let detail = format!("d{} has d{} in its table, which {why}", host.0, other.0);
            self.broken("membership", detail, vec![host, other]);
        }
    }

    /// Tables of the services do not grow beyond what there is.
    fn check_bounds(&mut self) {
        let hosts = self.hosts.len();
        let mut wrong = None;
        for coordinator in &self.coordinators {
            for server in &coordinator.servers {
                let Some(endpoint) = server.endpoint() else { continue };
                let (sessions, bindings) = (endpoint.sessions(), endpoint.bindings());
                // A device may hold its old session and a new one; a pair has one binding.
                if sessions > 2 * hosts || bindings > hosts * hosts {
                    wrong = Some(format!("{sessions} sessions and {bindings} bindings for {hosts} devices"));
                }
                let counted = server.counted;
                if counted.arrived != counted.taken + counted.ignored {
                    wrong = Some(format!("the counters of s{} do not add up: {counted:?}", server.id.0));
                }
            }
        }
        if let Some(detail) = wrong {
            self.broken("bounds", detail, Vec::new());
        }
    }

    /// Whose overlay address it is, or was.
    fn owned(&self, ip: &IpAddr) -> Option<DeviceId> {
        self.coordinators.iter().find_map(|coordinator| coordinator.index.owner_of(ip))
    }

    fn note_online(&mut self) {
        for host in &self.hosts {
            if host.is_online() {
                self.online_since.entry(host.id).or_insert(self.now);
            } else {
                self.online_since.remove(&host.id);
            }
        }
    }

    /// Online for as long as a removal may take, and the removal at least as long ago.
    fn is_long_online(&self, host: HostId, since: Instant) -> bool {
        let is_disturbed = self.scenario.acts.iter().any(|(at, act)| !act.is_harmless() && *at <= self.now);
        // A device whose router forgot it is online in its own eyes until the next keep-alive.
        let told_by =
            self.scenario.calm_since(self.now) + (KEEP_ALIVE + REMOVED_WITHIN) * self.scenario.patience;
        let excused = is_disturbed && self.now < told_by;
        !excused
            && self.now.saturating_since(since) > REMOVED_WITHIN * self.scenario.patience
            && self.online_since.get(&host).is_some_and(|online| {
                self.now.saturating_since(*online) > REMOVED_WITHIN * self.scenario.patience
            })
    }

    /// Since when two hosts share no network anywhere; `None` if they do.
    fn apart_since(&self, a: HostId, b: HostId) -> Option<Instant> {
        let (a, b) = (self.hosts.get(a.0)?.device, self.hosts.get(b.0)?.device);
        let ends = self.coordinators.iter().map(|coordinator| coordinator.index.apart_since(&a, &b));
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}
