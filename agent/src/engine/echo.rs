//! Echo requests through the tunnel, as `ping` sends them.
//!
//! The requests are ordinary packets to the peer's overlay address: they take the way of all other packets,
//! so what is measured is what programs will see. Terms: RFC 792, RFC 4443.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lanyard_proto::overlay::{ForwardingTable, Path};
use lanyard_wire::ids::DeviceId;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::report;
use super::ways::Ways;
use crate::exit::{Code, Problem};
use crate::ipc::schema::{Answer, Pinged, Reply};

/// From one request to the next.
const EVERY: Duration = Duration::from_secs(1);

/// The same while a direct path is waited for.
const EVERY_UNTIL_DIRECT: Duration = Duration::from_millis(500);

/// A reply that takes longer is lost; a relay on the other side of the world takes 0.4 s.
const REPLY_WAIT: Duration = Duration::from_secs(2);

/// The header in front of the payload.
const HEADER: usize = 8;

/// Whom to ping, and how.
#[derive(Clone, Debug)]
pub(super) struct Ping {
    pub(super) device: DeviceId,
    pub(super) name: String,
    /// Own overlay address, which the requests come from.
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) count: u32,
    pub(super) until_direct: bool,
    pub(super) size: u16,
}

impl Ping {
    /// Sends the requests and answers for each; ends early when nobody listens any more.
    pub(super) async fn run(
        self,
        table: watch::Receiver<Arc<ForwardingTable>>,
        ways: Ways,
        answers: mpsc::Sender<Answer>,
    ) {
        if let Err(error) = self.send_all(&table, &ways, &answers).await {
            let text = format!("cannot send echo requests to {}: {error}", self.to);
            drop(answers.send(Answer::Error(Problem::new(Code::PathNone, text))).await);
        }
    }

    async fn send_all(
        &self,
        table: &watch::Receiver<Arc<ForwardingTable>>,
        ways: &Ways,
        answers: &mpsc::Sender<Answer>,
    ) -> io::Result<()> {
        let echo = Echo::open(self.from, self.to)?;
        let every = if self.until_direct { EVERY_UNTIL_DIRECT } else { EVERY };
        let path = || table.borrow().peer(&self.device).map_or(Path::None, |peer| peer.path);
        let (mut sent, mut received) = (0, 0);
        for sequence in 1..=self.count {
            let started = Instant::now();
            let rtt = echo.ask(sequence, self.size).await;
            sent = sequence;
            received += u32::from(rtt.is_some());
            let by = path();
            let reply = Reply {
                sequence,
                peer: self.name.clone(),
                ip: self.to,
                rtt_us: rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
                path: report::path(&by, ways),
            };
            if answers.send(Answer::Reply(reply)).await.is_err() {
                return Ok(());
            }
            if self.until_direct && rtt.is_some() && by.is_direct() {
                break;
            }
            if sequence < self.count {
                tokio::select! {
                    () = tokio::time::sleep_until(started + every) => {}
                    () = answers.closed() => return Ok(()),
                }
            }
        }
        let pinged = Pinged { peer: self.name.clone(), sent, received, path: report::path(&path(), ways) };
        // Nobody listens any more.
        drop(answers.send(Answer::Pinged(pinged)).await);
        Ok(())
    }
}

/// A socket for echo requests to one address.
struct Echo {
    socket: UdpSocket,
    is_v4: bool,
    /// What marks our requests; `None` where the kernel marks them itself.
    id: Option<u16>,
}

impl Echo {
    /// Opens it raw, or as an unprivileged ICMP socket where the kernel allows only that.
    fn open(from: IpAddr, to: IpAddr) -> io::Result<Self> {
        let (domain, protocol) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let (socket, is_raw) = match Socket::new(domain, Type::RAW, Some(protocol)) {
            Ok(socket) => (socket, true),
            Err(_) => (Socket::new(domain, Type::DGRAM, Some(protocol))?, false),
        };
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        // Only what comes from the peer is delivered.
        socket.connect(&SocketAddr::new(to, 0).into())?;
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
        // A UDP socket to the runtime: it reads and writes whole datagrams, which is all that is needed.
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { socket, is_v4: to.is_ipv4(), id: is_raw.then_some(u16::from_be_bytes(id)) })
    }

    /// One request; `None` when no reply came in time.
    async fn ask(&self, sequence: u32, size: u16) -> Option<Duration> {
        // The field has 16 bits and comes round; by then the old reply is long lost.
        let sequence = u16::try_from(sequence % 0x1_0000).unwrap_or(0);
        let started = Instant::now();
        let deadline = started + REPLY_WAIT;
        let request = request(self.is_v4, self.id.unwrap_or(0), sequence, size);
        // An error here is a packet lost, such as a full queue or an ICMP "unreachable" of the last one.
        drop(self.socket.send(&request).await);
        let mut buffer = vec![0; HEADER + 60 + usize::from(u16::MAX)];
        loop {
            match timeout_at(deadline, self.socket.recv(&mut buffer)).await {
                Err(_) => return None,
                // "Unreachable": the data plane says so while there is no path; a later reply still counts.
                Ok(Err(_)) => {}
                Ok(Ok(length)) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    if is_reply(bytes, self.is_v4, self.id, sequence) {
                        return Some(started.elapsed());
                    }
                }
            }
        }
    }
}

/// An echo request with its checksum; the kernel computes that of ICMPv6.
fn request(is_v4: bool, id: u16, sequence: u16, size: u16) -> Vec<u8> {
    let kind = if is_v4 { 8 } else { 128 };
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend(id.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend((0..size).map(|at| u8::try_from(at % 251).unwrap_or(0)));
    if is_v4 {
        let sum = checksum(&bytes);
        if let Some(field) = bytes.get_mut(2..4) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }
    bytes
}

/// Whether these bytes are the reply. A raw IPv4 socket gives the IP header too; where the kernel marks the
/// requests (`id` is `None`) it delivers our own replies only.
fn is_reply(bytes: &[u8], is_v4: bool, id: Option<u16>, sequence: u16) -> bool {
    let has_header = is_v4 && id.is_some();
    let header = if has_header { bytes.first().map_or(0, |first| usize::from(first & 0x0F) * 4) } else { 0 };
    let Some(icmp) = bytes.get(header..).and_then(|icmp| icmp.first_chunk::<HEADER>()) else { return false };
    let [kind, code, _, _, id_high, id_low, sequence_high, sequence_low] = *icmp;
    kind == (if is_v4 { 0 } else { 129 })
        && code == 0
        && id.is_none_or(|id| u16::from_be_bytes([id_high, id_low]) == id)
        && u16::from_be_bytes([sequence_high, sequence_low]) == sequence
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u32::from(u16::from_be_bytes([high, low])),
            [high] => u32::from(high) << 8,
            _ => 0,
        })
        .sum();
    while sum > 0xFFFF {
        sum = (sum >> 16) + (sum & 0xFFFF);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sums_up_to_zero_and_is_not_taken_for_its_reply() {
        for size in [0, 1, 56, 1_400] {
            let bytes = request(true, 0x1234, 7, size);
            assert_eq!(checksum(&bytes), 0, "{size} bytes");
            assert_eq!(bytes.len(), HEADER + usize::from(size));
            assert!(!is_reply(&bytes, true, None, 7));
        }
        assert_eq!(request(false, 1, 1, 0).first(), Some(&128));
    }

    #[test]
    fn a_reply_is_known_by_kind_id_and_sequence() {
        let mut raw = vec![0x45; 20];
        raw.extend([0, 0, 0, 0, 0x12, 0x34, 0, 7]);
        assert!(is_reply(&raw, true, Some(0x1234), 7));
        assert!(!is_reply(&raw, true, Some(0x1234), 8));
        assert!(!is_reply(&raw, true, Some(0x4321), 7));
        assert!(!is_reply(&raw[..27], true, Some(0x1234), 7));
        assert!(is_reply(&raw[20..], true, None, 7));
        let reply6 = [129, 0, 0, 0, 0x12, 0x34, 0, 7];
        assert!(is_reply(&reply6, false, Some(0x1234), 7));
        assert!(!is_reply(&reply6, false, Some(1), 7));
        assert!(!is_reply(&[], true, Some(0), 0));
    }
}
