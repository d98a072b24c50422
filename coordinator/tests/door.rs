//! The door as anybody on the internet meets it: TLS on loopback, friendly and hostile.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use lanyard_coordinator::api::{Site, Web, certificate, tls};
use lanyard_coordinator::config::Config;
use lanyard_coordinator::door::{Arrived, Doors};
use lanyard_coordinator::health::Health;
use lanyard_wire::door::{MESSAGE_MAX, PATH, PROTOCOL, is_door};
use metrics_exporter_prometheus::PrometheusBuilder;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// How long anything may take before a test says what was missing.
const DEADLINE: Duration = Duration::from_secs(30);

struct Rig {
    address: SocketAddr,
    doors: Doors,
    arrived: mpsc::Receiver<Arrived>,
    _stop: watch::Sender<bool>,
    _dir: tempfile::TempDir,
}

fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.data.dir = dir.path().to_owned();
    config.public.host = "127.0.0.1".to_owned();
    let tls = certificate::server_config(&config).unwrap();
    let listener = tls::bind(([127, 0, 0, 1], 0).into()).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let (doors, arrived) = Doors::new();
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let web = Web::new(Health::of(&[]), metrics, None, Some(doors.clone()), Site::default());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(tls::serve(vec![listener], tls, web, stopped));
    Rig { address, doors, arrived, _stop: stop, _dir: dir }
}

impl Rig {
    async fn tls(&self) -> TlsStream<TcpStream> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    async fn door(&self) -> WebSocketStream<TlsStream<TcpStream>> {
        let mut request = format!("wss://{}{PATH}", self.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
        tokio_tungstenite::client_async(request, self.tls().await).await.unwrap().0
    }

    async fn arrived(&mut self) -> Arrived {
        timeout(DEADLINE, self.arrived.recv()).await.expect("no datagram came out of the door").unwrap()
    }
}

fn binary(bytes: &[u8]) -> Message {
    Message::Binary(bytes.to_vec().into())
}

#[tokio::test]
async fn datagrams_go_both_ways_whole_and_in_order() {
    let mut rig = rig();
    let mut door = rig.door().await;
    for length in [1, 1_400, MESSAGE_MAX] {
        door.send(binary(&vec![7; length])).await.unwrap();
        let Arrived { remote, bytes } = rig.arrived().await;
        assert!(is_door(remote));
        assert_eq!(bytes, vec![7; length]);
        rig.doors.send(remote, &bytes);
        let answer = timeout(DEADLINE, door.next()).await.expect("no answer").unwrap().unwrap();
        assert_eq!(answer, binary(&vec![7; length]));
    }
}

#[tokio::test]
async fn two_doors_are_two_addresses() {
    let mut rig = rig();
    let (mut one, mut other) = (rig.door().await, rig.door().await);
    one.send(binary(b"one")).await.unwrap();
    let first = rig.arrived().await.remote;
    other.send(binary(b"other")).await.unwrap();
    assert_ne!(rig.arrived().await.remote, first);
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_door_before_it_is_read() {
    let mut rig = rig();
    let mut door = rig.door().await;
    // The server may hang up while this is still on its way.
    let _ = door.send(binary(&vec![0; MESSAGE_MAX + 1])).await;
    ends(&mut door).await;
    // A header that announces 2^62 bytes, and nothing behind it (RFC 6455, section 5.2).
    let mut stream = rig.tls().await;
    let host = rig.address;
    let request = format!(
        "GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut frame = vec![0x82, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0];
    frame.extend([0; 8]);
    stream.write_all(&frame).await.unwrap();
    let mut rest = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    let _ = read.expect("a hostile length kept the door open");
    assert!(rest.starts_with(b"HTTP/1.1 101"));
    assert!(rig.arrived.try_recv().is_err());
}

#[tokio::test]
async fn text_ends_the_door() {
    let rig = rig();
    let mut door = rig.door().await;
    door.send(Message::Text("hello".into())).await.unwrap();
    ends(&mut door).await;
}

#[tokio::test]
async fn who_never_says_anything_is_shown_out() {
    let rig = rig();
    // Nothing at all, half a handshake, half a request, a door without a datagram.
    let mut silent = TcpStream::connect(rig.address).await.unwrap();
    let mut half = TcpStream::connect(rig.address).await.unwrap();
    half.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await.unwrap();
    let mut request = rig.tls().await;
    request.write_all(b"GET /door HTTP/1.1\r\nHost:").await.unwrap();
    let mut door = rig.door().await;
    let mut rest = Vec::new();
    let ended = timeout(DEADLINE, async {
        let _ = silent.read_to_end(&mut rest).await;
        let _ = half.read_to_end(&mut rest).await;
        let _ = request.read_to_end(&mut rest).await;
    });
    ended.await.expect("a slow connection was kept");
    ends(&mut door).await;
}

#[tokio::test]
async fn many_connections_from_one_source_leave_room_for_others() {
    let mut rig = rig();
    let taken: Vec<_> = (0..2_000).map_while(|_| rig.doors.enter([127, 0, 0, 1].into())).collect();
    assert_eq!(taken.len(), 1_024);
    let mut request = format!("wss://{}{PATH}", rig.address).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
    let refused = tokio_tungstenite::client_async(request, rig.tls().await).await.unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    assert!(rig.doors.enter([127, 0, 0, 2].into()).is_some());
    drop(taken);
    let mut door = rig.door().await;
    door.send(binary(b"again")).await.unwrap();
    rig.arrived().await;
}

#[tokio::test]
async fn the_rest_of_the_web_is_there_as_well() {
    let rig = rig();
    let mut stream = rig.tls().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("no answer").unwrap();
    assert!(answer.contains("\"program\":\"lanyard-server\""), "{answer}");
}

async fn ends(door: &mut WebSocketStream<TlsStream<TcpStream>>) {
    let ended = timeout(DEADLINE, async { while let Some(Ok(_)) = door.next().await {} });
    ended.await.expect("the door stayed open");
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
