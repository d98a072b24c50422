//! Requests whose answer comes later: each has a tag that the machine returns, and a deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use lanyard_wire::ids::NetworkId;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, InviteCode, JoinPassword, NetworkName};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::exit::{Code, Problem};
use crate::ipc::schema::Answer;
use crate::state::Host;

use super::report::place;

/// How long a coordinator may take to answer a join or a leave, retransmissions included.
pub(super) const COORDINATOR_WAIT: Duration = Duration::from_secs(10);

/// How long a new member waits for its first roster.
pub(super) const ROSTER_WAIT: Duration = Duration::from_secs(5);

/// A netcheck ends by itself after 1.2 s.
pub(super) const NETCHECK_WAIT: Duration = Duration::from_secs(5);

/// What a person wants to join.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) host: Host,
    pub(super) network: NetworkName,
    pub(super) invite: Option<InviteCode>,
    pub(super) password: Option<JoinPassword>,
    pub(super) name: DeviceName,
    /// How long to wait for an administrator.
    pub(super) patience: Duration,
}

/// What is waited for.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// The coordinator's addresses.
    Addresses(Wish),
    /// The coordinator's decision.
    Decision(Wish),
    /// The network to appear with its addresses; `pending` while an administrator has to approve.
    Membership { wish: Wish, network: NetworkId, pending: bool },
    /// The coordinator's word that the membership ended.
    Leave { network: String },
    /// The NAT's measurement.
    Netcheck,
}

/// One request.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) what: What,
    pub(super) deadline: Instant,
    pub(super) answers: mpsc::Sender<Answer>,
}

/// All requests that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    newest: u64,
    waits: BTreeMap<u64, Wait>,
}

impl Waiting {
    /// Adds one and gives its tag.
    pub(super) fn add(&mut self, what: What, patience: Duration, answers: mpsc::Sender<Answer>) -> u64 {
        self.newest += 1;
        self.put(self.newest, Wait { what, deadline: Instant::now() + patience, answers });
        self.newest
    }

    /// Adds one under the tag it had.
    pub(super) fn put(&mut self, tag: u64, wait: Wait) {
        self.waits.insert(tag, wait);
    }

    /// Takes one out.
    pub(super) fn take(&mut self, tag: u64) -> Option<Wait> {
        self.waits.remove(&tag)
    }

    /// Takes all out.
    pub(super) fn take_all(&mut self) -> Vec<Wait> {
        std::mem::take(&mut self.waits).into_values().collect()
    }

    /// Takes out those whose time is over, and those whose client hung up.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Vec<Wait> {
        self.waits
            .extract_if(.., |_, wait| wait.deadline <= now || wait.answers.is_closed())
            .map(|(_, wait)| wait)
            .collect()
    }

    /// Takes out joins that wait for a membership which `is_settled` knows.
    pub(super) fn take_settled(&mut self, is_settled: impl Fn(&NetworkId) -> bool) -> Vec<Wait> {
        let settled = |what: &What| match what {
            What::Membership { network, .. } => is_settled(network),
            What::Addresses(_) | What::Decision(_) | What::Leave { .. } | What::Netcheck => false,
        };
        self.waits.extract_if(.., |_, wait| settled(&wait.what)).map(|(_, wait)| wait).collect()
    }

    /// Whether a join waits for a membership.
    pub(super) fn has_membership(&self) -> bool {
        self.waits.values().any(|wait| matches!(wait.what, What::Membership { .. }))
    }

    /// Whether a join at this coordinator is under way.
    pub(super) fn concerns(&self, key: &PublicKey) -> bool {
        self.waits.values().any(|wait| wait.what.wish().is_some_and(|wish| wish.host.key == *key))
    }

    /// The earliest deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waits.values().map(|wait| wait.deadline).min()
    }
}

impl What {
    /// The join it belongs to.
    pub(super) const fn wish(&self) -> Option<&Wish> {
        match self {
            Self::Addresses(wish) | Self::Decision(wish) | Self::Membership { wish, .. } => Some(wish),
            Self::Leave { .. } | Self::Netcheck => None,
        }
    }

    /// What a person is told when the time is over.
    pub(super) fn overdue(&self) -> Problem {
        match self {
            Self::Addresses(wish) => {
                let text = format!("no name server told the address of {}", wish.host.name);
                Problem::new(Code::JoinNoAddress, text)
            }
            Self::Decision(wish) => {
                let text = format!(
                    "no answer from {} in {} s: either lanyard-server does not run there, or its UDP port {} \
                     cannot be reached from here, or the key in the join string is not its key (a coordinator \
                     stays silent then); compare the string with a new one from \"lanyard-server invite add\"",
                    place(&wish.host),
                    COORDINATOR_WAIT.as_secs(),
                    wish.host.port
                );
                Problem::new(Code::JoinNoAnswer, text)
            }
            // The engine answers this one with what it has.
            Self::Membership { wish, .. } => {
                let text = format!("network {} was joined, but its members did not come yet", wish.network);
                Problem::new(Code::ServerNoAnswer, text)
            }
            Self::Leave { network } => {
                let text = format!(
                    "the coordinator does not answer, so this device is still a member of {network}; try again \
                     later, or switch it off here with \"lanyard down {network}\""
                );
                Problem::new(Code::ServerNoAnswer, text)
            }
            Self::Netcheck => {
                let text =
                    "no measurement came to an end; \"lanyard status\" shows whether a coordinator answers";
                Problem::new(Code::ServerNoAnswer, text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overdue_comes_out_once_and_in_time() {
        let mut waiting = Waiting::default();
        let (answers, _client) = mpsc::channel(1);
        let slow = waiting.add(What::Netcheck, Duration::from_secs(9), answers.clone());
        waiting.add(What::Leave { network: "home".to_owned() }, Duration::from_secs(3), answers);
        let due = waiting.deadline().unwrap();
        assert!(waiting.take_overdue(due - Duration::from_millis(1)).is_empty());

        let overdue = waiting.take_overdue(due);
        assert_eq!(overdue.len(), 1);
        assert!(overdue[0].what.overdue().text.contains("lanyard down home"));
        assert!(waiting.take_overdue(due).is_empty());
        assert!(waiting.take(slow).is_some());
        assert!(waiting.deadline().is_none());
    }

    #[test]
    fn a_join_is_settled_by_its_network_and_known_by_its_coordinator() {
        let mut waiting = Waiting::default();
        let (answers, client) = mpsc::channel(1);
        let network = NetworkId::from_bytes([6; 16]);
        let what = What::Membership { wish: wish(), network, pending: true };
        waiting.add(what, Duration::from_secs(60), answers);
        assert!(waiting.concerns(&wish().host.key));
        assert!(waiting.has_membership());
        assert!(waiting.take_settled(|id| *id == NetworkId::from_bytes([7; 16])).is_empty());
        // A client that interrupted its command waits no more.
        drop(client);
        assert_eq!(waiting.take_overdue(Instant::now()).len(), 1);
        assert!(!waiting.concerns(&wish().host.key));
    }

    #[test]
    fn a_silent_coordinator_is_explained_with_the_wrong_key_among_the_reasons() {
        let problem = What::Decision(wish()).overdue();
        assert_eq!(problem.code, Code::JoinNoAnswer);
        for part in ["vpn.example:7443", "UDP port 7443", "the key in the join string is not its key"] {
            assert!(problem.text.contains(part), "{problem}");
        }
    }

    fn wish() -> Wish {
        Wish {
            host: Host {
                key: PublicKey::from_bytes([3; 32]),
                name: "vpn.example".to_owned(),
                port: 7443,
                door: 443,
            },
            network: "home".parse().unwrap(),
            invite: None,
            password: None,
            name: "t480".parse().unwrap(),
            patience: Duration::ZERO,
        }
    }
}
