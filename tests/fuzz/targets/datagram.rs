//! Any datagram: it is sorted, and what its envelope accepts encodes to the same bytes.
#![no_main]

use lanyard_wire::classify::{Class, classify};
use lanyard_wire::envelope::{DataHeader, Hello, RelayHeader, Resume, Resumed, Retry, Unknown, Welcome};
use lanyard_wire::limits::{RELAY_HINT_MIN, UNKNOWN_LEN};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let class = classify(datagram);
    let mut accepted = Vec::new();
    accepted.extend(Hello::parse(datagram).map(|hello| hello.encode()));
    accepted.extend(Retry::parse(datagram).map(|retry| retry.encode()));
    accepted.extend(Welcome::parse(datagram).map(|welcome| welcome.encode()));
    accepted.extend(Resume::parse(datagram).map(|resume| resume.encode()));
    accepted.extend(Resumed::parse(datagram).map(|resumed| resumed.encode()));
    accepted.extend(Unknown::parse(datagram).map(|unknown| unknown.encode()));
    accepted.extend(RelayHeader::parse(datagram).map(|(header, rest)| [&header.encode(), rest].concat()));
    assert!(accepted.len() <= 1, "a datagram is of one kind");
    for encoded in accepted {
        assert_eq!(encoded, datagram);
        assert!(matches!(class, Class::Lanyard | Class::Relay));
    }
    if let Ok(header) = DataHeader::parse(datagram) {
        assert_eq!(class, Class::Lanyard);
        assert_eq!(header.encode(), datagram[..16]);
        assert!(datagram.len() >= UNKNOWN_LEN, "the hint it may cause is not longer");
    }
    assert!(UNKNOWN_LEN <= RELAY_HINT_MIN);
});
