//! What an endpoint is made from.

use lanyard_wire::checkpoint::Services;
use lanyard_wire::keys::SecretKey;

use super::relay::RelayConfig;
use super::tickets::FleetKey;
use crate::time::WallClock;

/// Settings of an [`Endpoint`](super::Endpoint): which services it has, and its keys.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// The identity that devices know this endpoint by.
    pub identity: SecretKey,
    /// What all services of the coordinator share.
    pub fleet: FleetKey,
    /// 32 random bytes for everything that is drawn.
    pub seed: [u8; 32],
    /// What the clock on the wall says.
    pub wall: WallClock,
    /// CHECKPOINT runs here.
    pub checkpoint: Option<CheckpointConfig>,
    /// HANDSHAKE runs here.
    pub handshake: bool,
    /// RELAY runs here.
    pub relay: Option<RelayConfig>,
}

/// Settings of CHECKPOINT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointConfig {
    /// Where the services are, as devices are told.
    pub services: Services,
}
