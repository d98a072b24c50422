//! Who sees which rows, a page at a time.

use super::super::authority::{Grants, Role};
use super::super::edits::DeviceWishes;
use super::super::lists::{Filter, Listed, Page};
use super::super::users::User;
use super::*;

async fn add(desk: &Desk, name: &str) -> User {
    desk.index.add_user(&NewUser::person(name.parse().unwrap()), &admin()).await.unwrap()
}

/// Two networks, "home" with two devices and "work" with a third, and a user for each role in "home".
async fn town(desk: &Desk) -> Vec<(User, Grants)> {
    desk.join_all(2).await;
    let work = NetworkName::parse("work").unwrap();
    desk.index.add_network(&NewNetwork::by_invite(work.clone(), Vec::new()), &admin()).await.unwrap();
    let new = NewInvite::for_devices(work.clone(), 1, HOUR_MS);
    let code = desk.index.add_invite(&new, &admin()).await.unwrap().1;
    let third = JoinRequest { network: work, ..request(3, Some(code)) };
    assert!(is_joined(desk.index.join(&third).await.unwrap()));
    let mut users = Vec::new();
    for (name, role) in [
        ("owner", Some(Role::Owner)),
        ("head", Some(Role::Admin)),
        ("member", Some(Role::Member)),
        ("guest", Some(Role::Guest)),
        ("stranger", None),
    ] {
        let user = add(desk, name).await;
        if role.is_some() {
            desk.index.set_role(&home(), name, role, None, &admin()).await.unwrap();
        }
        let grants = desk.index.grants(&user).await.unwrap();
        users.push((user, grants));
    }
    users
}

/// How many rows of each list somebody sees: networks, users, roles, invites, devices, members.
async fn counts(desk: &Desk, grants: &Grants) -> [usize; 6] {
    let (all, page) = (Filter::default(), Page::first(100));
    let index = &desk.index;
    [
        index.networks_page(grants, &all, &page).await.unwrap().rows.len(),
        index.users_page(grants, &all, &page).await.unwrap().rows.len(),
        index.roles_page(grants, &all, &page).await.unwrap().rows.len(),
        index.invites_page(grants, &all, &page).await.unwrap().rows.len(),
        index.devices_page(grants, &all, &page).await.unwrap().rows.len(),
        index.members_page(grants, &all, &page).await.unwrap().rows.len(),
    ]
}

#[tokio::test]
async fn everybody_sees_what_their_role_shows_and_no_more() {
    on_both(async |desk: Desk| {
        let users = town(&desk).await;
        let seen = [
            [1, 4, 4, 1, 2, 2],
            [1, 4, 4, 1, 2, 2],
            [1, 1, 1, 0, 2, 2],
            [1, 1, 1, 0, 2, 2],
            [0, 1, 0, 0, 0, 0],
        ];
        for ((user, grants), wanted) in users.iter().zip(seen) {
            assert_eq!(counts(&desk, grants).await, wanted, "{}", user.name);
        }
        let root = Grants { is_server_admin: true, ..users[4].1.clone() };
        assert_eq!(counts(&desk, &root).await, [2, 5, 4, 2, 3, 3], "a server administrator");
        let home_id = desk.index.network(&home()).await.unwrap().id;
        let limited = Grants { only: Some(home_id), ..root };
        assert_eq!(counts(&desk, &limited).await, [1, 5, 4, 1, 2, 2], "with a token for one network");
        let work = desk.index.network(&NetworkName::parse("work").unwrap()).await.unwrap().id;
        let elsewhere = Grants { only: Some(work), ..users[0].1.clone() };
        assert_eq!(
            counts(&desk, &elsewhere).await,
            [0, 1, 0, 0, 0, 0],
            "an owner, limited to a foreign network"
        );

        // Who owns a device sees it, and where it is, without any role.
        let (stranger, grants) = &users[4];
        let third = DeviceId::of(&identity(3));
        let wishes = DeviceWishes { user_id: Some(Some(stranger.id.clone())), ..DeviceWishes::default() };
        desk.index.set_device(third, &wishes, &admin()).await.unwrap();
        assert_eq!(counts(&desk, grants).await, [0, 1, 0, 0, 1, 1], "the owner of a device");

        // At one moment, the same.
        for (user, grants) in &users {
            let seen = desk.index.seen(grants).await.unwrap();
            let counted = counts(&desk, grants).await;
            let at_once = [seen.networks.len(), seen.users.len(), seen.devices.len(), seen.members.len()];
            assert_eq!(at_once, [counted[0], counted[1], counted[4], counted[5]], "{}", user.name);
        }
    })
    .await;
}

#[tokio::test]
async fn events_of_a_network_are_for_who_administers_it_and_of_oneself_for_oneself() {
    on_both(async |desk: Desk| {
        let users = town(&desk).await;
        let page = Page::first(100);
        for ((user, grants), may) in users.iter().zip([true, true, false, false, false]) {
            let network = desk.index.network(&home()).await.unwrap().id;
            let events = desk.index.events_page(grants, &Filter::network(network), &page).await.unwrap();
            assert_eq!(!events.rows.is_empty(), may, "{}", user.name);
            let own = desk.index.events_page(grants, &Filter::default(), &page).await.unwrap();
            assert!(own.rows.iter().any(|event| event.entity_id == user.id), "{}", user.name);
            let others =
                own.rows.iter().filter(|event| event.entity_type == "user" && event.entity_id != user.id);
            assert_eq!(others.count(), 0, "{}", user.name);
        }
    })
    .await;
}

#[tokio::test]
async fn pages_have_each_row_once_also_while_rows_come_and_go() {
    on_both(async |desk: Desk| {
        for number in 0..7 {
            add(&desk, &format!("user-{number}")).await;
        }
        let root = Grants {
            user: String::new(),
            is_server_admin: true,
            roles: std::collections::BTreeMap::new(),
            only: None,
            may_write: true,
            by_token: false,
        };
        let (mut names, mut page) = (Vec::new(), Page::first(3));
        loop {
            let Listed { rows, next } =
                desk.index.users_page(&root, &Filter::default(), &page).await.unwrap();
            assert!(rows.len() <= 3);
            names.extend(rows.into_iter().map(|user| user.name.to_string()));
            // One before the place, which is not shown, and one after it, which is.
            if page.after.0.is_empty() {
                add(&desk, "anna").await;
                add(&desk, "zoe").await;
            }
            let Some(after) = next else { break };
            page.after = after;
        }
        let mut wanted: Vec<String> = (0..7).map(|number| format!("user-{number}")).collect();
        wanted.push("zoe".to_owned());
        assert_eq!(names, wanted);
        let found = Filter { query: "ER-3".parse().unwrap(), ..Filter::default() };
        let found = desk.index.users_page(&root, &found, &Page::first(9)).await.unwrap();
        assert_eq!(found.rows.len(), 1);
        let newest = desk.index.events_page(&root, &Filter::default(), &Page::first(2)).await.unwrap();
        let older = Page { after: newest.next.unwrap(), limit: 2 };
        let older = desk.index.events_page(&root, &Filter::default(), &older).await.unwrap();
        assert!(older.rows[0].id < newest.rows[1].id, "the newest first");
    })
    .await;
}

#[tokio::test]
async fn a_device_is_found_by_its_number_as_it_is_read_out_and_a_member_by_the_state_it_shows() {
    on_both(async |desk: Desk| {
        let users = town(&desk).await;
        let (grants, page) = (&users[0].1, Page::first(9));
        let home_id = desk.index.network(&home()).await.unwrap().id;
        let first = desk.index.device("device-1").await.unwrap();
        let number = first.number.to_string();
        assert!(number.contains('-'), "{number}");
        for text in
            [number.as_str(), &number.replace('-', ""), &number.replace('-', " "), &number[..7], "Vice-1"]
        {
            let filter = Filter { query: text.parse().unwrap(), ..Filter::network(home_id) };
            let devices = desk.index.devices_page(grants, &filter, &page).await.unwrap().rows;
            assert!(devices.iter().any(|device| device.id == first.id), "{text}");
            let members = desk.index.members_page(grants, &filter, &page).await.unwrap().rows;
            assert!(members.iter().any(|member| member.device == first.id), "{text}");
        }
        let nobodys = Filter { query: "000-000".parse().unwrap(), ..Filter::network(home_id) };
        assert_eq!(desk.index.devices_page(grants, &nobodys, &page).await.unwrap().rows, []);

        let off = DeviceWishes { is_suspended: Some(true), ..DeviceWishes::default() };
        desk.index.set_device(first.id, &off, &admin()).await.unwrap();
        for (state, shown) in [(MemberState::Active, "device-2"), (MemberState::Suspended, "device-1")] {
            let filter = Filter { state: Some(state), ..Filter::network(home_id) };
            let members = desk.index.members_page(grants, &filter, &page).await.unwrap().rows;
            let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
            assert_eq!(names, [shown], "{state}");
        }
    })
    .await;
}

#[tokio::test]
async fn events_of_oneself_and_of_ones_networks_are_one_list_that_is_read_in_pages() {
    on_both(async |desk: Desk| {
        let users = town(&desk).await;
        for (user, grants) in &users {
            let whole = desk.index.events_page(grants, &Filter::default(), &Page::first(400)).await.unwrap();
            assert!(whole.next.is_none() && whole.rows.is_sorted_by(|one, next| one.id > next.id));
            let (mut read, mut page) = (Vec::new(), Page::first(2));
            loop {
                let Listed { rows, next } =
                    desk.index.events_page(grants, &Filter::default(), &page).await.unwrap();
                read.extend(rows);
                let Some(after) = next else { break };
                page.after = after;
            }
            assert_eq!(read, whole.rows, "{}", user.name);
            for kind in ["member", "user"] {
                let filter = Filter { entity: Some((kind.to_owned(), None)), ..Filter::default() };
                let found = desk.index.events_page(grants, &filter, &Page::first(400)).await.unwrap().rows;
                let wanted: Vec<_> =
                    whole.rows.iter().filter(|event| event.entity_type == kind).cloned().collect();
                assert_eq!(found, wanted, "{} {kind}", user.name);
            }
        }
        let head = desk.index.events_page(&users[1].1, &Filter::default(), &Page::first(400)).await.unwrap();
        assert_eq!(head.rows.iter().filter(|event| event.code == "member.join").count(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_text_with_a_nul_is_refused_on_either_database() {
    on_both(async |desk: Desk| {
        let error = desk.index.user("a\0b").await.unwrap_err();
        assert_eq!(error.code(), "index.invalid");
        assert!(error.to_string().contains("NUL"), "{error}");
    })
    .await;
}
