//! What was pushed to one device and is not acknowledged yet.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::ids::PushId;

use crate::time::Instant;

/// The wait before the first repetition; it doubles.
const REPEAT: Duration = Duration::from_millis(250);

/// How often a push is sent. After 16 s a device that does not answer is asleep or gone, and learns by its
/// next Register what it missed.
const TRIES: u32 = 6;

/// Pushes under way at one time; more wait where they come from, where newer facts replace older ones.
const OUTSTANDING_MAX: usize = 16;

/// Pushes to one device.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    last: u32,
    outstanding: BTreeMap<PushId, Push>,
}

#[derive(Debug)]
struct Push {
    body: Vec<u8>,
    sent: Instant,
    tries: u32,
}

impl Pushes {
    /// Whether another push may be under way.
    pub(super) fn has_room(&self) -> bool {
        self.outstanding.len() < OUTSTANDING_MAX
    }

    /// The number of the next push.
    pub(super) const fn next_id(&mut self) -> PushId {
        self.last = self.last.wrapping_add(1);
        PushId::new(self.last)
    }

    /// Takes note of a push that is being sent; gives the moment of its repetition.
    pub(super) fn sent(&mut self, push: PushId, body: Vec<u8>, now: Instant) -> Instant {
        self.outstanding.insert(push, Push { body, sent: now, tries: 1 });
        now + REPEAT
    }

    /// The push to be sent again, and when to look next; `None` if it was acknowledged or is given up.
    pub(super) fn repeat(&mut self, push: PushId, now: Instant) -> Option<(Vec<u8>, Instant)> {
        let outstanding = self.outstanding.get_mut(&push)?;
        if outstanding.tries >= TRIES {
            self.outstanding.remove(&push);
            return None;
        }
        let wait = REPEAT * 2_u32.pow(outstanding.tries);
        outstanding.tries += 1;
        Some((outstanding.body.clone(), now + wait))
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
        let mut at = pushes.sent(push, vec![1], Instant::ZERO);
        let mut copies = 1;
        while let Some((body, next)) = pushes.repeat(push, at) {
            assert_eq!(body, [1]);
            copies += 1;
            at = next;
        }
        assert_eq!(copies, TRIES);
        assert_eq!(at, Instant::from_millis(250 + 500 + 1_000 + 2_000 + 4_000 + 8_000));
        assert!(pushes.has_room());
    }

    #[test]
    fn an_acknowledged_push_is_not_repeated_and_times_the_way() {
        let mut pushes = Pushes::default();
        let (first, second) = (pushes.next_id(), pushes.next_id());
        pushes.sent(first, vec![1], Instant::ZERO);
        pushes.sent(second, vec![2], Instant::ZERO);
        let now = Instant::from_millis(40);
        assert_eq!(pushes.acknowledge(first, now), Some(Duration::from_millis(40)));
        assert_eq!(pushes.acknowledge(first, now), None);
        assert_eq!(pushes.repeat(first, now), None);
        assert!(pushes.repeat(second, now).is_some());
        assert_eq!(pushes.acknowledge(second, now), None, "of which copy?");
    }

    #[test]
    fn only_so_many_pushes_are_under_way() {
        let mut pushes = Pushes::default();
        while pushes.has_room() {
            let push = pushes.next_id();
            pushes.sent(push, vec![], Instant::ZERO);
        }
        assert_eq!(pushes.outstanding.len(), OUTSTANDING_MAX);
    }
}
