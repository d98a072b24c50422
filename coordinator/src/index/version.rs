//! Versions: how somebody says which state of a thing their change is meant for.
//!
//! A version is made of what people change, not of what changes by itself (who is online, how many members there are), so
//! that a change is refused only where two of them would meet. It is compared under the write lock (`Draft::must_be_as_seen`).

use data_encoding::HEXLOWER;
use lanyard_wire::keys::keyed_hash;
use serde::Serialize;

use super::devices::Device;
use super::memberships::Member;
use super::networks::Network;
use super::users::User;

/// A state of one thing: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// What somebody sent; whatever it is, it is only compared.
    #[must_use]
    pub fn claimed(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(thing: &impl Serialize) -> Self {
        // A thing that has no JSON would have one version for ever; there is none, since the audit trail writes it too.
        let text = serde_json::to_string(thing).unwrap_or_default();
        Self(HEXLOWER.encode(&keyed_hash(b"version", &[text.as_bytes()])[..16]))
    }
}

/// Something that has versions.
pub trait Versioned {
    /// The version it has now.
    fn version(&self) -> Version;
}

impl Versioned for User {
    fn version(&self) -> Version {
        Version::of(self)
    }
}

impl Versioned for Network {
    fn version(&self) -> Version {
        let revision = lanyard_wire::ids::Revision::new(0);
        Version::of(&Self { active: 0, pending: 0, revision, ..self.clone() })
    }
}

impl Versioned for Member {
    fn version(&self) -> Version {
        Version::of(&Self { online: false, last_seen_at: None, ..self.clone() })
    }
}

impl Versioned for Device {
    fn version(&self) -> Version {
        Version::of(&Self { online: false, last_seen_at: None, last_ip: None, ..self.clone() })
    }
}
