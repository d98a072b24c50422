//! The state machines of both ends of the lanyard protocol: a device, and the coordinator's UDP services.
//!
//! # Six verbs
//!
//! Every machine here has the same six, so whoever has read one file can read them all. Three go in:
//!
//! ```text
//! handle_datagram(datagram, now) -> Result<(), Rejected>    bytes from the network
//! handle_command(command, now)                              wishes from the program
//! handle_timeout(now)                                       time passed; an extra call changes nothing
//! ```
//!
//! and three come out, to be called after each of the above until they give `None`:
//!
//! ```text
//! poll_transmit() -> Option<Transmit>     a datagram to send: from which socket, to whom, which bytes
//! poll_event()    -> Option<Event>        a fact for the program
//! poll_timeout()  -> Option<Wakeup>       when handle_timeout is wanted next, and why
//! ```
//!
//! Nothing in this crate can read a clock, open a socket, start a thread or draw randomness of its own: time
//! and datagrams come in as arguments and a seed comes with each constructor. The same machines therefore run
//! in the programs `lanyard` and `lanyard-server` and, a thousand virtual minutes at a time, in `tests/sim`.
//! A machine never panics on input and never gives up because of it: what it ignores it reports as a
//! [`Rejected`](rejected::Rejected), each variant of which is a counter.
//!
//! Packets of the tunnel do not pass through the machines. A device's machine decides which path a peer's
//! packets take and hands out a snapshot; the data plane obeys it and reports what it saw.
//!
//! # Map
//!
//! | module | what |
//! | --- | --- |
//! | [`time`], [`timers`], [`backoff`] | moments, timers by name, waiting between tries |
//! | [`noise`] | the key exchange, for both ends |
//! | [`transmit`], [`rejected`], [`rng`] | datagrams in and out, why one was ignored, seeded randomness |
//! | [`door`] | datagrams that wait for a stream |
//! | [`device`] | the agent's end: what it is told, what it tells, and its machines |
//! | [`service`] | the coordinator's end: sessions, checkpoint, handshake, relay; STUN |
//! | [`overlay`] | packets of the virtual LAN and the table that a data plane obeys |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod backoff;
pub mod device;
pub mod door;
pub mod noise;
pub mod overlay;
pub mod rejected;
pub mod rng;
pub mod service;
pub mod time;
pub mod timers;
pub mod transmit;
