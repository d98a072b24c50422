//! The coordinator's end: an [`Endpoint`] with its services, and [`Stun`].
//!
//! CHECKPOINT, HANDSHAKE and RELAY share what every one of them needs, sessions with devices, so they are
//! parts of one machine behind one identity and one socket. Which of them it has is a setting; services
//! that run apart are several endpoints with the same [`FleetKey`], by which each believes what another
//! granted. STUN needs no session and is a machine of its own, without state.
//!
//! | module | what |
//! | --- | --- |
//! | `endpoint` | the machine: takes datagrams apart, hands messages to the services, seals answers |
//! | `admission` | HELLO, RETRY, WELCOME, RESUME, DATA: what it takes to be heard |
//! | `register`, `session`, `place`, `tickets`, `bucket` | its tables, sessions and where they are, tickets, rates |
//! | `checkpoint` | presence, rosters, joins, the start of attempts |
//! | `handshake` | two offers in, one start signal each out |
//! | `relay` | channels, and where a frame goes |
//! | `stun` | how a device looks from outside |

mod admission;
mod bucket;
mod checkpoint;
mod command;
mod config;
mod endpoint;
mod handshake;
mod place;
mod register;
mod relay;
mod say;
mod session;
mod stun;
mod tickets;

pub use self::checkpoint::{MemberRecord, NetworkRecord};
pub use self::command::{EndpointCommand, EndpointEvent};
pub use self::config::{CheckpointConfig, EndpointConfig};
pub use self::endpoint::{Endpoint, Forward, Stats};
pub use self::relay::{RelayConfig, RelayCounters};
pub use self::stun::{Stun, StunConfig};
pub use self::tickets::FleetKey;
