//! The tables behind admission: sessions, devices, and how long each is kept.
//!
//! Every table has a bound. Sessions: the new one is refused. Devices that are member of nothing: few per
//! source, and when all places are taken the oldest goes. What is remembered of devices without a session,
//! against replays: the one that would be forgotten first goes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::ids::{DeviceId, SessionIndex};

use super::bucket::Source;
use super::session::{Devices, Remembered, Session, Sessions};
use crate::rejected::Rejected;
use crate::rng::Rng;
use crate::time::{Instant, Wakeup};
use crate::timers::Timers;

/// How long a session may be silent: three keep-alives of 25 s with their jitter, and some for the way.
pub(super) const SILENCE: Duration = Duration::from_secs(85);

/// How long a granted session may stay unspoken: the device answers at once, so this is many round trips.
const UNSPOKEN: Duration = Duration::from_secs(10);

/// How long timestamps of a device without a session are remembered.
const MEMORY: Duration = Duration::from_secs(3_600);

/// How the tables are bounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Sessions of all kinds.
    pub(super) sessions: usize,
    /// Sessions of devices that are member of nothing.
    pub(super) guests: usize,
    /// Of these, from one source.
    pub(super) guests_per_source: u16,
    /// Devices that are remembered without a session.
    pub(super) remembered: usize,
}

impl Bounds {
    /// The bounds of a coordinator: a million devices in a gigabyte, four thousand that wait to be let in, 64 of
    /// them behind one address.
    pub(super) const USUAL: Self =
        Self { sessions: 1 << 20, guests: 4_096, guests_per_source: 64, remembered: 65_536 };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Look whether the session was silent for too long.
    Silence(SessionIndex),
    /// The granted session has not spoken in time.
    Unspoken(SessionIndex),
}

/// Sessions and devices of one endpoint.
#[derive(Debug)]
pub(super) struct Register {
    bounds: Bounds,
    sessions: Sessions,
    devices: Devices,
    timers: Timers<Timer>,
    forget: Timers<DeviceId>,
    guests: BTreeMap<Source, u16>,
    guests_by_age: BTreeSet<(Instant, SessionIndex)>,
    ended: Vec<DeviceId>,
}

impl Register {
    pub(super) fn new(bounds: Bounds, rng: Rng) -> Self {
        Self {
            sessions: Sessions::new(bounds.sessions, rng),
            bounds,
            devices: Devices::default(),
            timers: Timers::new(),
            forget: Timers::new(),
            guests: BTreeMap::new(),
            guests_by_age: BTreeSet::new(),
            ended: Vec::new(),
        }
    }

    pub(super) const fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn devices(&self) -> usize {
        self.devices.len()
    }

    pub(super) fn guests(&self) -> usize {
        self.guests_by_age.len()
    }

    pub(super) fn session(&self, index: SessionIndex) -> Option<&Session> {
        self.sessions.get(index)
    }

    pub(super) fn session_mut(&mut self, index: SessionIndex) -> Option<&mut Session> {
        self.sessions.get_mut(index)
    }

    /// The session under which a device speaks now.
    pub(super) fn current(&self, device: &DeviceId) -> Option<&Session> {
        self.sessions.get(self.devices.get(device)?.current?)
    }

    pub(super) fn current_mut(&mut self, device: &DeviceId) -> Option<&mut Session> {
        self.sessions.get_mut(self.devices.get(device)?.current?)
    }

    /// Takes note that a device asks for a session; refuses what was seen before and what comes too often.
    pub(super) fn ask(
        &mut self,
        device: DeviceId,
        boot: u64,
        timestamp_ms: u64,
        now: Instant,
    ) -> Result<(), Rejected> {
        if self.devices.get(&device).is_none() && self.forget.len() >= self.bounds.remembered {
            self.forget_first();
        }
        let remembered = self.devices.entry(device, now);
        if !remembered.has_session() {
            self.forget.set(device, now + MEMORY);
        }
        if !remembered.is_fresh(boot, timestamp_ms) {
            Err(Rejected::Replayed)
        } else if !remembered.asks.take(Remembered::ASKS, 1, now) {
            Err(Rejected::RateLimited)
        } else {
            Ok(())
        }
    }

    /// Makes room for a session of a device and names its index, to be granted next.
    pub(super) fn reserve(
        &mut self,
        device: DeviceId,
        is_known: bool,
        remote: SocketAddr,
        now: Instant,
    ) -> Result<SessionIndex, Rejected> {
        if let Some(pending) = self.devices.get(&device).and_then(|remembered| remembered.pending) {
            self.remove(pending, now);
        }
        if !is_known {
            let from_there = self.guests.get(&Source::of(remote.ip())).copied().unwrap_or(0);
            if from_there >= self.bounds.guests_per_source {
                return Err(Rejected::RateLimited);
            }
            if self.guests_by_age.len() >= self.bounds.guests
                && let Some((_, oldest)) = self.guests_by_age.first().copied()
            {
                self.remove(oldest, now);
            }
        }
        self.sessions.reserve().ok_or(Rejected::Full)
    }

    /// Puts in the session that was reserved; it is current once it speaks.
    pub(super) fn grant(
        &mut self,
        mut session: Session,
        is_known: bool,
        now: Instant,
    ) -> Result<(), Rejected> {
        let device = session.device;
        let source = Source::of(session.place.addr().ip());
        session.guest_of = (!is_known).then_some((source, now));
        let index = self.sessions.insert(session).ok_or(Rejected::Full)?;
        if !is_known {
            *self.guests.entry(source).or_default() += 1;
            self.guests_by_age.insert((now, index));
        }
        self.devices.entry(device, now).pending = Some(index);
        self.forget.cancel(&device);
        self.timers.set(Timer::Unspoken(index), now + UNSPOKEN);
        Ok(())
    }

    /// Makes a granted session the current one, which ends the one before.
    pub(super) fn confirm(&mut self, index: SessionIndex, now: Instant) {
        let Some(session) = self.sessions.get(index) else { return };
        let Some(remembered) = self.devices.get_mut(&session.device) else { return };
        let before = remembered.current.replace(index);
        remembered.pending = None;
        if let Some(before) = before {
            self.take(before);
        }
        self.timers.cancel(&Timer::Unspoken(index));
        self.timers.set(Timer::Silence(index), now + SILENCE);
    }

    /// Ends the current session of a device, by its own word.
    pub(super) fn leave(&mut self, device: &DeviceId, now: Instant) {
        if let Some(index) = self.devices.get(device).and_then(|remembered| remembered.current) {
            self.remove(index, now);
        }
    }

    /// A device is a member of something now: its sessions no longer count as a guest's.
    pub(super) fn promote(&mut self, device: &DeviceId) {
        let Some(remembered) = self.devices.get(device) else { return };
        for index in [remembered.current, remembered.pending].into_iter().flatten() {
            let guest = self.sessions.get_mut(index).and_then(|session| session.guest_of.take());
            if let Some((source, since)) = guest {
                self.count_out(source, since, index);
            }
        }
    }

    /// Devices whose current session ended since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<DeviceId> {
        core::mem::take(&mut self.ended)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Silence(index) => {
                    match self.sessions.get(index).map(|session| session.heard + SILENCE) {
                        Some(end) if end > now => self.timers.set(Timer::Silence(index), end),
                        Some(_) => self.remove(index, now),
                        None => {}
                    }
                }
                Timer::Unspoken(index) => self.remove(index, now),
            }
        }
        while let Some(device) = self.forget.pop_due(now) {
            self.devices.remove(&device);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        let session = self.timers.first().map(|(at, _)| Wakeup { at, why: "silent session" });
        let device = self.forget.first().map(|(at, _)| Wakeup { at, why: "forget a device" });
        Wakeup::earliest(session, device)
    }

    /// Takes a session out and notes it at its device.
    fn remove(&mut self, index: SessionIndex, now: Instant) {
        let Some(device) = self.take(index) else { return };
        let Some(remembered) = self.devices.get_mut(&device) else { return };
        if remembered.pending == Some(index) {
            remembered.pending = None;
        }
        if remembered.current == Some(index) {
            remembered.current = None;
            self.ended.push(device);
        }
        if !remembered.has_session() {
            if self.forget.len() >= self.bounds.remembered {
                self.forget_first();
            }
            self.forget.set(device, now + MEMORY);
        }
    }

    /// Takes a session out of everything but its device.
    fn take(&mut self, index: SessionIndex) -> Option<DeviceId> {
        self.timers.cancel(&Timer::Silence(index));
        self.timers.cancel(&Timer::Unspoken(index));
        let session = self.sessions.remove(index)?;
        if let Some((source, since)) = session.guest_of {
            self.count_out(source, since, index);
        }
        Some(session.device)
    }

    fn count_out(&mut self, source: Source, since: Instant, index: SessionIndex) {
        self.guests_by_age.remove(&(since, index));
        if let Some(count) = self.guests.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.guests.remove(&source);
            }
        }
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.forget.pop_due(Instant::MAX) {
            self.devices.remove(&first);
        }
    }
}
