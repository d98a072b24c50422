//! The lanyard protocol: bytes to types and back, keys, sealing.
//!
//! Nothing here has state that outlives a call (one replay window and prepared keys aside), reads a clock, draws
//! random numbers or touches a socket: callers pass nonces, times and bytes in. Every parser is total: it takes
//! any bytes and gives a value or a [`codec::Malformed`]; the lints below make "cannot panic" a property of the
//! build. The byte layouts are specified in `docs/protocol.md`, whose hex examples are this crate's test vectors.
//!
//! What arrives on a lanyard socket, by its first byte (see [`classify`]):
//!
//! | first byte | datagram | module | docs/protocol.md |
//! | --- | --- | --- | --- |
//! | `0x01..=0x04` | WireGuard | none: passed through | 2 |
//! | `0x00..=0x3F` and the magic cookie | STUN | [`stun`] | 9 |
//! | `0xC0` | relay frame around a WireGuard datagram, a probe or an early packet | [`envelope`] | 8 |
//! | `0xC1`, `0xC2`, `0xC3` | HELLO, RETRY, WELCOME: a session begins | [`envelope`] | 3 |
//! | `0xC4` | DATA: sealed body | [`envelope`], [`body`] | 3 |
//! | `0xC5`, `0xC6` | RESUME, RESUMED: a session returns by ticket | [`envelope`] | 3 |
//! | `0xC7`, `0xC8` | PING, PONG between two devices | [`probe`] | 7 |
//! | `0xC9` | UNKNOWN: a hint that a session or channel is gone | [`envelope`] | 3 |
//! | `0xCA` | CARRY between a device and a peer relay | [`carry`] | 7 |
//! | `0xCB` | EARLY: a packet that does not wait for a tunnel | [`early`] | 7 |
//!
//! Inside DATA, the first byte of the body is the message type: [`session`], [`checkpoint`], [`handshake`],
//! [`relay`]; [`body`] decodes all of them.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::panic
)]

extern crate alloc;

mod crockford;

pub mod codec;

pub mod body;
pub mod candidate;
pub mod carry;
pub mod checkpoint;
pub mod classify;
pub mod door;
pub mod early;
pub mod envelope;
pub mod handshake;
pub mod ids;
pub mod join;
pub mod keys;
pub mod limits;
pub mod names;
pub mod nat;
pub mod probe;
pub mod relay;
pub mod seal;
pub mod session;
pub mod stun;
pub mod token;
