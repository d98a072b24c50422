//! By which way this device's datagrams leave its network, judged by what was tried.
//!
//! Pure functions: the program looks ([`Signs`]), this says what it means ([`Egress`]). Nobody but the coordinator is
//! asked for anything, so a device that is alone with its coordinator tells as much as any other.

/// The way out that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Egress {
    /// UDP gets out and answers come back.
    Udp,
    /// No UDP, and TCP to more than port 443.
    Tcp,
    /// TCP 443 alone.
    Tcp443,
    /// An HTTP proxy alone.
    Proxy,
    /// Nothing, until somebody signs in on the page that this network shows instead of others.
    CaptivePortal,
    /// Nothing that leads to the coordinator.
    Blocked,
}

/// How the coordinator's door stands: TLS on its web port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorSign {
    /// It was not needed, is being opened, or did not open.
    Shut,
    /// The session goes through it.
    Open,
    /// The same, through a proxy.
    ByProxy,
}

/// What came of plain HTTP to port 80 of the coordinator's host, where no coordinator listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainSign {
    /// Nothing came back: packets are dropped on the way.
    Silent,
    /// The connection was refused: packets get there.
    Refused,
    /// Some web server of that host answered.
    Answered,
    /// Somebody in between answered, who wants the browser elsewhere.
    Elsewhere,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// A STUN service answered, or a session stands by UDP.
    pub udp: bool,
    /// The door.
    pub door: DoorSign,
    /// A TCP connection to the door's port was opened without proxy.
    pub is_door_reached: bool,
    /// Plain HTTP.
    pub plain: PlainSign,
}

impl Egress {
    /// What the signs mean.
    #[must_use]
    pub const fn judge(signs: Signs) -> Self {
        let by_tcp = match signs.plain {
            PlainSign::Silent => Self::Tcp443,
            PlainSign::Refused | PlainSign::Answered | PlainSign::Elsewhere => Self::Tcp,
        };
        match (signs.udp, signs.door, signs.plain) {
            (true, ..) => Self::Udp,
            (false, DoorSign::Open, _) => by_tcp,
            // A proxy that was set up is used, needed or not.
            (false, DoorSign::ByProxy, _) if signs.is_door_reached => by_tcp,
            (false, DoorSign::ByProxy, _) => Self::Proxy,
            (false, DoorSign::Shut, PlainSign::Elsewhere) => Self::CaptivePortal,
            (false, DoorSign::Shut, PlainSign::Silent | PlainSign::Refused | PlainSign::Answered) => {
                Self::Blocked
            }
        }
    }
}

impl PlainSign {
    /// What an HTTP answer means that was asked of `host`: its status, and the `Location` it names.
    ///
    /// A page to sign in at says so (RFC 6585, section 6: 511) or is where every request is sent. A host that sends to
    /// itself, by TLS for example, is a web server like any other.
    #[must_use]
    pub fn of_answer(host: &str, status: u16, location: Option<&str>) -> Self {
        let is_elsewhere = location.and_then(host_of).is_some_and(|other| !other.eq_ignore_ascii_case(host));
        match status {
            511 => Self::Elsewhere,
            300..=399 if is_elsewhere => Self::Elsewhere,
            _ => Self::Answered,
        }
    }
}

/// The host of an absolute `http` or `https` address, without brackets.
fn host_of(location: &str) -> Option<&str> {
    let (scheme, rest) = location.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    match place.strip_prefix('[') {
        Some(ip6) => ip6.split_once(']').map(|(ip6, _)| ip6),
        None => place.split(':').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Signs =
        Signs { udp: false, door: DoorSign::Shut, is_door_reached: false, plain: PlainSign::Silent };

    #[test]
    fn udp_is_the_way_out_wherever_it_works() {
        for door in [DoorSign::Shut, DoorSign::Open, DoorSign::ByProxy] {
            for plain in [PlainSign::Silent, PlainSign::Elsewhere] {
                assert_eq!(Egress::judge(Signs { udp: true, door, plain, ..NOTHING }), Egress::Udp);
            }
        }
    }

    #[test]
    fn without_udp_the_narrowest_way_that_was_seen_is_named() {
        let open = Signs { door: DoorSign::Open, is_door_reached: true, ..NOTHING };
        assert_eq!(Egress::judge(open), Egress::Tcp443);
        assert_eq!(Egress::judge(Signs { plain: PlainSign::Refused, ..open }), Egress::Tcp);
        assert_eq!(Egress::judge(Signs { plain: PlainSign::Answered, ..open }), Egress::Tcp);
        let by_proxy = Signs { door: DoorSign::ByProxy, ..NOTHING };
        assert_eq!(Egress::judge(by_proxy), Egress::Proxy);
        assert_eq!(Egress::judge(Signs { is_door_reached: true, ..by_proxy }), Egress::Tcp443);
        assert_eq!(Egress::judge(NOTHING), Egress::Blocked);
    }

    #[test]
    fn a_portal_is_one_only_where_nothing_else_gets_out() {
        let portal = Signs { plain: PlainSign::Elsewhere, is_door_reached: true, ..NOTHING };
        assert_eq!(Egress::judge(portal), Egress::CaptivePortal);
        assert_eq!(Egress::judge(Signs { door: DoorSign::Open, ..portal }), Egress::Tcp);
        assert_eq!(Egress::judge(Signs { plain: PlainSign::Answered, ..portal }), Egress::Blocked);
    }

    #[test]
    fn a_page_to_sign_in_at_is_told_from_a_web_server() {
        let sign = |status, location| PlainSign::of_answer("vpn.example", status, location);
        for (status, location) in [
            (302, Some("http://login.cafe.example/?from=vpn.example")),
            (307, Some("HTTPS://user@10.0.0.1:8080/")),
            (302, Some("http://[fd00::1]/sign-in")),
            (511, None),
        ] {
            assert_eq!(sign(status, location), PlainSign::Elsewhere, "{status} {location:?}");
        }
        for (status, location) in [
            (200, None),
            (404, Some("http://login.cafe.example/")),
            (301, Some("https://VPN.example/")),
            (301, Some("https://vpn.example:8443/x")),
            (302, Some("/index.html")),
            (302, Some("mailto:ivo@cafe.example")),
            (302, None),
        ] {
            assert_eq!(sign(status, location), PlainSign::Answered, "{status} {location:?}");
        }
    }
}
