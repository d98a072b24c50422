//! Frames of pairs of others, for which this device is a peer relay: they leave as they came, trains as trains.
//!
//! A frame passes if its channel is in the table, it came from an address of one of the two ends, and the pair is within its
//! rate. A meter is one number that all shards share (GCRA, ITU-T I.371): the moment at which what was passed on will
//! have been paid for. A device is asked for many pairs at most, and who relays has bandwidth to give, not memory: nothing waits.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lanyard_proto::overlay::ForwardingTable;
use lanyard_proto::time::Instant;
use lanyard_proto::transmit::Way;
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::door::is_door;
use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::ids::Channel;

use super::buffer::send;
use super::counters::{Counts, Dropped};
use crate::sockets::ShardSockets;

/// What a pair may send at once, beyond its rate: two trains of the longest kind.
const BURST_BYTES: u64 = 128 << 10;

/// Meters of the pairs in one table.
#[derive(Debug, Default)]
pub(super) struct Meters(HashMap<Channel, Arc<Meter>>);

/// When a pair has paid for what it sent, in microseconds of the machine's clock.
#[derive(Debug, Default)]
struct Meter(AtomicU64);

/// What is to become of a message full of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are no frames of a pair of others.
    Own,
    /// They go there.
    Pass(Way),
    /// They are dropped for this reason.
    Drop(Dropped),
}

impl Meters {
    /// The meters for the next table; a pair that stays keeps its own.
    pub(super) fn next(&self, table: &ForwardingTable) -> Self {
        let meter = |channel| self.0.get(channel).map(Arc::clone).unwrap_or_default();
        Self(table.transits().map(|(channel, _)| (*channel, meter(channel))).collect())
    }

    /// Decides about a message of one sender, in frames of `stride` bytes.
    pub(super) fn judge(
        &self,
        table: &ForwardingTable,
        remote: SocketAddr,
        message: &[u8],
        stride: usize,
        now: impl FnOnce() -> Instant,
    ) -> Fate {
        if self.0.is_empty() {
            return Fate::Own;
        }
        let mut frames = message.chunks(stride.max(1));
        let Some(channel) = frames.next().and_then(channel_of) else { return Fate::Own };
        let Some(transit) = table.transit(channel).filter(|_| table.by_channel(remote, channel).is_none())
        else {
            return Fate::Own;
        };
        if !frames.all(|frame| channel_of(frame) == Some(channel)) {
            // Whoever mixes pairs in one train is no device of ours.
            return Fate::Drop(Dropped::Malformed);
        }
        let Some(way) = transit.way(remote) else { return Fate::Drop(Dropped::UnknownChannel) };
        let meter = self.0.get(&channel);
        if meter.is_some_and(|meter| meter.take(message.len() as u64, transit.rate_bps, now())) {
            Fate::Pass(way)
        } else {
            Fate::Drop(Dropped::OverRate)
        }
    }
}

impl Meter {
    /// Takes bytes at a rate; `false` if the pair has to wait first.
    fn take(&self, bytes: u64, rate_bps: u64, now: Instant) -> bool {
        let cost = |bytes: u64| bytes.saturating_mul(8_000_000) / rate_bps.max(1);
        let (now, burst) = (now.as_micros(), cost(BURST_BYTES));
        let paid = |at: u64| {
            let next = at.max(now).saturating_add(cost(bytes));
            (next <= now.saturating_add(burst)).then_some(next)
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid).is_ok()
    }
}

/// Sends frames on as they came.
pub(super) fn pass(sockets: &ShardSockets, way: Way, message: &[u8], stride: usize, counts: &Counts) {
    let count = message.len().div_ceil(stride.max(1)) as u64;
    if is_door(way.remote) {
        let lost = sockets.doors.send(way.remote, message, stride);
        counts.drop_many(Dropped::SendBufferFull, lost);
    } else if sockets.with(way, |udp| send(udp, way.remote, message, stride, count, counts)).is_none() {
        counts.drop_many(Dropped::SendFailed, count);
    }
}

/// The channel of a frame that is whole.
fn channel_of(frame: &[u8]) -> Option<Channel> {
    if classify(frame) != Class::Relay {
        return None;
    }
    RelayHeader::parse(frame).ok().map(|(header, _)| header.channel)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use lanyard_proto::overlay::{Transit, TransitEnd};
    use lanyard_wire::limits::RELAY_HEADER;

    use super::*;

    const CHANNEL: Channel = Channel::MAX;

    #[test]
    fn a_train_of_one_pair_goes_whole_from_either_end_to_the_other() {
        let (table, meters) = table(8_000_000);
        let train = [frame(CHANNEL, 100), frame(CHANNEL, 100), frame(CHANNEL, 40)].concat();
        assert_eq!(judge(&table, &meters, addr(1), &train, 0), Fate::Pass(addr(2).into()));
        assert_eq!(judge(&table, &meters, addr(2), &train, 0), Fate::Pass(addr(1).into()));
    }

    #[test]
    fn strangers_other_channels_and_mixed_trains_pass_nothing() {
        let (table, meters) = table(8_000_000);
        let other = Channel::new(7).unwrap();
        let fates = [(addr(3), CHANNEL), (addr(1), other)]
            .map(|(from, channel)| judge(&table, &meters, from, &frame(channel, 100), 0));
        assert_eq!(fates, [Fate::Drop(Dropped::UnknownChannel), Fate::Own]);
        let mixed = [frame(CHANNEL, 100), frame(other, 100)].concat();
        assert_eq!(judge(&table, &meters, addr(1), &mixed, 0), Fate::Drop(Dropped::Malformed));
        let nobody = Meters::default();
        assert_eq!(judge(&ForwardingTable::default(), &nobody, addr(1), &frame(CHANNEL, 9), 0), Fate::Own);
    }

    #[test]
    fn a_pair_gets_its_rate_and_no_more_and_a_new_table_forgives_nothing() {
        let (table, meters) = table(8_000_000);
        let frame = frame(CHANNEL, 992);
        let passed = |meters: &Meters, from_ms: u64, until_ms: u64| {
            let moments = (from_ms..until_ms).flat_map(|ms| [ms; 4]);
            moments.filter(|ms| matches!(judge(&table, meters, addr(1), &frame, *ms), Fate::Pass(_))).count()
        };
        // A million bytes a second, and the burst in the first of them.
        let first = passed(&meters, 0, 1_000);
        assert!((1_120..=1_140).contains(&first), "{first}");
        let next = meters.next(&table);
        let second = passed(&next, 1_000, 2_000);
        assert!((995..=1_005).contains(&second), "{second}");
    }

    fn judge(table: &ForwardingTable, meters: &Meters, from: SocketAddr, message: &[u8], ms: u64) -> Fate {
        let stride = RELAY_HEADER + usize::from(u16::from_be_bytes([message[6], message[7]]));
        meters.judge(table, from, message, stride, || Instant::ZERO + Duration::from_millis(ms))
    }

    fn table(rate_bps: u64) -> (ForwardingTable, Meters) {
        let end = |id| TransitEnd { to: addr(id).into(), from: vec![addr(id)] };
        let transit = Transit { ends: [end(1), end(2)], rate_bps };
        let table = ForwardingTable::default().with_transits(BTreeMap::from([(CHANNEL, transit)]));
        let meters = Meters::default().next(&table);
        (table, meters)
    }

    fn frame(channel: Channel, length: u16) -> Vec<u8> {
        let mut frame = RelayHeader { channel, length }.encode().to_vec();
        frame.resize(frame.len() + usize::from(length), 4);
        frame
    }

    fn addr(id: u8) -> SocketAddr {
        ([192, 0, 2, id], 41_641).into()
    }
}
