//! A look at what TCP to the coordinator's host comes to: its door's port, and plain HTTP.
//!
//! Asked for where UDP gets no answer, to tell a person what lets nothing out. One connection to the door's port, and
//! one request for `/` to port 80, both without proxy. What it means is judged in `lanyard_proto::device::egress`.

use std::io::ErrorKind;
use std::time::Duration;

use lanyard_proto::device::egress::PlainSign;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connect::Opener;
use super::proxy::authority;
use crate::tcp;

/// How long each of the two may take: a person waits, and a lost SYN is sent again after a second.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// Where web servers, and pages to sign in at, listen.
const PLAIN_PORT: u16 = 80;

/// The longest head of an answer that is read.
const HEAD_MAX: usize = 8 << 10;

/// Header fields in it.
const FIELDS_MAX: usize = 64;

/// The longest address of a page that is told.
const PAGE_MAX: usize = 200;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// A connection to the door's port was opened.
    pub is_door_reached: bool,
    /// What came of plain HTTP.
    pub plain: PlainSign,
    /// Where the answer wants a browser to go.
    pub page: Option<String>,
}

/// Looks at both.
pub(super) async fn look(opener: Opener, host: String, port: u16) -> Look {
    let door = async { matches!(timeout(PATIENCE, connect(&opener, &host, port)).await, Ok(Ok(_))) };
    let plain = async {
        let asked = timeout(PATIENCE, ask(&opener, &host, PLAIN_PORT)).await;
        asked.unwrap_or((PlainSign::Silent, None))
    };
    let (is_door_reached, (plain, page)) = tokio::join!(door, plain);
    Look { is_door_reached, plain, page }
}

/// Connects to the first address of a host.
async fn connect(opener: &Opener, host: &str, port: u16) -> std::io::Result<TcpStream> {
    let addrs = opener.lookup(host, port).await?;
    let first = addrs.first().ok_or(ErrorKind::AddrNotAvailable)?;
    tcp::connect(*first).await
}

/// Asks for `/`.
async fn ask(opener: &Opener, host: &str, port: u16) -> (PlainSign, Option<String>) {
    let stream = match connect(opener, host, port).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return (PlainSign::Refused, None),
        Err(_) => return (PlainSign::Silent, None),
    };
    // Whoever takes a connection and then says nothing that is HTTP answered all the same.
    answer(stream, host).await.unwrap_or((PlainSign::Answered, None))
}

async fn answer(mut stream: TcpStream, host: &str) -> Option<(PlainSign, Option<String>)> {
    let place = authority(host, PLAIN_PORT);
    let place = place.strip_suffix(":80").unwrap_or(&place);
    let request = format!("GET / HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    loop {
        let mut part = [0; 1_024];
        let count = stream.read(&mut part).await.ok()?;
        head.extend_from_slice(part.get(..count)?);
        if let Some(sign) = read(&head, host)? {
            return Some(sign);
        }
        if count == 0 || head.len() > HEAD_MAX {
            return None;
        }
    }
}

/// A complete head: what it means, and where it leads. The inner `None` while it is not complete.
fn read(head: &[u8], host: &str) -> Option<Option<(PlainSign, Option<String>)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    if response.parse(head).ok()?.is_partial() {
        return Some(None);
    }
    let location = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("location"));
    let location = location.and_then(|field| std::str::from_utf8(field.value).ok());
    let sign = PlainSign::of_answer(host, response.code?, location);
    // It is shown on a terminal.
    let is_plain = |page: &&str| page.len() <= PAGE_MAX && page.bytes().all(|byte| byte.is_ascii_graphic());
    Some(Some((sign, location.filter(is_plain).map(str::to_owned))))
}

#[cfg(test)]
mod tests {
    use super::super::proxy::Proxies;
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let head = b"HTTP/1.1 302 Found\r\nLocation: http://login.cafe.example/\r\n\r\n<html>";
        assert_eq!(read(&head[..40], "vpn.example"), Some(None));
        let page = Some("http://login.cafe.example/".to_owned());
        assert_eq!(read(head, "vpn.example"), Some(Some((PlainSign::Elsewhere, page))));
        assert_eq!(read(b"SSH-2.0-OpenSSH\r\n", "vpn.example"), None);
        let odd = b"HTTP/1.1 302 Found\r\nLocation: http://x/\x1b[2J\r\n\r\n";
        assert!(!format!("{:?}", read(odd, "vpn.example")).contains("2J"), "nothing for the terminal");
    }

    #[tokio::test]
    async fn a_host_that_answers_is_told_from_one_that_refuses() {
        let opener = Opener::new(Proxies::default(), |_| false).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 256];
            let count = stream.read(&mut request).await.unwrap();
            let asked = String::from_utf8_lossy(&request[..count]).into_owned();
            stream.write_all(b"HTTP/1.1 511 Network Authentication Required\r\n\r\n").await.unwrap();
            asked
        });
        assert_eq!(ask(&opener, "127.0.0.1", port).await, (PlainSign::Elsewhere, None));
        assert!(server.await.unwrap().starts_with("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"));
        assert_eq!(ask(&opener, "127.0.0.1", port).await.0, PlainSign::Refused, "it is closed now");
    }
}
