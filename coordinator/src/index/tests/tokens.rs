//! Tokens, requests that are sent twice, and changes that come too late.

use super::super::audit::Via;
use super::super::authority::Role;
use super::super::edits::DeviceWishes;
use super::super::repeats::{Claim, KEPT_MS};
use super::super::tokens::{NewToken, Scope};
use super::super::users::{User, UserKind, UserWishes};
use super::*;

async fn add(desk: &Desk, name: &str) -> User {
    desk.index.add_user(&NewUser::person(name.parse().unwrap()), &admin()).await.unwrap()
}

async fn acting(desk: &Desk, user: &User) -> Actor {
    Actor::user(desk.index.grants(user).await.unwrap(), Via::Api, None)
}

fn token(network: Option<NetworkName>, lifetime_ms: Option<i64>) -> NewToken {
    NewToken { name: "backup".to_owned(), scope: Scope::Write, network, lifetime_ms }
}

fn code_of<T>(result: Result<T>) -> &'static str {
    result.err().map_or("ok", |error| error.code())
}

#[tokio::test]
async fn a_token_opens_until_it_ends_or_its_user_is_shut_out() {
    on_both(async |desk: Desk| {
        let anna = add(&desk, "anna").await;
        let actor = acting(&desk, &anna).await;
        let (made, secret) = desk.index.add_token(&anna, &token(None, Some(HOUR_MS)), &actor).await.unwrap();
        assert!(secret.reveal().starts_with(&made.prefix) && made.prefix.len() == 6);
        let (found, user) = desk.index.token(&secret).await.unwrap().unwrap();
        assert_eq!((found.id, user.id), (made.id.clone(), anna.id.clone()));
        assert!(desk.index.session(&secret).await.unwrap().is_none(), "a token is no session");
        desk.pass(HOUR_MS);
        assert!(desk.index.token(&secret).await.unwrap().is_none(), "it is over");
        assert_eq!(desk.index.tokens_of(&anna).await.unwrap(), []);

        let (made, secret) = desk.index.add_token(&anna, &token(None, None), &actor).await.unwrap();
        assert!(desk.index.token(&secret).await.unwrap().is_some());
        let used = desk.index.tokens_of(&anna).await.unwrap()[0].last_used_at;
        assert_eq!(used, Some(desk.index.now_ms()));
        let out = |yes| UserWishes { is_disabled: Some(yes), ..UserWishes::default() };
        desk.index.set_user("anna", &out(true), &admin()).await.unwrap();
        assert!(desk.index.token(&secret).await.unwrap().is_none(), "shut out");
        desk.index.set_user("anna", &out(false), &admin()).await.unwrap();
        assert!(desk.index.token(&secret).await.unwrap().is_some());
        for _ in 0..2 {
            desk.index.end_token(&made.id, &actor).await.unwrap();
        }
        assert!(desk.index.token(&secret).await.unwrap().is_none(), "ended");
    })
    .await;
}

#[tokio::test]
async fn a_token_is_made_by_its_user_or_a_server_administrator_for_networks_of_theirs() {
    on_both(async |desk: Desk| {
        let (anna, ben) = (add(&desk, "anna").await, add(&desk, "ben").await);
        let actor = acting(&desk, &anna).await;
        assert_eq!(code_of(desk.index.add_token(&ben, &token(None, None), &actor).await), "index.forbidden");
        let new = token(Some(home()), None);
        assert_eq!(code_of(desk.index.add_token(&anna, &new, &actor).await), "index.not_found");
        desk.index.set_role(&home(), "anna", Some(Role::Guest), None, &admin()).await.unwrap();
        let actor = acting(&desk, &anna).await;
        let (made, secret) = desk.index.add_token(&anna, &new, &actor).await.unwrap();
        let (_, user) = desk.index.token(&secret).await.unwrap().unwrap();
        let limited = made.limit(desk.index.grants(&user).await.unwrap());
        assert_eq!(limited.only, Some(desk.index.network(&home()).await.unwrap().id));
        let actor = Actor::user(limited, Via::Api, None);
        assert_eq!(code_of(desk.index.add_token(&anna, &token(None, None), &actor).await), "index.forbidden");
        assert_eq!(
            code_of(desk.index.end_token(&made.id, &acting(&desk, &ben).await).await),
            "index.forbidden"
        );
        assert_eq!(
            code_of(desk.index.add_token(&anna, &token(None, Some(0)), &admin()).await),
            "index.invalid"
        );

        let new = NewUser { kind: UserKind::Service, ..NewUser::person("robot".parse().unwrap()) };
        let robot = desk.index.add_user(&new, &admin()).await.unwrap();
        let (_, secret) = desk.index.add_token(&robot, &token(None, None), &admin()).await.unwrap();
        assert!(desk.index.token(&secret).await.unwrap().is_some(), "a service has nothing else");
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_sent_twice_is_done_once() {
    on_both(async |desk: Desk| {
        let (anna, ben) = (add(&desk, "anna").await, add(&desk, "ben").await);
        let index = &desk.index;
        let key = index.repeat_key(&anna.id, b"1", &[b"POST", b"/networks", b"{}"]);
        assert_eq!(index.claim(&key).await.unwrap(), Claim::New);
        assert_eq!(index.claim(&key).await.unwrap(), Claim::Begun, "under way, or nobody knows");
        index.settle(&key, 201, b"{\"secret\":\"opensesame\"}").await.unwrap();
        let done = Claim::Done(201, b"{\"secret\":\"opensesame\"}".to_vec());
        assert_eq!(index.claim(&key).await.unwrap(), done);
        let other = index.repeat_key(&anna.id, b"1", &[b"POST", b"/networks", b"{ }"]);
        assert_eq!(index.claim(&other).await.unwrap(), Claim::Other);
        let moved = index.repeat_key(&anna.id, b"1", &[b"POST", b"/network", b"s{}"]);
        assert_eq!(index.claim(&moved).await.unwrap(), Claim::Other, "where one part ends is part of it");
        let of_ben = index.repeat_key(&ben.id, b"1", &[b"POST", b"/networks", b"{}"]);
        assert_eq!(index.claim(&of_ben).await.unwrap(), Claim::New, "keys are each user's own");
        index.give_back(&of_ben).await.unwrap();
        assert_eq!(index.claim(&of_ben).await.unwrap(), Claim::New);
        desk.pass(KEPT_MS);
        assert_eq!(index.claim(&key).await.unwrap(), Claim::New, "a day later");
    })
    .await;
}

#[tokio::test]
async fn a_change_of_something_that_was_changed_meanwhile_is_refused() {
    on_both(async |desk: Desk| {
        desk.join_all(1).await;
        let seen = desk.index.network(&home()).await.unwrap();
        let late = || admin().expecting(Some(desk.index.version(&seen)));
        let wishes = |mode| NetworkWishes { join_mode: Some(mode), ..NetworkWishes::default() };
        desk.join_all(3).await;
        desk.index.set_network(&home(), wishes(JoinMode::Locked), &late()).await.unwrap();
        let refused = desk.index.set_network(&home(), wishes(JoinMode::Invite), &late()).await;
        assert_eq!(code_of(refused), "index.changed");
        assert_eq!(code_of(desk.index.remove_network(&home(), &late()).await), "index.changed");
        assert_eq!(desk.index.network(&home()).await.unwrap().join_mode, JoinMode::Locked);

        let device = desk.index.device("device-1").await.unwrap();
        let gone = Presence { device: device.id, online: false, ip: None };
        desk.index.record_presence(&[gone]).await.unwrap();
        let name = DeviceWishes { name: Some(DeviceName::parse("nas").unwrap()), ..DeviceWishes::default() };
        let late = admin().expecting(Some(desk.index.version(&device)));
        desk.index.set_device(device.id, &name, &late).await.unwrap();
        assert_eq!(code_of(desk.index.remove_device(device.id, &late).await), "index.changed");

        // A change that compares nothing does not pass as one that did.
        let new = NewUser::person("anna".parse().unwrap());
        assert_eq!(code_of(desk.index.add_user(&new, &late).await), "index.state");
    })
    .await;
}

#[tokio::test]
async fn who_is_suspended_is_so_for_the_others_and_who_is_taken_away_is_gone() {
    on_both(async |desk: Desk| {
        desk.join_all(3).await;
        let cursor = desk.index.snapshot().await.unwrap().cursor;
        let judge =
            async |name: &str, verdict| desk.index.judge_member(&home(), name, verdict, &admin()).await;
        assert_eq!(judge("device-1", Verdict::Suspend).await.unwrap().state, MemberState::Suspended);
        assert_eq!(judge("device-1", Verdict::Resume).await.unwrap().state, MemberState::Active);
        judge("device-3", Verdict::Remove).await.unwrap();
        assert_eq!(code_of(judge("device-3", Verdict::Resume).await), "index.state");

        let second = DeviceId::of(&identity(2));
        let suspended = |yes| DeviceWishes { is_suspended: Some(yes), ..DeviceWishes::default() };
        for yes in [true, false] {
            desk.index.set_device(second, &suspended(yes), &admin()).await.unwrap();
            let told = desk.index.changes_after(cursor).await.unwrap();
            let last = told.iter().rev().find_map(|(_, change)| {
                let Change::Member(member) = change else { return None };
                (member.identity == identity(2)).then_some(member.state)
            });
            assert_eq!(last, Some(if yes { MemberState::Suspended } else { MemberState::Active }));
        }
        desk.index.remove_device(second, &admin()).await.unwrap();
        assert_eq!(code_of(desk.index.device("device-2").await), "index.not_found");
        assert_eq!(desk.states().await[1].1, MemberState::Left);
        let code = desk.invite(1).await;
        assert!(is_joined(desk.join(2, Some(code)).await), "with a new invite it is back");
        desk.index.device("device-2").await.unwrap();

        desk.index.remove_network(&home(), &admin()).await.unwrap();
        let told = desk.index.changes_after(cursor).await.unwrap();
        assert!(told.iter().any(|(_, change)| matches!(change, Change::NetworkGone { .. })));
        assert!(desk.index.snapshot().await.unwrap().changes.is_empty());
        assert_eq!(desk.index.online_devices().await.unwrap().len(), 3);
        desk.index.add_network(&NewNetwork::by_invite(home(), vec![]), &admin()).await.unwrap();
        assert_eq!(desk.states().await, [], "a new network of that name has nobody in it");
    })
    .await;
}

#[tokio::test]
async fn the_database_contains_no_token_and_no_answer_that_shows_one() {
    on_both(async |desk: Desk| {
        let anna = add(&desk, "anna").await;
        let (_, secret) = desk.index.add_token(&anna, &token(None, None), &admin()).await.unwrap();
        let text = secret.reveal();
        let key = desk.index.repeat_key(&anna.id, b"my own key", &[b"request"]);
        desk.index.claim(&key).await.unwrap();
        desk.index.settle(&key, 201, text.as_bytes()).await.unwrap();
        desk.index.backup(&desk.dir.path().join("copy.db"), &mut |_| {}).await.unwrap();
        desk.index.close().await;
        let mut bytes = Vec::new();
        for file in std::fs::read_dir(desk.dir.path()).unwrap() {
            bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
        }
        for secret in [text.as_bytes(), b"my own key"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
        assert!(bytes.windows(9).any(|window| window == b"token.add"), "that there is one stands there");
    })
    .await;
}

#[tokio::test]
async fn a_version_is_told_by_nobody_who_has_not_the_key_of_this_server() {
    on_both(async |desk: Desk| {
        let anna = add(&desk, "anna").await;
        let other = SymmetricKey::from_bytes([8; 32]);
        let clock = Clock::fixed(Arc::clone(&desk.time));
        let other = Index::open(&desk.database, Schema::Require, &other, clock).await.unwrap();
        let again = open_at(&desk.database, Schema::Require, &desk.time).await;
        assert_eq!(desk.index.version(&anna), again.version(&anna), "the same in every process");
        assert_ne!(desk.index.version(&anna), other.version(&anna), "of the same user, with another key");
    })
    .await;
}

#[tokio::test]
async fn a_device_that_was_taken_off_is_back_when_it_is_approved_and_is_suspended_no_more() {
    on_both(async |desk: Desk| {
        desk.join_all(1).await;
        let first = DeviceId::of(&identity(1));
        let anna = add(&desk, "anna").await;
        let wishes = DeviceWishes {
            is_suspended: Some(true),
            user_id: Some(Some(anna.id.clone())),
            ..DeviceWishes::default()
        };
        desk.index.set_device(first, &wishes, &admin()).await.unwrap();
        let owner = acting(&desk, &anna).await;
        assert_eq!(
            code_of(desk.index.remove_device(first, &owner).await),
            "index.forbidden",
            "it would be back unsuspended"
        );
        desk.index.remove_device(first, &admin()).await.unwrap();
        assert_eq!(code_of(desk.index.device("device-1").await), "index.not_found");
        desk.index.judge_member(&home(), &first.to_string(), Verdict::Approve, &admin()).await.unwrap();
        let back = desk.index.device("device-1").await.unwrap();
        assert_eq!((back.suspended_at, back.user_id), (None, None));
        assert_eq!(desk.states().await[0].1, MemberState::Active);
        let refused = desk.index.remove_device(first, &owner).await;
        assert_eq!(code_of(refused), "index.forbidden", "it is not theirs any more");

        // Who is not suspended is taken off by their owner, and comes back by joining.
        let own = DeviceWishes { user_id: Some(Some(anna.id.clone())), ..DeviceWishes::default() };
        desk.index.set_device(first, &own, &admin()).await.unwrap();
        desk.index.remove_device(first, &owner).await.unwrap();
        let code = desk.invite(1).await;
        assert!(is_joined(desk.join(1, Some(code)).await));
        desk.index.device("device-1").await.unwrap();
    })
    .await;
}
