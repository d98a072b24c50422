//! Tags, ends, groups, invites for people, and what people do with their own devices.

use std::collections::BTreeSet;

use lanyard_wire::names::JoinPassword;

use super::super::audit::Via;
use super::super::authority::{Grants, Role};
use super::super::edits::MemberWishes;
use super::super::groups::Word;
use super::super::invites::Gives;
use super::super::networks::{Approve, NetworksBy, OWNED_MAX, StoredPassword};
use super::super::users::User;
use super::*;

async fn person(desk: &Desk, name: &str, role: Option<Role>) -> (User, Grants) {
    let user = desk.index.add_user(&NewUser::person(name.parse().unwrap()), &admin()).await.unwrap();
    if role.is_some() {
        desk.index.set_role(&home(), name, role, None, &admin()).await.unwrap();
    }
    let grants = desk.index.grants(&user).await.unwrap();
    (user, grants)
}

fn acting(grants: &Grants) -> Actor {
    Actor::user(grants.clone(), Via::Api, None)
}

fn tag(text: &str) -> Word {
    text.parse().unwrap()
}

fn gives(role: Option<Role>, life: Option<i64>) -> Gives {
    Gives { role, member_life_ms: life, ..Gives::membership() }
}

async fn invite(desk: &Desk, uses: u32, gives: Gives) -> InviteCode {
    let new = NewInvite { gives, ..NewInvite::for_devices(home(), uses, HOUR_MS) };
    desk.index.add_invite(&new, &admin()).await.unwrap().1
}

#[tokio::test]
async fn an_invite_gives_its_devices_tags_an_owner_and_an_end() {
    on_both(async |desk: Desk| {
        let (anna, _) = person(&desk, "anna", Some(Role::Member)).await;
        let gives = Gives {
            owner_id: Some("anna".to_owned()),
            member_life_ms: Some(HOUR_MS),
            tags: vec![tag("nas"), tag("build"), tag("nas")],
            ..Gives::membership()
        };
        let code = invite(&desk, 2, gives).await;
        assert!(is_joined(desk.join(1, Some(code)).await));
        let member = desk.index.member_named(&home(), "device-1").await.unwrap();
        assert_eq!(member.tags, [tag("build"), tag("nas")]);
        assert_eq!(member.owner.as_ref(), Some(&anna.id));
        assert_eq!(member.expires_at, Some(desk.index.now_ms() + HOUR_MS));

        // Whose a device is already, it stays.
        desk.join_all(2).await;
        let (ben, _) = person(&desk, "ben", None).await;
        let take = Gives { owner_id: Some(ben.id.clone()), ..Gives::membership() };
        let new = NewInvite { gives: take.clone(), ..NewInvite::for_devices(home(), 9, HOUR_MS) };
        let error = desk.index.add_invite(&new, &admin()).await.unwrap_err();
        assert_eq!(error.code(), "index.state", "ben is nothing in this network");
        desk.index.set_role(&home(), "ben", Some(Role::Guest), None, &admin()).await.unwrap();
        let code = invite(&desk, 9, take).await;
        desk.index.judge_member(&home(), "device-1", Verdict::Remove, &admin()).await.unwrap();
        assert!(is_joined(desk.join(1, Some(code)).await));
        let again = desk.index.member_named(&home(), "device-1").await.unwrap();
        assert_eq!(again.owner.as_ref(), Some(&anna.id));
        assert!(
            again.tags.is_empty() && again.expires_at.is_none(),
            "what the first invite gave went with it"
        );
    })
    .await;
}

#[tokio::test]
async fn a_member_whose_time_is_over_is_put_out_and_may_come_back_with_another_invite() {
    on_both(async |desk: Desk| {
        let code = invite(&desk, 9, gives(None, Some(HOUR_MS))).await;
        assert!(is_joined(desk.join(1, Some(code)).await));
        desk.join_all(2).await;
        assert_eq!(desk.index.expire_members().await.unwrap(), 0);
        desk.pass(HOUR_MS);
        let before = desk.index.snapshot().await.unwrap().cursor;
        assert_eq!(desk.index.expire_members().await.unwrap(), 1);
        assert_eq!(desk.index.expire_members().await.unwrap(), 0);
        let told = desk.index.changes_after(before).await.unwrap();
        assert!(told.iter().any(|(_, change)| matches!(change, Change::MemberGone { .. })), "{told:?}");
        assert_eq!(desk.states().await[0], ("device-1".to_owned(), MemberState::Left));
        let event = &desk.index.audit_events(1).await.unwrap()[0];
        assert_eq!((event.code.as_str(), event.actor_kind.as_str()), ("member.expire", "system"));

        // An administrator gives the time they want, or lets it in for good.
        let member = desk.index.judge_member(&home(), "device-1", Verdict::Approve, &admin()).await.unwrap();
        assert_eq!((member.state, member.expires_at), (MemberState::Active, None));
        let past = MemberWishes { expires_at: Some(Some(1)), ..MemberWishes::default() };
        let error = desk.index.set_member(&home(), "device-1", past, &admin()).await.unwrap_err();
        assert_eq!(error.code(), "index.invalid");
        let end = Some(desk.index.now_ms() + 1);
        let soon = MemberWishes { expires_at: Some(end), ..MemberWishes::default() };
        desk.index.set_member(&home(), "device-1", soon, &admin()).await.unwrap();
        desk.pass(2);
        assert_eq!(desk.index.expire_members().await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_invite_for_people_makes_them_what_it_says_once() {
    on_both(async |desk: Desk| {
        let code = invite(&desk, 1, gives(Some(Role::Member), Some(HOUR_MS))).await;
        assert_eq!(
            desk.join(1, Some(code)).await,
            JoinOutcome::Refused(JoinRefusal::InvalidInvite),
            "no device comes in with it"
        );
        let new = NewUser { is_server_admin: true, ..NewUser::person("anna".parse().unwrap()) };
        let anna = desk.index.accept_invite_anew(code, &new, "stored", None).await.unwrap().unwrap();
        assert!(!anna.is_server_admin, "whatever the form says");
        let roles = desk.index.roles_of("anna").await.unwrap();
        assert_eq!((roles[0].role, roles[0].expires_at), (Role::Member, Some(desk.index.now_ms() + HOUR_MS)));
        let other = NewUser::person("ben".parse().unwrap());
        assert_eq!(desk.index.accept_invite_anew(code, &other, "stored", None).await.unwrap(), None);
        assert!(desk.index.user("ben").await.is_err(), "nobody was made");

        // Who is more already spends nothing; who has a name that is taken neither.
        let code = invite(&desk, 1, gives(Some(Role::Guest), None)).await;
        let (head, grants) = person(&desk, "head", Some(Role::Admin)).await;
        let role = desk.index.accept_invite(code, &head, &acting(&grants)).await.unwrap().unwrap();
        assert_eq!(role.role, Role::Admin);
        assert!(desk.index.invite_of(code).await.unwrap().is_some());
        let taken = NewUser::person("head".parse().unwrap());
        let error = desk.index.accept_invite_anew(code, &taken, "stored", None).await.unwrap_err();
        assert_eq!(error.code(), "index.taken");
        assert!(desk.index.invite_of(code).await.unwrap().is_some());

        // When the time is over, so is what they are.
        desk.pass(HOUR_MS);
        assert_eq!(desk.index.grants(&anna).await.unwrap().role(roles[0].network_id), None);
    })
    .await;
}

#[tokio::test]
async fn two_hundred_at_once_do_not_share_an_invite_for_one_person() {
    on_both(async |desk: Desk| {
        let code = invite(&desk, 1, gives(Some(Role::Member), None)).await;
        let mut tries = tokio::task::JoinSet::new();
        for number in 0..200 {
            let index = Arc::clone(&desk.index);
            let new = NewUser::person(format!("user-{number}").parse().unwrap());
            tries.spawn(async move { index.accept_invite_anew(code, &new, "stored", None).await.unwrap() });
        }
        let made = tries.join_all().await.into_iter().flatten().count();
        assert_eq!(made, 1);
        assert_eq!(desk.index.users().await.unwrap().len(), 1);
        assert_eq!(desk.index.invites(None).await.unwrap()[0].uses, 1);
    })
    .await;
}

#[tokio::test]
async fn a_member_brings_and_takes_devices_of_their_own_and_nobody_elses() {
    on_both(async |desk: Desk| {
        let (anna, grants) = person(&desk, "anna", Some(Role::Member)).await;
        let (guest, as_guest) = person(&desk, "guest", Some(Role::Guest)).await;
        let own = |user: &User| Gives { owner_id: Some(user.id.clone()), ..Gives::membership() };
        let new = |gives| NewInvite { gives, ..NewInvite::for_devices(home(), 2, HOUR_MS) };
        let actor = acting(&grants);
        let refused = [
            (new(Gives::membership()), &actor),
            (new(own(&guest)), &actor),
            (new(Gives { tags: vec![tag("nas")], ..own(&anna) }), &actor),
            (NewInvite { max_uses: 11, ..new(own(&anna)) }, &actor),
            (NewInvite { lifetime_ms: 8 * 24 * HOUR_MS, ..new(own(&anna)) }, &actor),
            (new(gives(Some(Role::Guest), None)), &actor),
        ];
        for (new, actor) in &refused {
            let error = desk.index.add_invite(new, actor).await.unwrap_err();
            assert_eq!(error.code(), "index.forbidden", "{new:?}");
        }
        let error = desk.index.add_invite(&new(own(&guest)), &acting(&as_guest)).await.unwrap_err();
        assert_eq!(error.code(), "index.forbidden", "a guest brings none");

        let (_, code) = desk.index.add_invite(&new(own(&anna)), &actor).await.unwrap();
        assert!(is_joined(desk.join(1, Some(code)).await));
        desk.join_all(2).await;
        let rename = || MemberWishes { name: Some("den".parse().unwrap()), ..MemberWishes::default() };
        let named = desk.index.set_member(&home(), "device-1", rename(), &actor).await.unwrap();
        assert_eq!(named.name.to_string(), "den");
        let tags = MemberWishes { tags: Some(vec![tag("nas")]), ..MemberWishes::default() };
        for (name, wishes) in [("den", tags), ("device-2", rename())] {
            let error = desk.index.set_member(&home(), name, wishes, &actor).await.unwrap_err();
            assert_eq!(error.code(), "index.forbidden", "{name}");
        }
        for (name, verdict) in [("device-2", Verdict::Remove), ("den", Verdict::Suspend)] {
            let error = desk.index.judge_member(&home(), name, verdict, &actor).await.unwrap_err();
            assert_eq!(error.code(), "index.forbidden", "{name} {verdict:?}");
        }
        desk.index.judge_member(&home(), "den", Verdict::Remove, &actor).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn users_make_networks_where_they_may_and_not_without_end() {
    on_both(async |desk: Desk| {
        let (_, grants) = person(&desk, "anna", None).await;
        let make = async |index: &Index, number: i64| {
            let new = NewNetwork::by_invite(format!("net-{number}").parse().unwrap(), Vec::new());
            index.add_network(&new, &acting(&grants)).await
        };
        assert_eq!(make(&desk.index, 0).await.unwrap_err().code(), "index.forbidden");
        let index = open_at(&desk.database, Schema::Require, &desk.time).await;
        let index = index.with_networks_by(NetworksBy::Users);
        for number in 0..OWNED_MAX {
            make(&index, number).await.unwrap();
        }
        assert_eq!(make(&index, OWNED_MAX).await.unwrap_err().code(), "index.state");
        let own = index.roles_of("anna").await.unwrap();
        assert!(own.iter().all(|role| role.role == Role::Owner));
        let limited = Grants { only: Some(own[0].network_id), ..grants.clone() };
        let new = NewNetwork::by_invite("other".parse().unwrap(), Vec::new());
        let error = index.add_network(&new, &acting(&limited)).await.unwrap_err();
        assert_eq!(error.code(), "index.forbidden", "a token for one network");
    })
    .await;
}

#[tokio::test]
async fn a_network_is_joined_by_its_password_and_not_by_an_old_one_nor_by_who_was_put_out() {
    on_both(async |desk: Desk| {
        let hashing = desk.index.password_hashing();
        let stored = |text: &str| hashing.hash_join(&JoinPassword::parse(text).unwrap()).unwrap();
        let by_password = |password| NetworkWishes {
            join_mode: Some(JoinMode::Password),
            password,
            ..NetworkWishes::default()
        };
        let none = desk.index.set_network(&home(), by_password(None), &admin()).await.unwrap_err();
        assert_eq!(none.code(), "index.invalid", "it has none yet");
        let network = desk
            .index
            .set_network(&home(), by_password(Some(stored("three birds"))), &admin())
            .await
            .unwrap();
        assert!(network.has_password);
        let newest = desk.index.audit_events(1).await.unwrap().remove(0);
        assert!(!format!("{newest:?}").contains("argon2"), "the audit trail has no hash: {newest:?}");

        let right = desk.index.join_password(&home()).await.unwrap();
        let first = right.clone().unwrap();
        assert!(hashing.is_join_password(&JoinPassword::parse("three birds").unwrap(), &first).unwrap());
        assert!(!hashing.is_join_password(&JoinPassword::parse("two birds").unwrap(), &first).unwrap());
        let join = async |seed, password: Option<StoredPassword>| {
            desk.index.join(&JoinRequest { password, ..request(seed, None) }).await.unwrap()
        };
        let wrong = JoinOutcome::Refused(JoinRefusal::WrongPassword);
        assert_eq!(join(1, None).await, wrong);
        assert!(is_joined(join(1, right.clone()).await));
        let member = desk.index.member_named(&home(), "device-1").await.unwrap();
        assert_eq!(member.joined_via.as_str(), "password");

        // An invite works beside it; with another password the one before does not any more.
        let code = desk.invite(1).await;
        assert!(is_joined(desk.join(2, Some(code)).await));
        let other = by_password(Some(stored("four birds")));
        desk.index.set_network(&home(), other, &admin()).await.unwrap();
        assert_eq!(join(3, right).await, wrong);
        let now = desk.index.join_password(&home()).await.unwrap();
        desk.index.judge_member(&home(), "device-1", Verdict::Remove, &admin()).await.unwrap();
        assert_eq!(join(1, now.clone()).await, JoinOutcome::Refused(JoinRefusal::Denied));
        let by_hand = NetworkWishes { approve: Some(Approve::Manual), ..NetworkWishes::default() };
        desk.index.set_network(&home(), by_hand, &admin()).await.unwrap();
        assert!(matches!(join(3, now).await, JoinOutcome::Pending { .. }));
        let locked = NetworkWishes { join_mode: Some(JoinMode::Locked), ..NetworkWishes::default() };
        desk.index.set_network(&home(), locked, &admin()).await.unwrap();
        assert_eq!(desk.index.join_password(&home()).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn groups_have_users_of_the_network_as_long_as_they_are_that() {
    on_both(async |desk: Desk| {
        let (anna, grants) = person(&desk, "anna", Some(Role::Member)).await;
        let (ben, _) = person(&desk, "ben", None).await;
        let family = tag("family");
        let set = async |users: &[&User], actor: &Actor| {
            let ids: Vec<String> = users.iter().map(|user| user.id.clone()).collect();
            desk.index.set_group(&home(), &family, &ids, actor).await
        };
        assert_eq!(set(&[&anna], &acting(&grants)).await.unwrap_err().code(), "index.forbidden");
        assert_eq!(set(&[&anna, &ben], &admin()).await.unwrap_err().code(), "index.state");
        assert_eq!(set(&[&anna], &admin()).await.unwrap().users, std::slice::from_ref(&anna.id));
        let network = desk.index.network(&home()).await.unwrap().id;
        desk.index.set_role(&home(), "anna", None, None, &admin()).await.unwrap();
        assert!(desk.index.groups(network).await.unwrap()[0].users.is_empty());
        desk.index.remove_group(&home(), &family, &admin()).await.unwrap();
        assert!(desk.index.groups(network).await.unwrap().is_empty());
        let error = desk.index.remove_group(&home(), &family, &admin()).await.unwrap_err();
        assert_eq!(error.code(), "index.not_found");
        let codes: BTreeSet<String> =
            desk.index.audit_events(50).await.unwrap().into_iter().map(|event| event.code).collect();
        assert!(codes.contains("group.set") && codes.contains("group.remove"), "{codes:?}");
    })
    .await;
}
