//! The way through a relay.
//!
//! Every pair of members has a channel number and a grant for it from its coordinator. Binding the channel
//! costs one message, and datagrams may follow it at once: the relay sees them in that order. So the path
//! counts from the moment the binding is asked for, and only a refusal takes it away. Repeating the question
//! and binding again after a session change is the coordinator link's business.

use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::ids::Channel;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::token::Token;

use crate::backoff::Backoff;
use crate::overlay::Path;
use crate::time::{Instant, Wakeup};

/// A refused binding is asked for again after this, doubling to the second value.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The right to use a channel of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// The coordinator that gave it.
    pub(super) coordinator: PublicKey,
    /// The proof for the relay.
    pub(super) token: Token,
    /// Which of the coordinator's relays.
    pub(super) relay: u8,
    /// Its address.
    pub(super) addr: SocketAddr,
}

impl Grant {
    /// The channel it is for, if its number is one.
    pub(super) fn channel(&self) -> Option<Channel> {
        self.token.channel()
    }

    fn is_same_channel(&self, other: &Self) -> bool {
        (self.coordinator, self.channel()) == (other.coordinator, other.channel())
    }
}

/// What the device has to say to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelayWish {
    /// Bind the channel of this grant.
    Bind(Grant),
    /// Free the channel.
    Unbind(PublicKey, Channel),
}

/// The binding of one peer.
#[derive(Clone, Debug)]
pub(super) struct Relayed {
    grant: Option<Grant>,
    state: State,
    /// The relay before this one, which carries the pair until this one has agreed.
    before: Option<SocketAddr>,
    again: Backoff,
    wish: [Option<RelayWish>; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody wants it.
    Off,
    /// Asked for; datagrams flow already.
    Asked,
    /// The relay agreed.
    Bound,
    /// The relay refused; asked again then.
    Refused { again_at: Instant },
}

impl Relayed {
    /// Without a grant and unwanted.
    pub(super) const fn new() -> Self {
        Self {
            grant: None,
            state: State::Off,
            before: None,
            again: Backoff::new(AGAIN.0, AGAIN.1),
            wish: [None; 2],
        }
    }

    /// The grant changed: renewed, moved to another relay, or taken away. `is_alive` says whether the relay until now
    /// answers: then it carries the pair until the other one has agreed, which nobody notices.
    pub(super) fn set_grant(&mut self, grant: Option<Grant>, is_alive: bool) {
        if self.grant == grant {
            return;
        }
        let is_wanted = self.state != State::Off;
        match (&self.grant, &grant) {
            (Some(old), Some(new)) if old.is_same_channel(new) => {
                if old.relay != new.relay {
                    let before = match self.path() {
                        Some(Path::Relayed { relay, .. }) => Some(relay),
                        Some(Path::Direct { .. } | Path::None) | None => None,
                    };
                    self.before = before.filter(|relay| is_alive && *relay != new.addr);
                }
            }
            (None, None) => {}
            _ => self.release(),
        }
        self.grant = grant;
        if is_wanted {
            // A renewed grant is bound over the old one: the relay takes the later expiry.
            self.state = State::Off;
            self.want();
        }
    }

    /// A relayed path is wanted from now on.
    pub(super) fn want(&mut self) {
        if let (State::Off, Some(grant)) = (self.state, self.grant) {
            self.state = State::Asked;
            self.wish[1] = Some(RelayWish::Bind(grant));
        }
    }

    /// A relayed path is needed now: the relay may have forgotten a channel that was silent for minutes.
    pub(super) fn renew(&mut self) {
        if self.state == State::Bound {
            self.state = State::Off;
        }
        self.want();
    }

    /// Nobody wants it any more.
    pub(super) fn release(&mut self) {
        if let (Some(grant), true) = (self.grant, self.state != State::Off)
            && let Some(channel) = grant.channel()
        {
            self.wish = [Some(RelayWish::Unbind(grant.coordinator, channel)), None];
        }
        self.state = State::Off;
        self.before = None;
        self.again.reset();
    }

    /// The relay agreed.
    pub(super) fn bound(&mut self, channel: Channel) {
        if self.is_for(channel) && self.state != State::Off {
            self.state = State::Bound;
            self.before = None;
            self.again.reset();
        }
    }

    /// The relay refused.
    pub(super) fn refused(&mut self, channel: Channel, now: Instant) {
        if self.is_for(channel) && self.state != State::Off {
            self.state = State::Refused { again_at: now + self.again.step() };
        }
    }

    /// Asks again after a refusal.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let State::Refused { again_at } = self.state
            && again_at <= now
        {
            self.state = State::Off;
            self.want();
        }
    }

    /// What to say to the relay.
    pub(super) fn poll_wish(&mut self) -> Option<RelayWish> {
        self.wish.iter_mut().find_map(Option::take)
    }

    /// When to ask again.
    pub(super) fn poll_timeout(&self) -> Option<Wakeup> {
        match self.state {
            State::Refused { again_at } => Some(Wakeup { at: again_at, why: "ask the relay again" }),
            State::Off | State::Asked | State::Bound => None,
        }
    }

    /// The path through the relay, if there is one to use now.
    pub(super) fn path(&self) -> Option<Path> {
        match self.state {
            State::Asked | State::Bound => {
                let (relay, channel) = self.channel()?;
                Some(Path::Relayed { relay, channel })
            }
            State::Off => None,
            State::Refused { .. } => {
                let channel = self.grant?.channel()?;
                self.before.map(|relay| Path::Relayed { relay, channel })
            }
        }
    }

    /// Where the channel is.
    fn channel(&self) -> Option<(SocketAddr, Channel)> {
        let grant = self.grant?;
        Some((self.before.unwrap_or(grant.addr), grant.channel()?))
    }

    /// Whether this channel is the pair's.
    pub(super) fn is_for(&self, channel: Channel) -> bool {
        self.grant.is_some_and(|grant| grant.channel() == Some(channel))
    }
}

#[cfg(test)]
mod tests {
    use lanyard_wire::ids::DeviceId;
    use lanyard_wire::keys::SymmetricKey;
    use lanyard_wire::token::Purpose;

    use super::*;

    #[test]
    fn the_path_counts_from_the_moment_the_binding_is_asked_for() {
        let mut relayed = Relayed::new();
        relayed.set_grant(Some(grant(7, 1)), true);
        assert_eq!((relayed.path(), relayed.poll_wish()), (None, None));
        relayed.want();
        assert_eq!(relayed.poll_wish(), Some(RelayWish::Bind(grant(7, 1))));
        assert!(relayed.path().unwrap().is_relayed());
        relayed.want();
        assert_eq!(relayed.poll_wish(), None, "asked once");
        relayed.bound(channel(7));
        assert!(relayed.path().unwrap().is_relayed());
    }

    #[test]
    fn a_refusal_takes_the_path_away_and_is_asked_again_more_slowly() {
        let mut relayed = wanted();
        let mut now = Instant::ZERO;
        for seconds in [1, 2, 4] {
            relayed.refused(channel(7), now);
            assert_eq!(relayed.path(), None);
            let wakeup = relayed.poll_timeout().unwrap();
            assert_eq!(wakeup.at, now + Duration::from_secs(seconds));
            now = wakeup.at;
            relayed.handle_timeout(now);
            assert_eq!(relayed.poll_wish(), Some(RelayWish::Bind(grant(7, 1))));
        }
    }

    #[test]
    fn a_refusal_of_another_channel_means_nothing() {
        let mut relayed = wanted();
        relayed.refused(channel(8), Instant::ZERO);
        assert!(relayed.path().is_some());
    }

    #[test]
    fn a_renewed_grant_is_bound_again_and_a_lost_one_frees_the_channel() {
        let mut relayed = wanted();
        relayed.bound(channel(7));
        relayed.set_grant(Some(grant(7, 2)), true);
        assert_eq!(relayed.poll_wish(), Some(RelayWish::Bind(grant(7, 2))));
        assert_eq!(relayed.poll_wish(), None);
        relayed.set_grant(None, true);
        assert_eq!(relayed.poll_wish(), Some(RelayWish::Unbind(coordinator(), channel(7))));
        assert_eq!(relayed.path(), None);
    }

    #[test]
    fn a_pair_stays_at_its_relay_until_the_other_one_has_agreed() {
        let mut relayed = wanted();
        relayed.bound(channel(7));
        relayed.set_grant(Some(elsewhere(7)), true);
        assert_eq!(relayed.poll_wish(), Some(RelayWish::Bind(elsewhere(7))));
        assert_eq!(relayed.poll_wish(), None, "the relay until now is told when the other one has agreed");
        assert_eq!(relayed.path(), Some(at(grant(7, 1))));
        relayed.refused(channel(7), Instant::ZERO);
        assert_eq!(relayed.path(), Some(at(grant(7, 1))));
        relayed.handle_timeout(Instant::from_secs(1));
        relayed.bound(channel(7));
        assert_eq!(relayed.path(), Some(at(elsewhere(7))));
    }

    #[test]
    fn a_relay_that_does_not_answer_is_left_at_once() {
        let mut relayed = wanted();
        relayed.bound(channel(7));
        relayed.set_grant(Some(elsewhere(7)), false);
        assert_eq!(relayed.path(), Some(at(elsewhere(7))));
    }

    #[test]
    fn a_pair_that_is_called_back_before_it_moved_stays_where_it_is() {
        let mut relayed = wanted();
        relayed.bound(channel(7));
        relayed.set_grant(Some(elsewhere(7)), true);
        relayed.set_grant(Some(grant(7, 1)), true);
        assert_eq!(relayed.path(), Some(at(grant(7, 1))));
        assert_eq!(relayed.poll_wish(), Some(RelayWish::Bind(grant(7, 1))));
    }

    #[test]
    fn a_channel_that_moved_is_freed_there_and_bound_here() {
        let mut relayed = wanted();
        relayed.set_grant(Some(grant(9, 1)), true);
        assert_eq!(relayed.poll_wish(), Some(RelayWish::Unbind(coordinator(), channel(7))));
        assert_eq!(relayed.poll_wish(), Some(RelayWish::Bind(grant(9, 1))));
    }

    #[test]
    fn renewing_binds_again_without_leaving_the_path() {
        let mut relayed = wanted();
        relayed.bound(channel(7));
        relayed.renew();
        assert!(relayed.path().is_some());
        assert_eq!(relayed.poll_wish(), Some(RelayWish::Bind(grant(7, 1))));
    }

    #[test]
    fn release_frees_the_channel_once() {
        let mut relayed = wanted();
        relayed.release();
        assert_eq!(relayed.poll_wish(), Some(RelayWish::Unbind(coordinator(), channel(7))));
        relayed.release();
        assert_eq!((relayed.poll_wish(), relayed.path()), (None, None));
    }

    fn wanted() -> Relayed {
        let mut relayed = Relayed::new();
        relayed.set_grant(Some(grant(7, 1)), true);
        relayed.want();
        assert!(relayed.poll_wish().is_some());
        relayed
    }

    fn grant(channel: u64, expires_s: u32) -> Grant {
        let key = SymmetricKey::from_bytes([1; 32]);
        let (x, y) = (DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16]));
        let token = Token::grant(&key, Purpose::Relay, x, y, channel, expires_s);
        Grant { coordinator: coordinator(), token, relay: 0, addr: "192.0.2.1:7443".parse().unwrap() }
    }

    /// The same channel at another relay.
    fn elsewhere(channel: u64) -> Grant {
        Grant { relay: 1, addr: "192.0.2.2:7443".parse().unwrap(), ..grant(channel, 1) }
    }

    fn at(grant: Grant) -> Path {
        Path::Relayed { relay: grant.addr, channel: grant.channel().unwrap() }
    }

    fn coordinator() -> PublicKey {
        PublicKey::from_bytes([9; 32])
    }

    fn channel(value: u64) -> Channel {
        Channel::new(value).unwrap()
    }
}
