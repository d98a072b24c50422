//! What was pushed to one device and is not acknowledged yet.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::ids::{DeviceId, NetworkId, PushId};

use crate::time::Instant;

/// The wait before the first repetition; it doubles.
const REPEAT: Duration = Duration::from_millis(250);

/// How often a push is sent. After 16 s a device that does not answer is asleep, gone or somewhere else; it is
/// told what it missed once it is heard again.
const TRIES: u32 = 6;

/// Copies that are sent, within 1.75 s, before it matters that the device is heard meanwhile.
const TRIES_IN_VAIN: u32 = 4;

/// Pushes under way at one time; more wait where they come from, where newer facts replace older ones.
const OUTSTANDING_MAX: usize = 16;

/// The same with invitations, which cannot wait: all peers of a device may want it at one moment, after
/// a restart of either.
const INVITATIONS_MAX: usize = 256;

/// What a push tells, as far as it is worth telling later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A network changed.
    Network(NetworkId),
    /// These members came or went.
    Members(Vec<DeviceId>),
    /// Something that is over by the time a push is given up.
    Moment,
}

/// What to do about a push whose wait is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Send these bytes again, and look again then.
    Again(Vec<u8>, Instant),
    /// It was sent often enough in vain.
    GivenUp(About),
    /// It arrived.
    Settled,
}

/// Pushes to one device.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    last: u32,
    outstanding: BTreeMap<PushId, Push>,
}

#[derive(Debug)]
struct Push {
    about: About,
    body: Vec<u8>,
    sent: Instant,
    tries: u32,
    /// It began again once because the device was heard.
    is_renewed: bool,
}

impl Pushes {
    /// Whether another push may be under way.
    pub(super) fn has_room(&self) -> bool {
        self.outstanding.len() < OUTSTANDING_MAX
    }

    /// Whether another invitation may be under way.
    pub(super) fn has_room_to_invite(&self) -> bool {
        self.outstanding.len() < INVITATIONS_MAX
    }

    /// The number of the next push.
    pub(super) const fn next_id(&mut self) -> PushId {
        self.last = self.last.wrapping_add(1);
        PushId::new(self.last)
    }

    /// Takes note of a push that is being sent; gives the moment of its repetition.
    pub(super) fn sent(&mut self, push: PushId, about: About, body: Vec<u8>, now: Instant) -> Instant {
        self.outstanding.insert(push, Push { about, body, sent: now, tries: 1, is_renewed: false });
        now + REPEAT
    }

    /// Decides about a push whose wait is over.
    pub(super) fn repeat(&mut self, push: PushId, now: Instant) -> Repeat {
        match self.outstanding.get_mut(&push) {
            Some(outstanding) if outstanding.tries < TRIES => {
                let wait = REPEAT * 2_u32.pow(outstanding.tries);
                outstanding.tries += 1;
                Repeat::Again(outstanding.body.clone(), now + wait)
            }
            Some(_) => {
                let given_up = self.outstanding.remove(&push).map(|given_up| given_up.about);
                given_up.map_or(Repeat::Settled, Repeat::GivenUp)
            }
            None => Repeat::Settled,
        }
    }

    /// All copies so far went to where the device is no more: gives what is to be sent again now.
    pub(super) fn begin_again(&mut self) -> Vec<PushId> {
        for push in self.outstanding.values_mut() {
            push.tries = push.tries.min(1);
        }
        self.outstanding.keys().copied().collect()
    }

    /// The device is heard while copies go out in vain: gives what is to be sent again now, each push once.
    ///
    /// Its NAT may just have opened again, and the next copy be many seconds away. Only once, or a device that
    /// hears nothing but is heard all the time would be sent copies without end.
    pub(super) fn begin_again_heard(&mut self) -> Vec<PushId> {
        let mut again = Vec::new();
        for (id, push) in &mut self.outstanding {
            if push.tries >= TRIES_IN_VAIN && !push.is_renewed {
                (push.tries, push.is_renewed) = (1, true);
                again.push(*id);
            }
        }
        again
    }

    /// Takes an acknowledgement; gives the round trip if there is no doubt which copy it is for.
    pub(super) fn acknowledge(&mut self, push: PushId, now: Instant) -> Option<Duration> {
        let acknowledged = self.outstanding.remove(&push)?;
        (acknowledged.tries == 1).then(|| now.saturating_since(acknowledged.sent))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_push_is_repeated_with_doubling_waits_and_then_given_up() {
        let mut pushes = Pushes::default();
        let push = pushes.next_id();
        let about = About::Network(NetworkId::from_bytes([7; 16]));
        let mut at = pushes.sent(push, about.clone(), vec![1], Instant::ZERO);
        let mut copies = 1;
        let end = loop {
            match pushes.repeat(push, at) {
                Repeat::Again(body, next) => {
                    assert_eq!(body, [1]);
                    copies += 1;
                    at = next;
                }
                end @ (Repeat::GivenUp(_) | Repeat::Settled) => break end,
            }
        };
        assert_eq!(copies, TRIES);
        assert_eq!(at, Instant::from_millis(250 + 500 + 1_000 + 2_000 + 4_000 + 8_000));
        assert_eq!(end, Repeat::GivenUp(about), "it says what the device was not told");
        assert_eq!(pushes.repeat(push, at), Repeat::Settled, "once");
    }

    #[test]
    fn a_push_to_a_device_that_moved_begins_again_and_times_nothing() {
        let mut pushes = Pushes::default();
        let push = pushes.next_id();
        let mut at = pushes.sent(push, About::Moment, vec![1], Instant::ZERO);
        for _ in 1..TRIES {
            let Repeat::Again(_, next) = pushes.repeat(push, at) else { panic!("given up early") };
            at = next;
        }
        assert_eq!(pushes.begin_again(), [push]);
        assert!(matches!(pushes.repeat(push, at), Repeat::Again(..)));
        assert_eq!(pushes.acknowledge(push, at), None);
        assert_eq!(pushes.begin_again(), []);
    }

    #[test]
    fn a_device_that_is_heard_after_copies_in_vain_gets_another_at_once_and_once() {
        let mut pushes = Pushes::default();
        let push = pushes.next_id();
        let mut at = pushes.sent(push, About::Moment, vec![1], Instant::ZERO);
        for _ in 1..TRIES_IN_VAIN {
            assert_eq!(pushes.begin_again_heard(), [], "it is only on its way");
            let Repeat::Again(_, next) = pushes.repeat(push, at) else { panic!("given up early") };
            at = next;
        }
        assert_eq!(pushes.begin_again_heard(), [push]);
        let mut copies = 0;
        while let Repeat::Again(_, next) = pushes.repeat(push, at) {
            assert_eq!(pushes.begin_again_heard(), []);
            (at, copies) = (next, copies + 1);
        }
        assert_eq!(copies, TRIES - 1);
    }

    #[test]
    fn many_may_invite_a_device_at_once_and_not_without_bound() {
        let mut pushes = Pushes::default();
        let mut sent = 0;
        while pushes.has_room_to_invite() {
            let push = pushes.next_id();
            pushes.sent(push, About::Moment, vec![1], Instant::ZERO);
            sent += 1;
        }
        assert_eq!(sent, INVITATIONS_MAX);
        assert!(!pushes.has_room(), "the rest waits where it comes from");
    }

    #[test]
    fn an_acknowledged_push_is_not_repeated_and_times_the_way() {
        let mut pushes = Pushes::default();
        let (first, second) = (pushes.next_id(), pushes.next_id());
        pushes.sent(first, About::Moment, vec![1], Instant::ZERO);
        pushes.sent(second, About::Moment, vec![2], Instant::ZERO);
        let now = Instant::from_millis(40);
        assert_eq!(pushes.acknowledge(first, now), Some(Duration::from_millis(40)));
        assert_eq!(pushes.acknowledge(first, now), None);
        assert_eq!(pushes.repeat(first, now), Repeat::Settled);
        assert!(matches!(pushes.repeat(second, now), Repeat::Again(..)));
        assert_eq!(pushes.acknowledge(second, now), None, "of which copy?");
    }

    #[test]
    fn only_so_many_pushes_are_under_way() {
        let mut pushes = Pushes::default();
        while pushes.has_room() {
            let push = pushes.next_id();
            pushes.sent(push, About::Moment, vec![], Instant::ZERO);
        }
        assert_eq!(pushes.outstanding.len(), OUTSTANDING_MAX);
    }
}
