//! Pairs of other devices for which this one passes frames on (a peer relay).

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::transmit::Way;

/// What a data plane needs to know to pass on the frames of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transit {
    /// The two devices of the channel.
    pub ends: [TransitEnd; 2],
    /// Bits that the pair may send each second, both directions and headers included.
    pub rate_bps: u64,
}

/// One end of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitEnd {
    /// Where frames for it go.
    pub to: Way,
    /// Where its own may come from: addresses at which it proved itself.
    pub from: Vec<SocketAddr>,
}

impl Transit {
    /// Where a frame that came from `remote` goes; none for a stranger's.
    #[must_use]
    pub fn way(&self, remote: SocketAddr) -> Option<Way> {
        let [a, b] = &self.ends;
        if a.from.contains(&remote) {
            Some(b.to)
        } else if b.from.contains(&remote) {
            Some(a.to)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_to_the_other_end_and_a_strangers_goes_nowhere() {
        let addr = |host| SocketAddr::from(([192, 0, 2, host], 1));
        let end =
            |host| TransitEnd { to: Way::main(addr(host)), from: Vec::from([addr(host), addr(host + 10)]) };
        let transit = Transit { ends: [end(1), end(2)], rate_bps: 1 };
        assert_eq!(transit.way(addr(1)), Some(Way::main(addr(2))));
        assert_eq!(
            transit.way(addr(12)),
            Some(Way::main(addr(1))),
            "an address that it has beside the one we use"
        );
        assert_eq!(transit.way(addr(3)), None);
    }
}
