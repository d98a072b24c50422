//! How the services talk to INDEX: the same messages through a channel or through a sealed stream.
//!
//! CHECKPOINT asks (somebody wants to join) and tells (somebody came online); INDEX answers and publishes changes.
//! STUN and HANDSHAKE need neither. A client begins with [`ToIndex::Subscribe`] each time its link comes
//! [`FromIndex::Up`], and gets everything, then every change. While a link is down its client goes on with what it
//! knows. No UDP service sees the database, and INDEX sees no UDP socket.

pub mod local;
mod passwords;
pub mod publisher;
pub mod remote;
mod sealed;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use lanyard_wire::checkpoint::{Join, JoinOutcome, LinkReport, PairVerdict};
use lanyard_wire::ids::{DeviceId, NetworkId};
use lanyard_wire::keys::PublicKey;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::index::outbox::Change;
use crate::index::text;

/// Messages that wait in one direction of a link; a sender that finds it full keeps or refuses, it never waits.
pub const QUEUE: usize = 1_024;

/// Most presence transitions in one message: 256 of about 90 bytes stay far below a sealed frame.
pub const PRESENCE_MAX: usize = 256;

/// Most reports in one message: 256 of about 110 bytes stay far below a sealed frame.
pub const VERDICTS_MAX: usize = 256;

/// Most reports of links in one message: 256 of about 140 bytes.
pub const LINKS_MAX: usize = 256;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum ToIndex {
    /// Send everything, then every change.
    Subscribe {
        /// What the client keeps.
        interest: Interest,
    },
    /// A device wants to join.
    Join {
        /// Pairs the answer with it.
        ask: u64,
        /// Who asks; proven by its session.
        #[serde(with = "text")]
        identity: PublicKey,
        /// Where it asks from.
        ip: IpAddr,
        /// What it asks.
        #[serde(with = "as_wire")]
        join: Join,
    },
    /// A device leaves a network.
    Leave {
        /// Pairs the answer with it.
        ask: u64,
        /// Who leaves.
        #[serde(with = "text")]
        device: DeviceId,
        /// Which network.
        #[serde(with = "text")]
        network: NetworkId,
    },
    /// Devices went online or offline.
    Presence {
        /// At most [`PRESENCE_MAX`].
        transitions: Vec<Transition>,
    },
    /// Devices reported how they reach others.
    Verdicts {
        /// At most [`VERDICTS_MAX`].
        reports: Vec<Reported>,
    },
    /// Devices reported how data goes between them and others.
    Links {
        /// At most [`LINKS_MAX`].
        reports: Vec<Carried>,
    },
}

/// How much of the roster a client keeps in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interest {
    /// All of it: CHECKPOINT.
    Roster,
    /// Only who is gone: RELAY, which drops their channels.
    Departures,
}

/// One device's change of presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Which device.
    #[serde(with = "text")]
    pub device: DeviceId,
    /// Its state now.
    pub online: bool,
    /// Its public address, when known.
    pub ip: Option<IpAddr>,
}

/// How a device reaches another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// Who says so; proven by its session.
    #[serde(with = "text")]
    pub device: DeviceId,
    /// What it says.
    #[serde(with = "as_wire")]
    pub verdict: PairVerdict,
}

/// How data goes between a device and another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Who says so; proven by its session.
    #[serde(with = "text")]
    pub device: DeviceId,
    /// What it says.
    #[serde(with = "as_wire")]
    pub link: LinkReport,
}

/// What INDEX says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum FromIndex {
    /// The link works now. Made by this end of the link, never sent.
    #[serde(skip)]
    Up,
    /// The link is cut. Made by this end of the link, never sent.
    #[serde(skip)]
    Down,
    /// What follows is everything there is.
    SnapshotBegins,
    /// One change, or one line of a snapshot.
    Changed {
        /// The change.
        change: Change,
    },
    /// That was everything.
    SnapshotEnds,
    /// Answer to [`ToIndex::Join`].
    JoinDecided {
        /// The question's number.
        ask: u64,
        /// The answer.
        #[serde(with = "as_wire")]
        outcome: JoinOutcome,
    },
    /// Answer to [`ToIndex::Leave`].
    LeaveDone {
        /// The question's number.
        ask: u64,
    },
}

/// A client's end of a link.
#[derive(Debug)]
pub struct Link {
    /// To INDEX.
    pub tx: mpsc::Sender<ToIndex>,
    /// From INDEX; begins with [`FromIndex::Up`] as soon as the link works.
    pub rx: mpsc::Receiver<FromIndex>,
}

/// INDEX's end of a link.
#[derive(Debug)]
pub struct Client {
    /// From the client.
    pub rx: mpsc::Receiver<ToIndex>,
    /// To the client.
    pub tx: mpsc::Sender<FromIndex>,
}

/// Parts of the protocol inside JSON: their own bytes, in hexadecimal.
mod as_wire {
    use data_encoding::HEXLOWER;
    use lanyard_wire::codec::Wire;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<T: Wire, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&value.to_bytes()))
    }

    pub(super) fn deserialize<'de, T: Wire, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        T::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}
