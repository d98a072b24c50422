//! HTTP proxies: which one to use, and how to be let through.
//!
//! A proxy is asked with CONNECT (RFC 9110, section 9.3.6) and from then on passes bytes both ways. Which one:
//! the setting `proxy` if there is one, else the variables that other programs use, else none. A password
//! appears in no message and no log.

use std::fmt;
use std::net::IpAddr;

use data_encoding::BASE64;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::Closed;

/// Variables that name a proxy for TLS, the first one set counts.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Variables that name hosts without one.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The word that switches proxies off, whatever the environment says.
const NONE: &str = "none";

/// The longest head of an answer.
const HEAD_MAX: usize = 8 << 10;

/// Header fields in it.
const FIELDS_MAX: usize = 64;

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    /// `name:password` in base64 (RFC 7617, section 2).
    credentials: Option<Zeroizing<String>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(&self.host, self.port))
    }
}

impl Proxy {
    /// Reads `http://[NAME:PASSWORD@]HOST[:PORT]`; the scheme may be left out.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err("is no proxy of a kind known here: only http:// is"),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, tail) = rest.split_once(']').ok_or("lacks a ] after its IPv6 address")?;
                (host, tail.strip_prefix(':'))
            }
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || !host.chars().all(is_host) {
            return Err("names no host");
        }
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or("has a port that is none")?,
            None => 80,
        };
        let credentials = user.map(|user| decode(user).map(|user| Zeroizing::new(BASE64.encode(&user))));
        Ok(Self { host: host.to_owned(), port, credentials: credentials.transpose()? })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Asks the proxy at the other end of `stream` for a way to that place.
    pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        host: &str,
        port: u16,
    ) -> Result<(), Closed> {
        let place = authority(host, port);
        let mut request = Zeroizing::new(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n"));
        if let Some(credentials) = &self.credentials {
            request.push_str("Proxy-Authorization: Basic ");
            request.push_str(credentials);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| self.broken(&error))?;
        let mut head = Vec::new();
        loop {
            let mut part = [0; 512];
            let count = stream.read(&mut part).await.map_err(|error| self.broken(&error))?;
            if count == 0 {
                return Err(self.refused("it closed the connection without an answer"));
            }
            head.extend_from_slice(part.get(..count).unwrap_or_default());
            match status_of(&head) {
                Ok(Some((status, end))) => return self.judge(status, end == head.len()),
                Ok(None) if head.len() <= HEAD_MAX => {}
                Ok(None) => return Err(self.refused("its answer has no end")),
                Err(_) => return Err(self.refused("its answer is not HTTP")),
            }
        }
    }

    fn judge(&self, status: u16, is_all: bool) -> Result<(), Closed> {
        match status {
            // Whatever length the head claims, a 2xx to CONNECT has no body (RFC 9110, section 9.3.6).
            200..=299 if is_all => Ok(()),
            200..=299 => Err(self.refused("it speaks before it was asked")),
            407 if self.credentials.is_none() => Err(self.refused(
                "it wants a name and a password: set proxy = \"http://NAME:PASSWORD@HOST:PORT\" (407)",
            )),
            407 => Err(self.refused("it does not take this name and password (407)")),
            status => Err(self.refused(&format!("it answered with status {status}"))),
        }
    }

    fn broken(&self, error: &std::io::Error) -> Closed {
        self.refused(&error.to_string())
    }

    fn refused(&self, why: &str) -> Closed {
        Closed::Proxy { proxy: self.to_string(), why: why.to_owned() }
    }
}

/// Status and length of a complete head; `None` while it is not complete.
fn status_of(head: &[u8]) -> Result<Option<(u16, usize)>, httparse::Error> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(head)? {
        httparse::Status::Complete(end) => Ok(response.code.map(|code| (code, end))),
        httparse::Status::Partial => Ok(None),
    }
}

/// `HOST:PORT`, with an IPv6 address in brackets.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Takes the percent encoding off (RFC 3986, section 2.1).
fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let mut bytes = Zeroizing::new(Vec::new());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err("has a % in its name or password without two digits behind it");
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    Ok(bytes)
}

/// Which proxy for which host.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    proxy: Option<Proxy>,
    exceptions: Vec<String>,
}

impl Proxies {
    /// From the setting, or the environment where that is empty.
    pub(super) fn of(setting: &str, environment: impl Fn(&str) -> Option<String>) -> Self {
        let value = |names: &[&str]| {
            names.iter().find_map(|name| environment(name).filter(|text| !text.trim().is_empty()))
        };
        if setting == NONE {
            return Self::default();
        }
        if !setting.is_empty() {
            // It was checked when it was read.
            return Self { proxy: Proxy::parse(setting).ok(), exceptions: Vec::new() };
        }
        let proxy = value(&VARIABLES).and_then(|text| {
            let parsed = Proxy::parse(text.trim());
            if let Err(why) = &parsed {
                tracing::warn!("the proxy that the environment names {why}; going on without");
            }
            parsed.ok()
        });
        let exceptions = value(&EXCEPTIONS).unwrap_or_default();
        let exceptions = exceptions.split(',').map(|word| word.trim().to_ascii_lowercase());
        Self { proxy, exceptions: exceptions.filter(|word| !word.is_empty()).collect() }
    }

    /// The proxy for a host, if one is to be used.
    pub(super) fn proxy_for(&self, host: &str) -> Option<&Proxy> {
        let host = host.to_ascii_lowercase();
        self.proxy.as_ref().filter(|_| !self.exceptions.iter().any(|rule| is_exception(rule, &host)))
    }
}

/// `*`, an address, a prefix such as `10.0.0.0/8`, or a name with everything below it.
fn is_exception(rule: &str, host: &str) -> bool {
    if rule == "*" {
        return true;
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        let (network, length) = rule.split_once('/').map_or((rule, None), |(network, length)| {
            (network, Some(length.parse::<u32>().unwrap_or(u32::MAX)))
        });
        return network.parse().is_ok_and(|network| is_within(ip, network, length));
    }
    let rule = rule.trim_start_matches('.');
    host == rule || host.strip_suffix(rule).is_some_and(|rest| rest.ends_with('.'))
}

fn is_within(ip: IpAddr, network: IpAddr, length: Option<u32>) -> bool {
    let (ip, network, bits) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32_u32)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let length = length.unwrap_or(bits);
    length <= bits && (ip ^ network).checked_shr(bits - length).unwrap_or(0) == 0
}

/// Checks the setting `proxy`.
///
/// # Errors
///
/// What is wrong with it, without its text.
pub fn check(setting: &str) -> Result<(), &'static str> {
    if setting.is_empty() || setting == NONE { Ok(()) } else { Proxy::parse(setting).map(drop) }
}

#[cfg(test)]
mod tests;
