//! Invites: what a code opens, and how somebody becomes a user with one.

use lanyard_wire::names::InviteCode;

use super::{Accounts, Refused, SignedIn, Visitor, source};
use crate::index::IndexError;
use crate::index::credentials::Password;
use crate::index::invites::Invite;
use crate::index::users::NewUser;

impl Accounts {
    /// The invite of that code, if it can still be used.
    ///
    /// # Errors
    /// [`Refused::Link`] when there is none, [`Refused::TooMany`] for who guesses.
    pub async fn invite(&self, code: &str, visitor: &Visitor) -> Result<(InviteCode, Invite), Refused> {
        self.invites.check(&source(visitor.ip))?;
        let code = InviteCode::parse(code).map_err(|_| Refused::Link)?;
        let invite = self.index.invite_of(code).await?.ok_or(Refused::Link)?;
        Ok((code, invite))
    }

    /// Makes whoever holds a person's invite a user with what it gives, and lets them in.
    ///
    /// # Errors
    /// [`Refused`]; the invite is spent only if this succeeds.
    pub async fn accept_anew(
        &self,
        code: &str,
        name: &str,
        password: String,
        visitor: &Visitor,
    ) -> Result<SignedIn, Refused> {
        let (code, invite) = self.invite(code, visitor).await?;
        if invite.gives.role.is_none() {
            return Err(Refused::Link);
        }
        let new = NewUser::person(name.parse().map_err(|why| IndexError::Invalid { what: "name", why })?);
        let password = Password::chosen(password, &new.name)?;
        let stored = self.compute(move |hashing| hashing.hash(&password)).await?;
        match self.index.accept_invite_anew(code, &new, &stored, Some(visitor.ip)).await? {
            Some(user) => self.let_in(user, &stored, visitor).await,
            None => Err(Refused::Link),
        }
    }
}
