//! Of which pairs reports were written, in the order of the newest of each: how live listeners hear of reports.
//!
//! Devices report thousands of times a minute. A row of the outbox for each would be the largest part of the database, and
//! of no use: only the newest report of a pair is of interest. So it is in memory, once for each pair, however often it
//! reports, and each listener goes through it at its own pace. It begins empty with the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lanyard_wire::ids::DeviceId;

use super::Index;
use super::db::sql;
use super::error::Result;

/// Pairs that are remembered; of more, a listener hears nothing of those that reported longest ago.
const PAIRS_MAX: usize = 65_536;

/// Two devices, the smaller id first.
pub type Ends = (DeviceId, DeviceId);

/// Pairs by when they reported last.
#[derive(Debug, Default)]
pub(super) struct Flow(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The number of the newest report of all.
    newest: u64,
    by_pair: BTreeMap<Ends, u64>,
    /// Each pair at the number of its newest report, with when that was written.
    by_number: BTreeMap<u64, (Ends, i64)>,
}

impl Flow {
    /// Notes that pairs reported.
    pub(super) fn note(&self, pairs: impl IntoIterator<Item = Ends>, now_ms: i64) {
        let mut inner = self.lock();
        for ends in pairs {
            inner.newest += 1;
            let number = inner.newest;
            if let Some(before) = inner.by_pair.insert(ends, number) {
                inner.by_number.remove(&before);
            }
            inner.by_number.insert(number, (ends, now_ms));
            if inner.by_number.len() > PAIRS_MAX
                && let Some((_, (oldest, _))) = inner.by_number.pop_first()
            {
                inner.by_pair.remove(&oldest);
            }
        }
    }

    /// The number of the newest report.
    fn newest(&self) -> u64 {
        self.lock().newest
    }

    /// The number that every report from that time on comes after.
    fn before(&self, time_ms: i64) -> u64 {
        let inner = self.lock();
        let first = inner.by_number.iter().find(|(_, (_, at))| *at >= time_ms);
        first.map_or(inner.newest, |(number, _)| number - 1)
    }

    /// The next pairs after a number.
    fn after(&self, number: u64, most: usize) -> Vec<(u64, Ends)> {
        let inner = self.lock();
        let next = inner.by_number.range(number.saturating_add(1)..).take(most);
        next.map(|(number, (ends, _))| (*number, *ends)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panics with it leaves the two maps as good as they are: one lacks a pair, which comes with its next report.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Where somebody stands who hears of reports from now on.
    #[must_use]
    pub fn reports_so_far(&self) -> u64 {
        self.flow.newest()
    }

    /// Where somebody stands who knows everything up to a row of the outbox.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reports_until(&self, cursor: i64) -> Result<u64> {
        let written: Option<i64> =
            sql!("SELECT created_at FROM outbox WHERE id <= $1 ORDER BY id DESC LIMIT 1")
                .bind(cursor)
                .fetch_optional(&self.db)
                .await?;
        Ok(self.flow.before(written.unwrap_or_default()))
    }

    /// The next pairs that reported after that place, each once and with its own place: that of its newest report.
    #[must_use]
    pub fn reported_after(&self, place: u64, most: usize) -> Vec<(u64, Ends)> {
        self.flow.after(place, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_there_once_at_its_newest_report() {
        let flow = Flow::default();
        flow.note([pair(1), pair(2), pair(3), pair(1)], 10);
        assert_eq!(flow.after(0, 9), [(2, pair(2)), (3, pair(3)), (4, pair(1))]);
        assert_eq!(flow.after(0, 2), [(2, pair(2)), (3, pair(3))]);
        flow.note([pair(2)], 20);
        assert_eq!(flow.after(3, 9), [(4, pair(1)), (5, pair(2))]);
        assert_eq!(flow.after(flow.newest(), 9), []);
    }

    #[test]
    fn a_moment_is_a_place_between_the_reports_before_and_after_it() {
        let flow = Flow::default();
        assert_eq!(flow.before(5), 0);
        flow.note([pair(1)], 10);
        flow.note([pair(2), pair(3)], 20);
        assert_eq!((flow.before(0), flow.before(11), flow.before(20), flow.before(21)), (0, 1, 1, 3));
    }

    #[test]
    fn of_very_many_pairs_those_that_reported_longest_ago_are_forgotten() {
        let flow = Flow::default();
        let all = u32::try_from(PAIRS_MAX).unwrap() + 10;
        flow.note((0..all).map(pair), 0);
        assert_eq!(flow.after(0, usize::MAX).len(), PAIRS_MAX);
        assert_eq!(flow.lock().by_pair.len(), PAIRS_MAX);
        assert_eq!(flow.after(0, 1), [(11, pair(10))]);
    }

    fn pair(number: u32) -> Ends {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        (DeviceId::from_bytes(bytes), DeviceId::from_bytes([255; 16]))
    }
}
