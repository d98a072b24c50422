//! After every input: the parts are brought in line with each other, and what they want is handed on.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::door::is_door;

use super::{Action, Peer};
use crate::device::attempt::Standing;
use crate::device::path::PathEvent;
use crate::device::punch::Probe;
use crate::device::recall::Help;
use crate::device::status::Advice;
use crate::overlay::Path;
use crate::time::Instant;
use crate::transmit::Way;

/// A flow that stops makes the services hear us, but no more often than this: flows end all the time, and with nearly all
/// of them nothing is wrong.
const POKES_APART: Duration = Duration::from_secs(1);

impl Peer {
    /// Brings everything in line with everything else, hands on what the parts want, and closes sockets that nobody wants.
    pub(super) fn settle(&mut self, why: &'static str, now: Instant) {
        self.align(why, now);
        self.close_sockets(now);
    }

    /// The same, but for the sockets.
    pub(super) fn align(&mut self, why: &'static str, now: Instant) {
        let mut why = why;
        let is_active = self.traffic_at.is_some();
        self.paths.set_active(is_active, now);
        if is_active {
            self.relayed.want();
        }
        while let Some(event) = self.paths.poll_event() {
            match event {
                PathEvent::Chosen { why: chosen, .. } => why = chosen,
                PathEvent::Stopped => self.poke_early(now),
                PathEvent::Suspected => {
                    why = "no answer yet";
                    self.repeats.missed();
                    self.actions.push_back(Action::Poke);
                    self.relayed.renew();
                }
                PathEvent::Lost { way, why: lost } => {
                    why = lost;
                    self.repeats.missed();
                    self.lost(way.remote, now);
                }
            }
        }
        if let Some(carried) = self.align_carried(is_active, now) {
            why = carried;
        }
        self.attempt.set_standing(Standing {
            // A path that does not answer must not narrow the punch that is to replace it.
            direct: self.paths.live().map(|way| (way, self.paths.rtt().unwrap_or_default())),
            has_relay: self.relayed.path().is_some() || self.carried_path().is_some(),
            is_full_size_lost: self.paths.is_full_size_lost(),
        });
        self.recall_if_alone(now);
        self.recall.handle_timeout(now);
        self.hand_on(now);
        let path = self.choose_path();
        if path != self.path {
            let was_carried = self.is_carriers(self.path);
            let from = core::mem::replace(&mut self.path, path);
            self.silence.stop();
            self.actions.push_back(Action::Moved { from, to: path, why });
            if (from.is_direct() || was_carried) && path != Path::None {
                self.repeat(now);
            }
            self.actions.push_back(Action::Learnt);
            self.sound(now);
        }
        let mtu = self.paths.mtu().filter(|_| self.path.is_direct()).unwrap_or(self.least_mtu);
        if mtu != self.mtu {
            self.mtu = mtu;
            self.actions.push_back(Action::Resized);
        }
    }

    /// Our NAT may have forgotten us. The peer will notice as well and send by relay, which should know our present address
    /// by then.
    fn poke_early(&mut self, now: Instant) {
        if self.poked_at.is_none_or(|at| now.saturating_since(at) >= POKES_APART) {
            self.poked_at = Some(now);
            self.actions.push_back(Action::Poke);
        }
    }

    /// What was sent last goes out again.
    pub(super) fn repeat(&mut self, now: Instant) {
        if self.repeats.again(now) {
            self.actions.push_back(Action::Repeat);
        }
    }

    fn choose_path(&self) -> Path {
        if self.traffic_at.is_none() {
            return Path::None;
        }
        let direct = |Way { local, remote }| Path::Direct { local, remote };
        let live = self.paths.live().map(direct).or_else(|| self.carried_path()).or(self.relayed.path());
        live.or_else(|| self.paths.current().map(direct)).unwrap_or_default()
    }

    /// The direct path died: relay, knock at the old address, begin anew.
    fn lost(&mut self, remote: SocketAddr, now: Instant) {
        self.relayed.renew();
        // A connection that broke cannot be knocked at.
        if !is_door(remote) {
            self.recall.remember(&[remote]);
            self.begin_recall(Some(remote), now);
        }
        self.attempt.restart(now);
    }

    /// Without a coordinator only what is remembered helps.
    fn recall_if_alone(&mut self, now: Instant) {
        let is_alone = !self.attempt.is_running()
            && self.attempt.failure() == Some(Advice::CoordinatorUnreachable)
            && self.traffic_at.is_some()
            && self.paths.current().is_none();
        if is_alone && self.recall.is_due(now) {
            self.begin_recall(None, now);
        }
    }

    pub(super) fn begin_recall(&mut self, lost: Option<SocketAddr>, start: Instant) {
        let help = if self.reach.coordinator.is_some() { Help::Coordinator } else { Help::Alone };
        self.recall.begin(lost, &self.expected, help, start, self.rng.fork(b"recall"));
    }

    /// Turns what the parts want into actions.
    fn hand_on(&mut self, now: Instant) {
        let mut probes: Vec<Probe> = Vec::new();
        probes.extend(core::iter::from_fn(|| self.paths.poll_probe()));
        probes.extend(core::iter::from_fn(|| self.attempt.poll_probe()));
        probes.extend(core::iter::from_fn(|| self.recall.poll_probe()));
        for probe in probes {
            let is_path = self.paths.current() == Some(probe.way);
            if let Some(ping) = self.pings.ping(probe.way, probe.size, is_path, now) {
                self.actions.push_back(Action::Send(ping));
            }
        }
        while let Some(wish) = self.attempt.poll_wish() {
            self.actions.push_back(Action::Attempt(wish));
        }
        while let Some(wish) = self.relayed.poll_wish() {
            self.actions.push_back(Action::Relay(wish));
        }
    }
}
