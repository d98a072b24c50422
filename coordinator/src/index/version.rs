//! Versions: how somebody says which state of a thing their change is meant for.
//!
//! A version is made of what people change, not of what changes by itself (who is online, how many members there are), so
//! that a change is refused only where two of them would meet. It is compared under the write lock (`Draft::must_be_as_seen`).
//! It is made with a key of this server: whoever sees the version of a user must not find their address by trying.

use data_encoding::HEXLOWER;
use lanyard_wire::keys::keyed_hash;
use serde::Serialize;

use super::Index;
use super::devices::Device;
use super::memberships::Member;
use super::networks::Network;
use super::users::User;
use super::webhooks::Webhook;

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
}

impl Index {
    /// The version that a thing has now.
    #[must_use]
    pub fn version(&self, thing: &impl Versioned) -> Version {
        let text = thing.compared();
        Version(HEXLOWER.encode(&keyed_hash(self.versions.as_bytes(), &[text.as_bytes()])[..16]))
    }
}

/// Something that has versions.
pub trait Versioned {
    /// What is compared of it.
    fn compared(&self) -> String;
}

/// A thing that has no JSON would have one version for ever; there is none, since the audit trail writes it too.
fn json(thing: &impl Serialize) -> String {
    serde_json::to_string(thing).unwrap_or_default()
}

impl Versioned for User {
    fn compared(&self) -> String {
        json(self)
    }
}

impl Versioned for Network {
    fn compared(&self) -> String {
        let revision = lanyard_wire::ids::Revision::new(0);
        json(&Self { active: 0, pending: 0, revision, ..self.clone() })
    }
}

impl Versioned for Member {
    fn compared(&self) -> String {
        json(&Self { online: false, last_seen_at: None, ..self.clone() })
    }
}

impl Versioned for Device {
    fn compared(&self) -> String {
        json(&Self { online: false, last_seen_at: None, last_ip: None, ..self.clone() })
    }
}

impl Versioned for Webhook {
    fn compared(&self) -> String {
        json(&Self { failing_since: None, ..self.clone() })
    }
}
