//! What a router tells unasked: that it restarted, or has another address outside.
//!
//! Routers that speak NAT-PMP or PCP send it to 224.0.0.1:5350 several times (RFC 6886, section 3.2.1;
//! RFC 6887, section 14.1). Everybody on the LAN can send there, too. So at most a few datagrams a second are
//! looked at, of those only the router's own, and all that one causes is an early renewal.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

/// Where clients listen.
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 1), 5_350);

/// Where routers send from.
const ROUTER_PORT: u16 = 5_351;

/// A pause after each datagram; the kernel drops what does not fit its buffer meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// What the kernel keeps for us: routers repeat themselves, so losing some is fine.
const BUFFER: usize = 4 * 1024;

/// What a router announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    /// Seconds since it lost its mappings the last time.
    pub(super) epoch: u32,
    /// Its address outside, if it says so.
    pub(super) address: Option<Ipv4Addr>,
}

/// Listens to routers.
#[derive(Debug)]
pub(super) struct Announcements {
    socket: Option<UdpSocket>,
    look_at: Instant,
}

impl Announcements {
    /// Starts to listen; where that is not possible, nothing is ever heard.
    pub(super) fn listen() -> Self {
        let socket =
            open().inspect_err(|error| debug!(%error, "announcements of routers cannot be heard")).ok();
        Self { socket, look_at: Instant::now() }
    }

    /// Waits for the next announcement of the router. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, gateway: Ipv4Addr) -> Announcement {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        loop {
            sleep_until(self.look_at).await;
            let mut bytes = [0; 64];
            let received = socket.recv_from(&mut bytes).await;
            self.look_at = Instant::now() + PAUSE;
            let Ok((length, from)) = received else { continue };
            let is_routers = from == SocketAddr::from((gateway, ROUTER_PORT));
            if let Some(announcement) = bytes.get(..length).and_then(parse).filter(|_| is_routers) {
                return announcement;
            }
        }
    }
}

fn open() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // Every client on this computer listens at the same place (RFC 6886, section 3.2.1).
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.bind(&SocketAddr::from(GROUP).into())?;
    UdpSocket::from_std(socket.into())
}

/// Reads an announcement: a NAT-PMP answer to nobody's question for the address, or PCP's ANNOUNCE.
fn parse(bytes: &[u8]) -> Option<Announcement> {
    match *bytes {
        // Version, opcode with the response bit, result, epoch, address.
        [0, 128, 0, 0, e0, e1, e2, e3, a0, a1, a2, a3] => Some(Announcement {
            epoch: u32::from_be_bytes([e0, e1, e2, e3]),
            address: Some(Ipv4Addr::new(a0, a1, a2, a3)),
        }),
        // Version, opcode with the response bit, reserved, result, lifetime, epoch, reserved.
        [2, 128, _, 0, _, _, _, _, e0, e1, e2, e3, ref reserved @ ..] if reserved.len() >= 12 => {
            Some(Announcement { epoch: u32::from_be_bytes([e0, e1, e2, e3]), address: None })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_announcement_are_read() {
        let natpmp = [0, 128, 0, 0, 0, 0, 1, 2, 192, 0, 2, 7];
        let address = Some(Ipv4Addr::new(192, 0, 2, 7));
        assert_eq!(parse(&natpmp), Some(Announcement { epoch: 258, address }));

        // As miniupnpd 2.3.1 sends it when it starts.
        let mut pcp = [0; 24];
        pcp[..2].copy_from_slice(&[2, 128]);
        pcp[11] = 9;
        assert_eq!(parse(&pcp), Some(Announcement { epoch: 9, address: None }));
    }

    #[test]
    fn anything_else_is_not_an_announcement() {
        let natpmp = [0, 128, 0, 0, 0, 0, 1, 2, 192, 0, 2, 7];
        for end in 0..natpmp.len() {
            assert_eq!(parse(&natpmp[..end]), None, "cut after {end}");
        }
        for (at, value) in [(0, 1), (1, 0), (1, 129), (3, 3)] {
            let mut wrong = natpmp;
            wrong[at] = value;
            assert_eq!(parse(&wrong), None, "byte {at} is {value}");
        }
        assert_eq!(parse(&[2; 23]), None);
        assert_eq!(parse(&[]), None);
    }

    #[tokio::test]
    async fn only_the_router_is_heard() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let here = socket.local_addr().unwrap();
        let mut announcements = Announcements { socket: Some(socket), look_at: Instant::now() };
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for bytes in [&[0, 128, 0, 0, 0, 0, 1, 2, 192, 0, 2, 7][..], &[2; 64], &[]] {
            stranger.send_to(bytes, here).await.unwrap();
        }
        let next = announcements.next(Ipv4Addr::LOCALHOST);
        assert!(tokio::time::timeout(Duration::from_millis(300), next).await.is_err(), "not from port 5351");
    }
}
