//! Metadata: who writes and reads it, and what queries find for whom.

use super::super::audit::Via;
use super::super::authority::{Grants, Role};
use super::super::edits::{DeviceWishes, MemberWishes};
use super::super::lists::{Filter, Page};
use super::super::metadata::{ENTRIES_MAX, Key, Kind, Subject, Visibility, Wish};
use super::super::query::{Field, Query};
use super::*;

const ALL: [Visibility; 4] = [Visibility::Own, Visibility::Admins, Visibility::Members, Visibility::Public];

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn set(name: &str, value: &str, visibility: Visibility) -> (Key, Wish) {
    (key(name), Wish::Set(value.to_owned(), Some(visibility)))
}

/// "home" with two devices, the first of which belongs to "member"; users of each role; and "work" with a third device.
struct Town {
    desk: Desk,
    users: Vec<(&'static str, Grants)>,
}

impl Town {
    async fn build(desk: Desk) -> Self {
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
            let user = desk.index.add_user(&NewUser::person(name.parse().unwrap()), &admin()).await.unwrap();
            if role.is_some() {
                desk.index.set_role(&home(), name, role, None, &admin()).await.unwrap();
            }
            if name == "member" {
                let wishes = DeviceWishes { user_id: Some(Some(user.id.clone())), ..DeviceWishes::default() };
                desk.index.set_device(DeviceId::of(&identity(1)), &wishes, &admin()).await.unwrap();
            }
            users.push((name, desk.index.grants(&user).await.unwrap()));
        }
        let new = NewUser { is_server_admin: true, ..NewUser::person("root".parse().unwrap()) };
        let root = desk.index.add_user(&new, &admin()).await.unwrap();
        let root = desk.index.grants(&root).await.unwrap();
        let limited = Grants { only: Some(desk.index.network(&home()).await.unwrap().id), ..root.clone() };
        users.extend([("root", root), ("limited", limited)]);
        Self { desk, users }
    }

    fn grants(&self, name: &str) -> &Grants {
        &self.users.iter().find(|(user, _)| *user == name).unwrap().1
    }

    async fn device(&self, seed: u32) -> Subject {
        let device = self.desk.index.device(&DeviceId::of(&identity(seed)).to_string()).await.unwrap();
        Subject::Device { id: device.id, owner: device.user_id }
    }

    async fn member(&self, name: &str) -> Subject {
        let member = self.desk.index.member_named(&home(), name).await.unwrap();
        Subject::Member { id: member.id, network: member.network_id, owner: member.owner }
    }

    async fn write(&self, subject: &Subject, wishes: &[(Key, Wish)]) {
        self.desk.index.set_metadata(subject, wishes, &admin()).await.unwrap();
    }

    /// The names of what a query finds for somebody.
    async fn find(&self, kind: Kind, user: &str, query: &str) -> Vec<String> {
        let filter = Filter { query: query.parse().unwrap(), ..Filter::default() };
        let (index, page, grants) = (&self.desk.index, Page::first(100), self.grants(user));
        let names: Result<Vec<String>> = async {
            Ok(match kind {
                Kind::Device => {
                    let found = index.devices_page(grants, &filter, &page).await?.rows;
                    found.into_iter().map(|row| row.name.to_string()).collect()
                }
                Kind::Member => {
                    let found = index.members_page(grants, &filter, &page).await?.rows;
                    found.into_iter().map(|row| row.name.to_string()).collect()
                }
                Kind::User => {
                    let found = index.users_page(grants, &filter, &page).await?.rows;
                    found.into_iter().map(|row| row.name.to_string()).collect()
                }
                Kind::Network => {
                    let found = index.networks_page(grants, &filter, &page).await?.rows;
                    found.into_iter().map(|row| row.slug.to_string()).collect()
                }
            })
        }
        .await;
        names.unwrap_or_else(|error| panic!("{kind} {query}: {error}"))
    }
}

/// How many of the four visibilities each user reads, in the order of [`Town::users`].
async fn readable(town: &Town, subject: &Subject) -> Vec<usize> {
    let mut counts = Vec::new();
    for (_, grants) in &town.users {
        let read = town.desk.index.metadata(subject, Some(grants)).await.unwrap();
        counts.push(read.iter().filter(|entry| entry.key.as_str().starts_with("v-")).count());
    }
    counts
}

#[tokio::test]
async fn everybody_reads_and_finds_what_is_meant_for_them_and_no_more() {
    on_both(async |desk: Desk| {
        let town = Town::build(desk).await;
        let user = town.desk.index.user("member").await.unwrap().id;
        let network = town.desk.index.network(&home()).await.unwrap().id;
        // owner, head, member, guest, stranger, root, root with a token for "home" alone.
        let cases = [
            (town.device(1).await, Kind::Device, [3, 3, 4, 2, 1, 4, 3]),
            (town.device(2).await, Kind::Device, [3, 3, 2, 2, 1, 4, 3]),
            (town.member("device-1").await, Kind::Member, [3, 3, 4, 2, 1, 4, 3]),
            (Subject::Network(network), Kind::Network, [4, 3, 2, 2, 1, 4, 4]),
            (Subject::User(user), Kind::User, [3, 3, 4, 2, 1, 4, 3]),
        ];
        for (subject, kind, wanted) in cases {
            let wishes: Vec<_> =
                ALL.iter().map(|who| set(&format!("v-{who}"), &format!("Wert {who}"), *who)).collect();
            town.write(&subject, &wishes).await;
            assert_eq!(readable(&town, &subject).await, wanted, "{subject:?}");
            // What somebody may read is what finds it for them, where they may know of it at all.
            for ((name, _), count) in town.users.iter().zip(wanted) {
                let knows = !town.find(kind, name, &format!("id:{}", subject.place().1)).await.is_empty();
                let mut found = 0;
                for who in ALL {
                    found += usize::from(
                        !town.find(kind, name, &format!("v-{who}:\"WERT {who}\"")).await.is_empty(),
                    );
                    let anywhere = town.find(kind, name, &format!("\"wert {who}\"")).await.len();
                    let by_key = town.find(kind, name, &format!("v-{who}:*")).await.len();
                    assert_eq!(anywhere, by_key, "{kind} {name} {who}");
                }
                assert_eq!(found, if knows { count } else { 0 }, "{kind} for {name}");
            }
            let gone: Vec<_> = ALL.iter().map(|who| (key(&format!("v-{who}")), Wish::Unset)).collect();
            town.write(&subject, &gone).await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_may_write_writes_and_everybody_else_is_refused() {
    on_both(async |desk: Desk| {
        let town = Town::build(desk).await;
        let user = town.desk.index.user("member").await.unwrap().id;
        let network = town.desk.index.network(&home()).await.unwrap().id;
        let cases = [
            (town.device(1).await, &["member", "root"][..]),
            (town.device(2).await, &["root"]),
            (town.member("device-1").await, &["owner", "head", "member", "root", "limited"]),
            (town.member("device-2").await, &["owner", "head", "root", "limited"]),
            (Subject::Network(network), &["owner", "head", "root", "limited"]),
            (Subject::User(user), &["member", "root"]),
        ];
        for (subject, may) in cases {
            for (name, grants) in &town.users {
                let actor = Actor::user(grants.clone(), Via::Api, None);
                let wishes = [set("by", name, Visibility::Public)];
                let written = town.desk.index.set_metadata(&subject, &wishes, &actor).await;
                if may.contains(name) {
                    assert_eq!(written.unwrap()[0].value, *name, "{subject:?}");
                } else {
                    assert_eq!(written.unwrap_err().code(), "index.forbidden", "{subject:?} by {name}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn entries_are_written_all_or_none_bounded_and_audited() {
    on_both(async |desk: Desk| {
        let town = Town::build(desk).await;
        let (index, subject) = (&town.desk.index, town.device(2).await);
        let wrong = [set("site", "berlin", Visibility::Members), set("x", "a\nb", Visibility::Members)];
        assert_eq!(index.set_metadata(&subject, &wrong, &admin()).await.unwrap_err().code(), "index.invalid");
        assert!(index.metadata(&subject, None).await.unwrap().is_empty());
        let many: Vec<_> =
            (0..=ENTRIES_MAX).map(|n| set(&format!("k{n}"), "v", Visibility::Members)).collect();
        assert_eq!(index.set_metadata(&subject, &many, &admin()).await.unwrap_err().code(), "index.invalid");
        assert_eq!(index.set_metadata(&subject, &many[1..], &admin()).await.unwrap().len(), ENTRIES_MAX);

        // Who may read an entry stays, where only its value is said; what changes nothing is no event.
        town.write(&subject, &[set("k1", "v", Visibility::Admins)]).await;
        let value_only = [(key("k1"), Wish::Set("w".to_owned(), None))];
        let written = index.set_metadata(&subject, &value_only, &admin()).await.unwrap();
        assert_eq!(
            written.iter().find(|entry| entry.key == key("k1")).unwrap().visibility,
            Visibility::Admins
        );
        let newest = index.audit_events(1).await.unwrap().remove(0);
        assert_eq!((newest.code.as_str(), newest.entity_type.as_str()), ("metadata.set", "device"));
        index.set_metadata(&subject, &value_only, &admin()).await.unwrap();
        assert_eq!(index.audit_events(1).await.unwrap()[0].id, newest.id);
    })
    .await;
}

#[tokio::test]
async fn queries_find_by_every_field() {
    on_both(async |desk: Desk| {
        let town = Town::build(desk).await;
        let index = &town.desk.index;
        let tags = |tags: &[&str]| MemberWishes {
            tags: Some(tags.iter().map(|tag| tag.parse().unwrap()).collect()),
            ..MemberWishes::default()
        };
        index.set_member(&home(), "device-2", tags(&["nas", "build"]), &admin()).await.unwrap();
        town.write(&town.device(2).await, &[set("site", "Berlin", Visibility::Members)]).await;
        town.write(&town.member("device-1").await, &[set("desk", "Ä 50%", Visibility::Members)]).await;
        let member = index.user("member").await.unwrap().id;
        index.set_group(&home(), &"family".parse().unwrap(), &[member], &admin()).await.unwrap();
        index.judge_member(&home(), "device-2", Verdict::Suspend, &admin()).await.unwrap();
        let second = index.device(&DeviceId::of(&identity(2)).to_string()).await.unwrap();
        let ip = index.member_named(&home(), "device-2").await.unwrap().ip4.unwrap();

        let (one, two) = (vec!["device-1"], vec!["device-2"]);
        let (id, number) = (format!("id:{}", second.id), format!("number:{}", second.number));
        let ip = format!("ip:{ip}");
        let cases: &[(&str, &[&str])] = &[
            ("", &["device-1", "device-2", "device-3"]),
            ("device", &["device-1", "device-2", "device-3"]),
            ("DEVICE-2", &two),
            (&id, &two),
            (&number, &two),
            (&ip, &two),
            ("os:linux net:home", &["device-1", "device-2"]),
            ("net:work,home -name:device-2", &["device-1", "device-3"]),
            ("tag:nas", &two),
            ("tag:nas tag:build", &two),
            ("-tag:nas", &["device-1", "device-3"]),
            ("tag:na", &[]),
            ("owner:memb", &one),
            ("user:nobody", &[]),
            ("group:family", &one),
            ("-owner:member", &["device-2", "device-3"]),
            ("is:online", &["device-1", "device-2", "device-3"]),
            ("is:offline", &[]),
            ("is:pending", &[]),
            ("is:active net:home -tag:nas", &one),
            ("site:berlin", &two),
            ("site:ber", &[]),
            ("site:ber*,paris", &two),
            ("site:*", &two),
            ("-site:*", &["device-1", "device-3"]),
            ("berlin", &two),
            ("desk:\"ä 50%\"", &one),
            ("desk:\"ä 5_%\"", &[]),
            ("version:0.1", &["device-1", "device-2", "device-3"]),
        ];
        for (query, wanted) in cases {
            assert_eq!(town.find(Kind::Device, "root", query).await, *wanted, "{query}");
        }
        let members: &[(&str, &[&str])] = &[
            ("is:suspended", &two),
            ("tag:nas,web", &two),
            ("site:berlin", &two),
            ("desk:*", &one),
            ("is:mine", &[]),
            ("net:work", &["device-3"]),
        ];
        for (query, wanted) in members {
            assert_eq!(town.find(Kind::Member, "root", query).await, *wanted, "{query}");
        }
        assert_eq!(town.find(Kind::Member, "member", "is:mine").await, one);
        assert_eq!(town.find(Kind::User, "root", "net:home -name:owner").await, ["guest", "head", "member"]);
        assert_eq!(town.find(Kind::User, "head", "group:family").await, ["member"]);
        assert_eq!(town.find(Kind::Network, "root", "owner:owner").await, ["home"]);
        assert_eq!(town.find(Kind::Network, "owner", "is:mine").await, ["home"]);

        // By what they may not see, nothing is found.
        for query in ["net:work", "group:nobody", "ip:10."] {
            let found = town.find(Kind::Device, "guest", query).await;
            assert!(!found.contains(&"device-3".to_owned()), "{query}: {found:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn every_field_of_every_kind_runs_or_is_refused_with_a_reason() {
    on_both(async |desk: Desk| {
        let town = Town::build(desk).await;
        let fields = [
            Field::Id,
            Field::Name,
            Field::Number,
            Field::Os,
            Field::Version,
            Field::Owner,
            Field::Net,
            Field::Tag,
            Field::Group,
            Field::Ip,
        ];
        let states = ["online", "offline", "suspended", "pending", "active", "admin", "disabled", "mine"];
        let queries = fields.map(|field| format!("{field}:x -{field}:y,z"));
        let queries = queries.into_iter().chain(states.map(|state| format!("is:{state} -is:{state}")));
        for query in queries {
            let filter = Filter { query: query.parse::<Query>().unwrap(), ..Filter::default() };
            let (index, page, grants) = (&town.desk.index, Page::first(1), town.grants("guest"));
            let outcomes = [
                index.devices_page(grants, &filter, &page).await.map(drop),
                index.members_page(grants, &filter, &page).await.map(drop),
                index.users_page(grants, &filter, &page).await.map(drop),
                index.networks_page(grants, &filter, &page).await.map(drop),
            ];
            for outcome in outcomes {
                match outcome {
                    Ok(()) => {}
                    Err(error) => assert_eq!(error.code(), "index.query", "{query}: {error}"),
                }
            }
        }
    })
    .await;
}
