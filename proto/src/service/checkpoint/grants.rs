//! The coordinator's words that two devices may meet: who knows the fleet's token key believes them.

use lanyard_wire::checkpoint::RelayGrant;
use lanyard_wire::ids::{AttemptId, Channel, DeviceId, NetworkId, NetworkTag};
use lanyard_wire::keys::{SymmetricKey, keyed_hash};
use lanyard_wire::token::{Purpose, Token};

/// Seconds in which an attempt has to reach HANDSHAKE.
const ATTEMPT_LIFE_S: u64 = 120;

/// Grants of relay channels end with a day, so that those of one network do not end at different seconds.
const DAY_S: u64 = 86_400;

/// Days that a relay grant lives, the current one included: 48 hours at least, 72 at most.
///
/// That is how long pairs can be relayed while no checkpoint is there, and how long a relay that stands alone
/// may serve someone who was removed.
const RELAY_LIFE_DAYS: u64 = 3;

/// Makes tokens.
#[derive(Debug)]
pub(super) struct Grants {
    key: SymmetricKey,
}

impl Grants {
    pub(super) const fn new(key: SymmetricKey) -> Self {
        Self { key }
    }

    /// The relay channel of a pair: always the same, known to nobody else.
    ///
    /// The grant is for one network, whose limits at the relay the pair counts against when it shows this one.
    pub(super) fn relay(&self, x: DeviceId, y: DeviceId, network: &NetworkId, now_s: u64) -> RelayGrant {
        let channel = self.channel(x, y);
        let value = channel.in_network(NetworkTag::of(network));
        let expires_s = clamp((now_s / DAY_S).saturating_add(RELAY_LIFE_DAYS).saturating_mul(DAY_S));
        let token = Token::grant(&self.key, Purpose::Relay, x, y, value, expires_s);
        RelayGrant { channel, expires_s, mac: token.mac }
    }

    /// One attempt of a pair.
    pub(super) fn attempt(&self, x: DeviceId, y: DeviceId, attempt: AttemptId, now_s: u64) -> Token {
        let expires_s = clamp(now_s.saturating_add(ATTEMPT_LIFE_S));
        Token::grant(&self.key, Purpose::Attempt, x, y, attempt.value(), expires_s)
    }

    /// Which of `count` handshake services a pair meets at, drawn once and for all by the pair itself.
    pub(super) fn handshake(&self, x: DeviceId, y: DeviceId, count: usize) -> u8 {
        let hash = self.pair_hash(b"lanyard handshake", x, y);
        let count = u8::try_from(count).unwrap_or(u8::MAX).max(1);
        hash[0] % count
    }

    fn channel(&self, x: DeviceId, y: DeviceId) -> Channel {
        let [a, b, c, d, e, ..] = self.pair_hash(b"lanyard channel", x, y);
        Channel::from_array([a, b, c, d, e])
    }

    fn pair_hash(&self, label: &[u8], x: DeviceId, y: DeviceId) -> [u8; 32] {
        let (low, high) = (x.min(y), x.max(y));
        keyed_hash(self.key.as_bytes(), &[label, low.as_bytes(), high.as_bytes()])
    }
}

fn clamp(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_700_000_000;

    #[test]
    fn both_ends_of_a_pair_get_the_same_channel_and_token() {
        let (a, b) = (device(1), device(2));
        let grant = grants().relay(a, b, &network(1), NOW_S);
        assert_eq!(grant, grants().relay(b, a, &network(1), NOW_S + 60));
        assert_ne!(grant.channel, grants().relay(a, device(3), &network(1), NOW_S).channel);
        assert!(grant.token(a, b, &network(1)).verify(&key(), NOW_S));
    }

    #[test]
    fn a_grant_of_one_network_is_no_grant_of_another_although_the_channel_is_the_same() {
        let (a, b) = (device(1), device(2));
        let grant = grants().relay(a, b, &network(1), NOW_S);
        assert_eq!(grant.channel, grants().relay(a, b, &network(2), NOW_S).channel);
        assert!(!grant.token(a, b, &network(2)).verify(&key(), NOW_S));
    }

    #[test]
    fn a_relay_grant_lives_for_two_to_three_days() {
        for now_s in [NOW_S, NOW_S / DAY_S * DAY_S, NOW_S / DAY_S * DAY_S + DAY_S - 1] {
            let left = u64::from(grants().relay(device(1), device(2), &network(1), now_s).expires_s) - now_s;
            assert!(left > 2 * DAY_S && left <= 3 * DAY_S, "{left}");
        }
    }

    #[test]
    fn an_attempt_is_soon_over() {
        let token = grants().attempt(device(1), device(2), AttemptId::new(5), NOW_S);
        assert!(token.verify(&key(), NOW_S + ATTEMPT_LIFE_S - 1));
        assert!(!token.verify(&key(), NOW_S + ATTEMPT_LIFE_S));
    }

    #[test]
    fn a_pair_meets_at_one_service_and_pairs_spread() {
        let mut seen = [0; 3];
        for number in 2..200 {
            let place = grants().handshake(device(1), device(number), 3);
            assert_eq!(place, grants().handshake(device(number), device(1), 3));
            seen[usize::from(place)] += 1;
        }
        assert!(seen.iter().all(|count| *count > 30), "{seen:?}");
        assert_eq!(grants().handshake(device(1), device(2), 0), 0);
    }

    fn key() -> SymmetricKey {
        SymmetricKey::from_bytes([7; 32])
    }

    fn grants() -> Grants {
        Grants::new(key())
    }

    fn network(number: u8) -> NetworkId {
        NetworkId::from_bytes([number; 16])
    }

    fn device(number: u8) -> DeviceId {
        DeviceId::from_bytes([number; 16])
    }
}
