//! The one string that joins: `lanyard://HOST[:PORT]/NETWORK?invite=CODE&door=PORT#p=KEY`.
//!
//! The key pins the coordinator, so neither a domain nor a certificate authority is needed. It stands behind the
//! `#`, which browsers and proxies do not send.

use alloc::string::{String, ToString as _};
use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

use crate::keys::{InvalidKey, PublicKey};
use crate::limits::HOST_MAX;
use crate::names::{InvalidInviteCode, InvalidName, InviteCode, NetworkName};

/// What the string begins with.
const SCHEME: &str = "lanyard://";

/// Where a coordinator is, who it is, which network to join and by what right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinString {
    /// Host name in small letters, IPv4 or IPv6 address (without brackets) of the coordinator.
    pub host: String,
    /// UDP port when it is not [`crate::limits::CONTROL_PORT`].
    pub port: Option<u16>,
    /// The network to join.
    pub network: NetworkName,
    /// Lets the device in at once; without it the coordinator asks an administrator.
    pub invite: Option<InviteCode>,
    /// TCP port of the coordinator's door when it is not [`crate::limits::WEB_PORT`].
    pub door: Option<u16>,
    /// The coordinator's identity.
    pub key: PublicKey,
}

/// Which part of a join string is wrong, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJoinString {
    /// Another scheme, or none.
    #[error(
        "a join string begins with lanyard:// (copy it from the panel or from \"lanyard-server invite add\")"
    )]
    Scheme,
    /// Not a host name or address.
    #[error(
        "the part after lanyard:// must be a host name or an IP address; IPv6 addresses stand in [brackets]"
    )]
    Host,
    /// Not a port.
    #[error("the port after the host must be a number from 1 to 65535")]
    Port,
    /// No network, or not a network's name.
    #[error("the network after the host is wrong: {0}")]
    Network(InvalidName),
    /// Not an invite code.
    #[error("the code after invite= is wrong: {0}; ask for a new invite if it was copied by hand")]
    Invite(InvalidInviteCode),
    /// A part this version does not know.
    #[error("only invite= and door= may stand between ? and #, once each; a newer lanyard may know the rest")]
    Query,
    /// Not a port.
    #[error("the number after door= must be a port from 1 to 65535")]
    Door,
    /// Nothing behind `#p=`.
    #[error("the key at the end (#p=...) is missing: copy the whole string and put it in quotes")]
    KeyMissing,
    /// Not a public key.
    #[error("the key after #p= is wrong: {0}; copy the whole string")]
    Key(InvalidKey),
}

impl JoinString {
    /// Reads a join string; white space around it is ignored.
    ///
    /// # Errors
    ///
    /// Names the first part that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidJoinString> {
        let rest = text.trim();
        let scheme = rest.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let rest = scheme.and_then(|scheme| rest.get(scheme.len()..)).ok_or(InvalidJoinString::Scheme)?;
        let (rest, fragment) = rest.split_once('#').ok_or(InvalidJoinString::KeyMissing)?;
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, network) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = parse_authority(authority)?;
        let network = NetworkName::parse(network).map_err(InvalidJoinString::Network)?;
        let (invite, door) = parse_query(query.unwrap_or_default())?;
        let key = match fragment.strip_prefix("p=") {
            None | Some("") => return Err(InvalidJoinString::KeyMissing),
            Some(key) => PublicKey::parse(key).map_err(InvalidJoinString::Key)?,
        };
        Ok(Self { host, port, network, invite, door, key })
    }
}

/// Reads `invite=CODE&door=PORT`, of which both may be absent and either may be first.
fn parse_query(query: &str) -> Result<(Option<InviteCode>, Option<u16>), InvalidJoinString> {
    let (mut invite, mut door) = (None, None);
    for part in query.split('&').filter(|_| !query.is_empty()) {
        match part.split_once('=') {
            Some(("invite", code)) if invite.is_none() => {
                invite = Some(InviteCode::parse(code).map_err(InvalidJoinString::Invite)?);
            }
            Some(("door", port)) if door.is_none() => {
                door = Some(parse_port(port).map_err(|_| InvalidJoinString::Door)?);
            }
            Some(_) | None => return Err(InvalidJoinString::Query),
        }
    }
    Ok((invite, door))
}

/// Splits `HOST[:PORT]` or `[IPV6][:PORT]`.
fn parse_authority(text: &str) -> Result<(String, Option<u16>), InvalidJoinString> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, tail) = rest.split_once(']').ok_or(InvalidJoinString::Host)?;
        let host: Ipv6Addr = host.parse().map_err(|_| InvalidJoinString::Host)?;
        let port = match tail.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if tail.is_empty() => None,
            None => return Err(InvalidJoinString::Port),
        };
        return Ok((host.to_string(), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (text, None),
    };
    if is_host(host) { Ok((host.to_ascii_lowercase(), port)) } else { Err(InvalidJoinString::Host) }
}

fn parse_port(text: &str) -> Result<u16, InvalidJoinString> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or(InvalidJoinString::Port)
}

fn is_host(text: &str) -> bool {
    text.len() <= HOST_MAX
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

impl fmt::Display for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.network)?;
        let mut mark = '?';
        if let Some(invite) = self.invite {
            write!(f, "{mark}invite={invite}")?;
            mark = '&';
        }
        if let Some(door) = self.door {
            write!(f, "{mark}door={door}")?;
        }
        write!(f, "#p={}", self.key)
    }
}

impl FromStr for JoinString {
    type Err = InvalidJoinString;

    fn from_str(text: &str) -> Result<Self, InvalidJoinString> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

    fn parse(text: &str) -> Result<JoinString, InvalidJoinString> {
        JoinString::parse(&text.replace("KEY", KEY))
    }

    #[test]
    fn a_join_string_survives_its_text_form() {
        for text in [
            "lanyard://203.0.113.10/home?invite=K7Q2-MX4D#p=KEY",
            "lanyard://vpn.example.org:4000/home#p=KEY",
            "lanyard://[2001:db8::1]/home#p=KEY",
            "lanyard://203.0.113.10/home?invite=K7Q2-MX4D&door=8443#p=KEY",
            "lanyard://203.0.113.10/home?door=8443#p=KEY",
            "lanyard://[2001:db8::1]:7443/home?invite=K7Q2-MX4D#p=KEY",
        ] {
            let join = parse(text).unwrap();
            assert_eq!(join.to_string(), text.replace("KEY", KEY));
        }
        let join = parse("  LANYARD://Example.ORG/home?invite=k7q2mx4d#p=KEY\n").unwrap();
        assert_eq!(join.host, "example.org");
        assert_eq!(join.port, None);
        assert_eq!(join.key, PublicKey::from_bytes([1; 32]));
    }

    #[test]
    fn an_error_names_the_part_that_is_wrong() {
        for (text, part) in [
            ("", "lanyard://"),
            ("https://host/home#p=KEY", "lanyard://"),
            ("lanyard:///home#p=KEY", "host name"),
            ("lanyard://a..b/home#p=KEY", "host name"),
            ("lanyard://[::1/home#p=KEY", "host name"),
            ("lanyard://[zz]/home#p=KEY", "host name"),
            ("lanyard://::1/home#p=KEY", "host"),
            ("lanyard://host:0/home#p=KEY", "port"),
            ("lanyard://host:+1/home#p=KEY", "port"),
            ("lanyard://host:65536/home#p=KEY", "port"),
            ("lanyard://[::1]7/home#p=KEY", "port"),
            ("lanyard://host#p=KEY", "network"),
            ("lanyard://host/Home#p=KEY", "network"),
            ("lanyard://host/home?invite=#p=KEY", "invite"),
            ("lanyard://host/home?door=0#p=KEY", "door="),
            ("lanyard://host/home?door=70000#p=KEY", "door="),
            ("lanyard://host/home?door=1&door=2#p=KEY", "once"),
            ("lanyard://host/home?invite=K7Q2-MX4D&#p=KEY", "invite="),
            ("lanyard://host/home?code=K7Q2-MX4D#p=KEY", "invite="),
            ("lanyard://host/home?invite=K7Q2-MX4D", "missing"),
            ("lanyard://host/home#p=", "missing"),
            ("lanyard://host/home#p=AAAA", "key"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
