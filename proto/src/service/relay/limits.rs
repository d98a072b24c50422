//! What pairs and networks may send through a relay.
//!
//! A packet must fit into four limits, in this order:
//! 1. its pair's token bucket, so that one pair is never all there is;
//! 2. its network's [`Share`], so that one network is not, with equal parts for the network's pairs;
//! 3. the whole relay's [`Share`], set to what the line carries, so that the relay says who waits and not the line;
//! 4. its network's quota for the day. A network that used it up is not cut off: its share shrinks to a trickle
//!    until midnight (UTC), so that people still reach their machines while somebody looks for the reason.
//!
//! A network is known here by its tag, which pairs bring in their tokens.

use alloc::collections::BTreeMap;

use lanyard_wire::ids::NetworkTag;

use super::share::{Part, Share};
use super::{RelayConfig, RelayCounters};
use crate::rejected::Rejected;
use crate::service::bucket::TokenBucket;
use crate::time::Instant;

/// Networks counted one by one. Pairs of a network beyond count against one common entry.
const NETWORKS_MAX: usize = 4_096;

/// Seconds of a day; days begin at midnight UTC.
const DAY_S: u64 = 86_400;

/// The limits of one relay and what was used of them.
#[derive(Debug)]
pub(super) struct Limits {
    config: RelayConfig,
    total: Share,
    networks: BTreeMap<NetworkTag, Network>,
}

/// One network.
#[derive(Debug)]
struct Network {
    share: Share,
    /// Channels that count against it.
    pairs: usize,
    day: u64,
    /// Bytes that passed on that day.
    used: u64,
}

/// What one pair has used of the limits.
#[derive(Clone, Debug)]
pub(super) struct Account {
    network: NetworkTag,
    bucket: TokenBucket,
    in_network: Part,
    in_total: Part,
}

impl Limits {
    pub(super) const fn new(config: RelayConfig) -> Self {
        Self { config, total: Share::new(config.total_bps), networks: BTreeMap::new() }
    }

    /// An account for a pair of this network.
    pub(super) fn open(&mut self, network: NetworkTag, now_s: u64, now: Instant) -> Account {
        let is_full = self.networks.len() >= NETWORKS_MAX;
        if is_full {
            self.networks.retain(|_, network| network.pairs > 0 || network.day == now_s / DAY_S);
        }
        let is_new = !self.networks.contains_key(&network);
        let tag = if is_new && self.networks.len() >= NETWORKS_MAX { NetworkTag::NONE } else { network };
        let rate_bps = self.config.network_bps;
        let entry = self.networks.entry(tag).or_insert_with(|| Network {
            share: Share::new(rate_bps),
            pairs: 0,
            day: 0,
            used: 0,
        });
        entry.pairs += 1;
        let bucket = TokenBucket::full(self.config.rate(), now);
        Account { network: tag, bucket, in_network: Part::default(), in_total: Part::default() }
    }

    /// A pair is gone. What its network used today stays known where there is a quota.
    pub(super) fn close(&mut self, account: &Account) {
        let Some(network) = self.networks.get_mut(&account.network) else { return };
        network.pairs = network.pairs.saturating_sub(1);
        if network.pairs == 0 && self.config.network_quota == 0 {
            self.networks.remove(&account.network);
        }
    }

    /// Lets `bytes` of a pair pass, or says which limit they do not fit into.
    ///
    /// [`Rejected::RateLimited`] takes nothing: a train may be tried again in pieces.
    pub(super) fn take(
        &mut self,
        account: &mut Account,
        bytes: u64,
        counters: &mut RelayCounters,
        now_s: u64,
        now: Instant,
    ) -> Result<(), Rejected> {
        if !account.bucket.take(self.config.rate(), bytes, now) {
            return Err(Rejected::RateLimited);
        }
        let network = self.networks.get_mut(&account.network);
        if let Some(network) = network {
            let is_spent = network.is_spent(&self.config, now_s);
            if !network.share.take(&mut account.in_network, bytes, now) {
                return Err(if is_spent { Rejected::OverQuota } else { Rejected::OverShare });
            }
            if !self.total.take(&mut account.in_total, bytes, now) {
                return Err(Rejected::OverShare);
            }
            if network.use_up(bytes, &self.config) {
                counters.quotas_spent += 1;
            }
        }
        Ok(())
    }
}

impl Network {
    /// Whether the quota of the day is used up; sets the rate that follows.
    fn is_spent(&mut self, config: &RelayConfig, now_s: u64) -> bool {
        if config.network_quota == 0 {
            return false;
        }
        let day = now_s / DAY_S;
        if day != self.day {
            (self.day, self.used) = (day, 0);
        }
        let is_spent = self.used >= config.network_quota;
        let is_slowed = is_spent && config.quota_bps > 0;
        self.share.set_rate(if is_slowed { config.quota_bps } else { config.network_bps });
        is_spent
    }

    /// Counts what passed; says whether that was the end of the quota.
    const fn use_up(&mut self, bytes: u64, config: &RelayConfig) -> bool {
        let before = self.used;
        self.used = self.used.saturating_add(bytes);
        config.network_quota > 0 && before < config.network_quota && self.used >= config.network_quota
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use super::*;

    const CONFIG: RelayConfig = RelayConfig {
        rate_bps: 80_000_000,
        burst: 100_000,
        network_bps: 8_000_000,
        total_bps: 0,
        network_quota: 0,
        quota_bps: 0,
    };
    const FRAME: u64 = 1_000;
    const NOON_S: u64 = 20_000 * DAY_S + DAY_S / 2;

    #[test]
    fn pairs_of_one_network_share_its_limit_and_other_networks_have_their_own() {
        let mut limits = Limits::new(CONFIG);
        let mut accounts = accounts(&mut limits, &[1, 1, 1, 2]);
        let passed = second(&mut limits, &mut accounts, 0, NOON_S);
        for pair in 0..3 {
            assert!(passed[pair].0.abs_diff(333_333) < 33_333, "{passed:?}");
            assert_eq!(passed[pair].1, Some(Rejected::OverShare));
        }
        assert!(passed[3].0.abs_diff(1_000_000) < 50_000, "{passed:?}");
    }

    #[test]
    fn the_whole_relay_is_shared_by_all_pairs() {
        let mut limits = Limits::new(RelayConfig { network_bps: 0, total_bps: 8_000_000, ..CONFIG });
        let mut accounts = accounts(&mut limits, &[1, 1, 2, 3]);
        let passed = second(&mut limits, &mut accounts, 0, NOON_S);
        assert!(passed.iter().all(|(bytes, _)| bytes.abs_diff(250_000) < 25_000), "{passed:?}");
    }

    #[test]
    fn a_network_that_used_up_its_quota_trickles_until_midnight() {
        let config = RelayConfig { network_quota: 1_500_000, quota_bps: 80_000, ..CONFIG };
        let mut limits = Limits::new(config);
        let mut accounts = accounts(&mut limits, &[1, 2]);
        let mut counters = RelayCounters::default();
        for _ in 0..1_600 {
            limits.take_paced(&mut accounts[0], &mut counters);
        }
        assert_eq!(counters.quotas_spent, 1);
        let spent = second(&mut limits, &mut accounts[..1], 2, NOON_S);
        assert!(spent[0].0 <= 12_000 && spent[0].0 >= 8_000, "10 kB/s: {spent:?}");
        assert_eq!(spent[0].1, Some(Rejected::OverQuota));
        let other = second(&mut limits, &mut accounts[1..], 4, NOON_S);
        assert!(other[0].0 > 400_000, "another network has its own: {other:?}");
        let tomorrow = second(&mut limits, &mut accounts[..1], 6, NOON_S + DAY_S);
        assert!(tomorrow[0].0 > 400_000, "{tomorrow:?}");
    }

    #[test]
    fn what_a_network_used_outlives_its_pairs() {
        let config = RelayConfig { network_quota: 1_000, quota_bps: 8_000, ..CONFIG };
        let mut limits = Limits::new(config);
        for expected in [1, 0, 0] {
            let mut counters = RelayCounters::default();
            let mut account = limits.open(tag(1), NOON_S, Instant::ZERO);
            let _ = limits.take(&mut account, FRAME, &mut counters, NOON_S, Instant::ZERO);
            assert_eq!(counters.quotas_spent, expected);
            limits.close(&account);
        }
    }

    #[test]
    fn networks_beyond_the_bound_count_together_and_those_that_are_gone_leave_room() {
        let mut limits = Limits::new(CONFIG);
        let accounts: Vec<Account> =
            (1..=5_000).map(|number| limits.open(tag(number), NOON_S, Instant::ZERO)).collect();
        assert_eq!(limits.networks.len(), NETWORKS_MAX + 1);
        assert_eq!(limits.networks[&NetworkTag::NONE].pairs, 5_000 - NETWORKS_MAX);
        for account in &accounts {
            limits.close(account);
        }
        assert!(limits.networks.is_empty());
    }

    impl Limits {
        /// A frame that comes when there is room for it.
        fn take_paced(&mut self, account: &mut Account, counters: &mut RelayCounters) {
            let now = Instant::from_millis(self.networks[&account.network].used / FRAME);
            let _ = self.take(account, FRAME, counters, NOON_S, now);
        }
    }

    fn accounts(limits: &mut Limits, networks: &[u32]) -> Vec<Account> {
        networks.iter().map(|number| limits.open(tag(*number), NOON_S, Instant::ZERO)).collect()
    }

    /// What each passes in the second half of a second in which all want ten times what there is, as bytes a second;
    /// and the last refusal.
    fn second(
        limits: &mut Limits,
        accounts: &mut [Account],
        start_s: u64,
        now_s: u64,
    ) -> Vec<(u64, Option<Rejected>)> {
        let mut counters = RelayCounters::default();
        let mut passed: Vec<(u64, Option<Rejected>)> = accounts.iter().map(|_| (0, None)).collect();
        for millisecond in 0..1_000 {
            let now = Instant::from_secs(start_s) + Duration::from_millis(millisecond);
            for (account, passed) in accounts.iter_mut().zip(&mut passed) {
                for _ in 0..8 {
                    match limits.take(account, FRAME, &mut counters, now_s, now) {
                        Ok(()) if millisecond >= 500 => passed.0 += 2 * FRAME,
                        Ok(()) => {}
                        Err(why) => passed.1 = Some(why),
                    }
                }
            }
        }
        passed
    }

    fn tag(number: u32) -> NetworkTag {
        NetworkTag::new(number).unwrap()
    }
}
