//! Requests and answers on the local socket, and so the schema of `--json`.
//!
//! Within one version fields are only added. Durations carry their unit in the name, absent values are
//! `null`. A request that fails ends with an answer of kind `error`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::exit::Problem;

mod pair;
mod traffic;

pub use pair::{
    CandidateKind, Egress, Filtering, Mapping, Method, Nat, Netcheck, PortMapping, PortMappingProtocol,
    PortMappingState, Ports, Tried, Verdict, Why,
};
pub use traffic::{Counted, OtherPaths, Over, PathClass, PathKind, PathTraffic, Pings, Traffic};

/// The version of this schema.
pub const VERSION: u32 = 1;

/// The longest request line; a join string is the longest thing in one.
pub const REQUEST_MAX: usize = 8 * 1024;

/// One line on the socket: a request or an answer with its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line<T> {
    /// The schema's version.
    pub v: u32,
    /// The request or answer itself.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Line<T> {
    /// A line of this version.
    pub const fn new(body: T) -> Self {
        Self { v: VERSION, body }
    }
}

/// A secret on its way to the agent; it does not show in debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl core::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// What a command asks of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Everything there is to see; answered by [`Answer::Status`].
    Status {
        /// Answer again whenever something changes, until the connection is closed.
        #[serde(default)]
        watch: bool,
    },
    /// Switch networking on, or one network.
    Up {
        /// One network instead of all.
        network: Option<String>,
    },
    /// Switch networking off, or one network.
    Down {
        /// One network instead of all.
        network: Option<String>,
    },
    /// Join a network; answered by [`Answer::Joined`].
    Join {
        /// The join string.
        join: String,
        /// The name to join under, kept for later joins.
        name: Option<String>,
        /// The network's password, where it is joined by one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<Hidden>,
        /// How long to wait for an administrator's approval.
        wait_s: u32,
    },
    /// Leave a network; answered by [`Answer::Left`].
    Leave {
        /// Its name.
        network: String,
    },
    /// Echo requests through the tunnel; answered by [`Answer::Reply`]s and one [`Answer::Pinged`].
    Ping {
        /// Name, address, number or id.
        peer: String,
        /// How many requests at most.
        count: u32,
        /// End with the first reply that came by a direct path.
        until_direct: bool,
        /// Bytes of payload.
        size: u16,
    },
    /// The pair's story; answered by [`Answer::Why`].
    Why {
        /// Name, address, number or id.
        peer: String,
    },
    /// Measure the NAT in front of this device; answered by [`Answer::Netcheck`].
    Netcheck,
    /// The running agent's release; answered by [`Answer::Version`].
    Version,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// A daemon started in the background accepts requests.
    Ready,
    /// Everything there is to see.
    Status(Status),
    /// Networks were switched on or off.
    Switched(Switched),
    /// A network was joined, or approval is awaited.
    Joined(Joined),
    /// A network was left.
    Left {
        /// Its name.
        network: String,
    },
    /// One echo request was answered, or not.
    Reply(Reply),
    /// All echo requests are done.
    Pinged(Pinged),
    /// The pair's story.
    Why(Why),
    /// The NAT in front of this device.
    Netcheck(Netcheck),
    /// Overlay addresses; made by `lanyard ip` from a status.
    Addresses {
        /// In the order of the networks.
        addresses: Vec<IpAddr>,
    },
    /// This device; made by `lanyard whoami` from a status.
    Device(Device),
    /// A release.
    Version {
        /// `MAJOR.MINOR.PATCH`.
        version: String,
    },
    /// Counters in Prometheus' text format; made by `lanyard metrics` from a status.
    Metrics {
        /// The page.
        text: String,
    },
    /// The request failed.
    Error(Problem),
}

/// Everything there is to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's release.
    pub version: String,
    /// This device.
    pub device: Device,
    /// Networking is on; `lanyard down` switches it off.
    pub up: bool,
    /// The NAT in front of this device.
    pub nat: Nat,
    /// What the router maps.
    #[serde(default)]
    pub port_mapping: PortMapping,
    /// Coordinators.
    pub servers: Vec<Server>,
    /// Networks.
    pub networks: Vec<Network>,
    /// Packets and datagrams that went no further since networking is on, by reason.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
}

/// This device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The name it joins networks under.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The number people read out, once a coordinator gave one.
    pub number: Option<String>,
    /// Its identity key.
    pub key: String,
    /// The UDP port in use.
    pub port: u16,
}

/// A coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Host and port, as the join string named it.
    pub host: String,
    /// Its pinned key.
    pub key: String,
    /// How this device stands with it.
    pub state: ServerState,
    /// This device's address as the coordinator sees it.
    pub observed: Option<SocketAddr>,
    /// Round trip.
    pub rtt_us: Option<u64>,
    /// Its door, while the session goes through it or it did not open.
    #[serde(default)]
    pub door: Option<Door>,
    /// Its relays.
    #[serde(default)]
    pub relays: Vec<Relay>,
}

/// A relay of a coordinator; a pair meets at the one with the least sum of both round trips.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Its address, or that of the door to it.
    pub address: SocketAddr,
    /// It is the coordinator itself.
    pub is_server: bool,
    /// It answers, and is not about to end.
    pub ok: bool,
    /// Round trip.
    pub rtt_us: Option<u64>,
}

/// The way to a coordinator where UDP does not get out: TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// TCP port.
    pub port: u16,
    /// The proxy it goes through, as `host:port`.
    pub proxy: Option<String>,
    /// Why it did not open.
    pub problem: Option<String>,
}

/// How this device stands with a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// First tries.
    Connecting,
    /// A session stands.
    Online,
    /// No answer.
    Offline,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The coordinator, as in [`Server::host`].
    pub server: String,
    /// This device's membership.
    pub state: Membership,
    /// Switched on here.
    pub enabled: bool,
    /// The network's IPv4 range.
    pub prefix4: String,
    /// Own IPv4 address.
    pub ip4: Ipv4Addr,
    /// Own IPv6 address.
    pub ip6: Ipv6Addr,
    /// What its IPv4 range clashes with; IPv4 stays off then.
    pub clash: Option<String>,
    /// The other members.
    pub members: Vec<Member>,
}

/// A device's standing in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// A full member.
    Active,
    /// Approval is awaited.
    Pending,
    /// Switched off by an administrator.
    Suspended,
}

/// Another member of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its number.
    pub number: String,
    /// Its IPv4 address in this network.
    pub ip4: Ipv4Addr,
    /// Its IPv6 address in this network.
    pub ip6: Ipv6Addr,
    /// The coordinator has a session with it.
    pub online: bool,
    /// This device refuses it.
    pub refused: bool,
    /// How datagrams travel to it.
    pub path: Path,
    /// Round trip on that path.
    pub rtt_us: Option<u64>,
    /// Bytes sent to it since the agent started.
    pub tx_bytes: u64,
    /// Bytes heard from it since the agent started.
    pub rx_bytes: u64,
    /// The member through which they travel, where that is no relay of the coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<String>,
    /// What was counted path by path, where there was traffic. A peer in several networks has it in each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
}

/// How datagrams travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Path {
    /// Straight to the peer.
    Direct {
        /// Its address as this device reaches it.
        remote: SocketAddr,
        /// What carries the datagrams.
        #[serde(default)]
        transport: Transport,
    },
    /// Through a relay.
    Relay {
        /// The relay's address; `0.0.0.0` where a proxy alone knows it.
        relay: SocketAddr,
        /// What carries the datagrams.
        #[serde(default)]
        transport: Transport,
    },
    /// No path is in use.
    None,
}

/// What carries datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// UDP.
    #[default]
    Udp,
    /// A TCP connection, where UDP does not get out at one end; with TLS to a coordinator.
    Tcp,
}

/// Networks were switched on or off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// On?
    pub up: bool,
    /// The networks concerned.
    pub networks: Vec<String>,
}

/// A network was joined, or approval is awaited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The coordinator, as in [`Server::host`].
    pub server: String,
    /// Its pinned key.
    pub key: String,
    /// The network.
    pub network: String,
    /// The name this device has there.
    pub name: String,
    /// An administrator has to approve first; there are no addresses yet.
    pub pending: bool,
    /// This device's number.
    pub number: Option<String>,
    /// Own IPv4 address.
    pub ip4: Option<Ipv4Addr>,
    /// Own IPv6 address.
    pub ip6: Option<Ipv6Addr>,
    /// Other members.
    pub members: usize,
    /// Other members that are online.
    pub online: usize,
}

/// One echo request was answered, or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Counts the requests from 1.
    pub sequence: u32,
    /// The peer's name.
    pub peer: String,
    /// Its overlay address.
    pub ip: IpAddr,
    /// Round trip; `null` when no reply came in time.
    pub rtt_us: Option<u64>,
    /// The path in use when the reply came.
    pub path: Path,
}

/// All echo requests are done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinged {
    /// The peer's name.
    pub peer: String,
    /// Requests sent.
    pub sent: u32,
    /// Replies that came.
    pub received: u32,
    /// The path at the end.
    pub path: Path,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_flat_object_with_its_version() {
        let line = Line::new(Ask::Leave { network: "home".to_owned() });
        let json = serde_json::to_string(&line).unwrap();
        assert_eq!(json, r#"{"v":1,"ask":"leave","network":"home"}"#);
        assert_eq!(serde_json::from_str::<Line<Ask>>(&json).unwrap(), line);
    }

    #[test]
    fn an_error_is_an_answer_like_any_other() {
        let problem = Problem::new(crate::exit::Code::PeerUnknown, "no member is called nas");
        let json = serde_json::to_string(&Line::new(Answer::Error(problem.clone()))).unwrap();
        assert_eq!(json, r#"{"v":1,"kind":"error","code":"peer.unknown","text":"no member is called nas"}"#);
        assert_eq!(serde_json::from_str::<Line<Answer>>(&json).unwrap().body, Answer::Error(problem));
    }

    #[test]
    fn paths_and_nats_use_the_words_of_the_field() {
        let path = Path::Direct { remote: "198.51.100.7:41644".parse().unwrap(), transport: Transport::Udp };
        assert_eq!(
            serde_json::to_string(&path).unwrap(),
            r#"{"kind":"direct","remote":"198.51.100.7:41644","transport":"udp"}"#
        );
        let mapping = serde_json::to_string(&Mapping::AddressAndPortDependent).unwrap();
        assert_eq!(mapping, r#""address-and-port-dependent""#);
    }
}
