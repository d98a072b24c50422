//! STUN: tells a device how its datagrams look from outside, from up to two addresses and two ports.
//!
//! Stateless: an answer is computed from the request alone. The four sockets form a grid of address and port;
//! a request may want its answer from another one of them, which shows what the NAT lets in.
//! A strict service answers only requests that are at least as long as their answer, so that it reflects
//! no more than it gets; our own devices pad theirs. One that is not strict also answers clients from before the
//! magic cookie. Terms: RFC 8489 (STUN), RFC 5780 (behaviour discovery), RFC 3489 (classic STUN).

use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::stun::{
    BadRequest, ClassicRequest, ClassicResponse, ErrorResponse, RESPONSE_PORT, Request, Response,
};

use crate::transmit::{SocketId, Transmit};

/// Error of an attribute that must be understood and is not (RFC 8489, section 14.8).
const UNKNOWN_ATTRIBUTE: u16 = 420;

/// Settings of a STUN service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StunConfig {
    /// The public addresses of the grid: `addrs[ip][port]`, `None` where there is no socket.
    pub addrs: [[Option<SocketAddr>; 2]; 2],
    /// Whether requests shorter than their answer get none.
    pub strict: bool,
}

/// The STUN service.
#[derive(Clone, Copy, Debug)]
pub struct Stun {
    config: StunConfig,
}

impl Stun {
    /// A service with these sockets.
    #[must_use]
    pub const fn new(config: StunConfig) -> Self {
        Self { config }
    }

    /// The answer to a datagram that arrived at socket `at`, numbered `2 * ip + port`.
    ///
    /// `None` for what is no request, for a wish that our sockets cannot grant, and, when strict, for a
    /// request that is shorter than its answer.
    #[must_use]
    pub fn answer(&self, at: SocketId, remote: SocketAddr, bytes: &[u8]) -> Option<Transmit> {
        let here = Place::of(at)?;
        let mut to = remote;
        let (local, answer) = match Request::parse(bytes) {
            // Other ports of an address are somebody else's where it is shared: a strict service leaves them alone.
            Ok(Request { txid, response_port: Some(_), .. }) if self.config.strict => {
                let error =
                    ErrorResponse { txid, code: UNKNOWN_ATTRIBUTE, unknown: alloc::vec![RESPONSE_PORT] };
                (here, error.encode())
            }
            Ok(request) => {
                let from = here.moved(request.change.ip, request.change.port);
                let origin = self.addr(from)?;
                let other = self.addr(here.moved(true, true));
                let response = Response { txid: request.txid, mapped: remote, origin: Some(origin), other };
                to.set_port(request.response_port.unwrap_or(remote.port()));
                (from, response.encode())
            }
            Err(BadRequest::Unknown { txid, attributes }) => {
                let error = ErrorResponse { txid, code: UNKNOWN_ATTRIBUTE, unknown: attributes };
                (here, error.encode())
            }
            Err(BadRequest::Malformed(_)) => self.classic_answer(here, remote, bytes)?,
        };
        self.may_send(&answer, bytes).then(|| Transmit { local: local.socket(), remote: to, bytes: answer })
    }

    /// The answer to a client of RFC 3489, which only a service that is not strict gives.
    fn classic_answer(&self, here: Place, remote: SocketAddr, bytes: &[u8]) -> Option<(Place, Vec<u8>)> {
        let request = ClassicRequest::parse(bytes).ok().filter(|_| !self.config.strict)?;
        let from = here.moved(request.change.ip, request.change.port);
        let source = self.addr(from)?;
        let changed = self.addr(here.moved(true, true)).unwrap_or(source);
        let response = ClassicResponse { txid: request.txid, mapped: remote, source, changed };
        Some((from, response.encode()))
    }

    fn may_send(&self, answer: &[u8], question: &[u8]) -> bool {
        !self.config.strict || answer.len() <= question.len()
    }

    fn addr(&self, place: Place) -> Option<SocketAddr> {
        *self.config.addrs.get(usize::from(place.ip))?.get(usize::from(place.port))?
    }
}

/// One socket of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    ip: bool,
    port: bool,
}

impl Place {
    const fn of(socket: SocketId) -> Option<Self> {
        if socket.0 < 4 { Some(Self { ip: socket.0 >= 2, port: socket.0 % 2 == 1 }) } else { None }
    }

    const fn moved(self, ip: bool, port: bool) -> Self {
        Self { ip: self.ip != ip, port: self.port != port }
    }

    fn socket(self) -> SocketId {
        SocketId(2 * u16::from(self.ip) + u16::from(self.port))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use lanyard_wire::stun::{Answer, Change};

    use super::*;

    #[test]
    fn a_device_learns_its_address_as_seen_from_here() {
        let answer = stun(true).answer(SocketId(0), remote(), &request(false, false)).unwrap();
        assert_eq!(answer.local, SocketId(0));
        assert_eq!(answer.remote, remote());
        let response = response(&answer);
        assert_eq!(response.mapped, remote());
        assert_eq!(response.origin, grid()[0][0]);
        assert_eq!(response.other, grid()[1][1]);
    }

    #[test]
    fn the_answer_comes_from_where_it_was_wished_from() {
        for at in 0..4 {
            for (ip, port) in [(false, true), (true, false), (true, true)] {
                let answer = stun(true).answer(SocketId(at), remote(), &request(ip, port)).unwrap();
                assert_eq!(answer.local.0, at ^ (2 * u16::from(ip) + u16::from(port)));
                let origin = grid()[usize::from(answer.local.0 / 2)][usize::from(answer.local.0 % 2)];
                assert_eq!(response(&answer).origin, origin);
            }
        }
    }

    #[test]
    fn a_wish_for_a_socket_that_is_not_there_gets_no_answer() {
        let mut addrs = grid();
        addrs[1] = [None, None];
        let stun = Stun::new(StunConfig { addrs, strict: true });
        assert!(stun.answer(SocketId(0), remote(), &request(true, true)).is_none());
        assert!(stun.answer(SocketId(0), remote(), &request(false, true)).is_some());
        assert!(stun.answer(SocketId(9), remote(), &request(false, false)).is_none());
    }

    #[test]
    fn a_strict_service_never_answers_with_more_than_it_got() {
        let bare = Request { padding: 0, ..parsed(false, false) }.encode();
        assert!(stun(true).answer(SocketId(0), remote(), &bare).is_none());
        assert!(stun(false).answer(SocketId(0), remote(), &bare).is_some());
        for padding in (0..140).step_by(4) {
            let question = Request { padding, ..parsed(false, false) }.encode();
            if let Some(answer) = stun(true).answer(SocketId(0), remote(), &question) {
                assert!(answer.bytes.len() <= question.len());
            }
        }
    }

    #[test]
    fn an_attribute_that_must_be_understood_and_is_not_is_named() {
        let mut question = request(false, false);
        question[20..22].copy_from_slice(&0x0007_u16.to_be_bytes());
        let answer = stun(true).answer(SocketId(0), remote(), &question).unwrap();
        let Answer::Error(error) = Answer::parse(&answer.bytes).unwrap() else { panic!("an error is due") };
        assert_eq!(error.code, UNKNOWN_ATTRIBUTE);
        assert_eq!(error.unknown, vec![0x0007]);
    }

    #[test]
    fn what_is_no_request_gets_no_answer() {
        let answer = stun(false).answer(SocketId(0), remote(), &request(false, false)).unwrap();
        assert!(stun(false).answer(SocketId(0), remote(), &answer.bytes).is_none(), "its own answer");
        assert!(stun(false).answer(SocketId(0), remote(), b"GET / HTTP/1.1\r\n\r\n").is_none());
        assert!(stun(false).answer(SocketId(0), remote(), &[]).is_none());
    }

    #[test]
    fn another_port_of_the_asking_address_is_answered_unless_the_service_is_strict() {
        let question = Request { response_port: Some(9), ..parsed(false, false) }.encode();
        let answer = stun(false).answer(SocketId(0), remote(), &question).unwrap();
        assert_eq!((answer.remote.ip(), answer.remote.port()), (remote().ip(), 9));
        assert_eq!(response(&answer).mapped, remote());
        let refusal = stun(true).answer(SocketId(0), remote(), &question).unwrap();
        assert_eq!(refusal.remote, remote());
        assert!(matches!(Answer::parse(&refusal.bytes), Ok(Answer::Error(_))));
    }

    #[test]
    fn a_classic_client_is_answered_unless_the_service_is_strict() {
        let mut question = vec![0, 1, 0, 8];
        question.extend([7; 16]);
        question.extend([0, 3, 0, 4, 0, 0, 0, 2]);
        assert!(stun(true).answer(SocketId(0), remote(), &question).is_none());
        let answer = stun(false).answer(SocketId(0), remote(), &question).unwrap();
        assert_eq!((answer.local, answer.remote), (SocketId(1), remote()));
        assert_eq!(answer.bytes[4..20], [7; 16]);
    }

    fn stun(strict: bool) -> Stun {
        Stun::new(StunConfig { addrs: grid(), strict })
    }

    fn grid() -> [[Option<SocketAddr>; 2]; 2] {
        [["203.0.113.10:3478", "203.0.113.10:3479"], ["203.0.113.11:3478", "203.0.113.11:3479"]]
            .map(|ports| ports.map(|addr| addr.parse().ok()))
    }

    fn remote() -> SocketAddr {
        ([192, 0, 2, 7], 41_641).into()
    }

    fn parsed(ip: bool, port: bool) -> Request {
        Request::new([7; 12], Change { ip, port })
    }

    fn request(ip: bool, port: bool) -> Vec<u8> {
        parsed(ip, port).encode()
    }

    fn response(answer: &Transmit) -> Response {
        match Answer::parse(&answer.bytes).unwrap() {
            Answer::Success(response) => response,
            Answer::Error(error) => panic!("{error:?}"),
        }
    }
}
