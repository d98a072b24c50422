//! A link with delay, jitter, loss, reordering, duplication and an MTU.
//!
//! A [`Link`] is the way between a site's router (or a server) and the core of the internet, the same in both
//! directions. Links in a row add up: [`Link::then`]. What becomes of one packet is drawn at departure: nothing,
//! one arrival or two, each after its own delay.

use std::time::Duration;

use lanyard_proto::rng::Rng;

/// Chances are counted in parts per million.
pub const MILLION: u64 = 1_000_000;

/// Bytes of IP and UDP header that a datagram carries on an IPv4 link.
pub const IPV4_OVERHEAD: usize = 28;

/// Bytes of IP and UDP header that a datagram carries on an IPv6 link.
pub const IPV6_OVERHEAD: usize = 48;

/// What a link does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// One way.
    pub delay: Duration,
    /// Added evenly on top of it; packets overtake each other by that.
    pub jitter: Duration,
    /// Lost packets, per million.
    pub loss: u64,
    /// Packets that are held back by up to 50 ms, per million.
    pub reorder: u64,
    /// Packets that arrive twice, per million.
    pub duplicate: u64,
    /// Longest packet, IP header included; longer ones vanish without a word.
    pub mtu: usize,
}

impl Link {
    /// A quick and faithful link.
    pub const CLEAN: Self = Self {
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
        loss: 0,
        reorder: 0,
        duplicate: 0,
        mtu: 1_500,
    };

    /// The wire of a LAN.
    pub const LAN: Self = Self { delay: Duration::from_micros(200), ..Self::CLEAN };

    /// The same link with another delay, in milliseconds.
    #[must_use]
    pub const fn delayed(mut self, delay_ms: u64) -> Self {
        self.delay = Duration::from_millis(delay_ms);
        self
    }

    /// The same link with this loss, in percent.
    #[must_use]
    pub const fn lossy(mut self, percent: u64) -> Self {
        self.loss = percent * MILLION / 100;
        self
    }

    /// The same link with this MTU.
    #[must_use]
    pub const fn narrow(mut self, mtu: usize) -> Self {
        self.mtu = mtu;
        self
    }

    /// This link and the next one behind it, as one.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self {
            delay: self.delay + next.delay,
            jitter: self.jitter + next.jitter,
            loss: either(self.loss, next.loss),
            reorder: either(self.reorder, next.reorder),
            duplicate: either(self.duplicate, next.duplicate),
            mtu: self.mtu.min(next.mtu),
        }
    }

    /// What happens to one datagram of `len` bytes plus `overhead`: the delays of its arrivals.
    pub fn carry(&self, len: usize, overhead: usize, rng: &mut Rng) -> Carried {
        if len + overhead > self.mtu {
            return Carried::TooLong;
        }
        if self.loss > 0 && rng.below(MILLION) < self.loss {
            return Carried::Lost;
        }
        let first = self.one_delay(rng);
        if self.duplicate > 0 && rng.below(MILLION) < self.duplicate {
            return Carried::Twice(first, self.one_delay(rng));
        }
        Carried::Once(first)
    }

    fn one_delay(&self, rng: &mut Rng) -> Duration {
        let mut delay = self.delay;
        if !self.jitter.is_zero() {
            delay += rng.between(Duration::ZERO, self.jitter);
        }
        if self.reorder > 0 && rng.below(MILLION) < self.reorder {
            delay += rng.between(Duration::ZERO, Duration::from_millis(50));
        }
        delay
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// It does not fit.
    TooLong,
    /// It was lost.
    Lost,
    /// It arrives after this.
    Once(Duration),
    /// It arrives after these, as two.
    Twice(Duration, Duration),
}

/// The chance, per million, that at least one of two independent things happens.
const fn either(first: u64, second: u64) -> u64 {
    first + second - first * second / MILLION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_link_delivers_everything_once_and_in_order() {
        let mut rng = Rng::from_seed([1; 32]);
        for _ in 0..100 {
            let carried = Link::CLEAN.carry(1_200, IPV4_OVERHEAD, &mut rng);
            assert_eq!(carried, Carried::Once(Duration::from_millis(10)));
        }
    }

    #[test]
    fn loss_and_duplication_happen_as_often_as_configured() {
        let link = Link { duplicate: MILLION / 10, ..Link::CLEAN.lossy(20) };
        let (mut lost, mut twice) = (0, 0);
        let mut rng = Rng::from_seed([2; 32]);
        for _ in 0..10_000 {
            match link.carry(100, IPV4_OVERHEAD, &mut rng) {
                Carried::Lost => lost += 1,
                Carried::Twice(..) => twice += 1,
                Carried::Once(_) | Carried::TooLong => {}
            }
        }
        assert!((1_850..2_150).contains(&lost), "{lost} of 10,000 lost");
        assert!((700..900).contains(&twice), "{twice} of 10,000 came twice");
    }

    #[test]
    fn jitter_and_reordering_let_packets_overtake() {
        let link = Link { jitter: Duration::from_millis(5), reorder: MILLION / 4, ..Link::CLEAN };
        let mut rng = Rng::from_seed([3; 32]);
        let delays: Vec<_> = (0..200)
            .filter_map(|_| match link.carry(100, IPV4_OVERHEAD, &mut rng) {
                Carried::Once(delay) => Some(delay),
                Carried::Lost | Carried::Twice(..) | Carried::TooLong => None,
            })
            .collect();
        assert!(delays.iter().any(|delay| *delay > Duration::from_millis(30)));
        assert!(delays.iter().all(|delay| *delay <= Duration::from_millis(65)));
    }

    #[test]
    fn a_packet_that_does_not_fit_vanishes() {
        let mut rng = Rng::from_seed([4; 32]);
        let link = Link::CLEAN.narrow(1_280);
        assert_eq!(link.carry(1_253, IPV4_OVERHEAD, &mut rng), Carried::TooLong);
        assert_eq!(link.carry(1_233, IPV6_OVERHEAD, &mut rng), Carried::TooLong);
        assert_ne!(link.carry(1_252, IPV4_OVERHEAD, &mut rng), Carried::TooLong);
    }

    #[test]
    fn links_in_a_row_add_up() {
        let both = Link::CLEAN.lossy(50).then(Link::CLEAN.delayed(30).lossy(50).narrow(1_400));
        assert_eq!(both.delay, Duration::from_millis(40));
        assert_eq!(both.loss, MILLION * 3 / 4);
        assert_eq!(both.mtu, 1_400);
    }
}
