//! Passkeys and accounts at providers: whose they are, who may change them, and what groups give and take.

use super::super::authority::Role;
use super::super::identities::Gifts;
use super::super::passkeys::PASSKEYS_MAX;
use super::super::users::{User, UserWishes};
use super::*;
use crate::index::audit::Via;

const ISSUER: &str = "https://id.example.org";

fn code_of<T>(result: Result<T>) -> &'static str {
    result.err().map_or("ok", |error| error.code())
}

async fn add(desk: &Desk, name: &str) -> (User, Actor) {
    let user = desk.index.add_user(&NewUser::person(name.parse().unwrap()), &admin()).await.unwrap();
    let actor = Actor::user(desk.index.grants(&user).await.unwrap(), Via::Panel, None);
    (user, actor)
}

#[tokio::test]
async fn a_passkey_is_one_users_and_changes_under_nobodys_hands() {
    on_both(async |desk: Desk| {
        let ((anna, annas), (ben, bens)) = (add(&desk, "anna").await, add(&desk, "ben").await);
        let index = &desk.index;
        let handle = index.passkey_handle(&anna);
        assert!(handle != index.passkey_handle(&ben) && handle == index.passkey_handle(&anna));
        let key = index.add_passkey(&anna, "id-1", " phone ", "{1}", &annas).await.unwrap();
        assert_eq!(key.label, "phone");
        assert_eq!(code_of(index.add_passkey(&ben, "id-1", "", "{2}", &bens).await), "index.taken");
        assert_eq!(code_of(index.add_passkey(&anna, "id-2", "", "{2}", &bens).await), "index.forbidden");
        assert_eq!(code_of(index.add_passkey(&anna, "id-2", "a\nb", "{2}", &annas).await), "index.invalid");
        let found = index.passkey("id-1").await.unwrap().unwrap();
        assert_eq!(found, key);
        let both = tokio::join!(index.use_passkey(&found, "{3}"), index.use_passkey(&found, "{4}"));
        assert!(both.0.unwrap() ^ both.1.unwrap(), "one of two that saw the same counter");
        assert_eq!(code_of(index.remove_passkey(&key.id, &bens).await), "index.forbidden");
        assert_eq!(code_of(index.remove_passkey(&key.id, &annas).await), "index.state", "her last way in");
        index.set_password(&anna, "$argon2id$x", None, &admin()).await.unwrap();
        index.remove_passkey(&key.id, &annas).await.unwrap();
        assert_eq!(index.audit_events(1).await.unwrap()[0].code, "user.passkey_off");
        assert_eq!(code_of(index.remove_passkey(&key.id, &annas).await), "index.not_found");
        for number in 0..PASSKEYS_MAX {
            index.add_passkey(&ben, &format!("b-{number}"), "", "{}", &bens).await.unwrap();
        }
        assert_eq!(code_of(index.add_passkey(&ben, "b-more", "", "{}", &bens).await), "index.state");
    })
    .await;
}

#[tokio::test]
async fn an_account_belongs_to_one_user_by_issuer_and_subject() {
    on_both(async |desk: Desk| {
        let ((anna, annas), (ben, bens)) = (add(&desk, "anna").await, add(&desk, "ben").await);
        let index = &desk.index;
        let linked = index.link_identity(&anna, ISSUER, "1", "anna@example.org", &annas).await.unwrap();
        assert_eq!(code_of(index.link_identity(&ben, ISSUER, "1", "", &bens).await), "index.taken");
        index.link_identity(&ben, "https://other.example", "1", "anna@example.org", &bens).await.unwrap();
        assert_eq!(index.user_of_identity(ISSUER, "1").await.unwrap(), Some(anna.clone()));
        assert_eq!(index.user_of_identity("https://other.example", "1").await.unwrap(), Some(ben));
        assert_eq!(index.user_of_identity(ISSUER, "anna@example.org").await.unwrap(), None);

        let new = NewUser::person("anna".parse().unwrap());
        let namesake = index.add_user_of_identity(&new, ISSUER, "2", "anna").await.unwrap();
        assert_eq!(namesake.name.as_str(), "anna-2", "never the user who is called the same");
        let long = NewUser::person("a".repeat(64).parse().unwrap());
        index.add_user(&long, &admin()).await.unwrap();
        let named = index.add_user_of_identity(&long, ISSUER, "3", "").await.unwrap();
        assert_eq!(named.name.as_str().len(), 62);
        assert_eq!(code_of(index.add_user_of_identity(&new, ISSUER, "2", "anna").await), "index.taken");
        assert_eq!(code_of(index.user("anna-3").await), "index.not_found", "nothing is left of it");

        assert_eq!(code_of(index.unlink_identity(&linked.id, &bens).await), "index.forbidden");
        assert_eq!(
            code_of(index.unlink_identity(&linked.id, &annas).await),
            "index.state",
            "her last way in"
        );
        assert_eq!(code_of(index.remove_all_but_password(&anna, &annas).await), "index.forbidden");
        index.unlink_identity(&linked.id, &admin()).await.unwrap();
        assert!(index.remove_all_but_password(&namesake, &admin()).await.unwrap(), "the phone was found");
        assert!(!index.remove_all_but_password(&namesake, &admin()).await.unwrap());
        assert_eq!(index.user_of_identity(ISSUER, "2").await.unwrap(), None);
        assert_eq!(index.user_of_identity(ISSUER, "1").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn groups_give_and_take_what_they_gave_and_nothing_else() {
    on_both(async |desk: Desk| {
        let (anna, _) = add(&desk, "anna").await;
        add(&desk, "root").await;
        let index = &desk.index;
        let power = UserWishes { is_server_admin: Some(true), ..UserWishes::default() };
        index.set_user("root", &power, &admin()).await.unwrap();
        let network = index.network(&home()).await.unwrap().id;
        let gifts = |role, admin| Gifts { provider: "work".to_owned(), admin, roles: vec![(home(), role)] };
        let follow = async |role, admin| {
            index.follow_groups(&anna, &gifts(role, admin)).await.unwrap();
            let anna = index.user("anna").await.unwrap();
            (index.roles_of("anna").await.unwrap().first().map(|role| role.role), anna.is_server_admin)
        };
        assert_eq!(follow(Some(Role::Member), None).await, (Some(Role::Member), false));
        let event = index.audit_events(1).await.unwrap().remove(0);
        assert_eq!((event.code.as_str(), event.actor_kind.as_str()), ("role.set", "system"));
        assert_eq!(event.entity_id, format!("{network}/{}", anna.id));
        let before = index.audit_events(1_000).await.unwrap().len();
        assert_eq!(follow(Some(Role::Member), Some(false)).await, (Some(Role::Member), false));
        assert_eq!(
            index.audit_events(1_000).await.unwrap().len(),
            before,
            "nothing changed, nothing is noted"
        );
        assert_eq!(follow(Some(Role::Admin), Some(true)).await, (Some(Role::Admin), true));
        assert_eq!(follow(None, None).await, (None, true), "a provider without a say in that");
        assert_eq!(follow(None, Some(false)).await, (None, false));

        index.set_role(&home(), "anna", Some(Role::Owner), None, &admin()).await.unwrap();
        index.set_user("anna", &power, &admin()).await.unwrap();
        assert_eq!(follow(Some(Role::Guest), Some(false)).await, (Some(Role::Owner), true), "given here");
        assert_eq!(follow(None, Some(false)).await, (Some(Role::Owner), true));
        index.pass_network_on(&home(), "root", &admin()).await.unwrap();
        assert_eq!(follow(None, None).await, (Some(Role::Admin), true), "still not the provider's");

        let other = Gifts { provider: "other".to_owned(), ..gifts(Some(Role::Guest), Some(true)) };
        let (ben, _) = add(&desk, "ben").await;
        index.follow_groups(&ben, &other).await.unwrap();
        index.follow_groups(&ben, &gifts(None, Some(false))).await.unwrap();
        assert!(index.user("ben").await.unwrap().is_server_admin, "another provider gave it");
        assert_eq!(index.roles_of("ben").await.unwrap().len(), 1);
        let gone = NetworkName::parse("gone").unwrap();
        let odd = Gifts { roles: vec![(gone, Some(Role::Guest))], ..other };
        index.follow_groups(&ben, &odd).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_last_administrator_stays_one_whatever_their_groups() {
    on_both(async |desk: Desk| {
        let (anna, _) = add(&desk, "anna").await;
        let index = &desk.index;
        let gifts = |admin| Gifts { provider: "work".to_owned(), admin: Some(admin), roles: vec![] };
        index.follow_groups(&anna, &gifts(true)).await.unwrap();
        assert_eq!(code_of(index.follow_groups(&anna, &gifts(false)).await), "index.state");
        assert!(index.user("anna").await.unwrap().is_server_admin);
    })
    .await;
}
