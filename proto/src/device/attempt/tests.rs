//! An attempt from the first question to a path, a failure, and the next try.

use alloc::vec;

use lanyard_wire::candidate::CandidateKind;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::nat::{Mapping, PortPolicy};
use lanyard_wire::token::Purpose;

use super::*;

#[test]
fn asking_offering_and_punching_follow_each_other() {
    let mut attempt = asking();
    attempt.began(coordinator(), started(5), at(40));
    assert_eq!(attempt.state(), "offered");
    assert_eq!(attempt.poll_wish(), Some(offer(5)));
    assert!(attempt.go(coordinator(), &go(5, 100), &theirs(), &[], &NatCard::default(), None, at(80)));
    assert_eq!(attempt.poll_probe(), None, "both ends start at the same moment");
    attempt.handle_timeout(at(180));
    assert_eq!(attempt.poll_probe().unwrap().way.remote, theirs()[0].addr);
    assert_eq!(attempt.state(), "punching");
}

#[test]
fn a_path_found_is_reported_once_and_ends_as_direct() {
    let mut attempt = punching(5);
    let direct =
        Standing { direct: Some((theirs()[0].addr.into(), ms(44))), has_relay: true, ..Standing::default() };
    attempt.set_standing(direct);
    attempt.set_standing(direct);
    let verdict = Verdict::Direct { remote: theirs()[0].addr, rtt_us: 44_000 };
    assert_eq!(wishes(&mut attempt), [report(5, verdict)]);
    attempt.handle_timeout(at(5_000));
    assert_eq!((attempt.state(), attempt.next_at(), attempt.failure()), ("direct", None, None));
}

#[test]
fn failures_are_retried_after_thirty_seconds_two_minutes_ten_minutes_and_hourly() {
    let mut attempt = asking();
    let mut now = at(0);
    for seconds in [30, 120, 600, 3_600, 3_600] {
        attempt.began(coordinator(), BeginOutcome::Offline, now);
        assert_eq!(attempt.failure(), Some(Advice::PeerOffline));
        let wait = attempt.next_at().unwrap().saturating_since(now);
        let expected = Duration::from_secs(seconds);
        assert!(wait >= expected * 9 / 10 && wait <= expected * 11 / 10, "{wait:?}");
        now = attempt.poll_timeout().unwrap().at;
        attempt.handle_timeout(now);
        assert_eq!(wishes(&mut attempt), [AttemptWish::Begin { coordinator: coordinator() }]);
    }
}

#[test]
fn a_guess_that_rests_is_asked_for_every_two_minutes_for_more_than_the_ten_it_rests_for() {
    let card = |mapping, ports| NatCard { mapping: Some(mapping), ports: Some(ports), ..NatCard::default() };
    let block = card(Mapping::AddressAndPortDependent, PortPolicy::Block { low: 1_024, high: 3_071 });
    let random = card(Mapping::AddressAndPortDependent, PortPolicy::Random);
    let home = card(Mapping::EndpointIndependent, PortPolicy::Preserved);
    let often = [30, 120, 120, 120, 120, 120, 120, 120, 600].as_slice();
    let ever_less = [30, 120, 600, 3_600].as_slice();
    for (ours, theirs, expected) in [
        (block, home, often),
        (home, block, often),
        (home, random, ever_less),
        (block, block, ever_less),
        (home, home, ever_less),
    ] {
        let mut attempt = asking();
        let mut now = at(0);
        for (id, seconds) in (0..).zip(expected) {
            attempt.began(coordinator(), started(id), now);
            let go = Go { method: Method::Relay, card: theirs, ..go(id, 0) };
            assert!(attempt.go(coordinator(), &go, &self::theirs(), &[], &ours, None, now));
            now += Duration::from_secs(5);
            attempt.handle_timeout(now);
            assert_eq!(attempt.state(), "relayed");
            let wait = attempt.next_at().unwrap().saturating_since(now);
            let expected = Duration::from_secs(*seconds);
            assert!(wait >= expected * 9 / 10 && wait <= expected * 11 / 10, "{ours:?} {theirs:?} {wait:?}");
            now = attempt.poll_timeout().unwrap().at;
            attempt.handle_timeout(now);
            assert_eq!(attempt.state(), "asking");
        }
    }
}

#[test]
fn traffic_does_not_hurry_a_retry_and_a_change_does() {
    let mut attempt = asking();
    attempt.began(coordinator(), BeginOutcome::Offline, at(40));
    attempt.want(at(2_000));
    assert_eq!(attempt.state(), "relayed");
    attempt.restart(at(2_000));
    assert_eq!(attempt.state(), "asking");
}

#[test]
fn a_peer_that_was_away_is_asked_again_as_soon_as_it_is_heard() {
    let mut attempt = asking();
    attempt.began(coordinator(), started(5), at(0));
    attempt.peer_returned(at(9_000));
    assert_eq!(attempt.state(), "offered", "what is under way is not disturbed");
    attempt.handle_timeout(at(10_000));
    assert_eq!(attempt.failure(), Some(Advice::PeerOffline));
    attempt.peer_returned(at(12_000));
    assert_eq!(attempt.state(), "asking");
}

#[test]
fn a_change_in_the_middle_of_an_attempt_makes_the_next_one_come_soon() {
    let mut attempt = asking();
    attempt.began(coordinator(), started(5), at(0));
    attempt.restart(at(100));
    assert!(attempt.go(coordinator(), &go(5, 0), &theirs(), &[], &NatCard::default(), None, at(200)));
    attempt.handle_timeout(at(1_700));
    assert_eq!(attempt.next_at(), Some(at(1_700)), "at once: the first began long ago");
}

#[test]
fn when_a_path_dies_soon_the_next_attempt_does_not_wait_for_the_end_of_its_punch() {
    let mut attempt = asking();
    attempt.began(coordinator(), started(5), at(0));
    assert!(attempt.go(coordinator(), &go(5, 0), &theirs(), &[], &NatCard::default(), None, at(200)));
    let direct = Some((theirs()[0].addr.into(), ms(44)));
    attempt.set_standing(Standing { direct, has_relay: true, ..Standing::default() });
    attempt.set_standing(Standing { has_relay: true, ..Standing::default() });
    attempt.restart(at(400));
    assert_eq!(attempt.next_at(), Some(at(1_000)));
}

#[test]
fn attempts_keep_their_distance_however_often_a_path_dies() {
    let mut attempt = punching(5);
    let mut begun = 0;
    for tenth in 1..100 {
        attempt.handle_timeout(at(tenth * 100));
        attempt.restart(at(tenth * 100));
        begun += wishes(&mut attempt).iter().filter(|wish| matches!(wish, AttemptWish::Begin { .. })).count();
        attempt.began(coordinator(), BeginOutcome::Offline, at(tenth * 100));
    }
    assert!((8..=10).contains(&begun), "{begun} attempts in ten seconds");
}

#[test]
fn without_a_coordinator_nothing_is_asked() {
    let mut attempt = Attempt::new(Rng::from_seed([1; 32]));
    attempt.want(at(0));
    assert_eq!(wishes(&mut attempt), []);
    assert_eq!(attempt.failure(), Some(Advice::CoordinatorUnreachable));
}

#[test]
fn a_silent_checkpoint_and_a_silent_peer_are_given_up() {
    let mut attempt = asking();
    attempt.handle_timeout(at(4_999));
    assert_eq!(attempt.state(), "asking");
    attempt.handle_timeout(at(5_000));
    assert_eq!(attempt.failure(), Some(Advice::CoordinatorUnreachable));

    let mut attempt = asking();
    attempt.began(coordinator(), started(5), at(0));
    wishes(&mut attempt);
    attempt.handle_timeout(at(10_000));
    assert_eq!(attempt.failure(), Some(Advice::PeerOffline));
    assert_eq!(wishes(&mut attempt), [cancel(5)]);
}

#[test]
fn a_failed_punch_reports_the_relay_and_cancels_what_else_was_offered() {
    let mut attempt = punching(5);
    attempt.set_standing(Standing { has_relay: true, ..Standing::default() });
    attempt.offer(coordinator(), AttemptId::new(6), ticket(6), 0, at(200));
    attempt.handle_timeout(at(5_000));
    assert_eq!(wishes(&mut attempt), [offer(6), report(5, Verdict::Relayed), cancel(6)]);
    assert_eq!(attempt.failure(), Some(Advice::ProbesLost));
    assert_eq!(attempt.tried().len(), 1);
}

#[test]
fn two_ends_that_begin_together_offer_both_and_go_with_the_first() {
    let mut attempt = asking();
    attempt.offer(coordinator(), AttemptId::new(9), ticket(9), 0, at(10));
    attempt.began(coordinator(), started(5), at(20));
    assert_eq!(wishes(&mut attempt), [offer(9), offer(5)]);
    assert!(attempt.go(coordinator(), &go(9, 0), &theirs(), &[], &NatCard::default(), None, at(60)));
    assert!(
        attempt.go(coordinator(), &go(5, 0), &theirs(), &[], &NatCard::default(), None, at(70)),
        "the other one only adds probes"
    );
    assert_eq!(attempt.state(), "punching");
}

#[test]
fn an_unknown_attempt_starts_nothing_and_a_repeated_invitation_offers_once() {
    let mut attempt = asking();
    assert!(!attempt.go(coordinator(), &go(5, 0), &theirs(), &[], &NatCard::default(), None, at(0)));
    for _ in 0..3 {
        attempt.offer(coordinator(), AttemptId::new(5), ticket(5), 0, at(10));
    }
    assert_eq!(wishes(&mut attempt), [offer(5)]);
    assert!(
        !attempt.go(
            PublicKey::from_bytes([8; 32]),
            &go(5, 0),
            &theirs(),
            &[],
            &NatCard::default(),
            None,
            at(0)
        ),
        "another coordinator"
    );
}

#[test]
fn rest_takes_everything_back() {
    let mut attempt = asking();
    attempt.began(coordinator(), started(5), at(0));
    wishes(&mut attempt);
    attempt.rest();
    assert_eq!(wishes(&mut attempt), [cancel(5)]);
    assert_eq!((attempt.state(), attempt.poll_timeout()), ("idle", None));
}

fn asking() -> Attempt {
    let mut attempt = Attempt::new(Rng::from_seed([1; 32]));
    attempt.set_coordinator(Some(coordinator()));
    attempt.want(at(0));
    assert_eq!(wishes(&mut attempt), [AttemptWish::Begin { coordinator: coordinator() }]);
    attempt
}

fn punching(id: u64) -> Attempt {
    let mut attempt = asking();
    attempt.began(coordinator(), started(id), at(0));
    assert!(attempt.go(coordinator(), &go(id, 0), &theirs(), &[], &NatCard::default(), None, at(0)));
    wishes(&mut attempt);
    attempt
}

fn wishes(attempt: &mut Attempt) -> Vec<AttemptWish> {
    core::iter::from_fn(|| attempt.poll_wish()).collect()
}

fn started(id: u64) -> BeginOutcome {
    BeginOutcome::Started { attempt: AttemptId::new(id), ticket: ticket(id), handshake: 0 }
}

fn offer(id: u64) -> AttemptWish {
    AttemptWish::Offer {
        coordinator: coordinator(),
        attempt: AttemptId::new(id),
        ticket: ticket(id),
        handshake: 0,
    }
}

fn cancel(id: u64) -> AttemptWish {
    AttemptWish::Cancel { coordinator: coordinator(), attempt: AttemptId::new(id) }
}

fn report(id: u64, verdict: Verdict) -> AttemptWish {
    AttemptWish::Report { coordinator: coordinator(), attempt: AttemptId::new(id), verdict }
}

fn go(id: u64, start_after_ms: u16) -> Go {
    Go {
        attempt: AttemptId::new(id),
        method: Method::Plain,
        candidates: theirs(),
        card: NatCard::default(),
        start_after_ms,
        relay: None,
    }
}

fn theirs() -> Vec<Candidate> {
    vec![Candidate { kind: CandidateKind::ServerReflexive, addr: ([203, 0, 113, 4], 7000).into() }]
}

#[test]
fn dear_guesses_for_one_peer_are_rationed_whatever_the_service_says() {
    let mut attempt = Attempt::new(Rng::from_seed([1; 32]));
    let mut guesses_of = |id: u64, from: u64| {
        attempt.offer(coordinator(), AttemptId::new(id), ticket(id), 0, at(from));
        let go = Go { method: Method::Guess { ports: 1_200 }, ..go(id, 0) };
        assert!(attempt.go(coordinator(), &go, &theirs(), &[], &NatCard::default(), None, at(from)));
        attempt.handle_timeout(at(from + 2_400));
        while attempt.poll_probe().is_some() {}
        attempt.guesses()
    };
    for id in 0..6 {
        assert_eq!(guesses_of(id, id * 10_000), 1_200);
    }
    assert_eq!(guesses_of(7, 70_000), 0);
    assert_eq!(guesses_of(8, 610_000), 1_200, "one more after ten minutes");
    assert_eq!(guesses_of(9, 620_000), 0);
}

fn ticket(id: u64) -> Token {
    let (x, y) = (DeviceId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16]));
    Token::grant(&SymmetricKey::from_bytes([3; 32]), Purpose::Attempt, x, y, id, 99)
}

fn coordinator() -> PublicKey {
    PublicKey::from_bytes([9; 32])
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
