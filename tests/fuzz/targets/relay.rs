//! Any body for RELAY or from it, and any session message, ticket, token and relay frame.
#![no_main]

use lanyard_wire::codec::Wire;
use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::relay::{FromRelay, ToRelay};
use lanyard_wire::session::{FromDevice, FromService};
use lanyard_wire::token::Token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    same::<ToRelay>(bytes);
    same::<FromRelay>(bytes);
    same::<FromDevice>(bytes);
    same::<FromService>(bytes);
    same::<Token>(bytes);
    if let Ok((header, datagram)) = RelayHeader::parse(bytes) {
        assert_eq!(usize::from(header.length), datagram.len());
        assert_eq!([&header.encode(), datagram].concat(), bytes);
    }
});

fn same<T: Wire>(bytes: &[u8]) {
    match T::from_bytes(bytes) {
        Ok(value) => assert_eq!(value.to_bytes(), bytes),
        Err(malformed) => assert!(malformed.at <= bytes.len()),
    }
}
