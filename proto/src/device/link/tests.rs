//! A link and a service of a few lines: the same keys and bytes as the real one, and faults at will.

mod detour;
mod service;
mod world;

use alloc::vec;

use lanyard_wire::body::ServiceBody;
use lanyard_wire::checkpoint::FromCheckpoint;
use lanyard_wire::envelope::{DATA, HELLO, RESUME, Unknown};
use lanyard_wire::ids::{RequestId, SessionIndex};
use lanyard_wire::session::FromService;

use self::world::{DEVICE, ELSEWHERE, SERVICE, World};
use super::*;
use crate::rejected::Rejected;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_new_link_proves_its_address_and_stands_after_two_round_trips() {
    let mut world = World::new();
    world.run_until_open();
    assert_eq!(world.now, Instant::ZERO + world.rtt * 2);
    assert_eq!(world.kinds(), [HELLO, HELLO, DATA]);
    assert!(world.link.ticket().is_some());
    assert!(matches!(world.link.state(), LinkState::Open { observed: DEVICE, .. }));
}

#[test]
fn a_ticket_brings_the_session_back_in_one_round_trip() {
    let mut world = World::opened();
    world.restart_device();
    let start = world.now;
    world.run_until_open();
    assert_eq!(world.now, start + world.rtt);
    assert_eq!(world.kinds(), [RESUME, DATA]);
}

#[test]
fn a_ticket_refused_in_silence_costs_less_than_a_second() {
    let mut world = World::opened();
    world.restart_device();
    world.service.forget_tickets();
    let start = world.now;
    world.run_until_open();
    assert!(world.now <= start + SECOND, "{}", world.now);
    assert_eq!(world.kinds(), [RESUME, RESUME, HELLO, HELLO, DATA]);
}

#[test]
fn a_ticket_of_a_key_that_is_surely_gone_is_not_shown() {
    let mut world = World::opened();
    world.restart_device();
    world.pass(Duration::from_secs(4 * 3_600));
    world.restart_device();
    world.run_until_open();
    assert_eq!(world.kinds(), [HELLO, HELLO, DATA]);
}

#[test]
fn a_killed_and_restarted_service_is_back_one_round_trip_after_its_hint() {
    let mut world = World::opened();
    world.pass(Duration::from_secs(70));
    world.service.restart();
    world.sent.clear();
    let start = world.now;
    world.link.poke(world.now);
    world.run_until(|world| world.service.confirmed() == 1);
    // The ask and the hint, RESUME and RESUMED, and half a trip for the first DATA.
    assert!(world.now <= start + world.rtt * 3, "{} after {start}", world.now);
    assert_eq!(world.kinds(), [DATA, RESUME, DATA]);
}

#[test]
fn without_a_hint_two_unanswered_asks_make_the_session_doubtful() {
    let mut world = World::opened();
    world.pass(Duration::from_secs(70));
    world.service.restart();
    world.service.hints = false;
    let start = world.now;
    world.link.poke(world.now);
    world.run_until(|world| world.service.confirmed() == 1);
    assert!(world.now <= start + SECOND, "{} after {start}", world.now);
}

#[test]
fn a_message_without_an_answer_is_as_good_as_an_ask() {
    let mut world = World::opened();
    world.pass(Duration::from_secs(70));
    world.service.restart();
    world.service.hints = false;
    let start = world.now;
    assert!(world.link.send(&[0x06, 0, 0, 0, 1], Expect::Answer, world.now));
    world.run_until(|world| world.service.confirmed() == 1);
    assert!(world.now <= start + SECOND * 3, "{} after {start}", world.now);
}

#[test]
fn the_session_moves_with_the_next_datagram_after_a_rebinding() {
    let mut world = World::opened();
    world.device_addr = ELSEWHERE;
    world.link.poke(world.now);
    world.pass(world.rtt * 2);
    assert_eq!(world.service.remotes(), [ELSEWHERE]);
    assert_eq!(world.service.sessions_granted, 1, "no new session");
    assert!(world.link.is_open());
}

#[test]
fn keep_alives_come_every_15_seconds_and_each_fourth_asks() {
    let mut world = World::opened();
    world.pass(SECOND);
    world.sent.clear();
    world.pass(Duration::from_secs(15 * 40));
    let sent: Vec<_> = world.sent.iter().filter(|(_, bytes)| bytes.len() == 32).collect();
    assert!((36..=45).contains(&sent.len()), "{} keep-alives in 40 periods", sent.len());
    for pair in sent.windows(2) {
        let gap = pair[1].0.saturating_since(pair[0].0);
        assert!(gap >= Duration::from_millis(13_400) && gap <= Duration::from_millis(16_600), "{gap:?}");
    }
    let asks = sent.iter().filter(|(_, bytes)| bytes[1] == 1).count();
    assert!((9..=11).contains(&asks), "{asks} of {}", sent.len());
    assert_eq!(world.service.answers, asks + 1, "one was for the session itself");
}

#[test]
fn pokes_in_a_row_send_little() {
    let mut world = World::opened();
    world.pass(SECOND);
    world.sent.clear();
    for _ in 0..100 {
        world.link.poke(world.now);
    }
    world.pass(world.rtt);
    assert_eq!(world.kinds(), [DATA]);
}

#[test]
fn a_service_that_is_long_away_is_asked_ever_more_rarely_and_found_again() {
    let mut world = World::opened();
    world.service.alive = false;
    world.pass(Duration::from_secs(120));
    assert!(matches!(world.link.state(), LinkState::Lost { .. }));
    world.sent.clear();
    world.pass(Duration::from_secs(3_600));
    assert!((60..=200).contains(&world.sent.len()), "{} tries in an hour", world.sent.len());

    world.service.alive = true;
    let start = world.now;
    world.run_until_open();
    assert!(world.now <= start + Duration::from_secs(65), "{} after {start}", world.now);
}

#[test]
fn a_poke_hurries_the_tries_but_not_beyond_one_per_second() {
    let mut world = World::opened();
    world.service.alive = false;
    world.pass(Duration::from_secs(1_000));
    world.sent.clear();
    for _ in 0..100 {
        world.link.poke(world.now);
        world.pass(Duration::from_millis(100));
    }
    assert!((9..=14).contains(&world.sent.len()), "{} tries in 10 s", world.sent.len());
}

#[test]
fn another_network_ends_the_long_pauses() {
    let mut world = World::opened();
    world.service.alive = false;
    world.pass(Duration::from_secs(1_000));
    world.service.alive = true;
    world.link.network_changed(world.now);
    let start = world.now;
    world.run_until_open();
    assert!(world.now <= start + SECOND, "{} after {start}", world.now);
}

#[test]
fn loss_duplication_and_reordering_only_cost_time() {
    for seed in 0..40 {
        let mut world = World::new();
        world.faults(seed, 25, 25, Duration::from_millis(60));
        world.run_until_open();
        assert!(world.now <= Instant::from_secs(20), "seed {seed}: {}", world.now);
        world.pass(Duration::from_secs(600));
        world.calm();
        world.pass(Duration::from_secs(130));
        assert!(matches!(world.link.state(), LinkState::Open { .. }), "seed {seed}");
    }
}

#[test]
fn every_first_message_carries_a_later_time() {
    let mut world = World::new();
    world.service.alive = false;
    world.pass(Duration::from_secs(60));
    world.service.alive = true;
    world.service.deaf_to_data = true;
    for _ in 0..20 {
        world.link.network_changed(world.now);
        world.pass(Duration::from_millis(400));
    }
    let times = &world.service.timestamps;
    assert!(times.len() > 3 && times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn a_retry_that_orders_a_pause_is_obeyed() {
    let mut world = World::new();
    world.service.retry_delay_ms = 5_000;
    world.run_until_open();
    assert!(world.now >= Instant::from_secs(5) && world.now < Instant::from_secs(6), "{}", world.now);
}

#[test]
fn a_service_that_never_takes_a_cookie_is_not_flooded() {
    let mut world = World::new();
    world.service.takes_cookies = false;
    world.pass(Duration::from_secs(10));
    assert!(world.sent.len() < 40, "{} datagrams in 10 s", world.sent.len());
}

#[test]
fn forged_hints_do_not_end_a_session() {
    let mut world = World::opened();
    world.pass(SECOND);
    let (index, counter) = world.service.newest();
    let hint = |index, counter| Unknown::Session { index, counter }.encode();
    let wrong = SessionIndex::new(index.value() ^ 1);
    assert_eq!(world.hear(SERVICE, &hint(wrong, counter)), Err(Rejected::Unexpected));
    assert_eq!(world.hear(SERVICE, &hint(index, counter + 1_000)), Err(Rejected::Unexpected), "never sent");
    assert_eq!(world.hear(ELSEWHERE, &hint(index, counter)), Err(Rejected::Unexpected));

    // One that guessed everything right costs one RESUME a second and nothing else.
    world.sent.clear();
    for _ in 0..1_000 {
        let _ = world.hear(SERVICE, &hint(index, counter));
    }
    assert_eq!(world.kinds(), [RESUME]);
    world.pass(SECOND);
    assert!(world.link.is_open());
}

#[test]
fn hostile_bytes_change_nothing() {
    let mut world = World::opened();
    world.pass(SECOND);
    let genuine = world.service.say(&[]);
    let mut rng = Rng::from_seed([9; 32]);
    for round in 0..2_000_u32 {
        let mut bytes = genuine.clone();
        match round % 4 {
            0 => rng.fill(&mut bytes[8..]),
            1 => bytes.truncate(usize::try_from(rng.below(32)).unwrap()),
            2 => bytes[0] = 0xC0 | u8::try_from(round / 4 % 16).unwrap(),
            _ => {
                let place = usize::try_from(rng.below(32)).unwrap();
                bytes[place] ^= 1 << rng.below(8);
            }
        }
        if bytes != genuine {
            assert!(world.hear(SERVICE, &bytes).is_err(), "round {round}");
        }
    }
    assert_eq!(world.hear(SERVICE, &genuine), Ok(()), "the genuine one still counts");
    assert_eq!(world.hear(SERVICE, &genuine), Err(Rejected::Replayed));
    assert_eq!(world.service.sessions_granted, 1);
}

#[test]
fn a_message_comes_out_once_and_session_messages_stay_inside() {
    let mut world = World::opened();
    let message = FromCheckpoint::Accepted { request: RequestId::new(4) };
    let bytes = world.service.say(&message.to_bytes());
    assert_eq!(world.hear(SERVICE, &bytes), Ok(()));
    assert_eq!(world.messages, vec![ServiceBody::Checkpoint(message)]);

    let before = world.link.ticket().unwrap().0;
    let ticket = world.service.ticket();
    let bytes = world.service.say(&FromService::Ticket(ticket).to_bytes());
    assert_eq!(world.hear(SERVICE, &bytes), Ok(()));
    assert_ne!(world.link.ticket().unwrap().0, before);
    assert_eq!(world.messages.len(), 1);
}

#[test]
fn a_draining_service_sends_us_to_another_which_takes_our_ticket() {
    let mut world = World::opened();
    let key = PublicKey::from_bytes([8; 32]);
    let bytes = world.service.say(&FromService::Move { addr: ELSEWHERE, key }.to_bytes());
    assert_eq!(world.hear(SERVICE, &bytes), Ok(()));
    world.pass(world.rtt * 2);
    assert_eq!(world.link.remote(), Some(ELSEWHERE));
    assert!(world.link.is_open());
}

#[test]
fn the_address_that_answers_is_found_among_several() {
    let mut world = World::new();
    let dead = SocketAddr::from(([203, 0, 113, 99], 7_443));
    world.link.set_addrs(vec![dead, SERVICE], world.now);
    world.run_until_open();
    assert!(world.now <= Instant::from_secs(1), "{}", world.now);
    assert_eq!(world.link.remote(), Some(SERVICE));
}

#[test]
fn addresses_that_cannot_answer_do_not_slow_down_the_one_that_can() {
    let dead = SocketAddr::from(([0x2001, 0xDB8, 0, 0, 0, 0, 0, 1], 7_443));
    for outage in 900..930 {
        let mut world = World::opened();
        world.link.set_addrs(vec![SERVICE, dead], world.now);
        world.service.alive = false;
        world.pass(SECOND * 60);
        world.link.poke(world.now);
        world.pass(SECOND * outage);
        assert!(!world.link.is_open());
        world.service.alive = true;
        let start = world.now;
        world.run_until(|world| world.link.is_open());
        assert!(world.now <= start + SECOND * 62, "{} after {start}", world.now);
    }
}

#[test]
fn a_link_that_was_closed_says_bye_and_nothing_more() {
    let mut world = World::opened();
    world.link.close(world.now);
    world.pass(world.rtt);
    assert_eq!(world.service.byes, 1);
    world.sent.clear();
    world.link.poke(world.now);
    world.link.network_changed(world.now);
    world.pass(Duration::from_secs(1_000));
    assert!(world.sent.is_empty());
    assert_eq!(world.link.poll_timeout(), None);
}

#[test]
fn keys_are_agreed_anew_after_a_day_without_a_gap() {
    let mut world = World::opened();
    world.pass(Duration::from_secs(24 * 3_600 - 10));
    assert_eq!(world.service.exchanges, 1);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.service.exchanges, 2);
    assert!(matches!(world.link.state(), LinkState::Open { .. }));
}

#[test]
fn a_slow_network_gets_a_session_and_keeps_it() {
    for (rtt_ms, limit_s) in [(600, 4), (900, 6), (1_500, 40), (3_000, 90)] {
        let mut world = World::new();
        world.rtt = Duration::from_millis(rtt_ms);
        world.run_until_open();
        assert!(world.now <= Instant::from_secs(limit_s), "{rtt_ms} ms: {}", world.now);
        world.pass(Duration::from_secs(600));
        assert!(matches!(world.link.state(), LinkState::Open { .. }), "{rtt_ms} ms");
        assert!(world.service.sessions_granted < 12, "{rtt_ms} ms: {}", world.service.sessions_granted);
    }
}

#[test]
fn a_round_trip_is_measured() {
    let mut world = World::opened();
    world.pass(SECOND);
    let LinkState::Open { rtt, .. } = world.link.state() else { panic!() };
    assert_eq!(rtt, Some(world.rtt));
}

#[test]
fn a_link_without_addresses_waits_for_them_without_a_wakeup() {
    let mut world = World::new();
    world.link = world.link_to(Vec::new(), None);
    assert_eq!(world.link.poll_timeout(), None);
    world.link.set_addrs(vec![SERVICE], world.now);
    world.run_until_open();
}
