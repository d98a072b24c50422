//! How routers differ: kinds with names, and every setting behind a name.

use std::time::Duration;

use lanyard_wire::nat::{Filtering, Mapping};

/// A router with a name, configured as the namespace lab configures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Public addresses, nothing in between.
    Open,
    /// Public addresses behind a stateful firewall.
    Firewall,
    /// Endpoint-independent mapping and filtering.
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering.
    AddrRestricted,
    /// Endpoint-independent mapping, address-and-port-dependent filtering: the usual home router.
    PortRestricted,
    /// The same with random instead of preserved ports.
    Remapped,
    /// Address-dependent mapping.
    AddrSymmetric,
    /// Address-and-port-dependent mapping with random ports.
    Symmetric,
    /// Address-and-port-dependent mapping, each port the last plus one.
    SymmetricSeq,
    /// The same in steps of two, as where the ports of a pair go to RTP and RTCP.
    SymmetricSeqTwo,
    /// The same in steps of one, in a house where others open connections all the time.
    SymmetricSeqBusy,
    /// A carrier's router: address-and-port-dependent mapping with random ports of a block of 512.
    Block512,
    /// The same with a block of 1,024.
    Block1024,
    /// The same with a block of 2,048.
    Block2048,
    /// The same with a block of 4,096.
    Block4096,
    /// A port-restricted router that takes a stranger's packet for a connection to itself.
    WanAccept,
    /// A network that lets no UDP out.
    UdpBlocked,
}

impl Kind {
    /// All kinds: the lab's in the order of its list, between them those that the lab makes by a setting.
    pub const ALL: &'static [Self] = &[
        Self::Open,
        Self::Firewall,
        Self::FullCone,
        Self::AddrRestricted,
        Self::PortRestricted,
        Self::Remapped,
        Self::AddrSymmetric,
        Self::Symmetric,
        Self::SymmetricSeq,
        Self::SymmetricSeqTwo,
        Self::SymmetricSeqBusy,
        Self::Block512,
        Self::Block1024,
        Self::Block2048,
        Self::Block4096,
        Self::WanAccept,
        Self::UdpBlocked,
    ];

    /// The name of this kind, the lab's where it has one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Firewall => "firewall",
            Self::FullCone => "full-cone",
            Self::AddrRestricted => "addr-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Remapped => "remapped",
            Self::AddrSymmetric => "addr-symmetric",
            Self::Symmetric => "symmetric",
            Self::SymmetricSeq => "symmetric-seq",
            Self::SymmetricSeqTwo => "symmetric-seq-2",
            Self::SymmetricSeqBusy => "symmetric-seq-busy",
            Self::Block512 => "block-512",
            Self::Block1024 => "block-1024",
            Self::Block2048 => "block-2048",
            Self::Block4096 => "block-4096",
            Self::WanAccept => "wan-accept",
            Self::UdpBlocked => "udp-blocked",
        }
    }

    /// How a router of this kind behaves.
    #[must_use]
    pub const fn behaviour(self) -> Behaviour {
        use Filtering::{
            AddressAndPortDependent as Apdf, AddressDependent as Adf, EndpointIndependent as Eif,
        };
        let (mapping, filtering, ports) = match self {
            Self::Open => (Mapping::None, Eif, Ports::Preserved),
            Self::Firewall => (Mapping::None, Apdf, Ports::Preserved),
            Self::FullCone => (Mapping::EndpointIndependent, Eif, Ports::Preserved),
            Self::AddrRestricted => (Mapping::EndpointIndependent, Adf, Ports::Preserved),
            Self::PortRestricted | Self::WanAccept | Self::UdpBlocked => {
                (Mapping::EndpointIndependent, Apdf, Ports::Preserved)
            }
            Self::Remapped => (Mapping::EndpointIndependent, Apdf, Ports::Random),
            Self::AddrSymmetric => (Mapping::AddressDependent, Apdf, Ports::Random),
            Self::Symmetric => (Mapping::AddressAndPortDependent, Apdf, Ports::Random),
            Self::SymmetricSeq => (Mapping::AddressAndPortDependent, Apdf, Ports::counting(1, 0)),
            Self::SymmetricSeqTwo => (Mapping::AddressAndPortDependent, Apdf, Ports::counting(2, 0)),
            Self::SymmetricSeqBusy => (Mapping::AddressAndPortDependent, Apdf, Ports::counting(1, 600)),
            Self::Block512 => (Mapping::AddressAndPortDependent, Apdf, Ports::block(512)),
            Self::Block1024 => (Mapping::AddressAndPortDependent, Apdf, Ports::block(1_024)),
            Self::Block2048 => (Mapping::AddressAndPortDependent, Apdf, Ports::block(2_048)),
            Self::Block4096 => (Mapping::AddressAndPortDependent, Apdf, Ports::block(4_096)),
        };
        Behaviour {
            mapping,
            filtering,
            ports,
            hairpin: false,
            lifetime: Duration::from_secs(120),
            inbound_refresh: false,
            accepts_strangers: matches!(self, Self::WanAccept),
            udp: !matches!(self, Self::UdpBlocked),
        }
    }
}

/// How external ports are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// The internal port where it is free.
    Preserved,
    /// Any free port.
    Random,
    /// The last one and a step.
    Sequential {
        /// The distance, downwards if negative.
        step: i8,
        /// Ports that others behind this router take in a minute, on average.
        others: u16,
    },
    /// Any free port of the block that a carrier gave this customer. None is free once all are in use: a
    /// carrier that counts connections gives no port twice.
    Block {
        /// Its first port.
        low: u16,
        /// How many there are.
        size: u16,
    },
}

impl Ports {
    const fn counting(step: i8, others: u16) -> Self {
        Self::Sequential { step, others }
    }

    /// A block at a place where a carrier would cut one: a multiple of its size.
    const fn block(size: u16) -> Self {
        Self::Block { low: 32_768 + size, size }
    }
}

/// Everything that tells one router from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Which destinations share a mapping.
    pub mapping: Mapping,
    /// Which sources may use it inwards.
    pub filtering: Filtering,
    /// How its ports are chosen.
    pub ports: Ports,
    /// Whether inside hosts reach each other by outside addresses.
    pub hairpin: bool,
    /// How long a mapping lives without traffic.
    pub lifetime: Duration,
    /// Whether inbound traffic counts as traffic. RFC 4787, REQ-6 lets both be.
    pub inbound_refresh: bool,
    /// A Linux router without WAN firewall: it takes a stranger's packet for a connection to itself, and our
    /// own packet to that stranger then gets another port.
    pub accepts_strangers: bool,
    /// Whether UDP may leave at all.
    pub udp: bool,
}
