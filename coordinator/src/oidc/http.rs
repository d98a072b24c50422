//! Asking a provider: one request a connection, with a bound in time and in size, and never to another address than the
//! one that was named.

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
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

/// How long a provider may take, from the first packet to the last.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of an answer: a set of keys has a few thousand.
const ANSWER_MAX: usize = 256 << 10;

/// Asks by HTTP/1.1, with TLS where the address says so, under the certificates that this system trusts.
#[derive(Debug, Default)]
pub(super) struct Http {
    tls: OnceCell<Arc<ClientConfig>>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Http {
    /// Asks for what is at an address. A reason in words if that fails.
    pub(super) async fn get(&self, url: &Url) -> Result<Reply, String> {
        self.within(url, Method::GET, String::new(), None).await
    }

    /// Sends a form.
    pub(super) async fn post(
        &self,
        url: &Url,
        form: String,
        authorization: Option<String>,
    ) -> Result<Reply, String> {
        self.within(url, Method::POST, form, authorization).await
    }

    async fn within(
        &self,
        url: &Url,
        method: Method,
        body: String,
        authorization: Option<String>,
    ) -> Result<Reply, String> {
        match timeout(PATIENCE, self.ask(url, method, body, authorization)).await {
            Ok(answered) => answered,
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn ask(
        &self,
        url: &Url,
        method: Method,
        body: String,
        authorization: Option<String>,
    ) -> Result<Reply, String> {
        let host = url.host_str().ok_or("the address has no host")?;
        let port = url.port_or_known_default().ok_or("the address has no port")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port)).await.map_err(|error| error.to_string())?;
        let mut path = url.path().to_owned();
        if let Some(query) = url.query() {
            path = format!("{path}?{query}");
        }
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header(header::HOST, url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "lanyard-server");
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(body).map_err(|error| error.to_string())?;
        if url.scheme() == "https" {
            let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
            let tls = TlsConnector::from(self.tls().await?);
            let stream = tls.connect(name, stream).await.map_err(|error| error.to_string())?;
            return exchange(stream, request).await;
        }
        exchange(stream, request).await
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

async fn exchange<S>(stream: S, request: Request<String>) -> Result<Reply, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let told = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(told)?;
        let status = response.status().as_u16();
        Ok(Reply { status, body: whole(response.into_body()).await? })
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

/// The whole body, if it is not too long.
async fn whole(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| error.to_string())?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > ANSWER_MAX {
                return Err(format!("an answer of more than {ANSWER_MAX} bytes"));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}
