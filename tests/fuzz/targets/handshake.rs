//! Any body for HANDSHAKE or from it: what is accepted encodes to the same bytes.
#![no_main]

use lanyard_wire::body::{DeviceBody, ServiceBody};
use lanyard_wire::handshake::{FromHandshake, ToHandshake};
use lanyard_wire::codec::Wire;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    match ToHandshake::from_bytes(body) {
        Ok(message) => assert_eq!(message.to_bytes(), body),
        Err(malformed) => assert!(malformed.at <= body.len()),
    }
    match FromHandshake::from_bytes(body) {
        Ok(message) => assert_eq!(message.to_bytes(), body),
        Err(malformed) => assert!(malformed.at <= body.len()),
    }
    if let Ok(message) = DeviceBody::parse(body) {
        assert_eq!(message.to_bytes(), body);
        assert!(ServiceBody::parse(body).is_err() || body.is_empty(), "a type has one direction");
    }
});
