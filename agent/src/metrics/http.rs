//! Serves [`super::render`] to a Prometheus server: `GET /metrics`, and nothing else.
//!
//! Each request asks the engine as a command on the local socket would. The address is the administrator's choice; who reaches it
//! reads names of peers and how much is sent to them, and can change nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::ipc::schema::{Answer, Ask};
use crate::ipc::server::Call;

/// Between two tries to open the address: another program may have it, and an overlay address comes with the first join.
const RETRY: Duration = Duration::from_secs(10);

/// Connections served at the same time; a further one waits.
const CONNECTIONS_MAX: usize = 4;

/// How long a request may take, answer included.
const REQUEST_WAIT: Duration = Duration::from_secs(5);

/// The longest head of a request, and its most headers; Prometheus sends six in 400 bytes.
const HEAD_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;

/// Serves until the engine's end of `calls` is closed.
pub async fn serve(addr: SocketAddr, calls: mpsc::Sender<Call>) {
    let Some(listener) = open(addr, &calls, RETRY).await else { return };
    info!(%addr, "metrics served");
    listen(listener, calls).await;
}

/// Opens the address, however long it takes; `None` when the engine has ended before.
async fn open(addr: SocketAddr, calls: &mpsc::Sender<Call>, retry: Duration) -> Option<TcpListener> {
    let mut is_told = false;
    loop {
        match TcpListener::bind(addr).await {
            Ok(listener) => return Some(listener),
            Err(error) if is_told => debug!(%addr, %error, "metrics are not served yet"),
            Err(error) => {
                warn!(%addr, %error, "metrics are not served yet; trying again every 10 s");
                is_told = true;
            }
        }
        tokio::select! {
            () = calls.closed() => return None,
            () = sleep(retry) => {}
        }
    }
}

async fn listen(listener: TcpListener, calls: mpsc::Sender<Call>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = tokio::select! {
            () = calls.closed() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: the next one may succeed when others close.
                    warn!(%error, "metrics cannot accept");
                    tokio::task::yield_now().await;
                    continue;
                }
            },
        };
        let calls = calls.clone();
        tokio::spawn(async move {
            match timeout(REQUEST_WAIT, respond(stream, &calls)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "metrics not sent"),
                Err(_) => debug!("a request for metrics took too long"),
            }
            drop(place);
        });
    }
}

async fn respond(mut stream: TcpStream, calls: &mpsc::Sender<Call>) -> io::Result<()> {
    let is_loopback = stream.local_addr()?.ip().is_loopback();
    let head = read_head(&mut stream).await?;
    let (status, body, is_head) = match judge(&head, is_loopback) {
        Ok(is_head) => match page(calls).await {
            Some(text) => ("200 OK", text, is_head),
            None => ("503 Service Unavailable", "the agent is ending\n".to_owned(), is_head),
        },
        Err(status) => (status, format!("{status}; metrics are at /metrics\n"), false),
    };
    let length = body.len();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    if !is_head {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// Everything up to the empty line.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1_024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(head)
}

/// Whether the head alone is asked for, or with which status the request is refused.
///
/// A page out of the internet can have its own name lead to this computer and read what a browser here gets: on a loopback
/// address only those are answered who ask for an address, or for `localhost`.
fn judge(head: &[u8], is_loopback: bool) -> Result<bool, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) | Err(_) => return Err("400 Bad Request"),
    }
    let host = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    let host = host.and_then(|header| std::str::from_utf8(header.value).ok()).unwrap_or_default();
    if is_loopback && !is_own(host) {
        return Err("403 Forbidden");
    }
    let path = request.path.unwrap_or_default();
    if path.split('?').next() != Some("/metrics") {
        return Err("404 Not Found");
    }
    match request.method {
        Some("GET") => Ok(false),
        Some("HEAD") => Ok(true),
        Some(_) | None => Err("405 Method Not Allowed"),
    }
}

/// Whether a host is an address, or this computer by name; with a port or without.
fn is_own(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

/// The page, unless the engine is gone.
async fn page(calls: &mpsc::Sender<Call>) -> Option<String> {
    let (answers, mut answered) = mpsc::channel(1);
    calls.send(Call { ask: Ask::Status { watch: false }, answers }).await.ok()?;
    // Another answer would be a fault of ours, and no page of numbers.
    if let Answer::Status(status) = answered.recv().await? { Some(super::render(&status)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::counted_example;

    #[tokio::test]
    async fn metrics_are_served_to_whoever_asks_for_them() {
        let addr = serving().await;
        let answer = ask(addr, &get("/metrics", "GET", &addr.to_string())).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert_eq!(body, super::super::render(&counted_example()));
        let head = ask(addr, &get("/metrics?x=1", "HEAD", "localhost")).await;
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[tokio::test]
    async fn anything_else_is_refused_and_the_next_request_is_served() {
        let addr = serving().await;
        let long = format!("{:x<HEAD_MAX$}", "GET /metrics HTTP/1.1\r\nX: ");
        for (request, status) in [
            (get("/", "GET", "127.0.0.1"), "404"),
            (get("/metrics", "POST", "127.0.0.1"), "405"),
            (get("/metrics", "GET", "rebound.example:9174"), "403"),
            (get("/metrics", "GET", ""), "403"),
            ("nonsense\r\n\r\n".to_owned(), "400"),
            (long, "400"),
        ] {
            let answer = ask(addr, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        }
        assert!(ask(addr, &get("/metrics", "GET", "[::1]:9174")).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn it_ends_with_the_engine() {
        let (calls, received) = mpsc::channel(1);
        let endpoint = tokio::spawn(serve("127.0.0.1:0".parse().unwrap(), calls));
        drop(received);
        timeout(REQUEST_WAIT, endpoint).await.expect("it goes on").unwrap();
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_tried_again() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = taken.local_addr().unwrap();
        let (calls, received) = mpsc::channel(1);
        let mut opening = Box::pin(open(addr, &calls, Duration::from_millis(5)));
        let early = timeout(Duration::from_millis(50), &mut opening).await;
        assert!(early.is_err(), "it is taken");
        drop(taken);
        assert_eq!(opening.await.unwrap().local_addr().unwrap(), addr);

        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        drop(received);
        let addr = other.local_addr().unwrap();
        assert!(open(addr, &calls, RETRY).await.is_none(), "the engine has ended");
    }

    #[test]
    fn a_name_is_none_of_ours_unless_it_is_localhost() {
        for own in ["127.0.0.1", "127.0.0.1:9174", "[::1]:9174", "[::1]", "localhost", "LocalHost:80"] {
            assert!(is_own(own), "{own}");
        }
        for foreign in ["", "example.org", "example.org:9174", "localhost.example.org", "127.0.0.1.example"] {
            assert!(!is_own(foreign), "{foreign}");
        }
    }

    async fn serving() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (calls, received) = mpsc::channel(1);
        tokio::spawn(engine(received));
        tokio::spawn(listen(listener, calls));
        addr
    }

    /// Answers as the engine does.
    async fn engine(mut calls: mpsc::Receiver<Call>) {
        while let Some(call) = calls.recv().await {
            assert_eq!(call.ask, Ask::Status { watch: false });
            call.answers.send(Answer::Status(counted_example())).await.unwrap();
        }
    }

    async fn ask(addr: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(REQUEST_WAIT * 2, stream.read_to_string(&mut answer)).await.expect("no answer").unwrap();
        answer
    }

    fn get(path: &str, method: &str, host: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n")
    }
}
