//! HANDSHAKE: two offers, one start; and nobody's candidates for anybody else.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::body::DeviceBody;
use lanyard_wire::candidate::{Candidate, CandidateKind};
use lanyard_wire::checkpoint::{Consent, ToCheckpoint};
use lanyard_wire::handshake::{FromHandshake, Go, Method, Offer, OfferRefusal, Report, ToHandshake, Verdict};
use lanyard_wire::ids::AttemptId;
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::nat::NatCard;
use lanyard_wire::token::{Purpose, Token};

use super::world::{NOW_S, World, addr, elsewhere, request, token};
use crate::rejected::Rejected;
use crate::service::EndpointEvent;

const ATTEMPT: u64 = 5;

#[test]
fn the_first_offer_waits_and_the_second_starts_both() {
    let mut world = World::with_members(2);
    let ticket = ticket(&world);
    world.offer(0, offer(ticket, 7_000)).unwrap();
    assert!(matches!(world.signals(0)[..], [FromHandshake::Wait { attempt, .. }] if attempt == id()));
    assert_eq!(world.signals(1), [], "nothing is told to who did not offer");
    world.offer(1, offer(ticket, 8_000)).unwrap();
    let (first, second) = (go(&mut world, 0), go(&mut world, 1));
    assert_eq!((first.method, second.method), (Method::Plain, Method::Plain));
    assert_eq!(addrs(&first), [host(8_000).addr, addr(1)], "what it offered, and where its session is");
    assert_eq!(addrs(&second), [host(7_000).addr, addr(0)]);
}

#[test]
fn an_offer_again_is_answered_with_the_same_start() {
    let mut world = World::with_members(2);
    let ticket = ticket(&world);
    world.offer(0, offer(ticket, 7_000)).unwrap();
    world.offer(1, offer(ticket, 8_000)).unwrap();
    let before = go(&mut world, 0);
    world.signals(1);
    world.pass(Duration::from_millis(10));
    world.offer(0, offer(ticket, 9_999)).unwrap();
    let again = go(&mut world, 0);
    assert_eq!(again.candidates, before.candidates);
    assert!(again.start_after_ms <= before.start_after_ms);
    assert_eq!(world.signals(1), [], "the other end is left alone");
}

#[test]
fn an_offer_needs_a_token_for_this_device_this_attempt_and_this_moment() {
    let mut world = World::with_members(3);
    let good = ticket(&world);
    let mut changed = good;
    changed.mac[0] ^= 1;
    let [x, y] = [0, 1].map(|at| world.clients[at].id);
    let foreign =
        Token::grant(&SymmetricKey::from_bytes([3; 32]), Purpose::Attempt, x, y, ATTEMPT, good.expires_s);
    let cases = [
        (0, changed, OfferRefusal::Forged),
        (0, foreign, OfferRefusal::Forged),
        (0, token(Purpose::Relay, &world, [0, 1], ATTEMPT, 60), OfferRefusal::Forged),
        (0, token(Purpose::Attempt, &world, [0, 1], ATTEMPT + 1, 60), OfferRefusal::Forged),
        (0, token(Purpose::Attempt, &world, [1, 2], ATTEMPT, 60), OfferRefusal::Forged),
        (2, good, OfferRefusal::Forged),
        (0, token(Purpose::Attempt, &world, [0, 1], ATTEMPT, 0), OfferRefusal::Expired),
    ];
    for (number, (at, ticket, why)) in cases.into_iter().enumerate() {
        assert_eq!(world.offer(at, offer(ticket, 7_000)), Err(Rejected::NotAllowed), "case {number}");
        assert_eq!(world.signals(at), [FromHandshake::Rejected { attempt: id(), why }], "case {number}");
    }
    assert_eq!(world.endpoint.stats().attempts, 0);
    // The true pair still meets.
    world.offer(1, offer(good, 8_000)).unwrap();
    world.offer(0, offer(good, 7_000)).unwrap();
    assert_eq!(addrs(&go(&mut world, 1))[0], host(7_000).addr);
}

#[test]
fn an_offer_sent_on_from_elsewhere_makes_nobody_knock_there() {
    let mut world = World::with_members(2);
    let ticket = ticket(&world);
    world.offer(1, offer(ticket, 8_000)).unwrap();
    let held_up = world.clients[0].data(&DeviceBody::Handshake(offer(ticket, 7_000)), false);
    assert_eq!(world.send_from(elsewhere(), &held_up), Err(Rejected::NotReady));
    assert!(!world.signals(1).iter().any(|signal| matches!(signal, FromHandshake::Go(_))));
    let held_up = world.clients[0].data(&DeviceBody::Handshake(offer(ticket, 7_000)), false);
    world.say(0, &DeviceBody::KeepAlive).unwrap();
    assert_eq!(
        world.send_from(elsewhere(), &held_up),
        Err(Rejected::NotReady),
        "nor when it is not the newest"
    );
    world.offer(0, offer(ticket, 7_000)).unwrap();
    assert_eq!(addrs(&go(&mut world, 1)), [host(7_000).addr, addr(0)]);
}

#[test]
fn an_offer_of_a_device_that_moved_counts_once_it_shows_that_it_is_there() {
    let mut world = World::with_members(2);
    let ticket = ticket(&world);
    world.offer(1, offer(ticket, 8_000)).unwrap();
    world.clients[0].addr = elsewhere();
    assert_eq!(world.offer(0, offer(ticket, 7_000)), Err(Rejected::NotReady), "and it is asked");
    world.offer(0, offer(ticket, 7_000)).unwrap();
    assert_eq!(addrs(&go(&mut world, 1)), [host(7_000).addr, elsewhere()]);
}

#[test]
fn a_lonely_offer_is_kept_for_ten_seconds() {
    let mut world = World::with_members(2);
    let ticket = ticket(&world);
    world.offer(0, offer(ticket, 7_000)).unwrap();
    world.pass(Duration::from_secs(10));
    assert_eq!(world.endpoint.stats().attempts, 0);
    world.offer(1, offer(ticket, 8_000)).unwrap();
    assert!(matches!(world.signals(1)[..], [FromHandshake::Wait { .. }]), "it begins anew");
}

#[test]
fn who_was_removed_or_is_refused_learns_no_candidate() {
    for cause in ["removed before", "removed after", "refused after"] {
        let mut world = World::with_members(2);
        let ticket = ticket(&world);
        if cause == "removed before" {
            world.remove(1);
        }
        let _refused = world.offer(0, offer(ticket, 7_000));
        match cause {
            "removed after" => world.remove(1),
            "refused after" => {
                let refused = vec![world.clients[1].id];
                world.ask(0, ToCheckpoint::Consent(Consent { request: request(9), refused })).unwrap();
            }
            _ => {}
        }
        assert_eq!(world.endpoint.stats().attempts, 0, "{cause}");
        assert_eq!(world.offer(1, offer(ticket, 8_000)), Err(Rejected::NotAllowed), "{cause}");
        let signals = world.signals(1);
        assert!(matches!(signals[..], [FromHandshake::Rejected { .. }]), "{cause}: {signals:?}");
    }
}

#[test]
fn a_verdict_counts_from_an_end_of_a_started_attempt() {
    let mut world = World::with_members(3);
    let ticket = ticket(&world);
    let report = ToHandshake::Report(Report { attempt: id(), verdict: Verdict::Relayed });
    assert_eq!(world.offer(0, report.clone()), Err(Rejected::UnknownAttempt));
    world.offer(0, offer(ticket, 7_000)).unwrap();
    assert_eq!(world.offer(0, report.clone()), Err(Rejected::Unexpected), "not started");
    world.offer(1, offer(ticket, 8_000)).unwrap();
    assert_eq!(world.offer(2, report.clone()), Err(Rejected::NotAllowed), "not its business");
    let heard = (0..9).filter(|_| world.offer(0, report.clone()).is_ok()).count();
    assert_eq!(heard, 4);
    let from = world.clients[0].id;
    let told = |event: &&EndpointEvent| matches!(event, EndpointEvent::Verdict { from: end, verdict: Verdict::Relayed, .. } if *end == from);
    assert_eq!(world.events.iter().filter(told).count(), 4);
}

fn id() -> AttemptId {
    AttemptId::new(ATTEMPT)
}

fn ticket(world: &World) -> Token {
    let ticket = token(Purpose::Attempt, world, [0, 1], ATTEMPT, 60);
    assert!(u64::from(ticket.expires_s) > NOW_S + world.now.as_micros() / 1_000_000);
    ticket
}

fn host(port: u16) -> Candidate {
    Candidate { kind: CandidateKind::Host, addr: ([10, 0, 0, 1], port).into() }
}

fn offer(ticket: Token, port: u16) -> ToHandshake {
    let card = NatCard { udp: true, ..NatCard::default() };
    ToHandshake::Offer(Offer {
        attempt: id(),
        ticket,
        candidates: vec![host(port)],
        card,
        is_prepared: false,
        relays: vec![],
    })
}

fn go(world: &mut World, at: usize) -> Go {
    let signals = world.signals(at);
    let go =
        signals.iter().find_map(|signal| if let FromHandshake::Go(go) = signal { Some(go) } else { None });
    go.unwrap_or_else(|| panic!("no start among {signals:?}")).clone()
}

fn addrs(go: &Go) -> Vec<core::net::SocketAddr> {
    go.candidates.iter().map(|candidate| candidate.addr).collect()
}
