//! What members cost that nobody speaks to.

use core::time::Duration;

use super::fixture::{cache, fresh, member, network};
use super::*;
use crate::time::Instant;

/// How long the device is watched.
const HOUR: Duration = Duration::from_secs(3_600);

/// What a device did in an hour.
#[derive(Debug, PartialEq, Eq)]
struct Hour {
    wakeups: usize,
    datagrams: usize,
    events: usize,
}

/// An hour of a device that knows so many members and speaks to none; its coordinator never answers.
fn hour_with(members: u16) -> Hour {
    let mut home = network(1, "home", "10.7.0.0");
    home.card.prefix4.1 = 16;
    home.members = (0..members).map(quiet).collect();
    let mut now = Instant::from_secs(10);
    let end = now + HOUR;
    let mut device = fresh(1, 1);
    let cache = cache(1, &[home]);
    device.handle_command(
        Command::AddCoordinator { key: cache.key, addrs: cache.addrs.clone(), cache: Some(cache) },
        now,
    );
    let mut hour = Hour { wakeups: 0, datagrams: 0, events: 0 };
    loop {
        while device.poll_transmit().is_some() {
            hour.datagrams += 1;
        }
        while device.poll_event().is_some() {
            hour.events += 1;
        }
        let Some(wakeup) = device.poll_timeout().filter(|wakeup| wakeup.at <= end) else { break };
        now = now.max(wakeup.at);
        hour.wakeups += 1;
        device.handle_timeout(now);
    }
    assert_eq!(device.forwarding.table().peers.len(), usize::from(members));
    hour
}

/// A member that has never been spoken to.
fn quiet(number: u16) -> MemberCache {
    let mut quiet = member(3, 1, "10.7.0.0");
    let mut identity = [7; 32];
    identity[8..10].copy_from_slice(&number.to_be_bytes());
    quiet.member.identity = PublicKey::from_bytes(identity);
    quiet.member.ip4 = Ipv4Addr::from_bits(quiet.member.ip4.to_bits() + u32::from(number));
    quiet.member.ip6 = (u128::from(quiet.member.ip6) + u128::from(number)).into();
    quiet.attempt = None;
    quiet.last_active_unix_s = 0;
    quiet
}

#[test]
fn ten_thousand_members_wake_a_device_no_more_often_than_one() {
    let one = hour_with(1);
    assert!(one.wakeups > 0, "it looks for its coordinator");
    assert_eq!(hour_with(10_000), one);
}
