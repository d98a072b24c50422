//! The agent's end of the protocol.

mod coordinator;
mod directory;
mod link;
mod netcheck;
mod presence;

pub mod cache;
pub mod command;
pub mod config;
pub mod event;
pub mod status;

pub use cache::{CoordinatorCache, DeviceCache, MemberCache, NetworkCache};
pub use command::Command;
pub use config::DeviceConfig;
pub use event::{CoordinatorState, Event, MemberChange};
pub use status::{Advice, Status};
