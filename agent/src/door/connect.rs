//! From a name to a stream of datagrams: TCP, perhaps a proxy, TLS, WebSocket.
//!
//! The certificate is not looked at, on purpose. Everything that goes through a door is sealed end to end
//! before it gets here, control messages to the key that the join string pins, packets to the peer's, so
//! whoever answers with a certificate of his own learns and changes no more than whoever forwards our UDP: when, how much,
//! to whom. TLS is here because firewalls let it pass. It also could not be checked: the coordinator may
//! have an address and no name, and some networks put a certificate of their own in front of everything.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lanyard_wire::door::{MESSAGE_MAX, PATH, PROTOCOL};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::Closed;
use super::proxy::{Proxies, authority};
use crate::tcp;

/// Between the starts of connections to the addresses of one name (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried.
const ADDRS_MAX: usize = 8;

/// Bytes that are put together into one write, so that small datagrams share a TLS record.
const WRITE_MAX: usize = 16 << 10;

/// An open door.
pub(super) type Stream = WebSocketStream<TlsStream<TcpStream>>;

/// How to open doors.
#[derive(Clone)]
pub(super) struct Opener {
    proxies: Arc<Proxies>,
    tls: TlsConnector,
    /// Whether an address is inside the virtual LAN: a door in there would carry itself.
    is_overlay: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

/// A door that was opened.
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) local: Option<IpAddr>,
    pub(super) proxy: Option<String>,
}

impl Opener {
    pub(super) fn new(
        proxies: Proxies,
        is_overlay: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            proxies: Arc::new(proxies),
            tls: TlsConnector::from(Arc::new(tls)),
            is_overlay: Arc::new(is_overlay),
        })
    }

    /// Whether names are the proxy's business for this host.
    pub(super) fn has_proxy(&self, host: &str) -> bool {
        self.proxies.proxy_for(host).is_some()
    }

    /// Opens the door of a host.
    pub(super) async fn open(&self, host: &str, port: u16) -> Result<Opened, Closed> {
        let proxy = self.proxies.proxy_for(host);
        let (next, next_port) = proxy.map_or((host, port), |proxy| (proxy.host(), proxy.port()));
        let mut stream = self.connect(next, next_port).await?;
        let local = stream.local_addr().ok().map(|addr| addr.ip());
        tcp::tune(&stream);
        if let Some(proxy) = proxy {
            proxy.ask(&mut stream, host, port).await?;
        }
        let place = authority(host, port);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Closed::NoTls {
            place: place.clone(),
            why: "its name is no host name".to_owned(),
        })?;
        let tls = self.tls.connect(name, stream).await;
        let tls = tls.map_err(|error| Closed::NoTls { place: place.clone(), why: error.to_string() })?;
        let stream = upgrade(tls, &place).await?;
        Ok(Opened { stream, local, proxy: proxy.map(ToString::to_string) })
    }

    /// The addresses of a name that are none of the virtual LAN.
    pub(super) async fn lookup(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        let addrs = tokio::net::lookup_host((host, port)).await?;
        Ok(addrs.filter(|addr| !(self.is_overlay)(addr.ip())).take(ADDRS_MAX).collect())
    }

    /// Connects to the first address of a name that answers.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Closed> {
        let place = authority(host, port);
        let addrs = self.lookup(host, port).await;
        let addrs =
            addrs.map_err(|error| Closed::NoAddress { place: place.clone(), why: error.to_string() })?;
        let begun = Instant::now();
        let mut why = "it has no address outside the virtual LAN".to_owned();
        let mut tries: FuturesUnordered<_> = (0_u32..)
            .zip(addrs)
            .map(|(number, addr)| async move {
                sleep_until(begun + STAGGER * number).await;
                tcp::connect(addr).await
            })
            .collect();
        while let Some(tried) = tries.next().await {
            match tried {
                Ok(stream) => return Ok(stream),
                Err(error) => why = error.to_string(),
            }
        }
        Err(Closed::NoConnection { place, why })
    }
}

async fn upgrade(tls: TlsStream<TcpStream>, place: &str) -> Result<Stream, Closed> {
    let no_door = |why: String| Closed::NoDoor { place: place.to_owned(), why };
    let request = format!("wss://{place}{PATH}").into_client_request();
    let mut request = request.map_err(|error| no_door(error.to_string()))?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
    let limits = WebSocketConfig::default()
        .write_buffer_size(WRITE_MAX)
        .max_write_buffer_size(WRITE_MAX + 2 * MESSAGE_MAX)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let upgraded = tokio_tungstenite::client_async_with_config(request, tls, Some(limits)).await;
    upgraded.map(|(stream, _)| stream).map_err(|error| no_door(error.to_string()))
}

/// Takes any certificate; the module says why.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
