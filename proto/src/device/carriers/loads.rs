//! Pairs of others for which this device passes on frames.
//!
//! Both ends of a channel have to ask, and to go on asking; what not both want is not passed on. Whether the two are members,
//! and where they are, is looked up whenever the table is built.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::ids::{Channel, DeviceId};

use crate::time::Instant;

/// Pairs at the most; one more is refused.
const LOADS_MAX: usize = 64;

/// Pairs of one device; one more is refused.
const LOADS_PER_DEVICE: usize = 16;

/// An end's question counts for so long: three times as long as it waits to repeat it.
const ASKED_FOR: Duration = Duration::from_secs(90);

/// One channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Its two devices.
    pub(super) ends: [DeviceId; 2],
    asked_at: [Option<Instant>; 2],
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Loads(BTreeMap<Channel, Load>);

impl Loads {
    /// A device asks for a channel with a peer; `false` if it is another pair's or there is no room.
    pub(super) fn ask(&mut self, channel: Channel, device: DeviceId, peer: DeviceId, now: Instant) -> bool {
        let held = self.0.values().filter(|load| load.ends.contains(&device)).count();
        let has_room = self.0.len() < LOADS_MAX && held < LOADS_PER_DEVICE;
        if !has_room && !self.0.contains_key(&channel) {
            return false;
        }
        let ends = [device.min(peer), device.max(peer)];
        let load = self.0.entry(channel).or_insert(Load { ends, asked_at: [None; 2] });
        if load.ends != ends {
            return false;
        }
        for (end, asked_at) in ends.iter().zip(&mut load.asked_at) {
            if *end == device {
                *asked_at = Some(now);
            }
        }
        true
    }

    /// Whether this end wants the channel.
    pub(super) fn has_asked(&self, channel: Channel, device: DeviceId, now: Instant) -> bool {
        let load = self.0.get(&channel);
        load.is_some_and(|load| {
            load.ends.iter().zip(load.asked_at).any(|(end, at)| *end == device && counts(at, now))
        })
    }

    /// The channels that both ends want.
    pub(super) fn wanted(&self, now: Instant) -> impl Iterator<Item = (Channel, [DeviceId; 2])> + '_ {
        let is_wanted = move |load: &Load| load.asked_at.iter().all(|at| counts(*at, now));
        self.0.iter().filter(move |(_, load)| is_wanted(load)).map(|(channel, load)| (*channel, load.ends))
    }

    /// Forgets what an end no longer asks for; says whether a channel was closed by that.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let mut is_closed = false;
        for load in self.0.values_mut() {
            for at in &mut load.asked_at {
                is_closed |= at.take_if(|at| !counts(Some(*at), now)).is_some();
            }
        }
        self.0.retain(|_, load| load.asked_at.iter().any(Option::is_some));
        is_closed
    }

    /// Whether frames may be passed on for a device.
    pub(super) fn has(&self, device: &DeviceId) -> bool {
        self.0.values().any(|load| load.ends.contains(device))
    }

    /// Every device that asked or was asked for.
    pub(super) fn devices(&self) -> Vec<DeviceId> {
        self.0.values().flat_map(|load| load.ends).collect()
    }

    /// Forgets every pair of a device.
    pub(super) fn cut(&mut self, is_over: impl Fn(&DeviceId) -> bool) {
        self.0.retain(|_, load| !load.ends.iter().any(&is_over));
    }

    /// When something is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let asked: Vec<Instant> = self.0.values().flat_map(|load| load.asked_at).flatten().collect();
        asked.into_iter().min().map(|at| at + ASKED_FOR)
    }
}

fn counts(asked_at: Option<Instant>, now: Instant) -> bool {
    asked_at.is_some_and(|at| now.saturating_since(at) < ASKED_FOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_wanted_while_both_ends_ask_for_it() {
        let mut loads = Loads::default();
        assert!(loads.ask(channel(1), device(2), device(1), at(0)));
        assert_eq!(loads.wanted(at(0)).count(), 0);
        assert!(loads.ask(channel(1), device(1), device(2), at(20)));
        assert_eq!(loads.wanted(at(89)).collect::<Vec<_>>(), [(channel(1), [device(1), device(2)])]);
        assert_eq!(loads.next_at(), Some(at(90)));
        assert!(!loads.handle_timeout(at(89)) && loads.handle_timeout(at(90)));
        assert_eq!(loads.wanted(at(90)).count(), 0);
        assert!(
            !loads.has_asked(channel(1), device(2), at(90)) && loads.has_asked(channel(1), device(1), at(90))
        );
        loads.handle_timeout(at(110));
        assert_eq!(loads.next_at(), None);
    }

    #[test]
    fn a_channel_of_one_pair_is_none_of_another() {
        let mut loads = Loads::default();
        assert!(loads.ask(channel(1), device(1), device(2), at(0)));
        assert!(!loads.ask(channel(1), device(3), device(2), at(0)));
        loads.cut(|device| *device == self::device(2));
        assert!(loads.ask(channel(1), device(3), device(2), at(0)));
    }

    #[test]
    fn one_device_does_not_take_all_the_room() {
        let mut loads = Loads::default();
        let taken = (10..200).filter(|id| loads.ask(channel(u64::from(*id)), device(1), device(*id), at(0)));
        assert_eq!(taken.count(), LOADS_PER_DEVICE);
        let taken =
            (10..200).filter(|id| loads.ask(channel(1_000 + u64::from(*id)), device(*id), device(5), at(0)));
        assert_eq!(taken.count(), LOADS_MAX - LOADS_PER_DEVICE);
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }

    fn device(id: u8) -> DeviceId {
        DeviceId::from_bytes([id; 16])
    }

    fn channel(value: u64) -> Channel {
        Channel::new(value).unwrap()
    }
}
