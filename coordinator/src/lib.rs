//! The coordinator of a lanyard: five services, together in one process or apart.
//!
//! | service | what it does | where |
//! | --- | --- | --- |
//! | checkpoint | knows who is online and tells members of each other | `proto::service`, [`checkpoint`] |
//! | handshake | starts both ends of a pair at the same moment | `proto::service` |
//! | stun | shows devices their own public address | `proto::service`, [`stun`] |
//! | relay | carries datagrams of pairs that find no direct path | `proto::service` |
//! | index | permanent data: networks, members, invites | [`index`] |
//!
//! The machines of `proto` decide; [`udp`] is the one shell around all of them. They reach [`index`] through
//! [`bus`] only, so any subset can run in a process of its own ([`services`]).

pub mod accounts;
pub mod api;
pub mod bus;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod config;
mod debris;
pub mod demo;
pub mod door;
pub mod entrance;
mod farewell;
pub mod health;
mod http;
pub mod index;
pub mod keys;
pub mod metrics;
pub mod oidc;
pub mod problem;
pub mod reach;
pub mod routes;
pub mod services;
pub mod stun;
pub mod udp;
pub mod webhooks;
pub mod words;
