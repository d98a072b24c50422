//! Users, what they may do, and how they show who they are.

use super::super::authority::{Need, Role};
use super::super::credentials::{CODE_LIFETIME_MS, Password};
use super::super::sessions::{IDLE_MS, LIFETIME_MS};
use super::super::users::{User, UserKind, UserWishes};
use super::*;
use crate::index::audit::Via;

async fn add(desk: &Desk, name: &str) -> User {
    desk.index.add_user(&NewUser::person(name.parse().unwrap()), &admin()).await.unwrap()
}

async fn acting(desk: &Desk, user: &User) -> Actor {
    Actor::user(desk.index.grants(user).await.unwrap(), Via::Api, None)
}

async fn become_(desk: &Desk, user: &User, role: Role) {
    desk.index.set_role(&home(), &user.id, Some(role), None, &admin()).await.unwrap();
}

fn code_of<T>(result: Result<T>) -> &'static str {
    result.err().map_or("ok", |error| error.code())
}

#[tokio::test]
async fn a_name_is_one_user_however_it_is_written() {
    on_both(async |desk: Desk| {
        let anna = add(&desk, "Anna").await;
        assert_eq!(anna.name.as_str(), "anna");
        let again = desk.index.add_user(&NewUser::person("ANNA".parse().unwrap()), &admin()).await;
        assert_eq!(code_of(again), "index.taken");
        assert_eq!(desk.index.user(" Anna ").await.unwrap(), anna);
        assert_eq!(desk.index.user(&anna.id).await.unwrap(), anna);
        assert_eq!(code_of(desk.index.user("ben").await), "index.not_found");
        assert_eq!(desk.index.audit_events(1).await.unwrap()[0].code, "user.add");
    })
    .await;
}

/// Every change there is, by everybody there could be: who may, and who is refused.
#[tokio::test]
async fn each_role_may_what_it_may_and_no_more() {
    on_both(async |desk: Desk| {
        desk.join_all(1).await;
        let [root, owner, head, member, guest, stranger] =
            ["root", "owner", "head", "member", "guest", "stranger"].map(|name| name.to_owned());
        let mut users = Vec::new();
        for name in [&root, &owner, &head, &member, &guest, &stranger] {
            users.push(add(&desk, name).await);
        }
        desk.index
            .set_user("root", &UserWishes { is_server_admin: Some(true), ..UserWishes::default() }, &admin())
            .await
            .unwrap();
        users[0] = desk.index.user("root").await.unwrap();
        for (user, role) in users[1..].iter().zip([Role::Owner, Role::Admin, Role::Member, Role::Guest]) {
            become_(&desk, user, role).await;
        }

        for (place, user) in users.iter().enumerate() {
            let actor = acting(&desk, user).await;
            let may = |limit: usize| if place <= limit { "ok" } else { "index.forbidden" };
            let index = &desk.index;
            let name = &user.name;
            // Of the server.
            let slug = NetworkName::parse(&format!("net-{name}")).unwrap();
            assert_eq!(
                code_of(index.add_network(&NewNetwork::by_invite(slug, vec![]), &actor).await),
                may(0),
                "{name}"
            );
            let new = NewUser::person(format!("by-{name}").parse().unwrap());
            assert_eq!(code_of(index.add_user(&new, &actor).await), may(0), "{name}");
            assert_eq!(code_of(index.new_user_code(&users[5], &actor).await), may(0), "{name}");
            assert_eq!(code_of(index.new_admin_link(&actor).await), may(0), "{name}");
            assert_eq!(code_of(index.set_public_key(&identity(9), &actor).await), may(0), "{name}");
            // Of the network.
            let role = index.set_role(&home(), "stranger", Some(Role::Owner), None, &actor).await;
            assert_eq!(code_of(role), may(1), "{name} makes an owner");
            index.set_role(&home(), "stranger", None, None, &admin()).await.unwrap();
            let role = index.set_role(&home(), "stranger", Some(Role::Guest), None, &actor).await;
            assert_eq!(code_of(role), may(2), "{name} makes a guest");
            index.set_role(&home(), "stranger", None, None, &admin()).await.unwrap();
            let invite = NewInvite::for_devices(home(), 1, HOUR_MS);
            let invite = index.add_invite(&invite, &actor).await;
            let invited = invite.as_ref().ok().map(|(invite, _)| invite.id.clone());
            assert_eq!(code_of(invite), may(2), "{name} invites");
            let id = invited.unwrap_or(index.invites(None).await.unwrap()[0].id.clone());
            assert_eq!(code_of(index.revoke_invite(&id, &actor).await), may(2), "{name} revokes");
            let wishes = NetworkWishes { join_mode: Some(JoinMode::Request), ..NetworkWishes::default() };
            assert_eq!(code_of(index.set_network(&home(), wishes, &actor).await), may(2), "{name} sets");
            for verdict in [Verdict::Remove, Verdict::Approve] {
                let judged = index.judge_member(&home(), "device-1", verdict, &actor).await;
                assert_eq!(code_of(judged), may(2), "{name} judges");
            }
            let device = DeviceId::of(&identity(1));
            let network = index.network(&home()).await.unwrap().id;
            assert_eq!(
                code_of(index.leave(network, device, &actor).await),
                may(0),
                "{name} takes a device out"
            );
            index.judge_member(&home(), "device-1", Verdict::Approve, &admin()).await.unwrap();
            // Of users.
            let own = UserWishes { display_name: Some(format!("I, {name}")), ..UserWishes::default() };
            assert_eq!(
                code_of(index.set_user(name.as_str(), &own, &actor).await),
                "ok",
                "{name} of themselves"
            );
            let other = if place == 5 { &users[4] } else { &users[5] };
            assert_eq!(code_of(index.set_user(&other.id, &own, &actor).await), may(0), "{name} of another");
            let power = UserWishes { is_server_admin: Some(true), ..UserWishes::default() };
            assert_eq!(
                code_of(index.set_user(name.as_str(), &power, &actor).await),
                may(0),
                "{name} wants power"
            );
            assert_eq!(code_of(index.set_password(other, "x", None, &actor).await), may(0), "{name}");
            assert_eq!(code_of(index.end_sessions(other, None, &actor).await), may(0), "{name}");
            let passed = index.pass_network_on(&home(), "head", &actor).await;
            assert_eq!(code_of(passed), may(1), "{name} passes the network on");
            index.pass_network_on(&home(), "owner", &admin()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_change_leaves_nothing_behind() {
    on_both(async |desk: Desk| {
        let anna = add(&desk, "anna").await;
        let before = desk.index.audit_events(100).await.unwrap().len();
        let actor = acting(&desk, &anna).await;
        let new = NewUser::person("ben".parse().unwrap());
        let error = desk.index.add_user(&new, &actor).await.unwrap_err();
        assert!(error.to_string().contains("an administrator of this server"), "{error}");
        assert_eq!(code_of(desk.index.user("ben").await), "index.not_found");
        assert_eq!(desk.index.audit_events(100).await.unwrap().len(), before);
    })
    .await;
}

#[tokio::test]
async fn a_change_that_asked_for_no_permission_is_not_committed() {
    on_both(async |desk: Desk| {
        let actor = admin();
        let mut draft = desk.index.draft(&actor).await.unwrap();
        draft.insert_user(&NewUser::person("anna".parse().unwrap())).await.unwrap();
        assert_eq!(code_of(draft.commit().await), "index.state");
        assert_eq!(desk.index.users().await.unwrap(), []);

        let mut draft = desk.index.draft(&actor).await.unwrap();
        draft.must(&Need::Server).unwrap();
        assert_eq!(code_of(draft.commit().await), "index.state", "nor one without an audit row");
    })
    .await;
}

#[tokio::test]
async fn a_server_keeps_an_administrator_and_a_network_its_owner() {
    on_both(async |desk: Desk| {
        let (anna, ben) = (add(&desk, "anna").await, add(&desk, "ben").await);
        let power = |yes| UserWishes { is_server_admin: Some(yes), ..UserWishes::default() };
        desk.index.set_user("anna", &power(true), &admin()).await.unwrap();
        assert_eq!(code_of(desk.index.set_user("anna", &power(false), &admin()).await), "index.state");
        let out = UserWishes { is_disabled: Some(true), ..UserWishes::default() };
        assert_eq!(code_of(desk.index.set_user("anna", &out, &admin()).await), "index.state");
        desk.index.set_user("ben", &power(true), &admin()).await.unwrap();
        desk.index.set_user("anna", &power(false), &admin()).await.unwrap();

        become_(&desk, &anna, Role::Owner).await;
        become_(&desk, &ben, Role::Admin).await;
        for role in [None, Some(Role::Admin)] {
            let lost = desk.index.set_role(&home(), "anna", role, None, &admin()).await;
            assert_eq!(code_of(lost), "index.state", "{role:?}");
        }
        let lapses = desk.index.set_role(&home(), "ben", Some(Role::Owner), Some(i64::MAX), &admin()).await;
        assert_eq!(code_of(lapses), "index.invalid", "an owner does not end by itself");
        let actor = acting(&desk, &anna).await;
        desk.index.pass_network_on(&home(), "ben", &actor).await.unwrap();
        let roles = desk.index.roles_in(&home()).await.unwrap();
        let roles: Vec<_> = roles.iter().map(|role| (role.user.as_str(), role.role)).collect();
        assert_eq!(roles, [("anna", Role::Admin), ("ben", Role::Owner)]);
    })
    .await;
}

#[tokio::test]
async fn a_role_for_a_time_is_over_afterwards() {
    on_both(async |desk: Desk| {
        let anna = add(&desk, "anna").await;
        let until = desk.index.now_ms() + HOUR_MS;
        desk.index.set_role(&home(), "anna", Some(Role::Admin), Some(until), &admin()).await.unwrap();
        let network = desk.index.network(&home()).await.unwrap().id;
        assert_eq!(desk.index.grants(&anna).await.unwrap().role(network), Some(Role::Admin));
        desk.pass(HOUR_MS);
        assert_eq!(desk.index.grants(&anna).await.unwrap().role(network), None);
    })
    .await;
}

#[tokio::test]
async fn a_session_lets_in_until_it_is_ended_idle_or_old() {
    on_both(async |desk: Desk| {
        let anna = add(&desk, "anna").await;
        let (session, secret) = desk.index.open_session(&anna, None, "Firefox\n", None).await.unwrap();
        assert_eq!(session.user_agent, "Firefox");
        let found = desk.index.session(&secret).await.unwrap().unwrap();
        assert_eq!((found.0.id, found.1), (session.id.clone(), anna.clone()));
        let (_, other) = desk.index.open_session(&anna, None, "curl", None).await.unwrap();
        assert_eq!(desk.index.sessions_of(&anna).await.unwrap().len(), 2);

        let actor = acting(&desk, &anna).await;
        for _ in 0..2 {
            desk.index.end_session(&session.id, &actor).await.unwrap();
        }
        assert_eq!(desk.index.session(&secret).await.unwrap(), None);
        assert!(desk.index.session(&other).await.unwrap().is_some());
        let ben = add(&desk, "ben").await;
        let (foreign, _) = desk.index.open_session(&ben, None, "", None).await.unwrap();
        assert_eq!(code_of(desk.index.end_session(&foreign.id, &actor).await), "index.forbidden");

        // Used now and then it lasts for its whole life, and no longer.
        let mut lasted = 0;
        while desk.index.session(&other).await.unwrap().is_some() {
            desk.pass(IDLE_MS / 2);
            lasted += IDLE_MS / 2;
        }
        assert!((LIFETIME_MS..LIFETIME_MS + IDLE_MS).contains(&lasted), "{lasted}");
        let (_, idle) = desk.index.open_session(&anna, None, "", None).await.unwrap();
        desk.pass(IDLE_MS);
        assert_eq!(desk.index.session(&idle).await.unwrap(), None);
        desk.pass(3 * LIFETIME_MS);
        assert_eq!(desk.index.prune_sessions().await.unwrap(), 4);
    })
    .await;
}

#[tokio::test]
async fn who_is_shut_out_is_out_at_once_and_their_links_lead_nowhere() {
    on_both(async |desk: Desk| {
        let anna = add(&desk, "anna").await;
        let (_, secret) = desk.index.open_session(&anna, None, "", None).await.unwrap();
        let code = desk.index.new_user_code(&anna, &admin()).await.unwrap();
        let out = UserWishes { is_disabled: Some(true), ..UserWishes::default() };
        desk.index.set_user("anna", &out, &admin()).await.unwrap();
        assert_eq!(desk.index.session(&secret).await.unwrap(), None);
        assert_eq!(desk.index.user_of_code(&code).await.unwrap(), None);
        assert_eq!(code_of(desk.index.open_session(&anna, None, "", None).await), "index.forbidden");
        let back = UserWishes { is_disabled: Some(false), ..UserWishes::default() };
        desk.index.set_user("anna", &back, &admin()).await.unwrap();
        assert_eq!(desk.index.session(&secret).await.unwrap(), None, "a session that was ended stays so");
        assert_eq!(desk.index.user_of_code(&code).await.unwrap(), None, "and a link");
    })
    .await;
}

#[tokio::test]
async fn a_link_to_choose_a_password_works_once_and_the_newest_only() {
    on_both(async |desk: Desk| {
        let anna = add(&desk, "anna").await;
        let first = desk.index.new_user_code(&anna, &admin()).await.unwrap();
        let second = desk.index.new_user_code(&anna, &admin()).await.unwrap();
        assert_eq!(desk.index.user_of_code(&first).await.unwrap(), None);
        assert_eq!(desk.index.user_of_code(&second).await.unwrap(), Some(anna.clone()));
        let (_, session) = desk.index.open_session(&anna, None, "", None).await.unwrap();

        let actor = Actor::arriving(&anna, None);
        assert!(desk.index.use_user_code(&second, &anna, "stored", &actor).await.unwrap());
        assert!(!desk.index.use_user_code(&second, &anna, "again", &actor).await.unwrap());
        assert_eq!(desk.index.user_and_password(&anna.name).await.unwrap().1.as_deref(), Some("stored"));
        assert_eq!(desk.index.session(&session).await.unwrap(), None, "sessions of the old password end");

        let late = desk.index.new_user_code(&anna, &admin()).await.unwrap();
        desk.pass(CODE_LIFETIME_MS);
        assert!(!desk.index.use_user_code(&late, &anna, "late", &actor).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn what_was_taken_from_somebody_meanwhile_they_may_not_do_any_more() {
    on_both(async |desk: Desk| {
        let anna = add(&desk, "anna").await;
        add(&desk, "ben").await;
        become_(&desk, &anna, Role::Admin).await;
        let actor = acting(&desk, &anna).await;
        let invite = NewInvite::for_devices(home(), 1, HOUR_MS);
        desk.index.add_invite(&invite, &actor).await.unwrap();
        become_(&desk, &anna, Role::Member).await;
        assert_eq!(code_of(desk.index.add_invite(&invite, &actor).await), "index.forbidden");
        become_(&desk, &anna, Role::Owner).await;
        assert_eq!(
            code_of(desk.index.set_role(&home(), "ben", Some(Role::Admin), None, &actor).await),
            "index.forbidden"
        );
        let fresh = acting(&desk, &anna).await;
        let out = UserWishes { is_disabled: Some(true), ..UserWishes::default() };
        desk.index.set_user("anna", &out, &admin()).await.unwrap();
        assert_eq!(code_of(desk.index.add_invite(&invite, &fresh).await), "index.forbidden");
    })
    .await;
}

#[tokio::test]
async fn a_sign_in_that_was_overtaken_by_another_password_opens_nothing() {
    on_both(async |desk: Desk| {
        let anna = add(&desk, "anna").await;
        desk.index.set_password(&anna, "old", None, &admin()).await.unwrap();
        desk.index.open_session(&anna, Some("old"), "", None).await.unwrap();
        desk.index.set_password(&anna, "new", None, &admin()).await.unwrap();
        assert_eq!(code_of(desk.index.open_session(&anna, Some("old"), "", None).await), "index.forbidden");
        assert_eq!(desk.index.sessions_of(&anna).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_service_has_no_password() {
    on_both(async |desk: Desk| {
        let new = NewUser { kind: UserKind::Service, ..NewUser::person("backup".parse().unwrap()) };
        let service = desk.index.add_user(&new, &admin()).await.unwrap();
        assert_eq!(code_of(desk.index.new_user_code(&service, &admin()).await), "index.state");
        assert_eq!(code_of(desk.index.set_password(&service, "x", None, &admin()).await), "index.state");
        let power = UserWishes { is_server_admin: Some(true), ..UserWishes::default() };
        assert_eq!(code_of(desk.index.set_user("backup", &power, &admin()).await), "index.state");
        let owner = desk.index.set_role(&home(), "backup", Some(Role::Owner), None, &admin()).await;
        assert_eq!(code_of(owner), "index.state");
    })
    .await;
}

#[tokio::test]
async fn a_password_is_known_again_only_with_the_key_of_this_coordinator() {
    let desk = Desk::open("").await;
    let hashing = desk.index.password_hashing();
    let typed = |text: &str| Password::typed(text.to_owned());
    let stored = hashing.hash(&typed("correct horse battery")).unwrap();
    assert!(stored.starts_with("$argon2id$") && !stored.contains("horse"), "{stored}");
    assert!(hashing.is_right(&typed("correct horse battery"), Some(&stored)).unwrap());
    assert!(!hashing.is_right(&typed("correct horse batterz"), Some(&stored)).unwrap());
    assert!(!hashing.is_right(&typed("correct horse battery"), None).unwrap());
    assert!(!hashing.is_right(&typed(&"a".repeat(2_000)), Some(&stored)).unwrap());

    let dir = tempfile::tempdir().unwrap();
    let database = Location::parse("", dir.path()).unwrap();
    let fleet = SymmetricKey::from_bytes([8; 32]);
    let thief = Index::open(&database, Schema::Create, &fleet, Clock::system()).await.unwrap();
    assert!(!thief.password_hashing().is_right(&typed("correct horse battery"), Some(&stored)).unwrap());
}

#[test]
fn a_password_that_is_easy_to_guess_is_refused_with_what_would_do() {
    let name = "milena".parse().unwrap();
    let why = |text: &str| Password::chosen(text.to_owned(), &name).unwrap_err().to_string();
    assert!(why("short").contains("at least 10"));
    assert!(why("Milena2026!").contains("own name"));
    assert!(why(&"a".repeat(1_025)).contains("at most"));
    assert!(Password::chosen("four words in a row".to_owned(), &name).is_ok());
}
