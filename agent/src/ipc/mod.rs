//! How commands reach the running agent: JSON lines over a local socket.
//!
//! A connection carries one request line and then answer lines until the agent closes it. Both carry the
//! version of this little protocol as `"v"`; the same answer lines are what `--json` prints.

pub mod client;
#[cfg(unix)]
pub mod credentials;
pub mod endpoint;
pub mod schema;
pub mod server;
