//! Passwords by which networks are joined: compared one at a time, and not as often as somebody likes.
//!
//! A comparison costs a tenth of a second of a core and 19 MiB on purpose. So a source has a few tries, and all sources together no
//! more than what leaves the server time for its work: who is turned away for that is told to try later, and an invite still lets in.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use lanyard_wire::names::{JoinPassword, NetworkName};
use tokio::sync::Semaphore;

use crate::index::networks::StoredPassword;
use crate::index::{Index, IndexError};

/// Tries of one source in a row, and then one each so often.
const SOURCE_BURST: NonZeroU32 = NonZeroU32::new(5).expect("five");
const SOURCE_PERIOD: Duration = Duration::from_secs(30);

/// Tries of everybody in a row, and in each second.
const ALL_BURST: NonZeroU32 = NonZeroU32::new(10).expect("ten");
const ALL_A_SECOND: NonZeroU32 = NonZeroU32::new(3).expect("three");

/// Counters of sources; those that share one share its tries.
const COUNTERS: u64 = 4_096;

/// What a password was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// The network's, stored as this.
    Right(StoredPassword),
    /// Not the network's, or the network is not joined by one.
    Wrong,
    /// Not looked at: there were too many.
    Later,
}

/// Compares passwords.
#[derive(Debug)]
pub(super) struct Passwords {
    sources: DefaultKeyedRateLimiter<u64>,
    all: DefaultDirectRateLimiter,
    seed: RandomState,
    place: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        let source = Quota::with_period(SOURCE_PERIOD).unwrap_or_else(|| Quota::per_minute(SOURCE_BURST));
        Self {
            sources: RateLimiter::keyed(source.allow_burst(SOURCE_BURST)),
            all: RateLimiter::direct(Quota::per_second(ALL_A_SECOND).allow_burst(ALL_BURST)),
            seed: RandomState::new(),
            place: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Passwords {
    /// Compares a password with that of a network.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn compare(
        &self,
        index: &Index,
        network: &NetworkName,
        password: &JoinPassword,
        ip: IpAddr,
    ) -> Result<Compared, IndexError> {
        let Some(stored) = index.join_password(network).await? else { return Ok(Compared::Wrong) };
        let source = self.seed.hash_one(customer(ip)) % COUNTERS;
        if self.sources.check_key(&source).is_err() || self.all.check().is_err() {
            return Ok(Compared::Later);
        }
        let Ok(place) = Arc::clone(&self.place).acquire_owned().await else { return Ok(Compared::Later) };
        let (hashing, password) = (index.password_hashing(), password.clone());
        let comparing = tokio::task::spawn_blocking(move || {
            let is_right = hashing.is_join_password(&password, &stored);
            drop(place);
            is_right.map(|is_right| if is_right { Compared::Right(stored) } else { Compared::Wrong })
        });
        comparing.await.unwrap_or(Ok(Compared::Later))
    }
}

/// Whom a try counts for: an address, of IPv6 the /64, which is one customer's.
fn customer(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_a_few_tries_and_its_neighbours_of_ipv6_share_them() {
        let passwords = Passwords::default();
        let tries = |ip: &str| {
            let source = passwords.seed.hash_one(customer(ip.parse().unwrap())) % COUNTERS;
            (0..8).filter(|_| passwords.sources.check_key(&source).is_ok()).count()
        };
        assert_eq!(tries("2001:db8::1"), 5);
        assert_eq!(tries("2001:db8::2"), 0, "the same customer");
    }
}
