//! Any probe, any word with a peer relay and any early packet: what parses seals again to the same bytes but for the MAC, and no stranger's opens.
#![no_main]

use std::sync::LazyLock;

use lanyard_wire::carry::Carry;
use lanyard_wire::early::Early;
use lanyard_wire::ids::AttemptId;
use lanyard_wire::keys::SecretKey;
use lanyard_wire::probe::{PairKey, Probe};
use libfuzzer_sys::fuzz_target;

/// The two ends of one attempt.
static PAIR: LazyLock<(PairKey, PairKey)> = LazyLock::new(|| {
    let (a, b) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
    let key = |me: &SecretKey, peer: &SecretKey| {
        PairKey::new(me, &peer.public(), AttemptId::new(7)).expect("keys of full order")
    };
    (key(&a, &b), key(&b, &a))
});

fuzz_target!(|datagram: &[u8]| {
    let (here, there) = &*PAIR;
    if let Ok(carry) = Carry::parse(datagram) {
        let sealed = carry.seal(here);
        assert_eq!(sealed[..48], datagram[..48]);
        assert_eq!(Carry::open(&sealed, there), Some(carry));
        assert!(Carry::open(&sealed, here).is_none(), "turned back");
    }
    if let Ok(early) = Early::parse(datagram) {
        assert_eq!(early.encode(), datagram);
    }
    let Ok(probe) = Probe::parse(datagram) else {
        assert!(Probe::open(datagram, here).is_none());
        return;
    };
    let sealed = probe.seal(here, datagram.len());
    assert_eq!(sealed[..48], datagram[..48]);
    assert_eq!(sealed[64..], datagram[64..]);
    assert_eq!(Probe::open(&sealed, there), Some(probe));
    assert!(Probe::open(&sealed, here).is_none(), "turned back");
    assert!(Probe::open(datagram, there).is_none() || sealed == datagram, "forged");
});
