//! When to ask a router for a port, when to renew the lease, and when to give it back.
//!
//! A lease is renewed at half its time, at once when the router says that it restarted, and when the network
//! changed but the router is the same. A router that restarts silently is found out by a renewal a quarter of
//! an hour later at most. Where no port is given, asking goes on ever more rarely: somebody may switch it on.

use std::num::NonZeroU16;
use std::time::Duration;

use lanyard_proto::time::Instant;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep_until, timeout};
use tracing::{debug, info};

use super::announce::{Announcement, Announcements};
use super::ask::{Held, ask};
use super::epoch::Epoch;
use super::{Router, State, is_inside};
use crate::clock::Clock;

/// Waits between tries that led to nothing: a router that starts is ready within minutes, and where somebody
/// switches mapping on, nobody wants to restart the agent. The last one repeats.
const RETRY: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(900)];

/// Bounds of the time between renewals: a router that grants seconds must not keep us busy, and one that
/// restarts without a word, or grants for ever, is looked at again.
const RENEW: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(900)];

/// Time between two askings that announcements cause; anybody on the LAN can forge those.
const APART: Duration = Duration::from_secs(10);

/// How long the router of the last network is asked to take its port back.
const RELEASE_WITHIN: Duration = Duration::from_millis(300);

/// The longest sleep: the runtime's timers stand still while the computer sleeps, leases do not.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// The task behind a [`PortMapper`](super::PortMapper).
pub(super) struct Keeper {
    port: NonZeroU16,
    secret: [u8; 16],
    routers: watch::Receiver<Option<Router>>,
    state: watch::Sender<State>,
    announcements: Announcements,
    /// The router of this network, or of the last one while there is none.
    router: Option<Router>,
    held: Option<Held>,
    /// When the lease was granted or renewed last.
    granted_at: Instant,
    /// When the router was asked last.
    asked_at: Instant,
    /// When it is asked next, whatever happens.
    next_at: Option<Instant>,
    failures: usize,
}

/// Why the router is asked.
#[derive(Debug)]
enum Cause {
    Due,
    Moved(Option<Router>),
    Announced,
}

impl Keeper {
    pub(super) fn new(
        port: NonZeroU16,
        secret: [u8; 16],
        routers: watch::Receiver<Option<Router>>,
        state: watch::Sender<State>,
    ) -> Self {
        let now = Clock.now();
        Self {
            port,
            secret,
            routers,
            state,
            announcements: Announcements::listen(),
            router: None,
            held: None,
            granted_at: now,
            asked_at: now,
            next_at: None,
            failures: 0,
        }
    }

    /// Keeps a mapping until the other end of `stop` is gone, then gives it back.
    ///
    /// A request under way at that moment is given up rather than waited for; what it may still open lapses.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                _ = &mut stop => break,
                () = self.turn() => {}
            }
        }
        if let Some(held) = self.held.take() {
            held.release().await;
            debug!("the mapped port was given back");
        }
    }

    async fn turn(&mut self) {
        let cause = self.wait().await;
        debug!(?cause, "asking the router for a port");
        match cause {
            Cause::Moved(router) => self.moved(router).await,
            Cause::Due | Cause::Announced => self.renew().await,
        }
    }

    async fn wait(&mut self) -> Cause {
        loop {
            let left = self.next_at.map(|at| at.saturating_since(Clock.now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Cause::Due;
            }
            let nap = tokio::time::Instant::now() + left.map_or(SLEEP_MAX, |left| left.min(SLEEP_MAX));
            let gateway = self.router.map(|router| router.gateway);
            tokio::select! {
                changed = self.routers.changed() => match changed {
                    Ok(()) => return Cause::Moved(*self.routers.borrow_and_update()),
                    // The handle is gone; so will be the task.
                    Err(_) => std::future::pending().await,
                },
                heard = self.announcements.next(gateway.unwrap_or([0, 0, 0, 0].into())), if gateway.is_some() => {
                    if self.heard(heard) {
                        return Cause::Announced;
                    }
                }
                () = sleep_until(nap) => {}
            }
        }
    }

    /// Whether to ask at once because of an announcement; too soon after the last asking it is noted for later.
    fn heard(&mut self, announcement: Announcement) -> bool {
        let now = Clock.now();
        if !self.held.as_ref().is_none_or(|held| is_news(held, announcement, now)) {
            return false;
        }
        let at = self.asked_at + APART;
        if at <= now {
            return true;
        }
        self.next_at = Some(self.next_at.map_or(at, |next| next.min(at)));
        false
    }

    async fn moved(&mut self, router: Option<Router>) {
        self.failures = 0;
        self.next_at = None;
        let Some(router) = router.filter(|router| is_inside(router.local)) else {
            // Perhaps the way out comes back as it was, with the mapping still there.
            self.show(State::Unneeded);
            return;
        };
        if self.router.replace(router) == Some(router) {
            return self.renew().await;
        }
        self.show(State::Asking);
        if let Some(held) = self.held.take().filter(Held::is_guarded) {
            // Fails where the old network is out of reach; the lease ends by itself then.
            let _ = timeout(RELEASE_WITHIN, held.release()).await;
        }
        self.ask().await;
    }

    async fn renew(&mut self) {
        let renewed = match &self.held {
            Some(held) => {
                self.asked_at = Clock.now();
                held.renewed().await
            }
            None => None,
        };
        match renewed {
            Some(held) => self.hold(held),
            None => self.ask().await,
        }
    }

    async fn ask(&mut self) {
        let Some(router) = self.router else { return };
        self.asked_at = Clock.now();
        if let Some(held) = ask(router, self.port, &self.secret).await {
            self.hold(held);
            return;
        }
        let wait = RETRY[self.failures.min(RETRY.len() - 1)];
        self.failures += 1;
        self.next_at = Some(Clock.now() + wait);
        let holds = |held: &&Held| {
            let lifetime = held.lease().lifetime;
            lifetime.is_zero() || Clock.now() < self.granted_at + lifetime
        };
        if let Some(held) = self.held.as_ref().filter(holds) {
            self.show(State::Mapped(held.lease()));
            return;
        }
        if self.held.take().is_some() {
            info!("the router no longer maps a port to this device");
        }
        self.show(State::Refused);
    }

    fn hold(&mut self, held: Held) {
        let lease = held.lease();
        match &self.held {
            None => {
                info!(protocol = %lease.protocol, lease_s = lease.lifetime.as_secs(), "the router maps a port to this device");
            }
            Some(old) if old.epoch().zip(held.epoch()).is_some_and(|(old, new)| old.is_broken_by(new)) => {
                debug!(?lease, "the router restarted and maps the port again");
            }
            Some(_) => debug!(?lease, "the mapped port was renewed"),
        }
        self.granted_at = Clock.now();
        self.next_at = Some(self.granted_at + renew_after(lease.lifetime));
        self.failures = 0;
        self.held = Some(held);
        self.show(State::Mapped(lease));
    }

    fn show(&self, state: State) {
        self.state.send_if_modified(|shown| std::mem::replace(shown, state) != state);
    }
}

/// Whether an announcement says that the mapping is gone or has another address outside.
fn is_news(held: &Held, announcement: Announcement, now: Instant) -> bool {
    let announced = Epoch { seconds: announcement.epoch, heard_at: now };
    announcement.address.is_some_and(|address| address != *held.lease().external.ip())
        || held.epoch().is_none_or(|epoch| epoch.may_be_broken_by(announced))
}

/// Half the lease, within bounds.
fn renew_after(lifetime: Duration) -> Duration {
    let [least, most] = RENEW;
    if lifetime.is_zero() { most } else { (lifetime / 2).clamp(least, most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_renewed_at_half_their_time_within_bounds() {
        let after = |lifetime_s| renew_after(Duration::from_secs(lifetime_s)).as_secs();
        assert_eq!(after(120), 60);
        assert_eq!(after(7_200), 900, "a restart nobody tells of is found out");
        assert_eq!(after(1), 15, "a router that grants seconds does not keep us busy");
        assert_eq!(after(0), 900, "for ever");
        assert_eq!(after(u64::from(u32::MAX)), 900);
    }
}
