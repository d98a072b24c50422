//! The interface on Linux: tun-rs makes it, netlink configures it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use futures_util::TryStreamExt;
use lanyard_proto::overlay::table::OverlayAddress;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo};
use rtnetlink::{AddressMessageBuilder, LinkUnspec};
use tracing::{debug, info, warn};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::{OVERLAY_MTU, Offload, Tun, TunConfig, TunError, failed, wanted};

/// What to say where there is no driver.
pub(super) const NO_DRIVER: &str = "this computer offers no virtual network interfaces (/dev/net/tun is missing); load \
     the driver with \"modprobe tun\", or give the container the device /dev/net/tun";

/// What an agent needs that may not make interfaces.
pub(super) const PERMISSION: &str = "start the agent as root or give it the capability CAP_NET_ADMIN";

/// Most pieces in a super-packet that the kernel hands us.
///
/// A UDP send takes 65,507 bytes. A piece is a packet of at most the MTU and 32 bytes of WireGuard, so 45 fit. Without the cap most
/// 64 KB reads would become a full send and a tiny one.
const GSO_MAX_SEGMENTS: u32 = 65_507 / (OVERLAY_MTU as u32 + 32);

/// Packets that wait in the kernel for each of our queues; twice the kernel's own default for a TUN.
///
/// A shard that another program keeps from its core for 4 ms finds 800 small packets at 200,000 a second. WireGuard in the
/// kernel has as many.
const QUEUE_LEN: u32 = 1_000;

/// One queue of the interface: packets in and out, nonblocking.
#[derive(Debug)]
pub struct TunQueue {
    file: File,
    offload: Offload,
}

impl TunQueue {
    /// A queue on any descriptor that carries one packet per read and write and does not block; a datagram
    /// socket in tests.
    #[must_use]
    pub fn from_fd(fd: OwnedFd, offload: Offload) -> Self {
        Self { file: File::from(fd), offload }
    }

    /// What packets look like here.
    #[must_use]
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// Reads one packet, with its virtio header if there is offload.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when none is there; anything else is the interface's end or its being down.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(buffer)
    }

    /// Writes one packet in parts, the first being its virtio header if there is offload.
    ///
    /// # Errors
    ///
    /// `InvalidInput` (EINVAL) when the kernel does not take this train; others as from `writev`.
    pub fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.file).write_vectored(parts)
    }
}

impl AsFd for TunQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The addresses of the interface, changed while its queues are at work.
#[derive(Debug)]
pub struct TunAddresses {
    netlink: rtnetlink::Handle,
    name: String,
    index: u32,
    present: BTreeSet<(IpAddr, u8)>,
    /// That this computer has no IPv6 was said.
    lacks_ip6: bool,
}

impl TunAddresses {
    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface's index in its namespace.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Makes the interface's addresses exactly these; the kernel adds and removes the routes of their
    /// prefixes. A repeated call with the same addresses does nothing.
    ///
    /// # Errors
    ///
    /// The first failure, after everything else was tried: one address that cannot be set does not take the
    /// others with it. It is tried again by the next call, as is IPv6 where it is switched off, which is no failure.
    pub async fn apply(&mut self, addresses: &[OverlayAddress]) -> Result<(), TunError> {
        let wanted = wanted(addresses);
        let mut outcome = Ok(());
        for (ip, length) in self.present.difference(&wanted).copied().collect::<Vec<_>>() {
            info!(interface = %self.name, %ip, length, "address removed");
            let done = self.netlink.address().del(self.message(ip, length)).execute().await;
            // Gone already is as good: someone else took it away.
            if let Err(error) = done {
                debug!(interface = %self.name, %ip, %error, "address was not there any more");
            }
            self.present.remove(&(ip, length));
        }
        for (ip, length) in wanted.difference(&self.present).copied().collect::<Vec<_>>() {
            match self.netlink.address().add(self.index, ip, length).replace().execute().await {
                Ok(()) => {
                    info!(interface = %self.name, %ip, length, "address added");
                    self.present.insert((ip, length));
                }
                Err(error) => outcome = outcome.and(self.note_refusal(ip, netlink_error(error))),
            }
        }
        outcome
    }

    /// Says that an address was not taken, and whether that is a failure.
    fn note_refusal(&mut self, ip: IpAddr, error: io::Error) -> Result<(), TunError> {
        let means_no_ip6 = [libc::EACCES, libc::EOPNOTSUPP, libc::EAFNOSUPPORT];
        if ip.is_ipv6() && error.raw_os_error().is_some_and(|code| means_no_ip6.contains(&code)) {
            if !std::mem::replace(&mut self.lacks_ip6, true) {
                info!(interface = %self.name, "IPv6 is switched off on this computer: its virtual LAN is IPv4 alone");
            }
            return Ok(());
        }
        warn!(interface = %self.name, %ip, %error, "address cannot be added");
        Err(failed("configure", &self.name, error))
    }

    fn message(&self, ip: IpAddr, length: u8) -> AddressMessage {
        match ip {
            IpAddr::V4(ip) => AddressMessageBuilder::<std::net::Ipv4Addr>::new()
                .index(self.index)
                .address(ip, length)
                .build(),
            IpAddr::V6(ip) => AddressMessageBuilder::<std::net::Ipv6Addr>::new()
                .index(self.index)
                .address(ip, length)
                .build(),
        }
    }

    /// What an interface that outlived its last owner still has.
    async fn read_present(&mut self) -> Result<(), rtnetlink::Error> {
        let mut dump = Box::pin(self.netlink.address().get().set_link_index_filter(self.index).execute());
        while let Some(message) = dump.try_next().await? {
            if message.header.scope == AddressScope::Link
                || message.header.flags.contains(AddressHeaderFlags::Tentative)
            {
                continue;
            }
            for attribute in &message.attributes {
                // IPv4 carries its own address as Local, IPv6 as Address.
                let is_v4 = message.header.family == AddressFamily::Inet;
                if let AddressAttribute::Local(ip) = attribute
                    && is_v4
                {
                    self.present.insert((*ip, message.header.prefix_len));
                } else if let AddressAttribute::Address(ip) = attribute
                    && !is_v4
                {
                    self.present.insert((*ip, message.header.prefix_len));
                }
            }
        }
        Ok(())
    }
}

pub(super) async fn create(config: &TunConfig) -> Result<Tun, TunError> {
    let name = config.name.as_str();
    let (connection, netlink, _) =
        rtnetlink::new_connection().map_err(|source| failed("configure", name, source))?;
    tokio::spawn(connection);
    if is_taken(&netlink, name).await {
        let source = io::Error::from_raw_os_error(libc::EBUSY);
        return Err(TunError::Busy { name: name.to_owned(), source });
    }
    let (first, offload) = open(name)?;
    let mut queues = vec![queue(&first, offload, name)?];
    for _ in 1..config.queues {
        let next = first.try_clone().map_err(|source| failed("create", name, source))?;
        queues.push(queue(&next, offload, name)?);
    }
    let index = first.if_index().map_err(|source| failed("configure", name, source))?;
    first.set_mtu(OVERLAY_MTU).map_err(|source| failed("configure", name, source))?;
    if let Err(error) = first.set_tx_queue_len(QUEUE_LEN) {
        // Costs bursts only.
        debug!(interface = name, %error, "the kernel's queue stays short");
    }

    // No link-local address: nothing here answers router solicitations or joins groups on it.
    if let Err(error) = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode"), "1") {
        debug!(interface = name, %error, "the interface will have a link-local address");
    }
    let cap = LinkUnspec::new_with_index(index)
        .append_extra_attribute(LinkAttribute::GsoMaxSegs(GSO_MAX_SEGMENTS))
        .build();
    if let Err(error) = netlink.link().set(cap).execute().await {
        // Costs speed only.
        debug!(interface = name, %error, "the kernel's trains stay longer than a UDP send");
    }
    let up = LinkUnspec::new_with_index(index).up().build();
    netlink.link().set(up).execute().await.map_err(|error| failed("bring up", name, netlink_error(error)))?;
    let mut addresses =
        TunAddresses { netlink, name: name.to_owned(), index, present: BTreeSet::new(), lacks_ip6: false };
    addresses.read_present().await.map_err(|error| failed("configure", name, netlink_error(error)))?;
    info!(interface = name, queues = queues.len(), ?offload, mtu = OVERLAY_MTU, "interface is up");
    Ok(Tun { queues, addresses })
}

/// Whether the name belongs to an interface that is not ours to use.
///
/// The kernel would let a second agent attach to the first one's interface as one more queue, and give it
/// a share of the packets. A TUN that an administrator prepared is free: it has no carrier while nobody holds
/// a queue of it.
async fn is_taken(netlink: &rtnetlink::Handle, name: &str) -> bool {
    let mut links = Box::pin(netlink.link().get().match_name(name).execute());
    let Ok(Some(link)) = links.try_next().await else {
        return false;
    };
    let is_tun = link.attributes.iter().any(|attribute| {
        matches!(attribute, LinkAttribute::LinkInfo(info) if info.contains(&LinkInfo::Kind(InfoKind::Tun)))
    });
    !is_tun || link.header.flags.contains(LinkFlags::LowerUp)
}

/// Opens the first queue, with offload unless this kernel refuses it.
fn open(name: &str) -> Result<(SyncDevice, Offload), TunError> {
    let build = |offload: bool| {
        DeviceBuilder::new()
            .name(name)
            .enable(false)
            .with(|options| {
                options.offload(offload).multi_queue(true);
            })
            .build_sync()
    };
    match build(true) {
        Ok(device) => {
            let offload = if device.udp_gso() { Offload::TcpAndUdp } else { Offload::Tcp };
            Ok((device, offload))
        }
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            warn!(interface = name, %error, "this kernel refuses offload on the interface; transfers will be slower");
            build(false).map(|device| (device, Offload::None)).map_err(|error| explain(name, error))
        }
        Err(error) => Err(explain(name, error)),
    }
}

fn queue(device: &SyncDevice, offload: Offload, name: &str) -> Result<TunQueue, TunError> {
    device.set_nonblocking(true).map_err(|source| failed("configure", name, source))?;
    // The device of tun-rs goes, the open queue behind it stays.
    let fd = device.as_fd().try_clone_to_owned().map_err(|source| failed("create", name, source))?;
    Ok(TunQueue::from_fd(fd, offload))
}

fn explain(name: &str, source: io::Error) -> TunError {
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => TunError::NoDriver(source),
        Some(libc::EPERM | libc::EACCES) => TunError::Denied { name: name.to_owned(), source },
        Some(libc::EBUSY) => TunError::Busy { name: name.to_owned(), source },
        _ => failed("create", name, source),
    }
}

fn netlink_error(error: rtnetlink::Error) -> io::Error {
    if let rtnetlink::Error::NetlinkError(message) = error {
        message.to_io()
    } else {
        io::Error::other(error)
    }
}
