//! The inside of the virtual LAN: packet headers, routes, and the table that data planes obey.
//!
//! Pure logic on values. The device machine decides which peer owns which address and which path leads
//! to it, and publishes an immutable [`ForwardingTable`]; a data plane looks packets up in it and reports
//! coalesced [`Observation`]s. These two are the only contact between machine and data plane.

pub mod packet;
mod route;
pub mod table;
mod transit;

pub use packet::{Header, Odd};
pub use table::{ForwardingTable, Observation, OverlayAddress, Path, PeerEntry};
pub use transit::{Transit, TransitEnd};
