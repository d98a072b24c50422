//! Any STUN datagram, of clients and services we did not write: what is understood survives our own encoding.
#![no_main]

use lanyard_wire::classify::{Class, classify};
use lanyard_wire::stun::{Answer, BadRequest, ErrorResponse, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    match Request::parse(datagram) {
        Ok(request) => {
            assert_eq!(classify(datagram), Class::Stun);
            assert_eq!(Request::parse(&request.encode()), Ok(request));
        }
        Err(BadRequest::Unknown { txid, attributes }) => {
            assert!(!attributes.is_empty());
            let error = ErrorResponse { txid, code: 420, unknown: attributes };
            assert_eq!(ErrorResponse::parse(&error.encode()), Ok(error));
        }
        Err(BadRequest::Malformed(malformed)) => assert!(malformed.at <= datagram.len()),
    }
    match Answer::parse(datagram) {
        Ok(Answer::Success(response)) => {
            assert_eq!(Answer::parse(&response.encode()), Ok(Answer::Success(response)));
        }
        Ok(Answer::Error(error)) => assert_eq!(ErrorResponse::parse(&error.encode()), Ok(error)),
        Err(malformed) => assert!(malformed.at <= datagram.len()),
    }
});
