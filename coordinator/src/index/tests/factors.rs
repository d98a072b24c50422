//! The second factor: enrolment, codes that count once, recovery, and who may take it away.

use super::super::authority::Role;
use super::super::factors::{PASS_LIFETIME_MS, RECOVERY_CODES, RecoveryCode};
use super::super::totp::{STEP_MS, TotpSecret};
use super::super::users::{User, UserWishes};
use super::*;
use crate::index::audit::Via;

/// What is stored of anna's password, as far as these tests care.
const STORED: &str = "$argon2id$of-anna";

async fn anna(desk: &Desk) -> (User, Actor) {
    let anna = desk.index.add_user(&NewUser::person("anna".parse().unwrap()), &admin()).await.unwrap();
    desk.index.set_password(&anna, STORED, None, &admin()).await.unwrap();
    let actor = Actor::user(desk.index.grants(&anna).await.unwrap(), Via::Panel, None);
    (anna, actor)
}

fn code(desk: &Desk, secret: &TotpSecret) -> String {
    secret.code(desk.index.now_ms() / STEP_MS)
}

/// An app that is asked for, and the recovery codes beside it.
async fn enrolled(desk: &Desk, user: &User, actor: &Actor) -> (TotpSecret, Vec<RecoveryCode>) {
    desk.index.begin_totp(user, actor).await.unwrap();
    let secret = desk.index.waiting_totp(user).await.unwrap().unwrap();
    let codes = desk.index.confirm_totp(user, &code(desk, &secret), None, actor).await.unwrap().unwrap();
    (secret, codes)
}

fn code_of<T>(result: Result<T>) -> &'static str {
    result.err().map_or("ok", |error| error.code())
}

#[tokio::test]
async fn an_app_counts_once_it_has_shown_a_code() {
    on_both(async |desk: Desk| {
        let (anna, actor) = anna(&desk).await;
        let index = &desk.index;
        assert_eq!(index.second_factor(&anna).await.unwrap().since, None);
        index.begin_totp(&anna, &actor).await.unwrap();
        let first = index.waiting_totp(&anna).await.unwrap().unwrap();
        index.begin_totp(&anna, &actor).await.unwrap();
        let secret = index.waiting_totp(&anna).await.unwrap().unwrap();
        assert_ne!(first.reveal(), secret.reveal(), "begun anew");
        assert_eq!(index.second_factor(&anna).await.unwrap().since, None, "not yet");
        assert!(!index.take_totp(&anna, &code(&desk, &secret)).await.unwrap(), "not yet");
        let wrong = index.confirm_totp(&anna, &code(&desk, &first), None, &actor).await.unwrap();
        assert!(wrong.is_none(), "that was the first secret's");

        let (_, here) = index.open_session(&anna, None, "here", None).await.unwrap();
        let (kept, _) = index.session(&here).await.unwrap().unwrap();
        let (_, there) = index.open_session(&anna, None, "there", None).await.unwrap();
        let codes = index.confirm_totp(&anna, &code(&desk, &secret), Some(&kept.id), &actor).await.unwrap();
        assert_eq!(codes.unwrap().len(), RECOVERY_CODES);
        assert!(index.session(&here).await.unwrap().is_some());
        assert!(index.session(&there).await.unwrap().is_none(), "opened without a second factor");
        let factor = index.second_factor(&anna).await.unwrap();
        assert_eq!((factor.since, factor.recovery_left), (Some(index.now_ms()), 10));
        assert!(index.waiting_totp(&anna).await.unwrap().is_none(), "it is not shown again");
        assert_eq!(code_of(index.begin_totp(&anna, &actor).await), "index.state");
        assert_eq!(code_of(index.confirm_totp(&anna, "000000", None, &actor).await), "index.state");
    })
    .await;
}

#[tokio::test]
async fn a_time_step_is_taken_once_and_none_before_it() {
    on_both(async |desk: Desk| {
        let (anna, actor) = anna(&desk).await;
        let (secret, _) = enrolled(&desk, &anna, &actor).await;
        let enrolled_with = code(&desk, &secret);
        assert!(!desk.index.take_totp(&anna, &enrolled_with).await.unwrap(), "it confirmed the app");
        desk.pass(STEP_MS);
        let now = code(&desk, &secret);
        let both = tokio::join!(desk.index.take_totp(&anna, &now), desk.index.take_totp(&anna, &now));
        assert!(both.0.unwrap() ^ both.1.unwrap(), "one of two at the same moment");
        assert!(!desk.index.take_totp(&anna, &now).await.unwrap());
        desk.pass(2 * STEP_MS);
        let (before, now) = (secret.code(desk.index.now_ms() / STEP_MS - 1), code(&desk, &secret));
        assert!(desk.index.take_totp(&anna, &now).await.unwrap());
        assert!(!desk.index.take_totp(&anna, &before).await.unwrap(), "older than one that was taken");
    })
    .await;
}

#[tokio::test]
async fn a_recovery_code_works_once_and_for_its_user() {
    on_both(async |desk: Desk| {
        let (anna, actor) = anna(&desk).await;
        let ben = desk.index.add_user(&NewUser::person("ben".parse().unwrap()), &admin()).await.unwrap();
        let bens = Actor::arriving(&ben, None);
        let (_, codes) = enrolled(&desk, &anna, &actor).await;
        let index = &desk.index;
        assert!(!index.take_recovery(&ben, &codes[0], &bens).await.unwrap(), "another's");
        let pair = (Actor::arriving(&anna, None), Actor::arriving(&anna, None));
        let both = tokio::join!(
            index.take_recovery(&anna, &codes[0], &pair.0),
            index.take_recovery(&anna, &codes[0], &pair.1)
        );
        assert!(both.0.unwrap() ^ both.1.unwrap(), "one of two at the same moment");
        assert_eq!(index.second_factor(&anna).await.unwrap().recovery_left, 9);
        assert_eq!(index.audit_events(1).await.unwrap()[0].code, "user.recovery");

        let others = index.new_recovery(&anna, &actor).await.unwrap();
        assert!(!index.take_recovery(&anna, &codes[1], &actor).await.unwrap(), "those before are over");
        assert!(index.take_recovery(&anna, &others[1], &actor).await.unwrap());
        assert_eq!(code_of(index.new_recovery(&ben, &bens).await), "index.state");
    })
    .await;
}

#[tokio::test]
async fn it_is_taken_away_by_its_user_or_an_administrator_and_that_is_noted() {
    on_both(async |desk: Desk| {
        let (anna, actor) = anna(&desk).await;
        let ben = desk.index.add_user(&NewUser::person("ben".parse().unwrap()), &admin()).await.unwrap();
        desk.index.set_role(&home(), "ben", Some(Role::Owner), None, &admin()).await.unwrap();
        let bens = Actor::user(desk.index.grants(&ben).await.unwrap(), Via::Panel, None);
        let index = &desk.index;
        let (secret, codes) = enrolled(&desk, &anna, &actor).await;
        for refused in [
            code_of(index.remove_second_factor(&anna, &bens).await),
            code_of(index.begin_totp(&anna, &bens).await),
            code_of(index.new_recovery(&anna, &bens).await),
            code_of(index.take_recovery(&anna, &codes[0], &bens).await),
        ] {
            assert_eq!(refused, "index.forbidden");
        }
        assert!(index.remove_second_factor(&anna, &admin()).await.unwrap());
        let event = &index.audit_events(1).await.unwrap()[0];
        assert_eq!((event.code.as_str(), event.actor_id.as_str()), ("user.totp_off", "milena"));
        assert!(!index.remove_second_factor(&anna, &admin()).await.unwrap(), "there is none any more");
        desk.pass(STEP_MS);
        assert!(!index.take_totp(&anna, &code(&desk, &secret)).await.unwrap());
        assert!(!index.take_recovery(&anna, &codes[0], &actor).await.unwrap());
        assert_eq!(code_of(index.begin_totp(&ben, &bens).await), "index.state", "without a password");
    })
    .await;
}

#[tokio::test]
async fn a_pass_lasts_five_minutes_and_as_long_as_the_password() {
    on_both(async |desk: Desk| {
        let (anna, _) = anna(&desk).await;
        let index = &desk.index;
        let pass = index.write_pass(&anna, STORED).unwrap();
        assert_eq!(index.read_pass(&pass).await.unwrap(), Some((anna.clone(), STORED.to_owned())));
        for forged in ["", "x", &pass[1..], &index.write_pass(&anna, "$argon2id$another").unwrap()] {
            assert_eq!(index.read_pass(forged).await.unwrap(), None, "{forged}");
        }
        index.set_password(&anna, "$argon2id$new", None, &admin()).await.unwrap();
        assert_eq!(index.read_pass(&pass).await.unwrap(), None, "the password changed");
        let pass = index.write_pass(&anna, "$argon2id$new").unwrap();
        desk.pass(PASS_LIFETIME_MS);
        assert_eq!(index.read_pass(&pass).await.unwrap(), None, "too late");
        let pass = index.write_pass(&anna, "$argon2id$new").unwrap();
        let out = UserWishes { is_disabled: Some(true), ..UserWishes::default() };
        index.set_user("anna", &out, &admin()).await.unwrap();
        assert_eq!(index.read_pass(&pass).await.unwrap(), None, "shut out");
    })
    .await;
}

#[tokio::test]
async fn under_another_fleet_key_a_secret_cannot_be_read() {
    on_both(async |desk: Desk| {
        let (anna, actor) = anna(&desk).await;
        let (secret, codes) = enrolled(&desk, &anna, &actor).await;
        desk.pass(STEP_MS);
        let fleet = SymmetricKey::from_bytes([8; 32]);
        let clock = Clock::fixed(Arc::clone(&desk.time));
        let thief = Index::open(&desk.database, Schema::Require, &fleet, clock).await.unwrap();
        assert_eq!(code_of(thief.take_totp(&anna, &code(&desk, &secret)).await), "index.unreadable");
        assert!(!thief.take_recovery(&anna, &codes[0], &actor).await.unwrap());
        thief.close().await;
        assert!(desk.index.take_totp(&anna, &code(&desk, &secret)).await.unwrap());
    })
    .await;
}
