//! How a command ends: one exit code for scripts, one stable code and one sentence for people.
//!
//! Every failure a person can meet is a [`Problem`]: what happened, why, what to do, and a [`Code`] that
//! stays the same over releases, so that it can be searched for and matched by scripts. The exit code
//! follows from the code here and nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the process tells its caller when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for happened.
    Ok = 0,
    /// Something went wrong that has no code of its own here.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// No agent answers on the socket.
    AgentNotRunning = 3,
    /// This device is not a member of that network.
    NotJoined = 4,
    /// An administrator has to approve this device first.
    WaitingForApproval = 5,
    /// The peer cannot be reached.
    NoPath = 6,
    /// Someone with the right to do so refused.
    Denied = 7,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Declares every code with its text and its exit code in one table.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal => $exit:ident,)+) => {
        /// The stable name of a failure; docs/operations.md lists them with their remedies.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The text that is printed and never changes.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The exit code of a command that ends with this failure.
            #[must_use]
            pub const fn exit(self) -> Exit {
                match self { $(Self::$variant => Exit::$exit,)+ }
            }
        }
    };
}

codes! {
    /// No agent answers on the socket.
    AgentNotRunning = "agent.not_running" => AgentNotRunning,
    /// The socket or the agent refused this user.
    AgentNoPermission = "agent.no_permission" => Denied,
    /// Another agent owns the state directory or the socket.
    AgentAlreadyRunning = "agent.already_running" => Failed,
    /// The agent could not be started.
    AgentStart = "agent.start" => Failed,
    /// `lanyard down` switched networking off.
    AgentDown = "agent.down" => Failed,
    /// The agent did not answer as it should have.
    AgentNoAnswer = "agent.no_answer" => Failed,
    /// Command and agent speak different versions of the local protocol.
    AgentVersion = "agent.version" => Failed,
    /// A request on the local socket could not be understood.
    AgentRequest = "agent.request" => Usage,
    /// The configuration file cannot be read or parsed.
    ConfigUnreadable = "config.unreadable" => Failed,
    /// A configuration key does not exist.
    ConfigUnknownKey = "config.unknown_key" => Failed,
    /// A configuration value is not acceptable.
    ConfigInvalid = "config.invalid" => Failed,
    /// A file of the state directory cannot be read or written.
    StateUnreadable = "state.unreadable" => Failed,
    /// A file of the state directory is damaged.
    StateCorrupt = "state.corrupt" => Failed,
    /// A file of the state directory was written by a newer release.
    StateNewer = "state.newer" => Failed,
    /// The system has no driver for virtual interfaces.
    TunNoDriver = "tun.no_driver" => Failed,
    /// The agent may not make virtual interfaces.
    TunDenied = "tun.denied" => Failed,
    /// Another program has the virtual interface.
    TunBusy = "tun.busy" => Failed,
    /// The virtual interface cannot be called that.
    TunName = "tun.name" => Failed,
    /// The virtual interface cannot be made or configured.
    TunFailed = "tun.failed" => Failed,
    /// Another program has the UDP port.
    SocketsBusy = "sockets.busy" => Failed,
    /// The UDP port cannot be opened.
    SocketsFailed = "sockets.failed" => Failed,
    /// The join string is wrong.
    JoinString = "join.string" => Usage,
    /// The name wanted for this device is wrong.
    JoinName = "join.name" => Usage,
    /// The coordinator's host name has no address.
    JoinNoAddress = "join.no_address" => Failed,
    /// The coordinator does not answer.
    JoinNoAnswer = "join.no_answer" => Failed,
    /// The coordinator knows no network of that name.
    JoinUnknownNetwork = "join.unknown_network" => Failed,
    /// The invite code is wrong.
    JoinInvalidInvite = "join.invalid_invite" => Denied,
    /// The invite code was used as often as it may.
    JoinInviteUsedUp = "join.invite_used_up" => Denied,
    /// The invite code is too old.
    JoinInviteExpired = "join.invite_expired" => Denied,
    /// The network takes no new members.
    JoinLocked = "join.locked" => Denied,
    /// The network is joined by a password, and this is not it.
    JoinWrongPassword = "join.wrong_password" => Denied,
    /// Another device of the network has this name.
    JoinNameTaken = "join.name_taken" => Failed,
    /// The network has no address left.
    JoinFull = "join.full" => Failed,
    /// An administrator said no.
    JoinDenied = "join.denied" => Denied,
    /// The coordinator cannot decide now.
    JoinUnavailable = "join.unavailable" => Failed,
    /// An administrator has to approve this device.
    JoinPending = "join.pending" => WaitingForApproval,
    /// The coordinator did not answer a request.
    ServerNoAnswer = "server.no_answer" => Failed,
    /// This device has no such network.
    NetworkUnknown = "network.unknown" => NotJoined,
    /// The same network name exists at several coordinators.
    NetworkAmbiguous = "network.ambiguous" => Usage,
    /// No member of our networks is called that.
    PeerUnknown = "peer.unknown" => Failed,
    /// Several members are called that.
    PeerAmbiguous = "peer.ambiguous" => Usage,
    /// Neither a direct path nor a relay reached the peer.
    PathNone = "path.none" => NoPath,
    /// The peer answers by the relay, but no direct path was found in time.
    PathNotDirect = "path.not_direct" => NoPath,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure as a person reads it.
///
/// The text says what happened, why and what to do, without the code; `Display` adds the code in
/// parentheses. It travels over the local socket and is part of every `--json` error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable code.
    pub code: Code,
    /// What happened, why, and what to do.
    pub text: String,
}

impl Problem {
    /// A failure with its sentence.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// A failure whose sentence ends with its code in parentheses, as the leaves of the agent write it;
    /// without a known code it gets `usual`.
    #[must_use]
    pub fn quoted(sentence: &str, usual: Code) -> Self {
        let parts = sentence.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
        let known = parts.and_then(|(text, name)| {
            Code::ALL.iter().find(|code| code.as_str() == name).map(|code| Self::new(*code, text))
        });
        known.unwrap_or_else(|| Self::new(usual, sentence))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.code)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_have_an_area_and_a_noun() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} appears twice");
            let (area, noun) = code.as_str().split_once('.').unwrap();
            assert!(!area.is_empty() && !noun.is_empty());
        }
    }

    #[test]
    fn every_code_has_its_remedy_in_the_operators_page() {
        let page = include_str!("../../docs/operations.md");
        let missing: Vec<_> = Code::ALL.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
        assert!(missing.is_empty(), "docs/operations.md lacks {missing:?}");
    }

    #[test]
    fn a_code_travels_as_its_text() {
        for code in Code::ALL {
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), *code);
        }
    }

    #[test]
    fn a_problem_ends_with_its_code() {
        let problem = Problem::new(Code::PathNone, "no reply from nas");
        assert_eq!(problem.to_string(), "no reply from nas (path.none)");
        assert_eq!(problem.code.exit(), Exit::NoPath);
    }

    #[test]
    fn a_sentence_that_carries_its_code_keeps_it() {
        let problem = Problem::quoted("the interface is taken (by x) (tun.busy)", Code::TunFailed);
        assert_eq!(problem, Problem::new(Code::TunBusy, "the interface is taken (by x)"));
        let problem = Problem::quoted("no idea (at all)", Code::TunFailed);
        assert_eq!(problem, Problem::new(Code::TunFailed, "no idea (at all)"));
    }
}
