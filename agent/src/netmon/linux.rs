//! Network changes on Linux, by rtnetlink.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::{LocalNetwork, Router, is_reachable, towards};

/// A change is told when announcements have been quiet for this long and there is a way out.
///
/// The kernel's steps of one change follow each other within a few milliseconds. What comes later (an IPv6 address after
/// its check) is a change of its own; waiting for it would be waiting with everything that flows.
const SETTLED: Duration = Duration::from_millis(30);
/// Without a way out, when they have been quiet for this long: a cable that is back at once never was away.
///
/// Joining a network takes the kernel and DHCP some tens of milliseconds per step; 200 ms make them one.
const QUIET: Duration = Duration::from_millis(200);
/// ... but not later than this after the first.
const PATIENCE: Duration = Duration::from_secs(1);

const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

type Announcements = futures_util::stream::BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>;

/// Listens and looks.
pub(super) struct Watcher {
    netlink: Handle,
    announcements: Announcements,
    overlay: Option<u32>,
    view: View,
}

/// Everything a change of which matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct View {
    /// Interfaces that carry traffic.
    links: BTreeSet<u32>,
    addresses: BTreeSet<(u32, IpAddr)>,
    /// Interface and gateway of each default route.
    defaults: BTreeSet<(u32, Option<IpAddr>)>,
    prefixes: BTreeSet<(Ipv4Addr, u8)>,
    router: Option<Router>,
}

impl View {
    /// Whether something could leave: a router is down with its link, though its route stays.
    fn has_way_out(&self) -> bool {
        !self.addresses.is_empty() && !self.defaults.is_empty()
    }
}

impl Watcher {
    pub(super) async fn open(overlay: Option<u32>) -> io::Result<Self> {
        let (connection, netlink, announcements) = rtnetlink::new_multicast_connection(&GROUPS)?;
        tokio::spawn(connection);
        let announcements = announcements.map(|(message, _)| message).boxed();
        let view = look(&netlink, overlay).await.map_err(io::Error::other)?;
        Ok(Self { netlink, announcements, overlay, view })
    }

    pub(super) fn network(&self) -> LocalNetwork {
        let addresses: BTreeSet<IpAddr> = self.view.addresses.iter().map(|(_, ip)| *ip).collect();
        LocalNetwork {
            addresses: addresses.into_iter().collect(),
            prefixes: self.view.prefixes.iter().copied().collect(),
            router: self.view.router,
        }
    }

    /// Tells changes until nobody listens any more or the kernel falls silent for good.
    pub(super) async fn run(mut self, sender: watch::Sender<LocalNetwork>) {
        while let Some(first) = self.announcements.next().await {
            let mut lost = self.is_loss(&first);
            let patience = Instant::now() + PATIENCE;
            let mut pause = SETTLED;
            let mut heard_at = Instant::now();
            let looked = loop {
                match timeout_at(patience.min(heard_at + pause), self.announcements.next()).await {
                    Ok(Some(next)) => {
                        lost |= self.is_loss(&next);
                        (heard_at, pause) = (Instant::now(), SETTLED);
                        continue;
                    }
                    Ok(None) => return,
                    Err(_) => {}
                }
                let looked = look(&self.netlink, self.overlay).await;
                let is_out = looked.as_ref().is_ok_and(View::has_way_out);
                if is_out || pause == QUIET || Instant::now() >= patience {
                    break looked;
                }
                pause = QUIET;
            };
            match looked {
                Ok(view) if lost || view != self.view => {
                    debug!(lost, ?view, "the network changed");
                    self.view = view;
                    if sender.send(self.network()).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "cannot look at the network; keeping the last view"),
            }
        }
    }

    /// Whether an announcement says that something we use went away, even if it is back by the time we look.
    fn is_loss(&self, message: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
        let NetlinkPayload::InnerMessage(message) = &message.payload else {
            return false;
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "the kernel announces more than is of interest")]
        match message {
            RouteNetlinkMessage::DelLink(link) => self.view.links.contains(&link.header.index),
            RouteNetlinkMessage::NewLink(link) => {
                self.view.links.contains(&link.header.index) && !is_carrying(link)
            }
            RouteNetlinkMessage::DelAddress(address) => {
                unicast(address).is_some_and(|ip| self.view.addresses.contains(&(address.header.index, ip)))
            }
            RouteNetlinkMessage::DelRoute(route) => {
                is_default(route) && self.view.defaults.contains(&gateway(route))
            }
            _ => false,
        }
    }
}

async fn look(netlink: &Handle, overlay: Option<u32>) -> Result<View, rtnetlink::Error> {
    let mut view = View::default();
    let mut loopback = BTreeMap::new();
    let mut links = Box::pin(netlink.link().get().execute());
    while let Some(link) = links.try_next().await? {
        let index = link.header.index;
        loopback.insert(index, link.header.flags.contains(LinkFlags::Loopback));
        if Some(index) != overlay && is_carrying(&link) {
            view.links.insert(index);
        }
    }
    let is_ours = |index: u32| view.links.contains(&index) && loopback.get(&index) == Some(&false);
    let mut addresses = Box::pin(netlink.address().get().execute());
    let mut found = BTreeSet::new();
    while let Some(address) = addresses.try_next().await? {
        if is_ours(address.header.index)
            && let Some(ip) = unicast(&address)
        {
            found.insert((address.header.index, ip));
        }
    }
    let mut defaults = BTreeSet::new();
    let mut prefixes = BTreeSet::new();
    let mut routers = BTreeSet::new();
    for query in
        [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()]
    {
        let mut routes = Box::pin(netlink.route().get(query).execute());
        while let Some(route) = routes.try_next().await? {
            let key = gateway(&route);
            if route.header.table != RouteHeader::RT_TABLE_MAIN || Some(key.0) == overlay {
                continue;
            }
            if is_default(&route) {
                defaults.insert(key);
                routers.extend(router4(&route));
            } else if let Some(prefix) = prefix4(&route) {
                prefixes.insert(prefix);
            }
        }
    }
    let router = routers.first().and_then(|(_, gateway)| towards(*gateway));
    Ok(View { addresses: found, defaults, prefixes, router, ..view })
}

fn is_carrying(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp)
}

/// The address of a message, if peers could reach us there.
fn unicast(message: &AddressMessage) -> Option<IpAddr> {
    let useless =
        AddressHeaderFlags::Tentative | AddressHeaderFlags::Deprecated | AddressHeaderFlags::Dadfailed;
    if message.header.flags.intersects(useless)
        || matches!(message.header.scope, AddressScope::Link | AddressScope::Host)
    {
        return None;
    }
    let mut found = None;
    for attribute in &message.attributes {
        #[expect(clippy::wildcard_enum_match_arm, reason = "addresses come with more than is of interest")]
        match attribute {
            // On a point-to-point link Address is the other end and Local is us; elsewhere both are us, and
            // IPv6 has only Address.
            AddressAttribute::Local(ip) => found = Some(*ip),
            AddressAttribute::Address(ip) => found = found.or(Some(*ip)),
            _ => {}
        }
    }
    found.filter(is_reachable)
}

fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0 && route.header.kind == RouteType::Unicast
}

/// Interface and gateway of a route.
fn gateway(route: &RouteMessage) -> (u32, Option<IpAddr>) {
    let mut index = 0;
    let mut via = None;
    for attribute in &route.attributes {
        #[expect(clippy::wildcard_enum_match_arm, reason = "routes come with more than is of interest")]
        match attribute {
            RouteAttribute::Oif(oif) => index = *oif,
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => via = Some(IpAddr::V4(*ip)),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => via = Some(IpAddr::V6(*ip)),
            _ => {}
        }
    }
    (index, via)
}

/// Metric and gateway of an IPv4 route that has one.
fn router4(route: &RouteMessage) -> Option<(u32, Ipv4Addr)> {
    let (_, Some(IpAddr::V4(gateway))) = gateway(route) else { return None };
    let metric = route.attributes.iter().find_map(|attribute| {
        if let RouteAttribute::Priority(metric) = attribute { Some(*metric) } else { None }
    });
    Some((metric.unwrap_or_default(), gateway))
}

fn prefix4(route: &RouteMessage) -> Option<(Ipv4Addr, u8)> {
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    route.attributes.iter().find_map(|attribute| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "routes come with more than is of interest")]
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) if !ip.is_link_local() => {
                Some((*ip, route.header.destination_prefix_length))
            }
            _ => None,
        }
    })
}
