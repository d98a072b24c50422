//! How a join goes on after the request: addresses, the coordinator's decision, the first roster.

use lanyard_proto::device::{Command, Status};
use lanyard_wire::checkpoint::{JoinOutcome, JoinRefusal, MemberState};
use lanyard_wire::keys::PublicKey;
use tokio::time::Instant;

use super::resolve::Resolved;
use super::waiting::{COORDINATOR_WAIT, ROSTER_WAIT, Wait, What, Wish};
use super::{Engine, report};
use crate::exit::{Code, Problem};
use crate::ipc::schema::{Answer, Joined};

impl Engine {
    /// A name server answered: a coordinator moved, or a join can go on.
    pub(super) fn resolved(&mut self, Resolved { key, tag, addrs }: Resolved) {
        let Some(networking) = &mut self.networking else { return };
        let Some(tag) = tag else {
            match addrs {
                Ok(mut addrs) if !addrs.is_empty() => {
                    if let Some(host) = self.state.hosts.iter().find(|host| host.key == key) {
                        addrs = networking.with_door(host, addrs);
                    }
                    networking.command(Command::CoordinatorAddrs { key, addrs });
                }
                Ok(_) => tracing::debug!(%key, "the coordinator's name has no address"),
                Err(error) => tracing::debug!(%key, error, "the coordinator's name was not resolved"),
            }
            return;
        };
        let Some(Wait { what: What::Addresses(wish), answers, .. }) = self.waiting.take(tag) else { return };
        let addrs = match addrs {
            Ok(addrs) if !addrs.is_empty() => addrs,
            // Where a proxy is the only way out, it is often also the only one who knows names.
            Ok(_) | Err(_) if networking.doors().has_proxy(&wish.host.name) => Vec::new(),
            Ok(_) => return refuse(&answers, no_address(&wish, "it has none")),
            Err(error) => return refuse(&answers, no_address(&wish, &error)),
        };
        let known = self.state.hosts.iter_mut().find(|host| host.key == key);
        match known {
            Some(host) => *host = wish.host.clone(),
            None => self.state.hosts.push(wish.host.clone()),
        }
        let addrs = networking.with_door(&wish.host, addrs);
        // For a coordinator that is known already this replaces its addresses.
        networking.command(Command::AddCoordinator { key, addrs, cache: None });
        networking.command(Command::Join {
            tag,
            key,
            network: wish.network.clone(),
            invite: wish.invite,
            password: wish.password.clone(),
            name: Some(wish.name.clone()),
        });
        let deadline = Instant::now() + COORDINATOR_WAIT;
        self.waiting.put(tag, Wait { what: What::Decision(wish), deadline, answers });
        self.save();
    }

    /// The coordinator decided.
    pub(super) fn decided(&mut self, tag: u64, outcome: JoinOutcome) {
        let Some(Wait { what: What::Decision(wish), answers, .. }) = self.waiting.take(tag) else { return };
        let (network, pending, patience) = match outcome {
            JoinOutcome::Joined { network } => (network, false, ROSTER_WAIT),
            JoinOutcome::Pending { network } => (network, true, wish.patience),
            JoinOutcome::Refused(why) => {
                refuse(&answers, refusal(why, &wish));
                self.forget_unused(wish.host.key);
                return;
            }
        };
        if pending && patience.is_zero() {
            let answer = self.joined(&wish, true);
            drop(answers.try_send(answer));
            return;
        }
        let what = What::Membership { wish, network, pending };
        self.waiting.put(tag, Wait { what, deadline: Instant::now() + patience, answers });
    }

    /// Answers the joins whose network has appeared with its addresses.
    pub(super) fn answer_members(&mut self) {
        if !self.waiting.has_membership() {
            return;
        }
        let Ok(status) = self.machine() else { return };
        for wait in self.waiting.take_settled(|id| is_active(&status, |network| network.id == *id)) {
            if let What::Membership { wish, .. } = &wait.what {
                drop(wait.answers.try_send(self.joined(wish, false)));
            }
        }
    }

    /// Answers what has waited too long.
    pub(super) fn answer_overdue(&mut self) {
        for wait in self.waiting.take_overdue(Instant::now()) {
            let answer = match &wait.what {
                What::Membership { wish, pending, .. } => self.joined(wish, *pending),
                what @ (What::Addresses(_) | What::Decision(_) | What::Leave { .. } | What::Netcheck) => {
                    Answer::Error(what.overdue())
                }
            };
            drop(wait.answers.try_send(answer));
            if let What::Decision(wish) = &wait.what {
                self.forget_unused(wish.host.key);
            }
        }
    }

    /// Forgets a coordinator at which this device has no network and wants none.
    pub(super) fn forget_unused(&mut self, key: PublicKey) {
        let Ok(status) = self.machine() else { return };
        if self.waiting.concerns(&key) || status.networks.iter().any(|network| network.coordinator == key) {
            return;
        }
        if let Some(networking) = &mut self.networking {
            networking.command(Command::RemoveCoordinator { key });
            networking.close_door(&key);
        }
        self.state.hosts.retain(|host| host.key != key);
        self.save();
    }

    /// What a new member is told.
    pub(super) fn joined(&self, wish: &Wish, pending: bool) -> Answer {
        let status = self.machine().ok();
        let network = status.as_ref().and_then(|status| {
            let is_it = |network: &&_| {
                let network: &lanyard_proto::device::status::NetworkStatus = network;
                network.coordinator == wish.host.key && network.name == wish.network
            };
            status.networks.iter().find(is_it).filter(|network| network.state == MemberState::Active)
        });
        let members = network.map(|network| network.members.as_slice()).unwrap_or_default();
        Answer::Joined(Joined {
            server: report::place(&wish.host),
            key: wish.host.key.to_string(),
            network: wish.network.to_string(),
            name: wish.name.to_string(),
            pending,
            number: status.as_ref().and_then(report::number),
            ip4: network.map(|network| network.ip4),
            ip6: network.map(|network| network.ip6),
            members: members.len(),
            online: members.iter().filter(|member| member.online).count(),
        })
    }
}

/// Whether this device is a full member of a network of which `is_it` holds.
pub(super) fn is_active(
    status: &Status,
    is_it: impl Fn(&lanyard_proto::device::status::NetworkStatus) -> bool,
) -> bool {
    status.networks.iter().any(|network| network.state == MemberState::Active && is_it(network))
}

fn refuse(answers: &tokio::sync::mpsc::Sender<Answer>, problem: Problem) {
    // The client may have been interrupted.
    drop(answers.try_send(Answer::Error(problem)));
}

fn no_address(wish: &Wish, why: &str) -> Problem {
    let text = format!(
        "cannot find the address of {}: {why}; check the join string's host and this computer's name server",
        wish.host.name
    );
    Problem::new(Code::JoinNoAddress, text)
}

/// Why a coordinator does not let this device in, and what to do.
fn refusal(why: JoinRefusal, wish: &Wish) -> Problem {
    let Wish { network, name, .. } = wish;
    let place = report::place(&wish.host);
    let (code, text) = match why {
        JoinRefusal::UnknownNetwork => (
            Code::JoinUnknownNetwork,
            format!("{place} has no network \"{network}\"; check the name in the join string"),
        ),
        JoinRefusal::InvalidInvite => (
            Code::JoinInvalidInvite,
            format!(
                "the invite code is not valid for network {network}; copy the whole join string, or ask for another"
            ),
        ),
        JoinRefusal::InviteUsedUp => (
            Code::JoinInviteUsedUp,
            format!("the invite for network {network} was used as often as it may; ask for another"),
        ),
        JoinRefusal::InviteExpired => {
            (Code::JoinInviteExpired, format!("the invite for network {network} is too old; ask for another"))
        }
        JoinRefusal::Locked => (
            Code::JoinLocked,
            format!(
                "network {network} takes no new members without an invite; ask its administrator for one"
            ),
        ),
        JoinRefusal::WrongPassword => (
            Code::JoinWrongPassword,
            format!("that is not the password of network {network}; give it with --password"),
        ),
        JoinRefusal::NameTaken => (
            Code::JoinNameTaken,
            format!("network {network} has a device \"{name}\" already; choose another name with --name"),
        ),
        JoinRefusal::Full => (
            Code::JoinFull,
            format!("network {network} has no free address; its administrator can remove old devices"),
        ),
        JoinRefusal::Denied => {
            (Code::JoinDenied, format!("an administrator of network {network} denied this device"))
        }
        JoinRefusal::Unavailable => (
            Code::JoinUnavailable,
            format!("{place} answers but cannot reach its database now; try again in a minute"),
        ),
    };
    Problem::new(code, text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::exit::Exit;
    use crate::state::Host;

    #[test]
    fn every_refusal_has_its_own_code_and_says_what_to_do() {
        let all = [
            (JoinRefusal::UnknownNetwork, Exit::Failed),
            (JoinRefusal::InvalidInvite, Exit::Denied),
            (JoinRefusal::InviteUsedUp, Exit::Denied),
            (JoinRefusal::InviteExpired, Exit::Denied),
            (JoinRefusal::Locked, Exit::Denied),
            (JoinRefusal::WrongPassword, Exit::Denied),
            (JoinRefusal::NameTaken, Exit::Failed),
            (JoinRefusal::Full, Exit::Failed),
            (JoinRefusal::Denied, Exit::Denied),
            (JoinRefusal::Unavailable, Exit::Failed),
        ];
        let mut codes = std::collections::BTreeSet::new();
        for (why, exit) in all {
            let problem = refusal(why, &wish());
            assert_eq!(problem.code.exit(), exit, "{problem}");
            assert!(codes.insert(problem.code.as_str()), "{problem}");
        }
        assert!(refusal(JoinRefusal::NameTaken, &wish()).text.contains("--name"));
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
