//! The coordinator of a lanyard: five services, together in one process or apart.
//!
//! | service | what it does | where |
//! | --- | --- | --- |
//! | checkpoint | knows who is online and tells members of each other | `proto::service` |
//! | handshake | starts both ends of a pair at the same moment | `proto::service` |
//! | stun | shows devices their own public address | `proto::service` |
//! | relay | carries datagrams of pairs that find no direct path | `proto::service` |
//! | index | permanent data: networks, members, invites | [`index`] |

pub mod index;
