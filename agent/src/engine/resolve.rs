//! Host names of coordinators into addresses, beside the engine's loop.
//!
//! A name server that hangs must not stop the agent, so each question is a task with a deadline.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lanyard_wire::keys::PublicKey;
use tokio::sync::mpsc;

use crate::state::Host;

/// How long a name server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers that wait for the engine; a coordinator is asked for again when one is lost.
const ANSWERS_MAX: usize = 32;

/// Asks name servers and collects what they say.
#[derive(Debug)]
pub(super) struct Resolver {
    sender: mpsc::Sender<Resolved>,
    answers: mpsc::Receiver<Resolved>,
}

/// What a name server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Whose name it was.
    pub(super) key: PublicKey,
    /// The join that waits for it, if one does.
    pub(super) tag: Option<u64>,
    /// The addresses, or why there are none.
    pub(super) addrs: Result<Vec<SocketAddr>, String>,
}

impl Resolver {
    pub(super) fn new() -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        Self { sender, answers }
    }

    /// Asks for a coordinator's addresses; the answer comes by [`Resolver::next`].
    pub(super) fn ask(&self, host: &Host, tag: Option<u64>) {
        let (sender, host) = (self.sender.clone(), host.clone());
        tokio::spawn(async move {
            let addrs = look_up(&host).await;
            // The engine is gone, and with it the question.
            drop(sender.send(Resolved { key: host.key, tag, addrs }).await);
        });
    }

    /// The next answer.
    pub(super) async fn next(&mut self) -> Option<Resolved> {
        self.answers.recv().await
    }
}

/// The addresses of a host that is one itself; `None` for a name.
pub(super) fn literal(host: &Host) -> Option<SocketAddr> {
    host.name.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, host.port))
}

async fn look_up(host: &Host) -> Result<Vec<SocketAddr>, String> {
    if let Some(addr) = literal(host) {
        return Ok(vec![addr]);
    }
    let question = tokio::net::lookup_host((host.name.as_str(), host.port));
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(Ok(addrs)) => Ok(addrs.collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer from the name server in {} s", PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_need_no_name_server_and_names_get_one() {
        let mut resolver = Resolver::new();
        for (name, ip) in [("203.0.113.10", "203.0.113.10"), ("2001:db8::1", "2001:db8::1")] {
            resolver.ask(&host(name), Some(3));
            let resolved = resolver.next().await.unwrap();
            assert_eq!(resolved.addrs, Ok(vec![SocketAddr::new(ip.parse().unwrap(), 7443)]));
            assert_eq!(resolved.tag, Some(3));
        }
        resolver.ask(&host("localhost"), None);
        assert!(resolver.next().await.unwrap().addrs.unwrap().iter().all(|addr| addr.ip().is_loopback()));
    }

    #[tokio::test]
    async fn a_name_nobody_has_is_an_answer_too() {
        let mut resolver = Resolver::new();
        // Reserved for this by RFC 6761, section 6.4.
        resolver.ask(&host("coordinator.invalid"), None);
        assert!(resolver.next().await.unwrap().addrs.is_err());
    }

    fn host(name: &str) -> Host {
        Host { key: PublicKey::from_bytes([1; 32]), name: name.to_owned(), port: 7443, door: 443 }
    }
}
