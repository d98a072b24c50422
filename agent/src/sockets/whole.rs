//! How long a datagram gets to a server in one piece.
//!
//! Tunnels let routers cut their datagrams, so that a short link costs speed and not the connection; this says whether one
//! is on the way. STUN requests of many lengths go out at once, with "don't fragment" and whatever the kernel heard of the
//! path: what is answered passed. Silence is all that is needed to know the rest, so a router that swallows what is too
//! long and says nothing is measured like any other (RFC 8899, section 1.1, calls that a black hole).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use lanyard_wire::limits::STUN_REQUEST_LEN;
use lanyard_wire::stun::{Answer, Change, Request, TransactionId};
use socket2::SockRef;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::system;

/// Lengths of IP packets that are tried, in bytes: the least of IPv6, what tunnels leave of a link (WireGuard 1,420,
/// `VXLAN` 1,452, GRE 1,476, `PPPoE` 1,492), Ethernet, and steps between. All are multiples of four, as STUN's are.
const LENGTHS: [u16; 20] = [
    1_280, 1_300, 1_320, 1_340, 1_360, 1_380, 1_400, 1_412, 1_420, 1_432, 1_440, 1_448, 1_452, 1_460, 1_472,
    1_476, 1_480, 1_488, 1_492, 1_500,
];

/// When those without an answer go out, counted from the beginning.
const ASKED: [Duration; 3] = [Duration::ZERO, Duration::from_millis(150), Duration::from_millis(350)];

/// After so long what was not answered is lost: half a second for the last ones.
const PATIENCE: Duration = Duration::from_millis(850);

/// The longest IP packet that a STUN server answered, of those that were tried; `None` when it answered none.
///
/// Takes a round trip where the longest passes, else [`PATIENCE`].
///
/// # Errors
///
/// When no socket can be opened, or the system has no random bytes.
pub async fn whole(server: SocketAddr) -> io::Result<Option<u16>> {
    let socket = open(server)?;
    let mut id = TransactionId::default();
    getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
    let begun = Instant::now();
    let mut longest = None;
    for (at, until) in ASKED.iter().zip(ASKED.iter().skip(1).chain([&PATIENCE])) {
        if longest == LENGTHS.last().copied() {
            break;
        }
        sleep_until(begun + *at).await;
        for (number, length) in (0_u8..).zip(LENGTHS).filter(|(_, length)| Some(*length) > longest) {
            // Longer than the link here, or no room: as good as lost.
            drop(socket.send(&request(id, number, length, server)).await);
        }
        let mut buffer = [0; 512];
        while longest < LENGTHS.last().copied() {
            // Errors tell of routers that complain; what passed is told by answers alone.
            match timeout_at(begun + *until, socket.recv(&mut buffer)).await {
                Err(_elapsed) => break,
                Ok(Err(_)) => {}
                Ok(Ok(count)) => longest = longest.max(answered(buffer.get(..count), id)),
            }
        }
    }
    Ok(longest)
}

fn open(server: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    system::forbid_fragments(&SockRef::from(&socket))?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    tokio::net::UdpSocket::from_std(socket)
}

/// A request that makes an IP packet of this length; its number ends its id.
fn request(id: TransactionId, number: u8, length: u16, server: SocketAddr) -> Vec<u8> {
    let headers: usize = if server.is_ipv4() { 28 } else { 48 };
    let mut request = Request::new(numbered(id, number), Change::default());
    let more = usize::from(length).saturating_sub(headers + STUN_REQUEST_LEN);
    request.padding = request.padding.saturating_add(u16::try_from(more).unwrap_or(0));
    request.encode()
}

fn numbered(mut id: TransactionId, number: u8) -> TransactionId {
    if let Some(last) = id.last_mut() {
        *last = number;
    }
    id
}

/// The length that an answer is about.
fn answered(datagram: Option<&[u8]>, id: TransactionId) -> Option<u16> {
    let answer = Answer::parse(datagram?).ok()?;
    let mut tried = (0_u8..).zip(LENGTHS);
    tried.find(|(number, _)| numbered(id, *number) == *answer.txid()).map(|(_, length)| length)
}

#[cfg(test)]
mod tests {
    use lanyard_wire::stun::Response;

    use super::*;

    /// A server behind a link of its own that loses the first requests.
    async fn server(mtu: usize, lost: usize) -> SocketAddr {
        let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 2_048];
            for number in 0.. {
                let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
                let request = Request::parse(&buffer[..count]).unwrap();
                if count + 28 <= mtu && number >= lost {
                    let response = Response { txid: request.txid, mapped: from, origin: None, other: None };
                    socket.send_to(&response.encode(), from).await.unwrap();
                }
            }
        });
        addr
    }

    #[tokio::test]
    async fn the_longest_that_passes_is_told_even_if_some_are_lost() {
        let told = async |mtu, lost| whole(server(mtu, lost).await).await.unwrap();
        // Side by side: who cannot hear the longest waits for it.
        let all =
            tokio::join!(told(1_500, 0), told(1_495, 0), told(1_340, LENGTHS.len() + 2), told(1_000, 0));
        assert_eq!(all, (Some(1_500), Some(1_492), Some(1_340), None));
    }

    #[test]
    fn requests_are_as_long_as_they_say() {
        for (number, length) in (0_u8..).zip(LENGTHS) {
            let v4 = request([7; 12], number, length, "192.0.2.1:1".parse().unwrap());
            assert_eq!(v4.len() + 28, usize::from(length));
            let v6 = request([7; 12], number, length, "[2001:db8::1]:1".parse().unwrap());
            assert_eq!(v6.len() + 48, usize::from(length));
        }
    }
}
