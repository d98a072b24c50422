//! What every change leaves behind, and what is written about devices and the coordinator itself.

use super::*;

#[tokio::test]
async fn the_database_does_not_contain_the_invite() {
    on_both(async |desk: Desk| {
        let code = desk.invite(1).await;
        desk.index.backup(&desk.dir.path().join("copy.db"), &mut |_| {}).await.unwrap();
        desk.index.close().await;

        let mut bytes = Vec::new();
        for file in std::fs::read_dir(desk.dir.path()).unwrap() {
            bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
        }

        let text = code.to_string();
        for secret in [text.clone(), text.replace('-', ""), text.replace('-', "").to_lowercase()] {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{secret} is in the file"
            );
        }
        assert!(!bytes.windows(5).any(|window| window == code.to_bytes()));
    })
    .await;
}

#[tokio::test]
async fn a_network_that_forbids_its_members_to_relay_says_so_to_checkpoint_and_a_wish_for_what_is_changes_nothing()
 {
    on_both(async |desk: Desk| {
        let before = desk.index.network(&home()).await.unwrap();
        assert!(before.peer_relay, "members are asked one by one");
        let cursor = desk.index.snapshot().await.unwrap().cursor;
        let wishes = NetworkWishes { peer_relay: Some(false), ..NetworkWishes::default() };
        for _ in 0..2 {
            let after = desk.index.set_network(&home(), wishes.clone(), &admin()).await.unwrap();
            assert_eq!((after.peer_relay, after.revision), (false, before.revision.next()));
            assert_eq!(desk.index.network(&home()).await.unwrap(), after);
        }
        let published = desk.index.changes_after(cursor).await.unwrap();
        assert!(
            matches!(&published[..], [(_, Change::Event { .. }), (_, Change::Network(network))] if !network.peer_relay),
            "{published:?}"
        );
        assert_eq!(desk.index.audit_events(1).await.unwrap()[0].code, "network.set");

        let wishes = NetworkWishes { join_mode: Some(JoinMode::Locked), ..NetworkWishes::default() };
        let after = desk.index.set_network(&home(), wishes.clone(), &admin()).await.unwrap();
        assert_eq!(
            (after.join_mode, after.revision),
            (JoinMode::Locked, before.revision.next()),
            "no device sees it"
        );
        let nowhere = NetworkName::parse("nowhere").unwrap();
        let refused = desk.index.set_network(&nowhere, wishes, &admin()).await;
        assert!(matches!(refused, Err(IndexError::NotFound { .. })));
    })
    .await;
}

#[tokio::test]
async fn every_change_raises_the_revision_and_leaves_an_audit_and_an_outbox_row() {
    on_both(async |desk: Desk| {
        let code = desk.invite_with(1, false).await;
        let mut cursor = desk.index.snapshot().await.unwrap().cursor;
        let mut revision = desk.index.network(&home()).await.unwrap().revision;

        let steps = ["member.join", "member.approve", "member.remove"];
        for step in steps {
            match step {
                "member.join" => assert!(!is_joined(desk.join(1, Some(code)).await)),
                "member.approve" => {
                    drop(
                        desk.index
                            .judge_member(&home(), "device-1", Verdict::Approve, &admin())
                            .await
                            .unwrap(),
                    );
                }
                _ => drop(
                    desk.index.judge_member(&home(), "device-1", Verdict::Remove, &admin()).await.unwrap(),
                ),
            }
            let now = desk.index.network(&home()).await.unwrap().revision;
            assert_eq!(now, revision.next(), "{step}");
            revision = now;

            let audit = desk.index.audit_events(8).await.unwrap();
            let row = audit.iter().find(|event| event.entity_type == "member").unwrap();
            assert_eq!(row.code, step);
            assert_eq!(row.before.is_some(), step != "member.join");
            assert!(row.after.as_ref().unwrap().contains("device-1"));

            let published = desk.index.changes_after(cursor).await.unwrap();
            cursor = published.last().unwrap().0;
            let is_it = |change: &Change| match change {
                Change::Member(member) => member.revision == now && step != "member.remove",
                Change::MemberGone { revision, .. } => *revision == now && step == "member.remove",
                Change::Network(_)
                | Change::NetworkGone { .. }
                | Change::Invite { .. }
                | Change::User { .. }
                | Change::Role { .. }
                | Change::Device { .. }
                | Change::Presence { .. }
                | Change::Link { .. }
                | Change::TryAgain { .. }
                | Change::About { .. }
                | Change::Path { .. }
                | Change::Event { .. }
                | Change::Setting { .. } => false,
            };
            assert_eq!(
                published.iter().filter(|(_, change)| is_it(change)).count(),
                1,
                "{step}: {published:?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_change_leaves_revision_audit_and_outbox_alone() {
    on_both(async |desk: Desk| {
        let before =
            (desk.index.snapshot().await.unwrap().cursor, desk.index.audit_events(100).await.unwrap().len());

        desk.index.judge_member(&home(), "nobody", Verdict::Remove, &admin()).await.unwrap_err();
        desk.index.add_network(&NewNetwork::by_invite(home(), Vec::new()), &admin()).await.unwrap_err();
        assert!(!is_joined(desk.join(1, None).await));

        let after =
            (desk.index.snapshot().await.unwrap().cursor, desk.index.audit_events(100).await.unwrap().len());
        assert_eq!(before, after);
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_applies_the_outbox_ends_where_a_snapshot_is() {
    on_both(async |desk: Desk| {
        let start = desk.index.snapshot().await.unwrap();
        let code = desk.invite(3).await;
        for seed in 1..=3 {
            assert!(is_joined(desk.join(seed, Some(code)).await));
        }
        desk.index.judge_member(&home(), "device-2", Verdict::Remove, &admin()).await.unwrap();

        let mut followed = roster(start.changes);
        followed = desk.index.changes_after(start.cursor).await.unwrap().into_iter().fold(
            followed,
            |mut roster, row| {
                apply(&mut roster, row.1);
                roster
            },
        );

        assert_eq!(followed, roster(desk.index.snapshot().await.unwrap().changes));
        assert_eq!(followed.len(), 2);
    })
    .await;
}

type Roster = std::collections::BTreeMap<DeviceId, String>;

fn roster(changes: Vec<Change>) -> Roster {
    changes.into_iter().fold(Roster::new(), |mut roster, change| {
        apply(&mut roster, change);
        roster
    })
}

fn apply(roster: &mut Roster, change: Change) {
    match change {
        Change::Member(member) => {
            roster.insert(DeviceId::of(&member.identity), member.ip4.to_string());
        }
        Change::MemberGone { device, .. } => {
            roster.remove(&device);
        }
        Change::Network(_)
        | Change::NetworkGone { .. }
        | Change::Invite { .. }
        | Change::User { .. }
        | Change::Role { .. }
        | Change::Device { .. }
        | Change::Presence { .. }
        | Change::Link { .. }
        | Change::TryAgain { .. }
        | Change::About { .. }
        | Change::Path { .. }
        | Change::Event { .. }
        | Change::Setting { .. } => {}
    }
}

#[tokio::test]
async fn a_commit_wakes_the_reader_of_the_outbox() {
    on_both(async |desk: Desk| {
        desk.index.changed().await;
        let index = Arc::clone(&desk.index);
        let waiting = tokio::spawn(async move { index.changed().await });

        desk.invite(1).await;

        tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.expect("no wake-up").unwrap();
    })
    .await;
}

#[tokio::test]
async fn old_outbox_rows_go_and_numbers_are_never_used_again() {
    on_both(async |desk: Desk| {
        let newest = desk.index.snapshot().await.unwrap().cursor;
        desk.pass(48 * HOUR_MS);
        assert!(desk.index.prune_outbox().await.unwrap() > 0);

        desk.invite(1).await;

        assert!(desk.index.changes_after(newest).await.unwrap()[0].0 > newest);
    })
    .await;
}

#[tokio::test]
async fn a_rotated_tunnel_key_reaches_every_network_of_the_device() {
    on_both(async |desk: Desk| {
        let office = NetworkName::parse("office").unwrap();
        desk.index.add_network(&NewNetwork::by_invite(office.clone(), Vec::new()), &admin()).await.unwrap();
        let code = desk.invite(1).await;
        let new = NewInvite::for_devices(office.clone(), 1, HOUR_MS);
        let (_, office_code) = desk.index.add_invite(&new, &admin()).await.unwrap();
        assert!(is_joined(desk.join(1, Some(code)).await));
        let there = JoinRequest { network: office.clone(), ..request(1, Some(office_code)) };
        assert!(is_joined(desk.index.join(&there).await.unwrap()));
        let cursor = desk.index.snapshot().await.unwrap().cursor;

        let mut again = request(1, None);
        again.device.wireguard = PublicKey::from_bytes([9; 32]);
        assert!(is_joined(desk.index.join(&again).await.unwrap()));

        let mut told = Vec::new();
        for (_, change) in desk.index.changes_after(cursor).await.unwrap() {
            if let Change::Member(member) = change {
                assert_eq!(member.wireguard, again.device.wireguard);
                told.push(member.network);
            }
        }
        assert_eq!(told.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn presence_is_written_on_transitions_only() {
    on_both(async |desk: Desk| {
        let code = desk.invite(1).await;
        assert!(is_joined(desk.join(1, Some(code)).await));
        let device = DeviceId::of(&identity(1));
        let told = |online, ip: &str| [Presence { device, online, ip: Some(ip.parse().unwrap()) }];
        let row = async || desk.index.device("device-1").await.unwrap();

        desk.index.record_presence(&told(true, "198.51.100.1")).await.unwrap();
        let first = row().await;
        desk.pass(5_000);
        desk.index.record_presence(&told(true, "198.51.100.1")).await.unwrap();
        assert_eq!(row().await, first, "the same news is not written again");
        desk.index.record_presence(&told(false, "198.51.100.1")).await.unwrap();

        let last = row().await;
        assert!(first.online && !last.online);
        assert_eq!(last.last_seen_at, Some(first.last_seen_at.unwrap() + 5_000));
        assert!(desk.index.online_devices().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_device_is_found_by_number_id_and_name() {
    on_both(async |desk: Desk| {
        let code = desk.invite(2).await;
        assert!(is_joined(desk.join(1, Some(code)).await));
        let device = desk.index.device("device-1").await.unwrap();

        assert_eq!(desk.index.device(&device.number.to_string()).await.unwrap(), device);
        assert_eq!(desk.index.device(&device.id.to_string()).await.unwrap(), device);
        let error = desk.index.device("nobody").await.unwrap_err();
        assert!(error.to_string().contains("device list"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn the_admin_link_makes_one_administrator_within_an_hour() {
    on_both(async |desk: Desk| {
        let wrong = InviteCode::parse("0000-0000").unwrap();
        let new = |name: &str| NewUser { is_server_admin: true, ..NewUser::person(name.parse().unwrap()) };
        assert_eq!(desk.index.look_at_admin_link(wrong).await.unwrap(), LinkOutcome::Wrong);

        let code = desk.index.new_admin_link(&admin()).await.unwrap();
        assert_eq!(desk.index.use_admin_link(wrong, &new("anna"), "x", None).await.unwrap(), None);
        for _ in 0..2 {
            assert_eq!(desk.index.look_at_admin_link(code).await.unwrap(), LinkOutcome::Good);
        }
        let user = desk.index.use_admin_link(code, &new("anna"), "x", None).await.unwrap().unwrap();
        assert!(user.is_server_admin);
        assert_eq!(desk.index.look_at_admin_link(code).await.unwrap(), LinkOutcome::Used);
        assert_eq!(desk.index.use_admin_link(code, &new("ben"), "x", None).await.unwrap(), None);

        let code = desk.index.new_admin_link(&admin()).await.unwrap();
        let taken = desk.index.use_admin_link(code, &new("anna"), "x", None).await.unwrap_err();
        assert_eq!(taken.code(), "index.taken");
        assert_eq!(
            desk.index.look_at_admin_link(code).await.unwrap(),
            LinkOutcome::Good,
            "not spent by that"
        );
        desk.pass(LINK_LIFETIME_MS);
        assert_eq!(desk.index.look_at_admin_link(code).await.unwrap(), LinkOutcome::Expired);
        assert_eq!(desk.index.users().await.unwrap().len(), 1);
    })
    .await;
}
