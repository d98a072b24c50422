//! Two peers of each other over a network of two addresses: from the first packet to the last.

use alloc::vec;

use super::*;
use crate::device::status::Advice;

mod pair;

use self::pair::{End, Pair, addr, coordinator, direct, direct_pair, kind, ms, observation, peer};

#[test]
fn the_first_packet_goes_by_relay_and_the_direct_path_follows_without_a_gap() {
    let mut pair = Pair::new();
    pair.connect(0);
    assert!(pair.ends[0].peer.path().is_relayed(), "at once");
    pair.run_for(ms(20));
    assert!(pair.ends[1].peer.path().is_relayed(), "the other end was called");
    pair.run_for(ms(200));
    for end in &pair.ends {
        assert!(end.peer.path().is_direct());
        let kinds: Vec<&str> = end.moves.iter().map(|(_, to)| kind(*to)).collect();
        assert_eq!(kinds, ["relayed", "direct"]);
        assert_eq!(end.peer.rtt(), Some(ms(40)));
    }
    let (direct_at, _) = pair.ends[0].moves[1];
    assert!(direct_at.saturating_since(pair.start) <= ms(110), "signalling and one round trip");
}

#[test]
fn a_path_that_loses_full_size_datagrams_is_not_taken() {
    let mut pair = Pair::new();
    pair.mtu = 1_200;
    pair.connect(0);
    pair.run_for(Duration::from_secs(5));
    assert!(pair.ends.iter().all(|end| end.peer.path().is_relayed()));
    assert_eq!(pair.ends[0].peer.attempt_status().advice, Advice::FullSizeLost);
    assert_eq!(pair.reports[0].last(), Some(&"relayed"));
}

#[test]
fn an_end_whose_address_nobody_knew_is_found_by_its_pings() {
    let mut pair = Pair::new();
    // B is told an address of A that leads nowhere, as behind a mapping that depends on the destination.
    pair.ends[0].candidate = addr("203.0.113.99:9");
    pair.connect(0);
    pair.run_for(ms(500));
    assert_eq!(pair.ends[1].peer.path(), direct(pair.ends[0].address));
    assert_eq!(pair.ends[0].peer.path(), direct(pair.ends[1].address));
}

#[test]
fn a_dead_path_is_left_within_a_second_and_the_other_end_follows() {
    let mut pair = direct_pair();
    pair.is_blocked = true;
    let died = pair.now;
    pair.talk_for(Duration::from_secs(2));
    for end in &pair.ends {
        let (left_at, to) = end.moves[2];
        assert!(to.is_relayed());
        assert!(left_at.saturating_since(died) <= ms(1_100), "{:?}", left_at.saturating_since(died));
    }
    assert!(pair.pokes >= 1, "services learn our address before the relay is needed");
    pair.is_blocked = false;
    pair.talk_for(Duration::from_secs(4));
    assert!(pair.ends.iter().all(|end| end.peer.path().is_direct()), "and taken again when it is back");
}

#[test]
fn a_path_is_doubted_at_the_same_moment_however_late_the_report_is() {
    for late in [0, 40, 90] {
        let mut pair = direct_pair();
        let (end, sent_at) = (&mut pair.ends[0], pair.now);
        let sent = Observation { unanswered_since: Some(sent_at), ..observation(true) };
        end.peer.observe(&sent, sent_at + ms(late));
        assert_eq!(
            end.peer.poll_timeout().map(|wakeup| wakeup.at),
            Some(sent_at + ms(100)),
            "{late} ms late"
        );

        let heard = Observation { rx: vec![(end.peer.path(), 9, 9_000)], ..observation(false) };
        let heard = Observation { heard_at: Some(sent_at), tx_packets: 0, waiting: false, ..heard };
        end.peer.observe(&heard, sent_at + ms(late));
        assert_eq!(
            end.peer.poll_timeout().map(|wakeup| wakeup.at),
            Some(sent_at + ms(150)),
            "{late} ms late"
        );
    }
}

#[test]
fn data_by_a_fresh_socket_keeps_it_open_and_data_by_a_closed_one_makes_no_path() {
    for is_open in [true, false] {
        let mut pair = direct_pair();
        let remote = pair.ends[1].address;
        let (now, peer) = (pair.now + Duration::from_secs(20), &mut pair.ends[0].peer);
        while peer.poll_action().is_some() {}
        if is_open {
            peer.sockets.insert(SocketId(472), true);
        }
        let path = Path::Direct { local: SocketId(472), remote };
        peer.observe(&Observation { rx: vec![(path, 1, 100)], ..observation(false) }, now);
        assert_eq!(peer.path() == path, is_open, "the peer moved: {:?}", peer.path());
        let closed =
            core::iter::from_fn(|| peer.poll_action()).any(|action| matches!(action, Action::Close(_)));
        assert!(!closed);
    }
}

#[test]
fn an_address_that_answered_once_is_not_listed_as_answering_when_it_is_gone() {
    let answered = |pair: &Pair| {
        let tried = pair.ends[0].peer.attempt_status().candidates_tried;
        assert!(!tried.is_empty(), "it is still listed");
        tried.iter().any(|tried| tried.answered)
    };
    let mut pair = direct_pair();
    assert!(answered(&pair));
    pair.is_blocked = true;
    pair.talk_for(Duration::from_secs(4));
    assert!(!answered(&pair), "the peer vanished");
    pair.is_blocked = false;
    pair.talk_for(Duration::from_secs(60));
    assert!(pair.ends[0].peer.path().is_direct() && answered(&pair), "and is back");
}

#[test]
fn when_one_direction_dies_both_ends_leave() {
    let mut pair = direct_pair();
    pair.is_blocked_to = Some(1);
    let died = pair.now;
    pair.talk_for(Duration::from_secs(2));
    for end in &pair.ends {
        let (left_at, to) = end.moves[2];
        assert!(to.is_relayed());
        assert!(left_at.saturating_since(died) <= ms(1_300), "{:?}", left_at.saturating_since(died));
    }
}

#[test]
fn an_end_that_only_receives_lets_the_services_know_where_it_is() {
    for is_relayed in [false, true] {
        let mut pair = direct_pair();
        if is_relayed {
            pair.mtu = 1_200;
            pair.is_blocked = true;
            pair.talk_for(Duration::from_secs(3));
        }
        let path = pair.ends[1].peer.path();
        assert_eq!(path.is_relayed(), is_relayed);
        let flow = Observation { rx: vec![(path, 40, 50_000)], waiting: false, ..observation(false) };
        let flow = Observation { tx_packets: 0, ..flow };
        pair.ends[1].peer.observe(&flow, pair.now);
        pair.is_blocked = true;
        pair.pokes = 0;
        pair.run_for(ms(600));
        assert!(pair.pokes >= 1, "relayed: {is_relayed}");
    }
}

#[test]
fn a_pair_without_traffic_closes_and_sends_nothing_at_all() {
    let mut pair = direct_pair();
    pair.run_for(Duration::from_secs(200));
    assert!(pair.ends.iter().all(|end| end.peer.path() == Path::None));
    let sent = pair.sent;
    pair.run_for(Duration::from_secs(3_600));
    assert_eq!(pair.sent, sent);
    pair.connect(1);
    assert!(pair.ends[1].peer.path().is_relayed(), "and the next packet goes by relay at once");
    pair.run_for(ms(300));
    assert!(pair.ends.iter().all(|end| end.peer.path().is_direct()));
}

#[test]
fn an_attempt_that_begins_after_its_traffic_ended_is_no_failure_for_the_traffic_that_comes() {
    let mut pair = direct_pair();
    pair.run_for(Duration::from_secs(200));
    // A question from before, to which the checkpoint was not there to answer sooner.
    pair.on_attempt(0, AttemptWish::Begin { coordinator: coordinator() });
    pair.drain();
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.ends.each_ref().map(|end| kind(end.peer.path())), ["direct"; 2]);
    pair.run_for(Duration::from_secs(400));
    let sent = pair.sent;
    pair.run_for(Duration::from_secs(3_600));
    assert_eq!(pair.sent, sent, "nobody tries again for nobody");
    pair.connect(0);
    pair.run_for(ms(300));
    assert_eq!(pair.ends.each_ref().map(|end| kind(end.peer.path())), ["direct"; 2]);
}

#[test]
fn keeping_an_active_path_alive_is_cheap() {
    let mut pair = direct_pair();
    let sent = pair.sent;
    pair.run_for(Duration::from_secs(150));
    assert!(pair.sent - sent <= 24, "{} datagrams of two ends in 150 s", pair.sent - sent);
    assert!(pair.ends.iter().all(|end| end.peer.path().is_direct()));
}

#[test]
fn a_peer_that_changes_its_address_in_the_middle_of_traffic_is_followed() {
    let mut pair = direct_pair();
    pair.ends[1].address = addr("198.51.100.77:7000");
    pair.talk_for(ms(600));
    assert_eq!(pair.ends[0].peer.path(), direct(addr("198.51.100.77:7000")));
    assert!(pair.ends[0].moves.iter().all(|(_, to)| *to != Path::None));
}

#[test]
fn two_restarted_ends_find_each_other_without_a_coordinator() {
    let before = direct_pair();
    let mut pair = Pair::new();
    pair.forget_coordinator();
    for at in 0..2 {
        let cached = before.ends[at].cached();
        let attempt = cached.attempt.unwrap();
        let end = &mut pair.ends[at];
        end.peer.learn(attempt, &end.secret);
        end.peer.remember(&cached, 1_700_000_600, pair.start);
    }
    pair.run_for(Duration::from_secs(2));
    assert!(pair.ends.iter().all(|end| end.peer.path() == Path::None), "nobody wants a path yet");
    pair.connect(0);
    assert!(pair.ends[0].peer.path().is_direct(), "at once, since they met already");
}

#[test]
fn a_restarted_end_is_heard_by_one_that_runs_on() {
    let mut pair = direct_pair();
    let cached = pair.ends[0].cached();
    pair.forget_coordinator();
    let mut fresh = End { peer: peer(0, 99), ..End::new(0) };
    fresh.peer.learn(cached.attempt.unwrap(), &fresh.secret);
    fresh.peer.remember(&cached, 1_700_000_600, pair.now);
    pair.ends[0] = fresh;
    pair.run_for(Duration::from_secs(1));
    pair.connect(0);
    pair.run_for(ms(100));
    assert!(pair.ends[0].peer.path().is_direct());
}

#[test]
fn an_end_that_was_not_active_lately_is_not_looked_for() {
    let mut pair = Pair::new();
    pair.forget_coordinator();
    let cached = MemberCache { last_active_unix_s: 1_700_000_000 - 3_601, ..direct_pair().ends[0].cached() };
    let end = &mut pair.ends[0];
    end.peer.learn(cached.attempt.unwrap(), &end.secret);
    end.peer.remember(&cached, 1_700_000_000, pair.start);
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.sent, 0);
}

#[test]
fn without_a_coordinator_a_path_that_dies_is_looked_for_until_it_is_back() {
    let mut pair = direct_pair();
    pair.forget_coordinator();
    pair.is_blocked = true;
    pair.talk_for(Duration::from_secs(120));
    pair.is_blocked = false;
    pair.talk_for(Duration::from_secs(30));
    assert!(pair.ends.iter().all(|end| end.peer.path().is_direct()));
}

#[test]
fn recorded_pings_sent_from_elsewhere_move_nothing_and_cost_little() {
    let mut pair = direct_pair();
    pair.record = true;
    for _ in 0..20 {
        pair.is_blocked = true;
        pair.talk_for(Duration::from_secs(2));
        pair.is_blocked = false;
        pair.talk_for(Duration::from_secs(4));
    }
    let recorded = core::mem::take(&mut pair.recorded);
    pair.record = false;
    // Each end remembers 128 pings.
    assert!(recorded.len() > 256, "more than anybody remembers: {}", recorded.len());
    let before = pair.ends[1].peer.path();
    pair.sent = 0;
    let elsewhere = addr("192.0.2.66:666");
    for bytes in recorded.iter().cycle().take(5_000) {
        let datagram = Datagram { local: SocketId::MAIN, remote: elsewhere, bytes };
        let _ignored = pair.ends[1].peer.handle_datagram(datagram, pair.now);
    }
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[1].peer.path(), before);
    assert!(pair.sent < 100, "{} datagrams for 5,000", pair.sent);
}

#[test]
fn a_path_that_hiccups_lends_its_data_to_the_relay_and_takes_it_back() {
    let mut pair = direct_pair();
    pair.talk_for(Duration::from_secs(2));
    pair.is_blocked = true;
    pair.talk_for(ms(350));
    assert!(pair.ends.iter().all(|end| end.peer.path().is_relayed()), "what TCP repeats must arrive");
    let begun = pair.begun;
    pair.is_blocked = false;
    pair.talk_for(ms(150));
    assert!(pair.ends.iter().all(|end| end.peer.path().is_direct()));
    assert_eq!(pair.begun, begun, "nothing had to be punched anew");
}

#[test]
fn what_was_sent_last_goes_out_again_when_a_path_is_left_and_when_the_peer_is_back() {
    let mut pair = direct_pair();
    pair.talk_for(Duration::from_secs(2));
    let repeats = |pair: &Pair| [0, 1].map(|at: usize| pair.ends[at].peer.repeats());
    let flow = |pair: &mut Pair| {
        let now = pair.now;
        let thick = Observation { tx_packets: 3, ..observation(true) };
        pair.ends.iter_mut().for_each(|end| end.peer.observe(&thick, now));
    };
    flow(&mut pair);
    let before = repeats(&pair);
    pair.is_blocked = true;
    pair.talk_for(ms(350));
    let left = repeats(&pair);
    assert!(left[0] > before[0] && left[1] > before[1], "{before:?} {left:?}");
    pair.is_blocked = false;
    pair.talk_for(Duration::from_secs(2));
    let back = repeats(&pair);
    pair.talk_for(Duration::from_secs(20));
    assert_eq!(repeats(&pair), back, "a path that answers repeats nothing");
    flow(&mut pair);
    let now = pair.now;
    pair.ends[0].peer.network_changed(now);
    assert_eq!(repeats(&pair)[0], back[0] + 1);
}

#[test]
fn a_refused_relay_leaves_the_pair_waiting_and_then_direct() {
    let mut pair = Pair::new();
    pair.refuse_relay = true;
    pair.connect(0);
    pair.run_for(ms(5));
    assert_eq!(pair.ends[0].peer.path(), Path::None);
    pair.run_for(ms(200));
    assert!(pair.ends[0].peer.path().is_direct());
}

#[test]
fn a_changed_network_brings_a_new_attempt_at_once() {
    let mut pair = direct_pair();
    pair.run_for(Duration::from_secs(5));
    let begun = pair.begun;
    let now = pair.now;
    pair.ends[0].address = addr("198.51.100.5:7000");
    pair.ends[0].candidate = pair.ends[0].address;
    pair.ends[0].peer.network_changed(now);
    pair.talk_for(ms(1_500));
    assert_eq!(pair.begun, begun + 1);
    assert_eq!(pair.ends[1].peer.path(), direct(addr("198.51.100.5:7000")));
    assert!(pair.ends[0].peer.path().is_direct());
}
