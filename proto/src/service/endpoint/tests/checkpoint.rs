//! CHECKPOINT: who is told what, when, and who is told nothing.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::body::DeviceBody;
use lanyard_wire::checkpoint::{
    BeginOutcome, Change, Consent, FromCheckpoint, Join, JoinOutcome, JoinRefusal, LinkPath, LinkReport,
    Links, MemberState, PairCode, PairVerdict, Roster, RosterAsk, ToCheckpoint,
};
use lanyard_wire::codec::Wire as _;
use lanyard_wire::handshake::{Method, Offer, ToHandshake};
use lanyard_wire::ids::{AttemptId, DeviceId, NetworkId, RequestId, Revision};
use lanyard_wire::keys::PublicKey;
use lanyard_wire::limits::BODY_MAX;
use lanyard_wire::names::{DeviceName, NetworkName};
use lanyard_wire::nat::NatCard;
use lanyard_wire::session::FromDevice;

use super::world::{World, addr, elsewhere, network, network_record, register, request};
use crate::rejected::Rejected;
use crate::service::{EndpointCommand, EndpointEvent};

const MOMENT: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_member_registers_and_learns_its_number_its_address_and_revisions() {
    let mut world = World::with_members(1);
    world.clients[0].addr = elsewhere();
    world.ask(0, register()).unwrap();
    let registered = world.registered(0);
    assert_eq!(registered.number.unwrap().value(), 10);
    assert_eq!(registered.observed, elsewhere());
    assert_eq!(registered.networks, [(network(), world.revision())]);
    assert_eq!((registered.services.handshake.len(), registered.services.relay.len()), (1, 1));
    // Its ticket is good.
    let secret = world.clients[0].ticket.take().unwrap().1;
    world.clients[0].ticket = Some((registered.ticket, secret));
    world.resume(0);
}

#[test]
fn a_coordinator_that_just_started_says_nothing_of_memberships_until_it_knows_them_all() {
    let mut before = World::with_members(2);
    let mut world = World::starting();
    world.clients.append(&mut before.clients);
    world.said = vec![Vec::new(), Vec::new()];
    world.resume(0);
    world.clients[0].addr = elsewhere();
    world.ask(0, register()).unwrap();
    for message in [
        roster_ask(Revision::ZERO, None),
        ToCheckpoint::Begin { request: request(1), peer: world.clients[1].id },
        ToCheckpoint::Leave { request: request(2), network: network() },
    ] {
        assert_eq!(world.ask(0, message), Err(Rejected::NotReady));
    }
    assert_eq!(world.told(0), [], "nothing, so that nobody takes itself for removed");
    world.command(EndpointCommand::Network(network_record(1)));
    for at in 0..2 {
        world.put(at, MemberState::Active);
    }
    world.command(EndpointCommand::RosterComplete);
    let registered = world.registered(0);
    assert_eq!(registered.networks, [(network(), world.revision())]);
    assert_eq!(registered.observed, elsewhere());
    assert_eq!(roster(&mut world, 0, Revision::ZERO).changes.len(), 1);
}

#[test]
fn a_member_is_believed_about_a_pair_that_it_is_one_end_of() {
    let mut world = World::with_members(2);
    let verdict = verdict_about(world.clients[1].id);
    world.settle_down();
    world.ask(0, ToCheckpoint::PairVerdict(verdict)).unwrap();
    let device = world.clients[0].id;
    assert_eq!(world.events, [EndpointEvent::PairVerdict { device, verdict }]);
    assert_eq!(world.told(0), [], "nothing waits for it");
}

#[test]
fn both_ends_are_called_to_an_attempt_that_somebody_else_wants_once() {
    let mut world = World::with_members(3);
    let ids: Vec<DeviceId> = world.clients.iter().map(|client| client.id).collect();
    let called = |world: &mut World, at: usize| {
        let told = world.told(at).into_iter();
        let attempts = told.filter_map(|message| {
            if let FromCheckpoint::Invited(invited) = message {
                Some((invited.attempt, invited.peer))
            } else {
                None
            }
        });
        attempts.collect::<Vec<_>>()
    };
    world.command(EndpointCommand::TryAgain { a: ids[0], b: ids[1] });
    world.command(EndpointCommand::TryAgain { a: ids[1], b: ids[0] });
    let (one, other) = (called(&mut world, 0), called(&mut world, 1));
    assert_eq!((one.len(), other.len(), called(&mut world, 2).len()), (1, 1, 0));
    assert_eq!((one[0].1, other[0].1), (ids[1], ids[0]));
    assert_eq!(one[0].0, other[0].0, "the same attempt");

    // A pair of which one refuses the other is let be, and one that is no pair.
    world.settle_down();
    world.ask(2, ToCheckpoint::Consent(Consent { request: request(9), refused: vec![ids[0]] })).unwrap();
    for (a, b) in [(ids[0], ids[2]), (ids[0], ids[0]), (ids[0], DeviceId::from_bytes([9; 16]))] {
        world.command(EndpointCommand::TryAgain { a, b });
    }
    assert_eq!(called(&mut world, 0), []);
}

#[test]
fn a_verdict_about_strangers_about_oneself_or_of_a_guest_is_ignored() {
    let mut world = World::with_members(3);
    let guest = world.add();
    world.greet(guest);
    world.remove(2);
    world.settle_down();
    let ids: Vec<DeviceId> = world.clients.iter().map(|client| client.id).collect();
    for (from, about) in [(0, ids[0]), (0, ids[2]), (0, ids[guest]), (guest, ids[0]), (2, ids[0])] {
        let verdict = ToCheckpoint::PairVerdict(verdict_about(about));
        assert_eq!(world.ask(from, verdict), Err(Rejected::NotAllowed), "{from}");
    }
    assert_eq!(world.events, [], "INDEX hears nothing of it");
}

#[test]
fn verdicts_are_taken_no_oftener_than_attempts_can_end() {
    let mut world = World::with_members(2);
    let verdict = ToCheckpoint::PairVerdict(verdict_about(world.clients[1].id));
    let taken = (0..1_000).filter(|_| world.ask(0, verdict.clone()).is_ok()).count();
    assert_eq!(taken, 64);
    assert_eq!(world.ask(0, verdict.clone()), Err(Rejected::RateLimited));
    let other = ToCheckpoint::PairVerdict(verdict_about(world.clients[0].id));
    assert_eq!(world.ask(1, other), Ok(()), "each device has its own");
    world.pass(SECOND);
    world.resume(0);
    let taken = (0..10).filter(|_| world.ask(0, verdict.clone()).is_ok()).count();
    assert!((1..=2).contains(&taken), "{taken}: a new session brings no new ones");
}

#[test]
fn a_member_is_believed_about_its_links_with_members_and_about_no_others() {
    let mut world = World::with_members(3);
    let guest = world.add();
    world.greet(guest);
    world.remove(2);
    world.settle_down();
    let ids: Vec<DeviceId> = world.clients.iter().map(|client| client.id).collect();
    let links = ids.iter().map(|id| link_to(*id)).collect();
    world.ask(0, ToCheckpoint::Links(Links { links })).unwrap();
    assert_eq!(world.events, [EndpointEvent::Links { device: ids[0], links: vec![link_to(ids[1])] }]);
    assert_eq!(world.told(0), [], "nothing waits for it");
    let absurd = LinkReport { lost: 33, ..link_to(ids[1]) };
    for (from, link) in [(0, absurd), (guest, link_to(ids[0])), (2, link_to(ids[0]))] {
        let told = world.ask(from, ToCheckpoint::Links(Links { links: vec![link] }));
        assert_eq!(told, Err(Rejected::NotAllowed), "{from}");
    }
    let taken = (0..1_000)
        .filter(|_| world.ask(0, ToCheckpoint::Links(Links { links: vec![link_to(ids[1])] })).is_ok())
        .count();
    assert!(taken < 64, "{taken}: no oftener than keep-alives and changes of path need");
}

fn link_to(peer: DeviceId) -> LinkReport {
    LinkReport {
        peer,
        path: LinkPath::Direct,
        rtt_us: Some(80_000),
        pings: 32,
        lost: 1,
        tx_bytes: 1,
        rx_bytes: 2,
    }
}

fn verdict_about(peer: DeviceId) -> PairVerdict {
    PairVerdict { peer, code: PairCode::BothMappingsVary, method: Some(Method::Plain), took_ms: 1_600 }
}

#[test]
fn a_guest_learns_the_services_and_nothing_else() {
    let mut world = World::with_members(2);
    let guest = world.add();
    world.greet(guest);
    world.ask(guest, register()).unwrap();
    let registered = world.registered(guest);
    assert_eq!((registered.number, registered.networks), (None, Vec::new()));

    let peer = world.clients[0].id;
    world.ask(guest, ToCheckpoint::Begin { request: request(1), peer }).unwrap();
    assert_eq!(begun(&mut world, guest), BeginOutcome::NoSharedNetwork);
    world.ask(guest, roster_ask(Revision::ZERO, None)).unwrap();
    let answer = FromCheckpoint::NotMember { request: request(4), network: network() };
    assert_eq!(world.told(guest), [answer]);
    world.say(1, &DeviceBody::Session(FromDevice::Bye)).unwrap();
    world.pass(Duration::from_millis(300));
    assert_eq!(world.told(guest), [], "nobody's presence");
    assert_eq!(world.told(0).len(), 1);
}

#[test]
fn a_roster_comes_in_pages_that_fit() {
    let mut world = World::with_members(1);
    for number in 100..130 {
        world.put_key(number, PublicKey::from_bytes([number; 32]), MemberState::Active);
    }
    world.settle_down();
    let mut named = BTreeSet::new();
    let (mut after, mut pages) = (None, 0);
    loop {
        world.ask(0, roster_ask(Revision::ZERO, after)).unwrap();
        let told = world.told(0);
        let [FromCheckpoint::Roster(page)] = &told[..] else { panic!("{told:?}") };
        assert!(told[0].encoded_len() <= BODY_MAX);
        assert!(page.full && page.to == world.revision());
        for change in &page.changes {
            let Change::Present(member) = change else { panic!("{change:?}") };
            let device = DeviceId::of(&member.identity);
            assert!(after.is_none_or(|after| device > after) && named.insert(device), "each once, in order");
            assert!(!member.availability.is_online());
        }
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(named.len(), 30);
    assert!(pages >= 4, "{pages}");
}

#[test]
fn who_holds_a_revision_is_told_what_changed_since() {
    let mut world = World::with_members(1);
    let [first, second] = [100, 101].map(|number| PublicKey::from_bytes([number; 32]));
    world.put_key(100, first, MemberState::Active);
    let before = world.revision();
    world.put_key(101, second, MemberState::Active);
    world.put_key(100, first, MemberState::Suspended);
    let page = roster(&mut world, 0, before);
    assert!(!page.full && page.from == before && page.to == world.revision());
    let mut changed: Vec<_> = page.changes.iter().map(device_of).collect();
    changed.sort_unstable();
    let mut wanted = [DeviceId::of(&first), DeviceId::of(&second)];
    wanted.sort_unstable();
    assert_eq!(changed, wanted);
    assert!(page.changes.contains(&Change::Gone(DeviceId::of(&first))), "who does not take part is gone");
    let later = world.revision();
    assert_eq!(roster(&mut world, 0, later).changes, []);
    assert!(roster(&mut world, 0, Revision::new(9_999)).full, "a revision that never was");
}

#[test]
fn who_waits_or_is_suspended_sees_its_own_state_and_nobody_else() {
    for state in [MemberState::Pending, MemberState::Suspended] {
        let mut world = World::with_members(3);
        world.put(0, state);
        let page = roster(&mut world, 0, Revision::ZERO);
        assert_eq!((page.network.state, page.changes), (state, Vec::new()));
        let peer = world.clients[1].id;
        world.ask(0, ToCheckpoint::Begin { request: request(1), peer }).unwrap();
        assert_eq!(begun(&mut world, 0), BeginOutcome::NoSharedNetwork);
        world.said[0].clear();
        world.say(2, &DeviceBody::Session(FromDevice::Bye)).unwrap();
        world.pass(SECOND);
        let told = world.told(0);
        assert!(!told.iter().any(|message| matches!(message, FromCheckpoint::Presence(_))), "{told:?}");
    }
}

#[test]
fn a_wish_to_join_is_put_to_index_once_and_its_answer_repeated() {
    let mut world = World::new();
    world.add();
    world.greet(0);
    for _ in 0..3 {
        world.ask(0, join(1)).unwrap();
    }
    let asked: Vec<_> = world.events.drain(..).collect();
    let [EndpointEvent::JoinAsked { ask, identity, remote, .. }] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((*identity, *remote), (world.clients[0].identity.public(), addr(0)));
    let outcome = JoinOutcome::Joined { network: network() };
    world.command(EndpointCommand::JoinDecided { ask: *ask, outcome });
    assert_eq!(world.told(0), [], "not before the roster shows it");
    world.put(0, MemberState::Active);
    let answer = FromCheckpoint::JoinAnswer { request: request(1), outcome };
    assert_eq!(world.told(0), core::slice::from_ref(&answer));
    world.ask(0, join(1)).unwrap();
    assert_eq!(world.told(0), [answer], "its answer was lost");
    assert!(!world.events.iter().any(|event| matches!(event, EndpointEvent::JoinAsked { .. })));
}

#[test]
fn a_refused_wish_is_answered_at_once_and_the_next_one_asked_anew() {
    let mut world = World::new();
    world.add();
    world.greet(0);
    for number in 1..3 {
        world.ask(0, join(number)).unwrap();
        let Some(EndpointEvent::JoinAsked { ask, .. }) = world.events.pop() else { panic!("not asked") };
        let outcome = JoinOutcome::Refused(JoinRefusal::InvalidInvite);
        world.command(EndpointCommand::JoinDecided { ask, outcome });
        world.command(EndpointCommand::JoinDecided { ask, outcome });
        let answer = FromCheckpoint::JoinAnswer { request: request(number), outcome };
        assert_eq!(world.told(0), [answer]);
    }
}

#[test]
fn guesses_of_invites_are_slow() {
    let mut world = World::with_members(1);
    let asked = |world: &mut World, from: u32| {
        (from..from + 100)
            .filter(|number| {
                let asked = world.ask(0, join(*number)).is_ok();
                for event in core::mem::take(&mut world.events) {
                    if let EndpointEvent::JoinAsked { ask, .. } = event {
                        let outcome = JoinOutcome::Refused(JoinRefusal::InvalidInvite);
                        world.command(EndpointCommand::JoinDecided { ask, outcome });
                    }
                }
                asked
            })
            .count()
    };
    assert_eq!(asked(&mut world, 0), 64);
    world.pass(SECOND);
    assert_eq!(asked(&mut world, 200), 1);
    // Another address that is not shown to be the device's gives no new tries.
    world.clients[0].proves = false;
    world.clients[0].addr = elsewhere();
    assert_eq!(asked(&mut world, 400), 0);
}

#[test]
fn a_wish_that_index_does_not_answer_may_be_asked_again() {
    let mut world = World::with_members(1);
    for number in 0..4 {
        world.ask(0, join(number)).unwrap();
    }
    assert_eq!(world.ask(0, join(4)), Err(Rejected::RateLimited), "four at a time");
    world.pass(SECOND * 31);
    world.events.clear();
    world.ask(0, join(0)).unwrap();
    assert!(matches!(world.events[..], [EndpointEvent::JoinAsked { .. }]));
}

#[test]
fn leaving_is_asked_of_index_and_confirmed() {
    let mut world = World::with_members(1);
    let other = NetworkId::from_bytes([9; 16]);
    world.ask(0, ToCheckpoint::Leave { request: request(1), network: other }).unwrap();
    assert_eq!(world.told(0), [FromCheckpoint::NotMember { request: request(1), network: other }]);
    world.ask(0, ToCheckpoint::Leave { request: request(2), network: network() }).unwrap();
    let Some(EndpointEvent::LeaveAsked { ask, device, .. }) = world.events.pop() else { panic!("not asked") };
    assert_eq!(device, world.clients[0].id);
    world.remove(0);
    world.command(EndpointCommand::LeaveDone { ask });
    assert_eq!(world.told(0), [FromCheckpoint::Left { request: request(2) }]);
    world.ask(0, ToCheckpoint::Leave { request: request(3), network: network() }).unwrap();
    assert_eq!(world.told(0), [FromCheckpoint::Left { request: request(3) }], "it is no member any more");
}

#[test]
fn an_attempt_begins_with_an_answer_and_an_invitation_that_fit_together() {
    let mut world = World::with_members(2);
    let (attempt, ticket) = begin(&mut world, 0, 1);
    let told = world.told(1);
    let [FromCheckpoint::Invited(invited)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((invited.attempt, invited.ticket, invited.peer), (attempt, ticket, world.clients[0].id));
    for at in 0..2 {
        let (candidates, card) = (Vec::new(), NatCard::default());
        let offer = Offer { attempt, ticket, candidates, card, is_prepared: false, relays: vec![] };
        assert_eq!(world.offer(at, ToHandshake::Offer(offer)), Ok(()), "HANDSHAKE believes it");
    }
}

#[test]
fn both_ends_and_repetitions_get_the_same_attempt_but_not_a_wish_of_a_second_later() {
    let mut world = World::with_members(2);
    let (attempt, _) = begin(&mut world, 0, 1);
    assert_eq!(begin(&mut world, 0, 1).0, attempt);
    world.pass(Duration::from_millis(750));
    assert_eq!(begin(&mut world, 1, 0).0, attempt);
    assert_eq!(world.acknowledge(0), [], "who began is not invited to the same");
    world.acknowledge(1);
    world.pass(Duration::from_millis(250));
    assert_ne!(begin(&mut world, 1, 0).0, attempt);
    let told = world.told(0);
    assert!(matches!(told[..], [FromCheckpoint::Invited(_)]), "{told:?}");
}

#[test]
fn nobody_begins_with_who_is_away_refuses_or_is_a_stranger() {
    let mut world = World::with_members(3);
    world.say(1, &DeviceBody::Session(FromDevice::Bye)).unwrap();
    let refused = vec![world.clients[0].id];
    world.ask(2, ToCheckpoint::Consent(Consent { request: request(7), refused })).unwrap();
    assert_eq!(world.told(2), [FromCheckpoint::Accepted { request: request(7) }]);
    let ids = [0, 1, 2].map(|at| world.clients[at].id);
    let cases = [
        (0, ids[1], BeginOutcome::Offline),
        (0, ids[2], BeginOutcome::Refused),
        (2, ids[0], BeginOutcome::Refused),
        (0, ids[0], BeginOutcome::NoSharedNetwork),
        (0, DeviceId::from_bytes([1; 16]), BeginOutcome::NoSharedNetwork),
    ];
    for (number, (at, peer, outcome)) in cases.into_iter().enumerate() {
        world.ask(at, ToCheckpoint::Begin { request: request(1), peer }).unwrap();
        assert_eq!(begun(&mut world, at), outcome, "case {number}");
    }
    assert_eq!(world.told(2), [], "a refused device does not even ring");
}

#[test]
fn a_refusal_is_replaced_by_the_next_and_ends_with_the_session() {
    let mut world = World::with_members(2);
    let refused = vec![world.clients[0].id];
    let consent = |refused| ToCheckpoint::Consent(Consent { request: request(7), refused });
    world.ask(1, consent(refused.clone())).unwrap();
    world.ask(1, consent(Vec::new())).unwrap();
    begin(&mut world, 0, 1);
    world.ask(1, consent(refused)).unwrap();
    world.resume(1);
    world.pass(SECOND * 3);
    begin(&mut world, 0, 1);
}

#[test]
fn an_acknowledged_push_tells_how_far_a_device_is() {
    let mut world = World::with_members(2);
    // Every push is acknowledged at once in this world, so the shortest of the last round trips is none.
    for _ in 0..3 {
        world.put_key(100, PublicKey::from_bytes([100; 32]), MemberState::Suspended);
        world.pass(MOMENT);
        world.acknowledge(0);
        world.put_key(100, PublicKey::from_bytes([100; 32]), MemberState::Active);
        world.pass(MOMENT);
        world.acknowledge(0);
    }
    let device = world.clients[0].id;
    let session = world.endpoint.admission.register().current(&device).unwrap();
    assert_eq!(session.rtt(), Duration::ZERO);
}

fn join(number: u32) -> ToCheckpoint {
    ToCheckpoint::Join(Join {
        request: RequestId::new(number),
        network: NetworkName::parse("home").unwrap(),
        invite: None,
        password: None,
        name: DeviceName::parse("nas").unwrap(),
        wireguard: PublicKey::from_bytes([5; 32]),
        os: "linux".into(),
        version: "0.1.0".into(),
        prefixes: Vec::new(),
    })
}

fn roster_ask(since: Revision, after: Option<DeviceId>) -> ToCheckpoint {
    ToCheckpoint::RosterAsk(RosterAsk { request: request(4), network: network(), since, after })
}

fn roster(world: &mut World, at: usize, since: Revision) -> Roster {
    world.said[at].clear();
    world.ask(at, roster_ask(since, None)).unwrap();
    let mut told = world.told(at);
    let Some(FromCheckpoint::Roster(page)) = told.pop() else { panic!("{told:?}") };
    page
}

fn device_of(change: &Change) -> DeviceId {
    match change {
        Change::Present(member) => DeviceId::of(&member.identity),
        Change::Gone(device) => *device,
    }
}

fn begun(world: &mut World, at: usize) -> BeginOutcome {
    let told = world.told(at);
    let outcome = told.iter().find_map(|message| {
        if let FromCheckpoint::BeginAnswer(answer) = message { Some(answer.outcome) } else { None }
    });
    outcome.unwrap_or_else(|| panic!("{told:?}"))
}

/// Begins an attempt, which must start.
fn begin(world: &mut World, at: usize, with: usize) -> (AttemptId, lanyard_wire::token::Token) {
    let peer = world.clients[with].id;
    world.ask(at, ToCheckpoint::Begin { request: request(1), peer }).unwrap();
    let outcome = begun(world, at);
    let BeginOutcome::Started { attempt, ticket, .. } = outcome else { panic!("{outcome:?}") };
    (attempt, ticket)
}
