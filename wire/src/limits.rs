//! Every size limit and default port, with its reason.

/// Longest lanyard datagram in UDP payload bytes.
///
/// 1,200 passes every IPv6 path (minimum link MTU 1,280 less 48 bytes of headers) with room for one more tunnel
/// around it, as QUIC has it (RFC 9000, section 14).
pub const DATAGRAM_MAX: usize = 1_200;

/// Header of a DATA datagram: kind, flags, receiver index, counter.
pub const DATA_HEADER: usize = 16;

/// Authentication tag of every sealed part (Poly1305, GCM).
pub const TAG: usize = 16;

/// Longest body of a DATA datagram: what header and tag leave of [`DATAGRAM_MAX`].
pub const BODY_MAX: usize = 1_168;

/// Exact length of HELLO.
///
/// Longer than RETRY (48), so that a forged source address gains an attacker nothing.
pub const HELLO_LEN: usize = 160;

/// Exact length of RETRY.
pub const RETRY_LEN: usize = 48;

/// Longest WELCOME: one small datagram, sent to a proven address only.
pub const WELCOME_MAX: usize = 300;

/// Exact length of RESUME.
pub const RESUME_LEN: usize = 168;

/// Exact length of RESUMED.
pub const RESUMED_LEN: usize = 71;

/// Longest RESUMED a later version may send; RESUME is longer, so the answer never amplifies.
pub const RESUMED_MAX: usize = 96;

/// Exact length of UNKNOWN; shorter than any datagram that may cause one (DATA 32, relay frame from 16 up).
pub const UNKNOWN_LEN: usize = 16;

/// Shortest relay frame that may be answered with UNKNOWN: the answer is not longer than the question.
pub const RELAY_HINT_MIN: usize = 16;

/// Header of a relay frame: kind, channel, length. Eight bytes keep what follows aligned.
pub const RELAY_HEADER: usize = 8;

/// Length of PING and PONG without padding.
pub const PROBE_LEN: usize = 64;

/// Length of CARRY.
pub const CARRY_LEN: usize = 64;

/// What an EARLY is longer than the packet in it: head 8, ephemeral key 32, number 8, tag 16.
pub const EARLY_OVERHEAD: usize = 64;

/// Longest packet that goes early: with its relay header the datagram has [`DATAGRAM_MAX`] bytes.
///
/// First packets are short (an opening of TCP, a question); a longer one waits for the session.
pub const EARLY_PACKET_MAX: usize = 1_128;

/// Longer control datagrams are sent in one piece or not at all: only PINGs that measure what a path carries are.
///
/// What every path has to carry, packets of 1,280 bytes in WireGuard's 32, may be cut on the way.
pub const WHOLE_ABOVE: usize = 1_312;

/// Longest padded PING: an Ethernet frame's payload; larger paths are not probed.
pub const PROBE_MAX: usize = 1_500;

/// Most sockets that an end opens for one attempt; a method that says more means this.
///
/// Among 64,512 ports 256 of them are hit by 1,200 guesses 99 times in 100, by half as many sockets 88 times. They are
/// as many mappings in the router in front, which has thousands.
pub const OPEN_SOCKETS_MAX: u16 = 256;

/// Most ports that an end guesses in one attempt; a method that says more means this.
///
/// At 500 a second that is 2.4 s, and as many entries in the guesser's own router. For 99.9 in 100 it would take 1,715.
pub const GUESS_PORTS_MAX: u16 = 1_200;

/// Length of our own STUN requests, padding included.
///
/// An IPv6 answer with four addresses has 116 bytes: no answer is longer than its question.
pub const STUN_REQUEST_LEN: usize = 120;

/// Last counter a key may seal with, and the last one accepted.
///
/// WireGuard's own limit (2^64 - 2^13 - 1): far from the end, so that no sum of counter and window overflows.
pub const COUNTER_MAX: u64 = u64::MAX - 0x2000;

/// UDP port of checkpoint, handshake and relay.
pub const CONTROL_PORT: u16 = 7443;

/// First UDP port of the STUN service (RFC 8489, section 18.6).
pub const STUN_PORT: u16 = 3478;

/// Second UDP port of the STUN service, for the behaviour tests of RFC 5780.
pub const STUN_ALTERNATE_PORT: u16 = 3479;

/// TCP port of panel, API and door.
pub const WEB_PORT: u16 = 443;

/// Candidates one device offers: more than host, reflexive and mapped addresses of two families fill rarely.
pub const CANDIDATES_MAX: usize = 8;

/// Networks of one device at one coordinator: their revisions fit one Registered.
pub const NETWORKS_MAX: usize = 32;

/// Changes in one roster page; a page also ends where [`BODY_MAX`] would be exceeded.
pub const MEMBERS_PER_PAGE: usize = 8;

/// Services of one kind told to a device: one in use and two to fail over to.
pub const RELAYS_MAX: usize = 3;

/// Addresses of one service: two families, two doors.
pub const SERVICE_ADDRS_MAX: usize = 4;

/// Addresses of STUN services: a pair of addresses with two ports each, in two families.
pub const STUN_ADDRS_MAX: usize = 8;

/// Presence changes in one push: 22 x 50 bytes fit one datagram.
pub const PRESENCE_MAX: usize = 22;

/// Peers in one Links: 28 x 40 bytes fit one datagram; more go in several.
pub const LINKS_MAX: usize = 28;

/// Refused devices in one Consent: 60 x 16 bytes fit one datagram; longer lists are shortened by the sender.
pub const REFUSED_MAX: usize = 60;

/// Locally routed IPv4 prefixes in one Join.
pub const PREFIXES_MAX: usize = 16;

/// Length of a network name: a DNS label with room for a prefix.
pub const NETWORK_NAME_MAX: usize = 32;

/// Length of a device name: a DNS label (RFC 1035, section 2.3.4).
pub const DEVICE_NAME_MAX: usize = 63;

/// Length of the operating system's name in a Join.
pub const OS_MAX: usize = 32;

/// Length of the agent's version in a Join.
pub const VERSION_MAX: usize = 32;

/// Length of a host name in a join string (RFC 1035, section 2.3.4).
pub const HOST_MAX: usize = 253;
