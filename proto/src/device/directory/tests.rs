//! What a directory does with pages, pushes and their absence.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use lanyard_wire::checkpoint::{Availability, Change, MemberState, NetworkCard, RelayGrant};
use lanyard_wire::ids::{Channel, DeviceNumber, RequestId};
use lanyard_wire::keys::PublicKey;

use super::*;

#[test]
fn a_network_that_is_joined_arrives_with_its_members_and_no_news_about_them() {
    let mut directory = Directory::new(device(0), Vec::new());
    let ask = directory.ask(network());
    assert_eq!(ask, RosterAsk { network: network(), since: Revision::ZERO, after: None });

    assert_eq!(directory.apply_page(&ask, full(5, &[1, 2])), None);

    assert_eq!(members(&directory), [device(1), device(2)]);
    assert_eq!(directory.network(network()).unwrap().revision, Revision::new(5));
    assert_eq!(events(&mut directory), [DirectoryEvent::Changed { network: network() }]);
}

#[test]
fn a_change_that_follows_is_applied_and_told() {
    let mut directory = loaded(5, &[1]);
    directory.apply_push(push(5, 6, vec![present(2)])).unwrap();
    directory.apply_push(push(6, 7, vec![Change::Gone(device(1))])).unwrap();

    assert_eq!(members(&directory), [device(2)]);
    assert_eq!(revision(&directory), 7);
    let told = events(&mut directory);
    assert!(told.contains(&news(2, MemberChange::Joined)) && told.contains(&news(1, MemberChange::Left)));
}

#[test]
fn a_change_that_comes_twice_is_applied_once() {
    let mut directory = loaded(5, &[1]);
    directory.apply_push(push(5, 6, vec![present(2)])).unwrap();
    events(&mut directory);
    directory.apply_push(push(5, 6, vec![present(2)])).unwrap();
    assert_eq!(events(&mut directory), []);
    assert_eq!(revision(&directory), 6);
}

#[test]
fn a_gap_is_noticed_and_asked_for_from_the_revision_we_hold() {
    let mut directory = loaded(5, &[1]);
    assert_eq!(directory.apply_push(push(7, 8, vec![present(3)])), Err(network()));
    assert_eq!(members(&directory), [device(1)], "nothing is applied over a hole");
    let ask = directory.ask(network());
    assert_eq!(ask.since, Revision::new(5));

    let page = roster(5, 8, false, None, vec![present(2), present(3)]);
    assert_eq!(directory.apply_page(&ask, page), None);
    assert_eq!(members(&directory), [device(1), device(2), device(3)]);
    assert_eq!(revision(&directory), 8);
}

#[test]
fn a_change_that_was_too_large_to_push_is_asked_for() {
    let mut directory = loaded(5, &[1]);
    assert_eq!(directory.apply_push(push(5, 9, Vec::new())), Err(network()));
}

#[test]
fn a_push_about_an_unknown_network_asks_for_all_of_it() {
    let mut directory = Directory::new(device(0), Vec::new());
    assert_eq!(directory.apply_push(push(5, 6, vec![present(1)])), Err(network()));
    assert_eq!(directory.ask(network()).since, Revision::ZERO);
}

#[test]
fn a_roster_of_several_pages_is_put_together() {
    let mut directory = loaded(3, &[1, 9]);
    directory.reconcile(&[(network(), Revision::new(7))]);
    let ask = directory.ask(network());
    let first = roster(0, 7, true, Some(device(2)), vec![present(1), present(2)]);
    let next = directory.apply_page(&ask, first).unwrap();
    assert_eq!(next.after, Some(device(2)));
    assert_eq!(members(&directory).len(), 3, "whoever is on no page yet may be on the next");

    let last = roster(0, 7, true, None, vec![present(3)]);
    assert_eq!(directory.apply_page(&next, last), None);
    assert_eq!(members(&directory), [device(1), device(2), device(3)], "and whoever was on none is gone");
    assert_eq!(revision(&directory), 7);
}

#[test]
fn a_change_between_two_pages_is_asked_for_afterwards() {
    let mut directory = loaded(3, &[]);
    directory.reconcile(&[(network(), Revision::new(7))]);
    let ask = directory.ask(network());
    let next = directory.apply_page(&ask, roster(0, 7, true, Some(device(2)), vec![present(2)])).unwrap();
    assert_eq!(directory.apply_push(push(7, 8, vec![present(1)])), Err(network()));

    let again = directory.apply_page(&next, roster(0, 8, true, None, vec![present(3)])).unwrap();
    assert_eq!((again.since, again.after), (Revision::new(7), None), "the first page was older");
    assert_eq!(directory.apply_page(&again, roster(7, 8, false, None, vec![present(1)])), None);
    assert_eq!(members(&directory), [device(1), device(2), device(3)]);
    assert_eq!(revision(&directory), 8);
}

#[test]
fn the_rest_of_an_answer_without_its_beginning_is_asked_from_the_start() {
    let mut directory = loaded(3, &[1]);
    let ask = RosterAsk { network: network(), since: Revision::new(3), after: Some(device(4)) };
    let again = directory.apply_page(&ask, roster(0, 9, true, None, vec![present(5)])).unwrap();
    assert_eq!(again.after, None);
    assert_eq!(members(&directory), [device(1)]);
}

#[test]
fn a_coordinator_that_speaks_of_a_revision_and_never_shows_it_is_not_asked_for_ever() {
    let mut directory = loaded(5, &[1]);
    assert_eq!(directory.apply_push(push(98, 99, Vec::new())), Err(network()));
    let ask = directory.ask(network());
    assert_eq!(directory.apply_page(&ask, roster(5, 5, false, None, Vec::new())), None);
}

#[test]
fn a_coordinator_restored_from_a_backup_is_believed() {
    let mut directory = loaded(90, &[1, 2]);
    assert_eq!(directory.reconcile(&[(network(), Revision::new(40))]), [network()]);
    let ask = directory.ask(network());
    assert_eq!(ask.since, Revision::ZERO);
    assert_eq!(directory.apply_page(&ask, full(40, &[1])), None);
    assert_eq!((members(&directory), revision(&directory)), (vec![device(1)], 40));
}

#[test]
fn equal_revisions_are_not_asked_for() {
    let mut directory = loaded(5, &[1]);
    assert_eq!(directory.reconcile(&[(network(), Revision::new(5))]), []);
    assert_eq!(directory.reconcile(&[(network(), Revision::new(6))]), [network()]);
}

#[test]
fn a_network_that_is_not_named_is_asked_for_before_it_is_dropped() {
    let mut directory = loaded(5, &[1]);
    assert_eq!(directory.reconcile(&[]), [network()]);
    assert!(directory.network(network()).is_some());
    directory.removed_from(network());
    assert!(directory.network(network()).is_none());
    assert!(events(&mut directory).iter().any(|event| matches!(event, DirectoryEvent::RemovedFrom { .. })));
}

#[test]
fn a_removal_counts_at_once_even_over_a_gap() {
    let mut directory = loaded(5, &[1]);
    directory.apply_push(push(50, 51, vec![Change::Gone(device(0))])).unwrap();
    assert!(directory.network(network()).is_none());
}

#[test]
fn a_change_of_our_own_membership_asks_for_the_card() {
    let mut directory = loaded(5, &[1]);
    assert_eq!(directory.apply_push(push(5, 6, vec![present(0)])), Err(network()));
    let ask = directory.ask(network());
    let mut page = roster(5, 6, false, None, vec![present(0)]);
    page.network.state = MemberState::Suspended;
    assert_eq!(directory.apply_page(&ask, page), None);
    let view = directory.network(network()).unwrap();
    assert_eq!((view.card.state, view.revision), (MemberState::Suspended, Revision::new(6)));
    assert_eq!(members(&directory), [device(1)], "and we are not our own peer");
}

#[test]
fn presence_is_told_once_and_an_overtaken_push_does_not_undo_a_newer_one() {
    let mut directory = loaded(5, &[1]);
    events(&mut directory);
    directory.set_availability(
        PushId::new(2),
        &[
            (device(1), Availability::Online { prekey: None }),
            (device(7), Availability::Online { prekey: None }),
        ],
    );
    assert!(events(&mut directory).contains(&news(1, MemberChange::Online)));
    directory.set_availability(PushId::new(4), &[(device(1), Availability::Offline)]);
    assert!(events(&mut directory).contains(&news(1, MemberChange::Offline)));
    directory.set_availability(PushId::new(2), &[(device(1), Availability::Online { prekey: None })]);
    assert_eq!(events(&mut directory), [], "a repetition of the older one");

    directory.begin_session();
    directory.set_availability(PushId::new(1), &[(device(1), Availability::Online { prekey: None })]);
    assert!(directory.member(&device(1)).unwrap().1.availability.is_online(), "another session counts anew");
}

#[test]
fn whoever_a_new_session_does_not_name_is_away_after_a_while() {
    let mut directory = loaded(5, &[1, 2, 3]);
    directory.set_availability(
        PushId::new(1),
        &[
            (device(1), Availability::Online { prekey: None }),
            (device(2), Availability::Online { prekey: None }),
        ],
    );
    events(&mut directory);
    directory.begin_session();
    directory.set_availability(PushId::new(1), &[(device(1), Availability::Online { prekey: None })]);
    assert_eq!(events(&mut directory), [], "nobody seems away meanwhile");
    directory.drop_unconfirmed();
    assert!(events(&mut directory).contains(&news(2, MemberChange::Offline)));
    assert!(directory.member(&device(1)).unwrap().1.availability.is_online());
    directory.drop_unconfirmed();
    assert_eq!(events(&mut directory), []);
}

#[test]
fn what_is_written_to_disk_comes_back_with_nobody_online() {
    let mut directory = loaded(5, &[1, 2]);
    directory.set_availability(PushId::new(1), &[(device(1), Availability::Online { prekey: None })]);
    directory.set_enabled(network(), false);
    let restored = Directory::new(device(0), directory.to_cache());
    assert_eq!(members(&restored), [device(1), device(2)]);
    let view = restored.network(network()).unwrap();
    assert!(!view.enabled && view.members.values().all(|member| !member.availability.is_online()));
    assert_eq!(view.revision, Revision::new(5));
}

#[test]
fn the_grant_that_lasts_longest_opens_the_relay() {
    let mut directory = loaded(5, &[1]);
    let other = NetworkId::from_bytes([8; 16]);
    let mut page = full(1, &[1]);
    page.network.id = other;
    let Some(Change::Present(member)) = page.changes.first_mut() else { panic!() };
    member.relay.expires_s += 100;
    let ask = directory.ask(other);
    directory.apply_page(&ask, page);
    let token = directory.grant_of(&device(1)).unwrap();
    assert_eq!((token.expires_s, token.other(device(0))), (1_100, Some(device(1))));
    assert_eq!(directory.grant_of(&device(5)), None);
}

fn loaded(revision: u64, numbers: &[u8]) -> Directory {
    let mut directory = Directory::new(device(0), Vec::new());
    let ask = directory.ask(network());
    assert_eq!(directory.apply_page(&ask, full(revision, numbers)), None);
    events(&mut directory);
    directory
}

fn full(revision: u64, numbers: &[u8]) -> Roster {
    roster(0, revision, true, None, numbers.iter().copied().map(present).collect())
}

fn roster(from: u64, to: u64, full: bool, next: Option<DeviceId>, changes: Vec<Change>) -> Roster {
    let network = NetworkCard {
        id: network(),
        name: NetworkName::parse("home").unwrap(),
        prefix4: (Ipv4Addr::new(10, 7, 0, 0), 24),
        prefix6: "fd00:7::".parse().unwrap(),
        ip4: Ipv4Addr::new(10, 7, 0, 100),
        ip6: "fd00:7::100".parse().unwrap(),
        state: MemberState::Active,
        peer_relay: true,
    };
    let (from, to) = (Revision::new(from), Revision::new(to));
    Roster { request: RequestId::new(1), network, from, to, full, next, changes }
}

fn push(from: u64, to: u64, changes: Vec<Change>) -> RosterChanged {
    let (from, to) = (Revision::new(from), Revision::new(to));
    RosterChanged { push: PushId::new(1), network: network(), from, to, changes }
}

fn present(number: u8) -> Change {
    Change::Present(Member {
        identity: identity(number),
        number: DeviceNumber::new(u32::from(number)).unwrap(),
        wireguard: PublicKey::from_bytes([number + 100; 32]),
        name: name(number),
        ip4: Ipv4Addr::new(10, 7, 0, number),
        ip6: "fd00:7::1".parse().unwrap(),
        availability: Availability::Offline,
        relay: RelayGrant {
            channel: Channel::new(u64::from(number)).unwrap(),
            expires_s: 1_000,
            mac: [0; 16],
        },
    })
}

fn news(number: u8, change: MemberChange) -> DirectoryEvent {
    DirectoryEvent::Member { network: network(), device: device(number), name: name(number), change }
}

fn members(directory: &Directory) -> Vec<DeviceId> {
    // Ids are hashes: brought back into the order of the numbers.
    let all: Vec<DeviceId> = (0..20).map(device).collect();
    all.into_iter().filter(|device| directory.member(device).is_some()).collect()
}

fn revision(directory: &Directory) -> u64 {
    directory.network(network()).unwrap().revision.value()
}

fn events(directory: &mut Directory) -> Vec<DirectoryEvent> {
    core::iter::from_fn(|| directory.poll_event()).collect()
}

fn network() -> NetworkId {
    NetworkId::from_bytes([7; 16])
}

fn identity(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn device(number: u8) -> DeviceId {
    DeviceId::of(&identity(number))
}

fn name(number: u8) -> DeviceName {
    DeviceName::parse(&alloc::format!("device-{number}")).unwrap()
}
