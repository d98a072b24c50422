//! How many handshakes one source may ask for.
//!
//! A handshake costs a quarter of a millisecond, and boringtun counts those of everybody together: without
//! this gate one flooding source would put all peers under load. 20 a second with bursts of 5 is what
//! wireguard-go allows per address. Behind a relay all peers share its address, so there the channel counts.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use lanyard_proto::overlay::table::Path;
use lanyard_proto::time::Instant;
use lanyard_wire::ids::Channel;

/// Time that earns one more handshake.
const EARN: Duration = Duration::from_millis(50);
/// Handshakes that can be saved up.
const BURST: u32 = 5;
/// Sources remembered. When more ask at once all are forgotten: a flood from so many addresses is not
/// stopped per address but by cookies.
const SOURCES_MAX: usize = 4_096;

/// A token bucket per source.
#[derive(Debug, Default)]
pub(super) struct Sources {
    seen: HashMap<(IpAddr, Option<Channel>), Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// When the bucket will be full again.
    full_at: Instant,
}

impl Sources {
    /// Whether a handshake message that came by this path may be looked at.
    pub(super) fn allow(&mut self, path: Path, now: Instant) -> bool {
        let key = match path {
            Path::Direct { remote, .. } => (prefix(remote.ip()), None),
            Path::Relayed { relay, channel } => (relay.ip(), Some(channel)),
            Path::None => return false,
        };
        if self.seen.len() >= SOURCES_MAX && !self.seen.contains_key(&key) {
            self.seen.retain(|_, bucket| bucket.full_at > now);
            if self.seen.len() >= SOURCES_MAX {
                self.seen.clear();
            }
        }
        let bucket = self.seen.entry(key).or_insert(Bucket { full_at: now });
        let missing = bucket.full_at.saturating_since(now);
        if missing > EARN * (BURST - 1) {
            return false;
        }
        bucket.full_at = now + missing + EARN;
        true
    }
}

/// One host has a whole /64 of IPv6.
fn prefix(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use lanyard_proto::transmit::SocketId;

    use super::*;

    #[test]
    fn a_burst_of_five_passes_and_then_twenty_a_second() {
        let mut sources = Sources::default();
        let start = Instant::from_secs(9);
        let burst = (0..10).filter(|_| sources.allow(from("192.0.2.1:5"), start)).count();
        assert_eq!(burst, 5);
        let mut passed = 0;
        for millis in 1..=1_000 {
            passed += usize::from(sources.allow(from("192.0.2.1:5"), start + Duration::from_millis(millis)));
        }
        assert_eq!(passed, 20);
    }

    #[test]
    fn one_source_does_not_use_up_anothers_share() {
        let mut sources = Sources::default();
        let now = Instant::from_secs(9);
        while sources.allow(from("192.0.2.1:5"), now) {}
        assert!(!sources.allow(from("192.0.2.1:6"), now), "another port is the same source");
        assert!(sources.allow(from("192.0.2.2:5"), now));
    }

    #[test]
    fn a_host_cannot_multiply_itself_by_its_ipv6_prefix() {
        let mut sources = Sources::default();
        let now = Instant::from_secs(9);
        while sources.allow(from("[2001:db8::1]:5"), now) {}
        assert!(!sources.allow(from("[2001:db8::2]:5"), now));
        assert!(sources.allow(from("[2001:db8:0:1::1]:5"), now));
    }

    #[test]
    fn peers_behind_one_relay_have_a_share_each() {
        let mut sources = Sources::default();
        let now = Instant::from_secs(9);
        let relay = "192.0.2.9:7443".parse().unwrap();
        let by = |channel| Path::Relayed { relay, channel: Channel::new(channel).unwrap() };
        while sources.allow(by(1), now) {}
        assert!(sources.allow(by(2), now));
    }

    #[test]
    fn forged_sources_do_not_grow_the_memory() {
        let mut sources = Sources::default();
        let now = Instant::from_secs(9);
        for number in 0..100_000_u32 {
            let remote = (std::net::Ipv4Addr::from_bits(number), 1).into();
            sources.allow(Path::Direct { local: SocketId::MAIN, remote }, now);
            assert!(sources.seen.len() <= SOURCES_MAX);
        }
    }

    fn from(remote: &str) -> Path {
        Path::Direct { local: SocketId::MAIN, remote: remote.parse().unwrap() }
    }
}
