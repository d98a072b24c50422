//! Asking others by HTTP: one request a connection, with a bound in time and in size, and never of another address than the
//! one that was named: nobody is followed elsewhere.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::reach::{Reach, is_public};

/// Most bytes that wait to be read of one answer: its head has to fit.
const HEAD_MAX: usize = 64 << 10;

/// Asks by HTTP/1.1, with TLS where the address says so, under the certificates that this system trusts.
#[derive(Debug)]
pub(crate) struct Http {
    bounds: Bounds,
    tls: OnceCell<Arc<ClientConfig>>,
}

/// How much of whom is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How long an answer may take, from the first packet to the last.
    pub(crate) patience: Duration,
    /// Most bytes of its body that are read.
    pub(crate) answer_max: usize,
    /// What becomes of one that is longer.
    pub(crate) longer: Longer,
}

/// What becomes of an answer that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Longer {
    /// It is none.
    Refused,
    /// Its beginning will do.
    Cut,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// What is sent, and how far it may go.
struct Ask<'a> {
    url: &'a Url,
    method: Method,
    head: &'a [(&'static str, String)],
    body: String,
    reach: Reach,
}

impl Http {
    /// Asks nobody yet.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, tls: OnceCell::new() }
    }

    /// Asks for what is at an address. A reason in words if that fails.
    pub(crate) async fn get(&self, url: &Url) -> Result<Reply, String> {
        let (method, body) = (Method::GET, String::new());
        self.within(Ask { url, method, head: &[], body, reach: Reach::Anywhere }).await
    }

    /// Sends a form.
    pub(crate) async fn post_form(
        &self,
        url: &Url,
        form: String,
        authorization: Option<String>,
    ) -> Result<Reply, String> {
        let mut head = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        head.extend(authorization.map(|value| ("authorization", value)));
        let (method, body) = (Method::POST, form);
        self.within(Ask { url, method, head: &head, body, reach: Reach::Anywhere }).await
    }

    /// Sends JSON, with these lines in the head besides, to where that may go.
    pub(crate) async fn post_json(
        &self,
        url: &Url,
        reach: Reach,
        mut head: Vec<(&'static str, String)>,
        json: String,
    ) -> Result<Reply, String> {
        head.push(("content-type", "application/json".to_owned()));
        self.within(Ask { url, method: Method::POST, head: &head, body: json, reach }).await
    }

    async fn within(&self, ask: Ask<'_>) -> Result<Reply, String> {
        match timeout(self.bounds.patience, self.ask(ask)).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("no answer within {:?}", self.bounds.patience)),
        }
    }

    async fn ask(&self, ask: Ask<'_>) -> Result<Reply, String> {
        let url = ask.url;
        let host = url.host_str().ok_or("the address has no host")?;
        let port = url.port_or_known_default().ok_or("the address has no port")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = connect(bare, port, ask.reach).await?;
        let mut path = url.path().to_owned();
        if let Some(query) = url.query() {
            path = format!("{path}?{query}");
        }
        let mut request = Request::builder()
            .method(ask.method)
            .uri(path)
            .header(header::HOST, url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "lanyard-server");
        for (name, value) in ask.head {
            request = request.header(*name, value);
        }
        let request = request.body(ask.body).map_err(|error| error.to_string())?;
        if url.scheme() == "https" {
            let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
            let tls = TlsConnector::from(self.tls().await?);
            let stream = tls.connect(name, stream).await.map_err(|error| error.to_string())?;
            return exchange(stream, request, self.bounds).await;
        }
        exchange(stream, request, self.bounds).await
    }

    /// The certificates that this system trusts, read once.
    async fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let read = || async {
            let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
                .await
                .map_err(|error| error.to_string())?;
            let mut roots = RootCertStore::empty();
            let (good, _) = roots.add_parsable_certificates(found.certs);
            if good == 0 {
                return Err("this system trusts no certificate: install ca-certificates".to_owned());
            }
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(roots)
                .with_no_client_auth();
            Ok(Arc::new(config))
        };
        self.tls.get_or_try_init(read).await.cloned()
    }
}

/// A connection with the first address of a name that may be reached and answers.
///
/// The very address that was judged is connected to: a name that leads elsewhere when it is looked up again changes nothing.
async fn connect(host: &str, port: u16, reach: Reach) -> Result<TcpStream, String> {
    let found = lookup_host((host, port)).await.map_err(|error| error.to_string())?;
    let may = |address: &SocketAddr| reach == Reach::Anywhere || is_public(address.ip());
    let (near, mut failure) = (found.collect::<Vec<_>>(), None);
    for address in near.iter().filter(|address| may(address)) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error.to_string()),
        }
    }
    // Where a name leads inside is nothing that whoever asks has to know.
    Err(failure.unwrap_or_else(|| "it leads to no public address".to_owned()))
}

async fn exchange<S>(stream: S, request: Request<String>, bounds: Bounds) -> Result<Reply, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let told = |error: hyper::Error| error.to_string();
    let mut builder = http1::Builder::new();
    let (mut sender, connection) =
        builder.max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream)).await.map_err(told)?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(told)?;
        let status = response.status().as_u16();
        Ok(Reply { status, body: read(response.into_body(), bounds).await? })
    };
    tokio::pin!(answered);
    tokio::pin!(connection);
    // The connection has to be driven while its answer is read, and is of no use afterwards.
    tokio::select! {
        reply = &mut answered => return reply,
        ended = &mut connection => ended.map_err(told)?,
    }
    answered.await
}

/// The body, as much of it as is wanted.
async fn read(mut body: Incoming, bounds: Bounds) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| error.to_string())?;
        let Some(data) = frame.data_ref() else { continue };
        let room = bounds.answer_max - bytes.len();
        if data.len() > room {
            if bounds.longer == Longer::Refused {
                return Err(format!("an answer of more than {} bytes", bounds.answer_max));
            }
            bytes.extend(data.iter().take(room));
            break;
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const BOUNDS: Bounds =
        Bounds { patience: Duration::from_secs(10), answer_max: 1 << 10, longer: Longer::Cut };

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// Answers one request with that, and then with nothing for ever.
    async fn answer(listener: TcpListener, answer: Vec<u8>) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4_096]).await.unwrap();
        // Who reads no further hangs up in between.
        let _ = stream.write_all(&answer).await;
        std::future::pending::<()>().await;
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_connected_to() {
        let (listener, port) = listener().await;
        for scheme in ["http", "https"] {
            let url = Url::parse(&format!("{scheme}://localhost:{port}/")).unwrap();
            let refused = Http::new(BOUNDS).post_json(&url, Reach::Public, Vec::new(), String::new()).await;
            assert_eq!(refused.unwrap_err(), "it leads to no public address");
        }
        let nobody = std::future::poll_fn(|context| std::task::Poll::Ready(listener.poll_accept(context)));
        assert!(nobody.await.is_pending(), "somebody came");
        let url = Url::parse(&format!("http://localhost:{port}/")).unwrap();
        let serving = tokio::spawn(answer(listener, b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()));
        let reply = Http::new(BOUNDS).post_json(&url, Reach::Anywhere, Vec::new(), String::new()).await;
        assert_eq!(reply.unwrap().status, 204);
        serving.abort();
    }

    #[tokio::test]
    async fn of_an_answer_without_end_no_more_than_wanted_is_read() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n".to_vec();
        for (longer, is_read) in [(Longer::Cut, true), (Longer::Refused, false)] {
            let (listener, port) = listener().await;
            let serving = tokio::spawn(answer(listener, [head.clone(), vec![b'a'; 4_096]].concat()));
            let url = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
            let reply = Http::new(Bounds { longer, ..BOUNDS }).get(&url).await;
            assert_eq!(reply.is_ok_and(|reply| reply.body == vec![b'a'; 1 << 10]), is_read, "{longer:?}");
            serving.abort();
        }
    }

    #[tokio::test]
    async fn nobody_is_followed_elsewhere_and_silence_ends() {
        let (elsewhere, port) = listener().await;
        let (listener, here) = listener().await;
        let moved =
            format!("HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:{port}/\r\ncontent-length: 0\r\n\r\n");
        let serving = tokio::spawn(answer(listener, moved.into_bytes()));
        let url = Url::parse(&format!("http://127.0.0.1:{here}/")).unwrap();
        let http = Http::new(Bounds { patience: Duration::from_millis(200), ..BOUNDS });
        assert_eq!(http.get(&url).await.unwrap().status, 307);
        let nobody = std::future::poll_fn(|context| std::task::Poll::Ready(elsewhere.poll_accept(context)));
        assert!(nobody.await.is_pending(), "it was followed");
        serving.abort();
        // Connected by the system, and answered by nobody.
        let url = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
        assert_eq!(http.get(&url).await.unwrap_err(), "no answer within 200ms");
    }
}
