//! Signing in: who is let in, how often somebody may try, and how many passwords are computed at once.
//!
//! What a browser or program sends arrives here as text and leaves as an outcome; INDEX keeps what is permanent.

mod invited;
mod passkeys;
mod providers;
mod second;
mod waiting;

use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use lanyard_wire::names::InviteCode;
use tokio::sync::Semaphore;

use self::passkeys::Passkeys;
pub use self::passkeys::Question;
use self::providers::Providers;
pub use self::providers::{Arrived, Back, Named, Sent};
use crate::index::credentials::{Password, PasswordHashing};
use crate::index::secrets::Secret;
use crate::index::sessions::Session;
use crate::index::settings::LinkOutcome;
use crate::index::users::{NewUser, User, UserName};
use crate::index::{Actor, Index, IndexError};
use crate::oidc::Provider;

/// Passwords computed at a time: each takes 19 MiB and a core.
const HASHING_MAX: usize = 2;

/// How long somebody waits for their turn before they are told to come back.
const TURN: Duration = Duration::from_secs(10);

/// Tries to sign in, of one source in a row, and then one each [`SOURCE_PERIOD`].
const SOURCE_BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// See [`SOURCE_BURST`].
const SOURCE_PERIOD: Duration = Duration::from_secs(6);

/// Looks at invites of one source in a row, and then one each [`SOURCE_PERIOD`].
const INVITE_BURST: NonZeroU32 = NonZeroU32::new(40).unwrap();

/// Tries for one name in a row, from wherever, and then one each [`NAME_PERIOD`].
const NAME_BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// See [`NAME_BURST`].
const NAME_PERIOD: Duration = Duration::from_secs(60);

/// Secrets that open nothing, of one source in a row, and then one each [`STRANGER_PERIOD`].
const STRANGER_BURST: NonZeroU32 = NonZeroU32::new(60).unwrap();

/// See [`STRANGER_BURST`].
const STRANGER_PERIOD: Duration = Duration::from_secs(1);
/// Codes of a second factor for one user in a row, and then one each [`CODE_PERIOD`]: whoever tries knows the password.
const CODE_BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// See [`CODE_BURST`]. Three codes of a million are good at a time: a year of guesses finds one with a chance of 1 in 4.
const CODE_PERIOD: Duration = Duration::from_secs(300);

/// Counters of each limit: whoever falls into one shares it with others who do, and there are never more.
///
/// Which falls into which depends on a seed that nobody outside knows.
const COUNTERS: u64 = 16_384;

/// A user who was let in, and the secret of their session.
#[derive(Debug)]
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// Where they are signed in.
    pub session: Session,
    /// What their browser shows from now on.
    pub secret: Secret,
}

/// How far somebody came who showed a good password.
#[derive(Debug)]
pub enum Step {
    /// They are in.
    In(SignedIn),
    /// A code of their second factor is asked for. This says that they showed the password: it is sealed, good for five
    /// minutes, and opens nothing.
    Code(Slip),
}

/// What a browser carries while somebody signs in: a secret of theirs, so it has no text but [`Slip::reveal`].
pub struct Slip(String);

impl Slip {
    /// Its text, for that browser.
    #[must_use]
    pub fn reveal(self) -> String {
        self.0
    }
}

impl fmt::Debug for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slip(..)")
    }
}

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No such user, no such password, shut out: which of them is nobody's business.
    #[error("that name and password do not belong together")]
    Wrong,
    /// Too many tries.
    #[error("too many tries: wait {0} s")]
    TooMany(u64),
    /// Too many others.
    #[error("the server is busy: try again in a moment")]
    Busy,
    /// The link was used, is too old, or never was.
    #[error("this link does not work any more")]
    Link,
    /// Not a code of their second factor, or one that was taken already.
    #[error("that code is not right, or was used already: wait for the next one")]
    Code,
    /// It is too long ago that they showed their password, or the password has changed.
    #[error("the code took too long: sign in again")]
    Late,
    /// Not an answer of a passkey of this server to what it was asked.
    #[error("that passkey was not accepted: try again, or sign in another way")]
    Passkey,
    /// Browsers know this server by an address.
    #[error("passkeys need a server with a name: this one is known by an IP address only")]
    NoPasskeys,
    /// A provider does not answer, or says no.
    #[error("signing in by \"{0}\" did not work: try again, or sign in another way")]
    Provider(String),
    /// Nobody was sent to a provider from there, or it is too long ago.
    #[error("this did not begin here, or too long ago: sign in again")]
    Back,
    /// An account at a provider that belongs to nobody.
    #[error("nobody here has that account: sign in another way, and link it on the page of your account")]
    Stranger,
    /// The database says no.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Lets users in.
#[derive(Debug)]
pub struct Accounts {
    index: Arc<Index>,
    hashing: PasswordHashing,
    places: Arc<Semaphore>,
    /// Tries to sign in, by source.
    sources: Limit,
    /// Tries to sign in, by name.
    names: Limit,
    /// One-time links to the server, by source: their codes can be typed, so they could be guessed.
    links: Limit,
    /// Invites, likewise: people open them more than once, and their codes have 40 bits.
    invites: Limit,
    /// Changes of a password, by user.
    changes: Limit,
    /// Tokens and cookies that open nothing, by source.
    strangers: Limit,
    /// Codes of second factors, by user.
    codes: Limit,
    /// Where browsers know this server by a name.
    passkeys: Option<Passkeys>,
    providers: Providers,
}

/// So many tries in a row, and then one each period.
#[derive(Debug)]
struct Limit {
    counters: DefaultKeyedRateLimiter<u64>,
    seed: RandomState,
}

/// Where somebody comes from.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Their address.
    pub ip: IpAddr,
    /// What their browser calls itself.
    pub user_agent: String,
}

impl Accounts {
    /// Lets the users of an index in; `url` is what browsers call this server, and `name` what people do.
    #[must_use]
    pub fn new(index: Arc<Index>, url: Option<&str>, name: &str, providers: Vec<Provider>) -> Self {
        Self {
            providers: Providers::new(providers, url.unwrap_or_default().to_owned()),
            passkeys: url.and_then(|url| Passkeys::of(url, name)),
            hashing: index.password_hashing(),
            index,
            places: Arc::new(Semaphore::new(HASHING_MAX)),
            sources: Limit::new(SOURCE_BURST, SOURCE_PERIOD),
            names: Limit::new(NAME_BURST, NAME_PERIOD),
            links: Limit::new(SOURCE_BURST, SOURCE_PERIOD),
            invites: Limit::new(INVITE_BURST, SOURCE_PERIOD),
            changes: Limit::new(SOURCE_BURST, SOURCE_PERIOD),
            strangers: Limit::new(STRANGER_BURST, STRANGER_PERIOD),
            codes: Limit::new(CODE_BURST, CODE_PERIOD),
        }
    }

    /// Lets a user in by name and password; who has a second factor is asked for that next.
    ///
    /// # Errors
    /// [`Refused`], which does not tell whether there is such a user, nor by how long it takes.
    pub async fn sign_in(&self, name: &str, password: String, visitor: &Visitor) -> Result<Step, Refused> {
        self.sources.check(&source(visitor.ip))?;
        let name = name.parse::<UserName>().map_err(|_| Refused::Wrong)?;
        let (user, stored) = self.index.user_and_password(&name).await?;
        if let Err(refused) = self.names.check(&name.as_str()) {
            // Whoever tries from elsewhere must not keep the user out: where they are signed in already they may go on.
            let is_known = match &user {
                Some(user) => self.index.is_signed_in_at(user, visitor.ip).await?,
                None => false,
            };
            if !is_known {
                return Err(refused);
            }
        }
        let password = Password::typed(password);
        let checked = stored.clone();
        let is_right = self.compute(move |hashing| hashing.is_right(&password, checked.as_deref())).await?;
        match (user, stored) {
            (Some(user), Some(stored)) if is_right && user.disabled_at.is_none() => {
                self.go_on(user, &stored, visitor).await
            }
            (Some(_) | None, Some(_) | None) => Err(Refused::Wrong),
        }
    }

    /// Whether the one-time link to this server can still be used.
    ///
    /// # Errors
    /// [`Refused::Link`] when it cannot, [`Refused::TooMany`] for who guesses.
    pub async fn check_link(&self, code: &str, visitor: &Visitor) -> Result<InviteCode, Refused> {
        self.links.check(&source(visitor.ip))?;
        let code = InviteCode::parse(code).map_err(|_| Refused::Link)?;
        match self.index.look_at_admin_link(code).await? {
            LinkOutcome::Good => Ok(code),
            LinkOutcome::Wrong | LinkOutcome::Used | LinkOutcome::Expired => Err(Refused::Link),
        }
    }

    /// Makes whoever holds the one-time link an administrator of this server, and lets them in.
    ///
    /// # Errors
    /// [`Refused`]; the link is spent only if this succeeds.
    pub async fn found(
        &self,
        code: &str,
        name: &str,
        password: String,
        visitor: &Visitor,
    ) -> Result<SignedIn, Refused> {
        let code = self.check_link(code, visitor).await?;
        let name = name.parse().map_err(|why| IndexError::Invalid { what: "name", why })?;
        let new = NewUser { is_server_admin: true, ..NewUser::person(name) };
        let password = Password::chosen(password, &new.name)?;
        let stored = self.compute(move |hashing| hashing.hash(&password)).await?;
        match self.index.use_admin_link(code, &new, &stored, Some(visitor.ip)).await? {
            Some(user) => self.let_in(user, &stored, visitor).await,
            None => Err(Refused::Link),
        }
    }

    /// Whose link that is, which lets them choose a password.
    ///
    /// # Errors
    /// [`Refused::Link`] when it is nobody's.
    pub async fn user_of_link(&self, code: &str) -> Result<(Secret, User), Refused> {
        let code = Secret::parse(code).ok_or(Refused::Link)?;
        let user = self.index.user_of_code(&code).await?.ok_or(Refused::Link)?;
        Ok((code, user))
    }

    /// Gives the user of a link the password they chose, and lets them in; who has a second factor is asked for that next.
    ///
    /// # Errors
    /// [`Refused`]; the link is spent only if this succeeds.
    pub async fn choose(&self, code: &str, password: String, visitor: &Visitor) -> Result<Step, Refused> {
        let (code, user) = self.user_of_link(code).await?;
        let password = Password::chosen(password, &user.name)?;
        let stored = self.compute(move |hashing| hashing.hash(&password)).await?;
        let actor = Actor::arriving(&user, Some(visitor.ip));
        if !self.index.use_user_code(&code, &user, &stored, &actor).await? {
            return Err(Refused::Link);
        }
        self.go_on(user, &stored, visitor).await
    }

    /// Gives a signed-in user another password; their other sessions end.
    ///
    /// # Errors
    /// [`Refused::Wrong`] when `old` is not the one they have.
    pub async fn change(
        &self,
        user: &User,
        session: &Session,
        old: String,
        new: String,
        visitor: &Visitor,
    ) -> Result<(), Refused> {
        let new = Password::chosen(new, &user.name)?;
        self.prove(user, old).await?;
        let stored = self.compute(move |hashing| hashing.hash(&new)).await?;
        let actor = Actor::arriving(user, Some(visitor.ip));
        self.index.set_password(user, &stored, Some(&session.id), &actor).await?;
        Ok(())
    }

    /// Counts a token or cookie that opened nothing.
    ///
    /// # Errors
    /// [`Refused::TooMany`] for who goes on with that.
    pub fn note_stranger(&self, ip: Option<IpAddr>) -> Result<(), Refused> {
        self.strangers.check(&ip.map(source))
    }

    /// Whether that is a signed-in user's password.
    ///
    /// # Errors
    /// [`Refused::Wrong`] when it is not, [`Refused::TooMany`] for who guesses.
    pub async fn prove(&self, user: &User, password: String) -> Result<(), Refused> {
        self.changes.check(&user.id.as_str())?;
        let password = Password::typed(password);
        let (_, stored) = self.index.user_and_password(&user.name).await?;
        let is_right = self.compute(move |hashing| hashing.is_right(&password, stored.as_deref())).await?;
        if is_right { Ok(()) } else { Err(Refused::Wrong) }
    }

    /// Opens a session, if the password that was shown is still the user's.
    async fn let_in(&self, user: User, stored: &str, visitor: &Visitor) -> Result<SignedIn, Refused> {
        let opened =
            self.index.open_session(&user, Some(stored), &visitor.user_agent, Some(visitor.ip)).await;
        match opened {
            Ok((session, secret)) => Ok(SignedIn { user, session, secret }),
            Err(IndexError::Forbidden(_)) => Err(Refused::Wrong),
            Err(error) => Err(error.into()),
        }
    }

    /// Computes on another thread, a few at a time; who goes away meanwhile keeps their place until it is done.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PasswordHashing) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, Refused> {
        let place = tokio::time::timeout(TURN, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(Refused::Busy) };
        let hashing = self.hashing.clone();
        let computing = tokio::task::spawn_blocking(move || {
            let done = work(&hashing);
            drop(place);
            done
        });
        match computing.await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Refused::Busy),
        }
    }
}

impl Limit {
    fn new(burst: NonZeroU32, period: Duration) -> Self {
        let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_minute(burst)).allow_burst(burst);
        Self { counters: RateLimiter::keyed(quota), seed: RandomState::new() }
    }

    /// Counts one try.
    fn check(&self, key: &impl Hash) -> Result<(), Refused> {
        let counter = self.seed.hash_one(key) % COUNTERS;
        self.counters.check_key(&counter).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Refused::TooMany(wait.as_secs() + 1)
        })
    }
}

/// Whom a try counts for: an address, of IPv6 the /64, which is one customer's.
fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_of_ipv6_is_one_source() {
        let of = |text: &str| source(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:203.0.113.9"), of("203.0.113.9"));
        assert_ne!(of("203.0.113.9"), of("203.0.113.8"));
    }

    #[test]
    fn the_eleventh_try_in_a_row_is_told_when_to_come_back() {
        let limit = Limit::new(SOURCE_BURST, SOURCE_PERIOD);
        for _ in 0..10 {
            limit.check(&1).unwrap();
        }
        let Err(Refused::TooMany(wait)) = limit.check(&1) else { panic!("let through") };
        assert!((1..=7).contains(&wait), "{wait}");
        limit.check(&2).unwrap();
        for source in 0..200_000 {
            let _it_may_share = limit.check(&source);
        }
        assert!(limit.counters.len() as u64 <= COUNTERS, "{}", limit.counters.len());
    }
}
