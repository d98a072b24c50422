//! What is known about the NAT in front of a device, in the words of RFC 4787.

use core::fmt;
use core::net::{SocketAddrV4, SocketAddrV6};

use crate::codec::messages::{wire_fields, wire_variants};

/// Which destinations share one public address and port (RFC 4787, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mapping {
    /// No translation: the device has a public address.
    None,
    /// All destinations see the same public address and port.
    EndpointIndependent,
    /// Another one per destination address.
    AddressDependent,
    /// Another one per destination address and port.
    AddressAndPortDependent,
}

wire_variants!(Mapping "mapping behaviour" {
    0x01 => None,
    0x02 => EndpointIndependent,
    0x03 => AddressDependent,
    0x04 => AddressAndPortDependent,
});

/// From whom datagrams are let in to an open mapping (RFC 4787, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filtering {
    /// From everybody.
    EndpointIndependent,
    /// From addresses that were sent to.
    AddressDependent,
    /// From addresses and ports that were sent to.
    AddressAndPortDependent,
}

wire_variants!(Filtering "filtering behaviour" {
    0x01 => EndpointIndependent,
    0x02 => AddressDependent,
    0x03 => AddressAndPortDependent,
});

/// How the NAT picks public ports (RFC 4787, section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortPolicy {
    /// The device's own port where it is free.
    Preserved,
    /// The next one, a fixed step after the last.
    Sequential {
        /// Distance of two mappings made one after the other.
        step: i8,
    },
    /// Any port of a block that belongs to this customer, as in carrier-grade NAT.
    Block {
        /// Lowest port seen.
        low: u16,
        /// Highest port seen.
        high: u16,
    },
    /// No pattern found.
    Random,
}

wire_variants!(PortPolicy "port policy" {
    0x01 => Preserved,
    0x02 => Sequential { step },
    0x03 => Block { low, high },
    0x04 => Random,
});

/// What netcheck found out, shown to the handshake service and to the peer; the default knows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NatCard {
    /// Mapping behaviour, measured from the tunnel's own socket.
    pub mapping: Option<Mapping>,
    /// Filtering behaviour, measured from a spare socket.
    pub filtering: Option<Filtering>,
    /// Port policy, where the mapping depends on the destination.
    pub ports: Option<PortPolicy>,
    /// Whether the NAT turns datagrams to its own public address back inside.
    pub hairpin: Option<bool>,
    /// Whether UDP gets out and back at all.
    pub udp: bool,
    /// How long a mapping survives without outbound traffic, in seconds; a lower bound.
    pub lifetime_s: Option<u16>,
    /// Public IPv4 address and port of the tunnel's socket.
    pub reflexive4: Option<SocketAddrV4>,
    /// Public IPv6 address and port of the tunnel's socket.
    pub reflexive6: Option<SocketAddrV6>,
}

wire_fields!(NatCard { mapping, filtering, ports, hairpin, udp, lifetime_s, reflexive4, reflexive6 });

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no translation",
            Self::EndpointIndependent => "endpoint-independent mapping",
            Self::AddressDependent => "address-dependent mapping",
            Self::AddressAndPortDependent => "address-and-port-dependent mapping",
        })
    }
}

impl fmt::Display for Filtering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndpointIndependent => "endpoint-independent filtering",
            Self::AddressDependent => "address-dependent filtering",
            Self::AddressAndPortDependent => "address-and-port-dependent filtering",
        })
    }
}

impl fmt::Display for PortPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preserved => f.write_str("ports preserved"),
            Self::Sequential { step } => write!(f, "ports in steps of {step}"),
            Self::Block { low, high } => write!(f, "ports from the block {low}-{high}"),
            Self::Random => f.write_str("random ports"),
        }
    }
}

impl fmt::Display for NatCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("nothing known yet");
        }
        if !self.udp {
            return f.write_str("UDP blocked");
        }
        match self.mapping {
            Some(mapping) => mapping.fmt(f)?,
            None => f.write_str("unknown mapping")?,
        }
        if let Some(filtering) = self.filtering {
            write!(f, ", {filtering}")?;
        }
        if let Some(ports) = self.ports {
            write!(f, ", {ports}")?;
        }
        match self.hairpin {
            Some(true) => f.write_str(", hairpinning")?,
            Some(false) => f.write_str(", no hairpinning")?,
            None => {}
        }
        if let Some(lifetime) = self.lifetime_s {
            write!(f, ", mappings last {lifetime} s or more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    use crate::codec::Wire as _;

    #[test]
    fn a_card_reads_in_the_words_of_rfc_4787() {
        let card = NatCard {
            mapping: Some(Mapping::EndpointIndependent),
            filtering: Some(Filtering::AddressAndPortDependent),
            ports: Some(PortPolicy::Preserved),
            hairpin: Some(false),
            udp: true,
            lifetime_s: Some(60),
            ..NatCard::default()
        };
        assert_eq!(
            card.to_string(),
            "endpoint-independent mapping, address-and-port-dependent filtering, ports preserved, no hairpinning, \
             mappings last 60 s or more"
        );
        assert_eq!(NatCard::default().to_string(), "nothing known yet");
        assert_eq!(NatCard { hairpin: Some(false), ..NatCard::default() }.to_string(), "UDP blocked");
    }

    #[test]
    fn an_empty_card_has_eight_bytes() {
        assert_eq!(NatCard::default().to_bytes(), [0; 8]);
        assert_eq!(NatCard::from_bytes(&[0; 8]), Ok(NatCard::default()));
        assert!(NatCard::from_bytes(&[1, 5, 0, 0, 0, 0, 0, 0, 0]).is_err(), "no such mapping");
    }
}
