//! The life of lanes: proven, chosen, quiet, lost, left, and moved to another address.

use alloc::vec::Vec;

use super::*;

const LAN: &str = "192.168.1.4:7000";
const HOME: &str = "203.0.113.4:7000";
const MOVED: &str = "198.51.100.9:7001";

#[test]
fn a_small_answer_alone_never_makes_a_path() {
    let mut paths = active();
    paths.answered(addr(HOME), Size::Small, ms(40), at(0));
    assert_eq!(paths.current(), None);
    assert!(paths.is_full_size_lost());
    let full = probes(&mut paths, at(0), at(5_000));
    assert_eq!(full, [(0, Size::Full), (100, Size::Full), (300, Size::Full), (700, Size::Full)]);
}

#[test]
fn a_full_size_answer_makes_a_path_at_once() {
    let mut paths = active();
    paths.answered(addr(HOME), Size::Full, ms(40), at(0));
    assert_eq!(paths.poll_event(), Some(PathEvent::Chosen { way: addr(HOME), why: "proven" }));
    assert_eq!((paths.current(), paths.rtt()), (Some(addr(HOME)), Some(ms(40))));
}

#[test]
fn without_traffic_a_proven_lane_waits_and_traffic_takes_it_at_once() {
    let mut paths = Paths::default();
    paths.answered(addr(HOME), Size::Full, ms(40), at(0));
    assert_eq!(paths.current(), None);
    paths.set_active(true, at(10_000));
    assert_eq!(paths.current(), Some(addr(HOME)));
    paths.set_active(false, at(190_000));
    assert_eq!((paths.current(), paths.poll_timeout()), (None, None));
    paths.set_active(true, at(600_000));
    assert_eq!(paths.current(), None, "what was proven long ago counts no more");
}

#[test]
fn the_same_lan_wins_and_a_slightly_faster_address_does_not() {
    let mut paths = active();
    paths.answered(addr(HOME), Size::Full, ms(40), at(0));
    paths.answered(addr(MOVED), Size::Full, ms(36), at(10));
    assert_eq!(paths.current(), Some(addr(HOME)), "hysteresis");
    paths.answered(addr(LAN), Size::Full, ms(1), at(20));
    assert_eq!(paths.current(), Some(addr(LAN)));
    paths.answered(addr("[2001:db8::4]:1"), Size::Full, ms(1), at(30));
    assert_eq!(paths.current(), Some(addr(LAN)));
}

#[test]
fn a_better_rank_does_not_excuse_a_detour() {
    let mut paths = active();
    paths.answered(addr(HOME), Size::Full, ms(40), at(0));
    paths.answered(addr("[2001:db8::4]:1"), Size::Full, ms(140), at(10));
    assert_eq!(paths.current(), Some(addr(HOME)));
    paths.answered(addr("[2001:db8::5]:1"), Size::Full, ms(44), at(20));
    assert_eq!(paths.current(), Some(addr("[2001:db8::5]:1")));
}

#[test]
fn sending_into_silence_loses_the_path_within_a_second() {
    let mut paths = direct();
    paths.sent(at(10_000));
    let pings = probes(&mut paths, at(10_000), at(10_099));
    assert!(pings.is_empty(), "not yet");
    let pings = probes(&mut paths, at(10_099), at(12_000));
    let when: Vec<u64> = pings.iter().map(|(millis, _)| *millis).collect();
    assert_eq!(when, [10_100, 10_160, 10_220, 10_280, 10_340, 10_400, 10_460]);
    assert_eq!(paths.poll_event(), Some(PathEvent::Suspected));
    assert_eq!(paths.poll_event(), Some(PathEvent::Lost { way: addr(HOME), why: "no answer" }));
    assert_eq!(paths.current(), None);
}

#[test]
fn an_answer_ends_the_suspicion_and_so_does_data() {
    for data in [false, true] {
        let mut paths = direct();
        paths.sent(at(10_000));
        probes(&mut paths, at(10_000), at(10_400));
        if data {
            paths.heard(addr(HOME), 1, at(10_400));
        } else {
            paths.answered(addr(HOME), Size::Small, ms(40), at(10_400));
        }
        probes(&mut paths, at(10_400), at(20_000));
        assert_eq!(paths.current(), Some(addr(HOME)));
    }
}

#[test]
fn an_answer_that_shows_another_own_address_is_a_reason_to_tell_the_services() {
    let (old, new) = (Some(addr("198.51.100.1:40001").remote), Some(addr("198.51.100.1:40002").remote));
    let mut paths = direct();
    for observed in [old, old, None, old] {
        paths.seen_at(addr(HOME), observed);
        assert_eq!(paths.poll_event(), None, "{observed:?}");
    }
    paths.seen_at(addr(MOVED), new);
    assert_eq!(paths.poll_event(), None, "another peer address may well see another of ours");
    paths.seen_at(addr(HOME), new);
    assert_eq!(paths.poll_event(), Some(PathEvent::Suspected));
    assert_eq!(paths.current(), Some(addr(HOME)), "the lane itself is well");
}

#[test]
fn a_ping_of_the_peer_does_not_show_that_ours_arrive() {
    let mut paths = direct();
    paths.sent(at(10_000));
    for tenth in 0..9 {
        let now = at(10_000 + tenth * 100);
        probes(&mut paths, now, now);
        paths.pinged_from(addr(HOME), true, now);
    }
    probes(&mut paths, at(10_900), at(12_000));
    assert_eq!(paths.current(), None);
}

#[test]
fn a_far_peer_is_given_three_round_trips() {
    let mut paths = active();
    paths.answered(addr(HOME), Size::Full, ms(500), at(0));
    paths.sent(at(10_000));
    probes(&mut paths, at(10_000), at(12_049));
    assert_eq!(paths.current(), Some(addr(HOME)));
    probes(&mut paths, at(12_050), at(12_050));
    assert_eq!(paths.current(), None);
}

#[test]
fn data_by_relay_shows_that_the_peer_left_the_path() {
    let mut paths = direct();
    paths.heard(addr(HOME), 1, at(10_000));
    paths.heard_by_relay(at(10_250));
    assert_eq!(paths.current(), Some(addr(HOME)), "late datagrams of before are normal");
    paths.heard_by_relay(at(10_300));
    assert_eq!(paths.current(), None);
}

#[test]
fn data_by_relay_makes_a_path_doubtful_that_stays_silent_after_it() {
    for is_heard in [false, true] {
        let mut paths = direct();
        paths.heard(addr(HOME), 1, at(10_000));
        paths.heard_by_relay(at(10_040));
        if is_heard {
            paths.heard(addr(HOME), 1, at(10_060));
        }
        probes(&mut paths, at(10_040), at(10_099));
        assert!(paths.live().is_some(), "what was under way may have overtaken it");
        probes(&mut paths, at(10_099), at(10_100));
        assert_eq!(paths.live().is_some(), is_heard);
    }
}

#[test]
fn just_after_the_switch_the_peer_may_still_send_by_relay() {
    let mut paths = direct();
    paths.heard_by_relay(at(900));
    assert_eq!(paths.current(), Some(addr(HOME)));
}

#[test]
fn a_path_that_the_peer_keeps_leaving_is_chosen_ever_more_rarely() {
    let mut paths = direct();
    let mut switches = 0;
    for second in (2..300_u64).step_by(2) {
        let now = at(second * 1_000);
        paths.answered(addr(HOME), Size::Full, ms(40), now);
        probes(&mut paths, now, now);
        if paths.current().is_some() {
            paths.heard_by_relay(now + ms(1_500));
            switches += u32::from(paths.current().is_none());
        }
    }
    assert!((4..=14).contains(&switches), "{switches} switches in five minutes");
}

#[test]
fn a_peer_that_moved_is_followed_by_its_data_when_the_old_address_is_silent() {
    let mut paths = direct();
    paths.heard(addr(HOME), 1, at(10_000));
    paths.heard(addr(MOVED), 1, at(10_050));
    assert_eq!(paths.current(), Some(addr(HOME)), "the old address is alive");
    paths.heard(addr(MOVED), 1, at(10_250));
    assert_eq!(paths.current(), Some(addr(MOVED)));
    let sizes: Vec<Size> =
        probes(&mut paths, at(10_250), at(10_300)).into_iter().map(|(_, size)| size).collect();
    assert!(sizes.contains(&Size::Full), "the new address is proven as well");
}

#[test]
fn a_new_address_by_its_ping_alone_is_proven_first() {
    let mut paths = direct();
    paths.pinged_from(addr(MOVED), false, at(10_000));
    assert_eq!(paths.current(), Some(addr(HOME)));
    assert_eq!(probes(&mut paths, at(10_000), at(10_000)), [(10_000, Size::Small)]);
    paths.answered(addr(MOVED), Size::Small, ms(40), at(10_040));
    assert_eq!(probes(&mut paths, at(10_040), at(10_040)), [(10_040, Size::Full)]);
}

#[test]
fn pings_from_ever_new_addresses_are_not_pinged_back_for_ever() {
    let mut paths = active();
    let mut sent = 0;
    for number in 0..6_000_u16 {
        let now = at(u64::from(number) * 10);
        paths.pinged_from(Way::main(([198, 51, 100, 81], 1_024 + number).into()), false, now);
        paths.handle_timeout(now);
        sent += core::iter::from_fn(|| paths.poll_probe()).count();
    }
    // Eight strangers at once and five more within the minute, four pings each.
    assert_eq!(sent, 4 * (8 + 5));
}

#[test]
fn an_expected_address_is_proven_without_a_detour() {
    let mut paths = active();
    paths.pinged_from(addr(HOME), true, at(0));
    assert_eq!(probes(&mut paths, at(0), at(0)), [(0, Size::Full)]);
}

#[test]
fn two_ends_on_different_good_paths_do_not_chase_each_other() {
    let mut paths = direct();
    paths.answered(addr(MOVED), Size::Full, ms(41), at(0));
    for tick in 1..200 {
        let now = at(tick * 100);
        paths.sent(now);
        paths.heard(addr(MOVED), 1, now + ms(10));
        for (_, size) in probes(&mut paths, now, now + ms(50)) {
            paths.answered(addr(HOME), size, ms(40), now + ms(90));
        }
        assert_eq!(paths.current(), Some(addr(HOME)));
    }
}

#[test]
fn a_datagram_by_relay_says_nothing_while_the_peer_sends_by_another_good_path() {
    let mut paths = direct();
    paths.answered(addr(MOVED), Size::Full, ms(41), at(0));
    for tick in 1..100 {
        let now = at(tick * 50);
        paths.heard(addr(MOVED), 10, now);
        if tick == 60 {
            paths.heard_by_relay(now);
        }
        probes(&mut paths, now, now + ms(49));
        assert_eq!(paths.live(), Some(addr(HOME)), "at {now:?}");
    }
    paths.heard_by_relay(at(5_040));
    assert!(paths.live().is_some(), "what was under way may have overtaken it");
    probes(&mut paths, at(5_041), at(5_060));
    assert_eq!(paths.live(), None, "the peer sends directly no more");
}

#[test]
fn a_flow_that_came_another_way_and_stops_puts_the_own_way_to_the_test() {
    let mut paths = direct();
    paths.answered(addr(MOVED), Size::Full, ms(41), at(0));
    for half in 1..8 {
        paths.heard(addr(MOVED), 1, at(half * 500));
        assert_eq!(probes(&mut paths, at(half * 500), at(half * 500 + 499)), []);
    }
    let pings = probes(&mut paths, at(3_500), at(6_000));
    assert_eq!(pings.first(), Some(&(4_500, Size::Small)));
    assert_eq!(paths.poll_event(), Some(PathEvent::Stopped), "the services learn where we are");
    assert_eq!(paths.poll_event(), Some(PathEvent::Suspected));
}

#[test]
fn a_dead_path_is_left_for_a_proven_live_one_without_the_relay() {
    let mut paths = direct();
    paths.answered(addr(MOVED), Size::Full, ms(41), at(9_000));
    paths.sent(at(10_000));
    probes(&mut paths, at(10_000), at(10_420));
    paths.heard(addr(MOVED), 1, at(10_420));
    assert_eq!(paths.current(), Some(addr(MOVED)));
}

#[test]
fn a_quiet_active_path_is_kept_alive_and_dies_when_that_goes_unanswered() {
    let mut paths = direct();
    let pings = probes(&mut paths, at(0), at(15_000));
    assert_eq!(pings, [(15_000, Size::Small)]);
    paths.answered(addr(HOME), Size::Small, ms(40), at(15_040));
    let pings = probes(&mut paths, at(15_040), at(40_000));
    assert_eq!(pings[0], (33_000, Size::Small), "the other end did not take its turn");
    assert_eq!(paths.current(), None, "nobody answered the second one");
}

#[test]
fn after_a_change_of_our_network_the_path_answers_quickly_or_is_lost() {
    let mut paths = direct();
    paths.network_changed(at(10_000));
    assert_eq!(probes(&mut paths, at(10_000), at(10_000)), [(10_000, Size::Small)]);
    probes(&mut paths, at(10_001), at(10_300));
    assert_eq!(paths.current(), None);

    let mut paths = direct();
    paths.network_changed(at(10_000));
    paths.answered(addr(HOME), Size::Small, ms(40), at(10_040));
    assert_eq!(probes(&mut paths, at(10_040), at(10_040)), [(10_040, Size::Small), (10_040, Size::Full)]);
    paths.answered(addr(HOME), Size::Full, ms(40), at(10_080));
    probes(&mut paths, at(10_080), at(12_000));
    assert_eq!(paths.current(), Some(addr(HOME)), "a change that changed nothing");
}

#[test]
fn a_path_kept_through_a_move_is_left_where_full_size_packets_do_not_pass_any_more() {
    let mut paths = direct();
    paths.network_changed(at(10_000));
    for now in (10_040..20_000).step_by(60) {
        paths.answered(addr(HOME), Size::Small, ms(40), at(now));
        probes(&mut paths, at(now), at(now));
        let expected = (now < 11_540).then(|| addr(HOME));
        assert_eq!(paths.current(), expected, "at {now}: small pings are answered all the time");
    }
}

#[test]
fn addresses_worth_remembering_begin_with_the_current_one() {
    let mut paths = active();
    paths.answered(addr(HOME), Size::Full, ms(40), at(0));
    paths.answered(addr(LAN), Size::Full, ms(1), at(0));
    paths.answered(addr(MOVED), Size::Small, ms(1), at(0));
    assert_eq!(paths.endpoints(), [addr(LAN).remote, addr(HOME).remote]);
}

#[test]
fn a_peer_that_moved_where_full_size_packets_do_not_pass_is_left_for_good() {
    let mut paths = direct();
    paths.heard(addr(MOVED), 1, at(5_000));
    assert_eq!(paths.current(), Some(addr(MOVED)));
    for now in (5_010..12_000).step_by(100) {
        paths.heard(addr(MOVED), 1, at(now));
        paths.handle_timeout(at(now));
        while paths.poll_probe().is_some() {}
        let expected = (now < 6_500).then(|| addr(MOVED));
        assert_eq!(paths.current(), expected, "at {now}: neither the new way nor the one that it left");
    }
}

#[test]
fn ways_to_one_address_that_fell_silent_together_are_left_together() {
    let mut paths = active();
    let from = |socket| Way { local: SocketId(socket), ..addr(HOME) };
    for socket in 64..68 {
        paths.answered(from(socket), Size::Full, ms(40), at(0));
    }
    paths.answered(addr("203.0.113.200:1"), Size::Full, ms(90), at(0));
    assert_eq!(paths.current(), Some(from(64)));
    paths.sent(at(5_000));
    probes(&mut paths, at(5_000), at(6_000));
    assert_eq!(paths.current(), Some(addr("203.0.113.200:1")), "not the other sockets, one after another");
}

#[test]
fn lanes_are_bounded_and_the_current_one_stays() {
    let mut paths = direct();
    for port in 1..=200 {
        paths.pinged_from(Way::main(([198, 51, 100, 7], port).into()), false, at(u64::from(port)));
    }
    assert!(paths.lanes.len() <= LANES_MAX);
    assert_eq!(paths.current(), Some(addr(HOME)));
}

/// Lets time pass and collects the pings with the millisecond they were sent at.
fn probes(paths: &mut Paths, from: Instant, until: Instant) -> Vec<(u64, Size)> {
    let mut sent = Vec::new();
    let mut now = from;
    loop {
        paths.handle_timeout(now);
        while let Some(probe) = paths.poll_probe() {
            sent.push((now.as_micros() / 1_000, probe.size));
        }
        match paths.poll_timeout() {
            Some(wakeup) if wakeup.at <= until => now = now.max(wakeup.at),
            _ => return sent,
        }
    }
}

fn active() -> Paths {
    let mut paths = Paths::default();
    paths.set_active(true, at(0));
    paths
}

fn direct() -> Paths {
    let mut paths = active();
    paths.answered(addr(HOME), Size::Full, ms(40), at(0));
    assert!(paths.poll_event().is_some());
    paths
}

fn addr(text: &str) -> Way {
    Way::main(text.parse().unwrap())
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
