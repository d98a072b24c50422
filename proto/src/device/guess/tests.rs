//! Schedules: what is probed, from where, and how much.

use alloc::collections::BTreeSet;
use alloc::vec;

use lanyard_wire::ids::AttemptId;
use lanyard_wire::nat::{Mapping, NatCard};

use super::*;

#[test]
fn a_block_is_guessed_inside_its_bounds_without_repeating_a_port() {
    let ports = PortPolicy::Block { low: 2_048, high: 4_095 };
    let probes = all(guess_of(ports, 300, &[reflexive_candidate()]));
    let guessed: BTreeSet<u16> = probes.iter().map(|probe| probe.way.remote.port()).collect();
    assert_eq!((probes.len(), guessed.len()), (300, 300));
    assert!(guessed.iter().all(|port| (2_048..=4_095).contains(port)));
    assert!(probes.iter().all(|probe| probe.way.local == SocketId::MAIN));
}

#[test]
fn a_small_block_is_guessed_to_its_last_port() {
    let ports = PortPolicy::Block { low: 2_048, high: 2_111 };
    let probes = all(guess_of(ports, 300, &[reflexive_candidate()]));
    let guessed: BTreeSet<u16> = probes.iter().map(|probe| probe.way.remote.port()).collect();
    assert_eq!(guessed, (2_048..=2_111).collect());
}

#[test]
fn among_all_ports_no_more_is_guessed_than_the_limit_whatever_the_signal_says() {
    let probes = all(guess_of(PortPolicy::Random, u16::MAX, &[reflexive_candidate()]));
    assert_eq!(probes.len(), usize::from(GUESS_PORTS_MAX));
    assert!(probes.iter().all(|probe| probe.way.remote.port() >= 1_024));
}

#[test]
fn guesses_leave_at_five_hundred_a_second() {
    let mut guess = guess_of(PortPolicy::Random, 1_200, &[reflexive_candidate()]).unwrap();
    guess.handle_timeout(at(990));
    assert_eq!(guess.sent(), 500);
    guess.handle_timeout(at(2_400));
    assert_eq!(guess.sent(), 1_200);
    assert!(!guess.is_over(at(3_300)));
    assert!(guess.is_over(at(3_400)));
}

#[test]
fn the_next_ports_of_a_nat_that_counts_are_tried_in_bursts() {
    let predicted = Candidate { kind: CandidateKind::Predicted, addr: "192.0.2.1:65530".parse().unwrap() };
    let probes = all(guess_of(PortPolicy::Sequential { step: 2 }, 4, &[predicted]));
    let ports: Vec<u16> = probes.iter().map(|probe| probe.way.remote.port()).collect();
    assert_eq!(ports.len(), 24);
    assert_eq!(ports[..8], [65_532, 65_534, 1_024, 1_026, 65_532, 65_534, 1_024, 1_026]);
}

#[test]
fn without_a_fresh_sample_nothing_is_predicted() {
    assert!(guess_of(PortPolicy::Sequential { step: 1 }, 16, &[reflexive_candidate()]).is_none());
    let signal = go(Method::Predict { sockets: 25 }, PortPolicy::Sequential { step: 1 });
    assert!(Guess::new(&signal, &[reflexive_candidate()], &sockets(25), at(0), &mut rng()).is_none());
}

#[test]
fn mappings_are_opened_from_every_socket_once_and_then_listened_at() {
    let signal = go(Method::Open { sockets: 256 }, PortPolicy::Random);
    let mut guess = Guess::new(&signal, &[reflexive_candidate()], &sockets(256), at(0), &mut rng()).unwrap();
    guess.handle_timeout(at(200));
    assert_eq!(guess.sent(), 256);
    let locals: BTreeSet<SocketId> =
        core::iter::from_fn(|| guess.poll_probe()).map(|probe| probe.way.local).collect();
    assert_eq!(locals.len(), 256);
    assert!(!guess.is_over(at(3_500)), "the other end may guess until then");
}

#[test]
fn a_few_sockets_are_opened_again_in_case_a_packet_was_lost() {
    let signal = go(Method::Open { sockets: 4 }, PortPolicy::Sequential { step: 1 });
    let guess = Guess::new(&signal, &[reflexive_candidate()], &sockets(4), at(0), &mut rng());
    assert_eq!(all(guess).len(), 24);
}

#[test]
fn where_both_count_all_sockets_aim_at_one_port_ahead() {
    let predicted = Candidate { kind: CandidateKind::Predicted, addr: "192.0.2.1:4000".parse().unwrap() };
    let signal = go(Method::Predict { sockets: 25 }, PortPolicy::Sequential { step: 1 });
    let mut guess = Guess::new(&signal, &[predicted], &sockets(25), at(0), &mut rng()).unwrap();
    guess.handle_timeout(at(0));
    let probes: Vec<Probe> = core::iter::from_fn(|| guess.poll_probe()).collect();
    assert_eq!(probes.len(), 25);
    assert!(probes.iter().all(|probe| probe.way.remote.port() == 4_020));
}

#[test]
fn a_hit_ends_it() {
    let mut guess = guess_of(PortPolicy::Random, 1_200, &[reflexive_candidate()]).unwrap();
    guess.handle_timeout(at(100));
    let sent = guess.sent();
    guess.hit();
    guess.handle_timeout(at(2_000));
    assert_eq!(guess.sent(), sent);
}

#[test]
fn a_card_names_no_address_that_may_not_be_probed() {
    let signal = go(Method::Guess { ports: 10 }, PortPolicy::Random);
    assert!(Guess::new(&signal, &[], &[], at(0), &mut rng()).is_none());
}

fn guess_of(ports: PortPolicy, count: u16, theirs: &[Candidate]) -> Option<Guess> {
    Guess::new(&go(Method::Guess { ports: count }, ports), theirs, &[], at(0), &mut rng())
}

fn all(guess: Option<Guess>) -> Vec<Probe> {
    let mut guess = guess.unwrap();
    guess.handle_timeout(at(60_000));
    core::iter::from_fn(|| guess.poll_probe()).collect()
}

fn go(method: Method, ports: PortPolicy) -> Go {
    let card = NatCard {
        mapping: Some(Mapping::AddressAndPortDependent),
        ports: Some(ports),
        reflexive4: Some("192.0.2.1:4000".parse().unwrap()),
        ..NatCard::default()
    };
    Go { attempt: AttemptId::new(1), method, candidates: vec![], card, start_after_ms: 0, relay: None }
}

fn reflexive_candidate() -> Candidate {
    Candidate { kind: CandidateKind::ServerReflexive, addr: "192.0.2.1:4000".parse().unwrap() }
}

fn sockets(count: u16) -> Vec<SocketId> {
    (0..count).map(|number| SocketId(100 + number)).collect()
}

fn rng() -> Rng {
    Rng::from_seed([1; 32])
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}
