//! The whole protocol in virtual time.

pub mod link;
pub mod nat;
pub mod net;
pub mod rule;
pub mod script;
pub mod trace;
pub mod tunnel;
