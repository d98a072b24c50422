//! The second factor beside a password: a code of an authenticator app, or a recovery code.

use super::{Accounts, Refused, SignedIn, Slip, Step, Visitor};
use crate::index::Actor;
use crate::index::factors::RecoveryCode;
use crate::index::sessions::Session;
use crate::index::users::User;

impl Accounts {
    /// Lets somebody in who has shown their password before, with a code of their app or a recovery code.
    ///
    /// `pass` is what [`Step::Code`] held.
    ///
    /// # Errors
    /// [`Refused::Late`] when that is too long ago, [`Refused::Code`] for a wrong code, [`Refused::TooMany`] for who guesses.
    pub async fn finish(&self, pass: &str, code: &str, visitor: &Visitor) -> Result<SignedIn, Refused> {
        let (user, stored) = self.index.read_pass(pass).await?.ok_or(Refused::Late)?;
        self.codes.check(&user.id.as_str())?;
        let is_right = match RecoveryCode::parse(code) {
            Some(code) => {
                let actor = Actor::arriving(&user, Some(visitor.ip));
                self.index.take_recovery(&user, &code, &actor).await?
            }
            None => self.index.take_totp(&user, code).await?,
        };
        if is_right { self.let_in(user, &stored, visitor).await } else { Err(Refused::Code) }
    }

    /// Takes the first code of a signed-in user's app, which is asked for from now on; their other sessions end.
    ///
    /// # Errors
    /// [`Refused::Code`] for a wrong one, [`Refused::TooMany`] for who guesses.
    pub async fn confirm_totp(
        &self,
        user: &User,
        session: &Session,
        code: &str,
        actor: &Actor,
    ) -> Result<Vec<RecoveryCode>, Refused> {
        self.codes.check(&user.id.as_str())?;
        self.index.confirm_totp(user, code, Some(&session.id), actor).await?.ok_or(Refused::Code)
    }

    /// After a good password: in, or on to the second factor.
    pub(super) async fn go_on(&self, user: User, stored: &str, visitor: &Visitor) -> Result<Step, Refused> {
        if self.index.second_factor(&user).await?.since.is_some() {
            return Ok(Step::Code(Slip(self.index.write_pass(&user, stored)?)));
        }
        self.let_in(user, stored, visitor).await.map(Step::In)
    }
}
