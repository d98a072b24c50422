//! How devices come in, wait, are turned down and go.

use super::*;

#[tokio::test]
async fn an_invite_lets_a_device_in_with_addresses_of_the_network() {
    on_both(async |desk: Desk| {
        let code = desk.invite(1).await;

        assert!(is_joined(desk.join(1, Some(code)).await));

        let network = desk.index.network(&home()).await.unwrap();
        let member = desk.index.members_of(&home(), false).await.unwrap().remove(0);
        assert!(network.prefix4.contains(member.ip4.unwrap()), "{member:?}");
        assert_eq!(member.ip6.unwrap().segments()[..4], network.prefix6.segments()[..4]);
        assert_eq!((member.name.as_str(), member.state), ("device-1", MemberState::Active));
        assert_eq!(network.active, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_invite_for_one_is_redeemed_once_under_two_hundred_tries_from_two_processes() {
    on_both(async |desk: Desk| {
        let other = Arc::new(open_at(&desk.database, Schema::Require, &desk.time).await);
        let code = desk.invite(1).await;

        let tries: Vec<_> = (0..200)
            .map(|seed| {
                let index = if seed % 2 == 0 { Arc::clone(&desk.index) } else { Arc::clone(&other) };
                tokio::spawn(async move { index.join(&request(seed, Some(code))).await.unwrap() })
            })
            .collect();
        let mut joined = 0;
        for one in tries {
            let outcome = one.await.unwrap();
            if is_joined(outcome) {
                joined += 1;
            } else {
                assert_eq!(outcome, JoinOutcome::Refused(JoinRefusal::InviteUsedUp));
            }
        }

        assert_eq!(joined, 1);
        let invite = desk.index.invites(None).await.unwrap().remove(0);
        assert_eq!((invite.uses, invite.max_uses), (1, 1));
        assert_eq!(desk.index.members_of(&home(), true).await.unwrap().len(), 1);
        assert_eq!(desk.index.devices().await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn joining_again_changes_nothing_and_spends_no_invite() {
    on_both(async |desk: Desk| {
        let code = desk.invite(1).await;
        assert!(is_joined(desk.join(1, Some(code)).await));
        let before = desk.index.members_of(&home(), true).await.unwrap();

        assert!(is_joined(desk.join(1, Some(code)).await));
        assert!(is_joined(desk.join(1, None).await));

        assert_eq!(desk.index.members_of(&home(), true).await.unwrap(), before);
        assert_eq!(desk.index.invites(None).await.unwrap()[0].uses, 1);
    })
    .await;
}

#[tokio::test]
async fn a_device_without_a_good_invite_stays_out_and_leaves_no_trace() {
    on_both(async |desk: Desk| {
        let refused = |outcome| match outcome {
            JoinOutcome::Refused(why) => why,
            other @ (JoinOutcome::Joined { .. } | JoinOutcome::Pending { .. }) => panic!("let in: {other:?}"),
        };
        let wrong = InviteCode::parse("0000-0000").unwrap();
        assert_eq!(refused(desk.join(1, None).await), JoinRefusal::InvalidInvite);
        assert_eq!(refused(desk.join(1, Some(wrong)).await), JoinRefusal::InvalidInvite);

        let revoked = desk.invite(5).await;
        desk.index.revoke_invite(&revoked.to_string(), &admin()).await.unwrap();
        assert_eq!(refused(desk.join(1, Some(revoked)).await), JoinRefusal::InvalidInvite);

        let old = desk.invite(5).await;
        desk.pass(HOUR_MS);
        assert_eq!(refused(desk.join(1, Some(old)).await), JoinRefusal::InviteExpired);

        let elsewhere = JoinRequest { network: NetworkName::parse("office").unwrap(), ..request(1, None) };
        assert_eq!(refused(desk.index.join(&elsewhere).await.unwrap()), JoinRefusal::UnknownNetwork);
        assert!(desk.index.devices().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_invite_opens_its_own_network_only() {
    on_both(async |desk: Desk| {
        let office = NetworkName::parse("office").unwrap();
        desk.index.add_network(&NewNetwork::by_invite(office.clone(), Vec::new()), &admin()).await.unwrap();
        let code = desk.invite(1).await;

        let outcome =
            desk.index.join(&JoinRequest { network: office, ..request(1, Some(code)) }).await.unwrap();

        assert_eq!(outcome, JoinOutcome::Refused(JoinRefusal::InvalidInvite));
    })
    .await;
}

#[tokio::test]
async fn a_request_waits_until_an_administrator_decides() {
    on_both(async |desk: Desk| {
        let code = desk.invite_with(2, false).await;
        assert!(matches!(desk.join(1, Some(code)).await, JoinOutcome::Pending { .. }));
        assert!(matches!(desk.join(2, Some(code)).await, JoinOutcome::Pending { .. }));
        assert!(
            matches!(desk.join(1, None).await, JoinOutcome::Pending { .. }),
            "asking again keeps the place"
        );

        desk.index.judge_member(&home(), "device-1", Verdict::Approve, &admin()).await.unwrap();
        desk.index.judge_member(&home(), "device-2", Verdict::Deny, &admin()).await.unwrap();

        assert!(is_joined(desk.join(1, None).await));
        assert_eq!(desk.join(2, None).await, JoinOutcome::Refused(JoinRefusal::Denied));
        let fresh = desk.invite(1).await;
        assert_eq!(
            desk.join(2, Some(fresh)).await,
            JoinOutcome::Refused(JoinRefusal::Denied),
            "denied stays denied"
        );
        let expected =
            [("device-1".to_owned(), MemberState::Active), ("device-2".to_owned(), MemberState::Denied)];
        assert_eq!(desk.states().await, expected);
    })
    .await;
}

#[tokio::test]
async fn a_network_that_takes_requests_keeps_a_bounded_queue() {
    on_both(async |desk: Desk| {
        let mut open = NewNetwork::by_invite(NetworkName::parse("open").unwrap(), Vec::new());
        open.join_mode = JoinMode::Request;
        desk.index.add_network(&open, &admin()).await.unwrap();
        let ask = |seed| JoinRequest { network: open.slug.clone(), ..request(seed, None) };

        for seed in 0..64 {
            assert!(matches!(desk.index.join(&ask(seed)).await.unwrap(), JoinOutcome::Pending { .. }));
        }

        assert_eq!(desk.index.join(&ask(64)).await.unwrap(), JoinOutcome::Refused(JoinRefusal::Full));
    })
    .await;
}

#[tokio::test]
async fn a_locked_network_takes_nobody_not_even_with_an_invite() {
    on_both(async |desk: Desk| {
        let mut locked = NewNetwork::by_invite(NetworkName::parse("vault").unwrap(), Vec::new());
        locked.join_mode = JoinMode::Locked;
        desk.index.add_network(&locked, &admin()).await.unwrap();
        let new = NewInvite::for_devices(locked.slug.clone(), 1, HOUR_MS);
        let (_, code) = desk.index.add_invite(&new, &admin()).await.unwrap();

        let outcome =
            desk.index.join(&JoinRequest { network: locked.slug, ..request(1, Some(code)) }).await.unwrap();

        assert_eq!(outcome, JoinOutcome::Refused(JoinRefusal::Locked));
    })
    .await;
}

#[tokio::test]
async fn a_removed_member_needs_another_invite_and_one_that_left_does_not() {
    on_both(async |desk: Desk| {
        let code = desk.invite(9).await;
        assert!(is_joined(desk.join(1, Some(code)).await));
        assert!(is_joined(desk.join(2, Some(code)).await));
        let network = desk.index.network(&home()).await.unwrap().id;
        let left = DeviceId::of(&identity(2));

        desk.index.judge_member(&home(), "device-1", Verdict::Remove, &admin()).await.unwrap();
        desk.index.leave(network, left, &Actor::device(left, None)).await.unwrap();
        desk.index.leave(network, left, &Actor::device(left, None)).await.unwrap();

        assert_eq!(desk.join(1, None).await, JoinOutcome::Refused(JoinRefusal::InvalidInvite));
        assert_eq!(desk.join(1, Some(code)).await, JoinOutcome::Refused(JoinRefusal::Denied));
        assert!(is_joined(desk.join(2, Some(code)).await));
        let another = desk.invite(1).await;
        assert!(is_joined(desk.join(1, Some(another)).await));
    })
    .await;
}

#[tokio::test]
async fn the_address_of_a_removed_member_returns_to_the_pool_after_thirty_days() {
    on_both(async |desk: Desk| {
        let code = desk.invite(9).await;
        assert!(is_joined(desk.join(1, Some(code)).await));
        let address = async |name: &str| {
            let members = desk.index.members_of(&home(), true).await.unwrap();
            members.into_iter().find(|member| member.name.as_str() == name).unwrap().ip4
        };
        let freed = address("device-1").await;
        desk.index.judge_member(&home(), "device-1", Verdict::Remove, &admin()).await.unwrap();

        assert!(is_joined(desk.join(2, Some(code)).await));
        assert_ne!(address("device-2").await, freed, "given out again at once");

        desk.pass(ADDRESS_REST_MS + 1);
        let code = desk.invite(1).await;
        assert!(is_joined(desk.join(3, Some(code)).await));
        assert_eq!(address("device-3").await, freed);
        assert_eq!(address("device-1").await, None, "the row stays for the record");
    })
    .await;
}

#[tokio::test]
async fn a_second_device_of_one_name_gets_a_number() {
    on_both(async |desk: Desk| {
        let code = desk.invite(3).await;
        for seed in 1..=3 {
            let mut request = request(seed, Some(code));
            request.device.name = DeviceName::parse("nas").unwrap();
            assert!(is_joined(desk.index.join(&request).await.unwrap()));
        }
        let names: Vec<String> = desk.states().await.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["nas", "nas-2", "nas-3"]);
    })
    .await;
}

#[tokio::test]
async fn a_full_network_says_so() {
    on_both(async |desk: Desk| {
        let mut small = NewNetwork::by_invite(NetworkName::parse("small").unwrap(), Vec::new());
        small.prefix4 = Some("10.61.7.0/30".parse().unwrap());
        desk.index.add_network(&small, &admin()).await.unwrap();
        let new = NewInvite::for_devices(small.slug.clone(), 9, HOUR_MS);
        let (_, code) = desk.index.add_invite(&new, &admin()).await.unwrap();
        let ask = |seed| JoinRequest { network: small.slug.clone(), ..request(seed, Some(code)) };

        assert!(is_joined(desk.index.join(&ask(1)).await.unwrap()));
        assert!(is_joined(desk.index.join(&ask(2)).await.unwrap()));

        assert_eq!(desk.index.join(&ask(3)).await.unwrap(), JoinOutcome::Refused(JoinRefusal::Full));
        assert_eq!(desk.index.devices().await.unwrap().len(), 2, "a refusal writes nothing");
    })
    .await;
}

#[tokio::test]
async fn the_first_device_that_already_routes_the_prefix_gets_the_network_another_one() {
    on_both(async |desk: Desk| {
        let code = desk.invite(2).await;
        let before = desk.index.network(&home()).await.unwrap();
        let mut first = request(1, Some(code));
        first.device.local_prefixes = vec![before.prefix4, "10.0.0.0/9".parse().unwrap()];

        assert!(is_joined(desk.index.join(&first).await.unwrap()));

        let after = desk.index.network(&home()).await.unwrap();
        assert!(
            !first.device.local_prefixes.iter().any(|prefix| overlap(*prefix, after.prefix4)),
            "{}",
            after.prefix4
        );
        let member = desk.index.members_of(&home(), false).await.unwrap().remove(0);
        assert!(after.prefix4.contains(member.ip4.unwrap()));
        // With a member in it the prefix stays, whatever the next device reports.
        let mut second = request(2, Some(code));
        second.device.local_prefixes = vec![after.prefix4];
        assert!(is_joined(desk.index.join(&second).await.unwrap()));
        assert_eq!(desk.index.network(&home()).await.unwrap().prefix4, after.prefix4);
    })
    .await;
}

#[tokio::test]
async fn a_new_network_avoids_what_devices_reported_and_other_networks() {
    on_both(async |desk: Desk| {
        let code = desk.invite(1).await;
        let mut first = request(1, Some(code));
        first.device.local_prefixes = vec!["10.128.0.0/9".parse().unwrap(), "10.0.0.0/10".parse().unwrap()];
        assert!(is_joined(desk.index.join(&first).await.unwrap()));
        let mut taken: Vec<Ipv4Network> = first.device.local_prefixes.clone();
        taken.push(desk.index.network(&home()).await.unwrap().prefix4);

        for number in 0..20 {
            let slug = NetworkName::parse(&format!("net-{number}")).unwrap();
            let network =
                desk.index.add_network(&NewNetwork::by_invite(slug, Vec::new()), &admin()).await.unwrap();
            assert!(!taken.iter().any(|prefix| overlap(*prefix, network.prefix4)), "{}", network.prefix4);
            taken.push(network.prefix4);
        }
    })
    .await;
}

#[tokio::test]
async fn a_device_with_another_devices_tunnel_key_is_refused() {
    on_both(async |desk: Desk| {
        let code = desk.invite(2).await;
        assert!(is_joined(desk.join(1, Some(code)).await));
        let mut thief = request(2, Some(code));
        thief.device.wireguard = request(1, None).device.wireguard;

        assert_eq!(desk.index.join(&thief).await.unwrap(), JoinOutcome::Refused(JoinRefusal::Denied));
        assert_eq!(desk.index.invites(None).await.unwrap()[0].uses, 1);
    })
    .await;
}

#[tokio::test]
async fn a_name_that_reads_like_another_devices_id_or_number_draws_no_verdict_to_its_bearer() {
    on_both(async |desk: Desk| {
        let code = desk.invite_with(3, false).await;
        desk.join(1, Some(code)).await;
        let first = desk.index.members_of(&home(), true).await.unwrap().remove(0);
        for (seed, name) in [(2, first.device.to_string()), (3, first.number.to_string())] {
            let mut wish = request(seed, Some(code));
            wish.device.name = DeviceName::parse(&name).unwrap();
            desk.index.join(&wish).await.unwrap();
        }
        let judge = async |name: &str, verdict| {
            let judged = desk.index.judge_member(&home(), name, verdict, &admin()).await.unwrap();
            (judged.device, judged.state)
        };
        for name in [first.device.to_string(), first.number.to_string()] {
            for (verdict, state) in [
                (Verdict::Approve, MemberState::Active),
                (Verdict::Remove, MemberState::Left),
                (Verdict::Approve, MemberState::Active),
                (Verdict::Deny, MemberState::Denied),
            ] {
                assert_eq!(judge(&name, verdict).await, (first.device, state), "{name} {verdict:?}");
            }
            assert_eq!(desk.index.device(&name).await.unwrap().id, first.device, "{name}");
        }
        let waiting = desk.index.members_of(&home(), false).await.unwrap();
        assert_eq!(waiting.len(), 2);
        assert!(waiting.iter().all(|member| member.state == MemberState::Pending), "{waiting:?}");
        // By an id of their own they are approved like any other.
        let third = DeviceId::of(&identity(3));
        assert_eq!(judge(&third.to_string(), Verdict::Approve).await, (third, MemberState::Active));
    })
    .await;
}
