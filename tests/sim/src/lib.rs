//! The whole protocol in virtual time.
//!
//! The machines of `lanyard-proto`, both ends of them, run here against each other on a miniature internet: no
//! socket, no thread, no clock. A [`script::Scenario`] says what is built and what happens; [`run::check`] runs it
//! and the [`oracle`] demands what must hold. Everything random comes from the scenario's seed, so a failure is
//! one line to repeat it, and the packets of the pair in a diagram.
//!
//! | module | what |
//! | --- | --- |
//! | [`world`] | virtual time: the heap of things to come |
//! | [`net`], [`nat`], [`link`] | sites, routers, links, and a packet's way through them |
//! | [`host`], [`plane`], [`tunnel`], [`echo`] | a computer with a device: machine, data plane, sessions, packets |
//! | [`services`], [`index`] | a coordinator: its machines, and the permanent data behind them |
//! | [`script`], [`chance`] | scenarios: written by hand, drawn from a seed |
//! | [`rule`], [`oracle`] | what must become of a pair, and what must hold |
//! | [`trace`], [`run`], [`shrink`] | the hash of a run, many seeds, the diagram of a failure made smaller |
//! | `sabotage` | whether the oracle notices |

mod acts;
mod attack;
pub mod chance;
pub mod echo;
pub mod host;
pub mod index;
pub mod link;
pub mod nat;
pub mod net;
pub mod oracle;
pub mod plane;
mod post;
pub mod rule;
pub mod run;
#[cfg(test)]
mod sabotage;
pub mod script;
pub mod services;
pub mod shrink;
pub mod trace;
pub mod tunnel;
mod witness;
pub mod world;
