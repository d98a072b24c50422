//! Doors on loopback: a server of a few lines that speaks TLS and WebSocket, and a proxy before it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::*;
use crate::sockets::Sockets;

/// How long anything may take before a test says what was missing.
const DEADLINE: Duration = Duration::from_secs(10);

/// Echoes binary messages; with `hang` one for each connection.
async fn serve(hang: bool) -> u16 {
    let made = rcgen::generate_simple_self_signed(vec!["somebody.else".to_owned()]).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], made.signing_key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                #[expect(clippy::result_large_err, reason = "the library's signature")]
                let agree = |request: &Request, mut response: Response| {
                    assert_eq!(request.uri().path(), door::PATH);
                    let protocol = HeaderValue::from_static(door::PROTOCOL);
                    response.headers_mut().insert("sec-websocket-protocol", protocol);
                    Ok(response)
                };
                let mut stream = tokio_tungstenite::accept_hdr_async(stream, agree).await.unwrap();
                while let Some(Ok(message)) = stream.next().await {
                    if message.is_binary() && (stream.send(message).await.is_err() || hang) {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Passes on to where it is asked.
async fn proxy() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let place = head.split(' ').nth(1).unwrap().replace("vpn.invalid", "127.0.0.1");
                let mut onward = TcpStream::connect(place).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            });
        }
    });
    port
}

struct Rig {
    keeper: Doorkeeper,
    reopened: mpsc::Receiver<PublicKey>,
    sockets: Sockets,
}

const KEY: PublicKey = PublicKey::from_bytes([7; 32]);

fn rig(proxy: &str) -> Rig {
    let sockets = Sockets::bind(0, 1).unwrap();
    let (keeper, reopened) = Doorkeeper::new(sockets.clone(), proxy, |_| None).unwrap();
    Rig { keeper, reopened, sockets }
}

impl Rig {
    /// Sends a relay frame and waits for it to come back.
    async fn echo(&self, addr: SocketAddr, value: u8) {
        let frame = [0xC0, 0, 0, 0, 0, 1, 0, value];
        self.sockets.doors().send(addr, &frame, frame.len());
        let arrived = timeout(DEADLINE, async {
            loop {
                let arrived = self.sockets.doors().take(10);
                if !arrived.is_empty() {
                    return arrived;
                }
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(arrived.await.expect("no datagram came back"), [(addr, frame.to_vec())]);
    }

    async fn state(&self, what: &str, is_it: impl Fn(&State) -> bool) {
        let mut state = self.keeper.doors[&KEY].state.clone();
        let seen = timeout(DEADLINE, state.wait_for(is_it)).await;
        seen.unwrap_or_else(|_| panic!("the door is not {what}")).unwrap();
    }
}

#[tokio::test]
async fn the_first_datagram_opens_the_door_and_goes_through_it() {
    let mut rig = rig("none");
    let addr = rig.keeper.addr(KEY, "127.0.0.1", serve(false).await);
    assert!(door::is_door(addr));
    assert_eq!(rig.keeper.addr(KEY, "127.0.0.1", rig.keeper.doors[&KEY].port), addr, "the same door");
    assert_eq!(rig.keeper.state(&KEY).unwrap().0, State::Closed);
    rig.echo(addr, 1).await;
    assert_eq!(rig.keeper.state(&KEY).unwrap().0, State::Open { proxy: None });
    rig.echo(addr, 2).await;
}

#[tokio::test]
async fn a_proxy_leads_to_the_door_and_finds_its_name() {
    let proxy = proxy().await;
    let mut rig = rig(&format!("http://milena:secret@127.0.0.1:{proxy}"));
    assert!(rig.keeper.has_proxy("vpn.invalid"));
    let addr = rig.keeper.addr(KEY, "vpn.invalid", serve(false).await);
    rig.echo(addr, 1).await;
    let proxy = Some(format!("127.0.0.1:{proxy}"));
    assert_eq!(rig.keeper.state(&KEY).unwrap().0, State::Open { proxy });
}

#[tokio::test]
async fn a_door_that_breaks_is_opened_again_and_the_engine_is_told() {
    let mut rig = rig("none");
    let addr = rig.keeper.addr(KEY, "127.0.0.1", serve(true).await);
    rig.echo(addr, 1).await;
    assert_eq!(timeout(DEADLINE, rig.reopened.recv()).await.expect("nobody was told"), Some(KEY));
    rig.echo(addr, 2).await;
}

#[tokio::test]
async fn a_door_that_does_not_open_says_why_and_forgets_what_waited() {
    let mut rig = rig("none");
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = rig.keeper.addr(KEY, "127.0.0.1", nobody.local_addr().unwrap().port());
    drop(nobody);
    rig.sockets.doors().send(addr, &[0xC0; 8], 8);
    rig.state("refused", |state| matches!(state, State::Failed { why } if why.contains("refused"))).await;
}

#[tokio::test]
async fn what_is_no_door_is_told() {
    let mut rig = rig("none");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = rig.keeper.addr(KEY, "127.0.0.1", listener.local_addr().unwrap().port());
    rig.sockets.doors().send(addr, &[0xC0; 8], 8);
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
    rig.state("refused", |state| matches!(state, State::Failed { why } if why.contains("TLS"))).await;
}

#[tokio::test]
async fn a_closed_door_has_no_queue() {
    let mut rig = rig("none");
    let addr = rig.keeper.addr(KEY, "127.0.0.1", 9);
    rig.keeper.close(&KEY);
    assert_eq!(rig.sockets.doors().send(addr, &[0; 4], 4), 1);
    assert_eq!(rig.keeper.state(&KEY), None);
}
