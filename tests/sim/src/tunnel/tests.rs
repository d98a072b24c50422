//! Two ends and what gets lost between them.

use super::*;

#[test]
fn a_packet_waits_for_the_session_and_arrives() {
    let (mut a, mut b) = pair();
    let initiation = a.seal(id(2), b"hello", Instant::from_secs(1));
    let response = b.open(&initiation[0], Instant::from_secs(1));
    let data = a.open(&response.answers[0], Instant::from_secs(1));
    let opened = b.open(&data.answers[0], Instant::from_secs(1));
    assert_eq!(opened.peer, Some(id(1)));
    assert_eq!(opened.packet.as_deref(), Some(b"hello".as_slice()));
    let reply = b.seal(id(1), b"hello yourself", Instant::from_secs(1));
    assert_eq!(
        a.open(&reply[0], Instant::from_secs(1)).packet.as_deref(),
        Some(b"hello yourself".as_slice())
    );
}

#[test]
fn nothing_opens_twice_or_changed() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    let datagram = a.seal(id(2), b"once", Instant::from_secs(2)).remove(0);
    for at in 0..datagram.len() {
        let mut changed = datagram.clone();
        changed[at] ^= 1;
        assert_eq!(b.open(&changed, Instant::from_secs(2)), Opened::default(), "byte {at}");
    }
    assert!(b.open(&datagram, Instant::from_secs(2)).packet.is_some());
    assert_eq!(b.open(&datagram, Instant::from_secs(2)), Opened::default());
}

#[test]
fn a_restarted_peer_gets_a_new_session_once_it_stayed_silent() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    let (_, mut restarted) = pair();
    let lost = a.seal(id(2), b"lost", Instant::from_secs(2));
    assert_eq!(restarted.open(&lost[0], Instant::from_secs(2)), Opened::default());
    let out = a.seal(id(2), b"again", Instant::from_secs(4));
    let response = restarted.open(&out[1], Instant::from_secs(4));
    a.open(&response.answers[0], Instant::from_secs(4));
    let out = a.seal(id(2), b"third", Instant::from_secs(4));
    assert_eq!(restarted.open(&out[0], Instant::from_secs(4)).packet.as_deref(), Some(b"third".as_slice()));
}

#[test]
fn a_lost_answer_leaves_the_old_session_in_use() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    a.seal(id(2), b"lost", Instant::from_secs(2));
    let out = a.seal(id(2), b"again", Instant::from_secs(4));
    assert_eq!(b.open(&out[1], Instant::from_secs(4)).answers.len(), 1, "and it is lost");
    let reply = b.seal(id(1), b"still here", Instant::from_secs(4));
    assert!(a.open(&reply[0], Instant::from_secs(4)).packet.is_some());
}

#[test]
fn initiations_repeat_with_longer_pauses_and_end() {
    let (mut a, _) = pair();
    let mut now = Instant::from_secs(1);
    let mut sent = a.seal(id(2), b"hello?", now).len();
    let mut pauses = Vec::new();
    while let Some(at) = a.poll_timeout() {
        pauses.push(at.saturating_since(now));
        now = at;
        sent += a.handle_timeout(now).len();
    }
    assert_eq!(sent, 19);
    assert_eq!(pauses[0], RETRY);
    assert!(pauses.iter().all(|pause| *pause <= RETRY_MAX));
}

#[test]
fn a_peer_that_is_gone_from_the_table_has_no_tunnel() {
    let (mut a, mut b) = pair();
    connect(&mut a, &mut b);
    let datagram = a.seal(id(2), b"too late", Instant::from_secs(2)).remove(0);
    b.set_peers(&[]);
    assert!(b.peers.is_empty());
    assert_eq!(b.open(&datagram, Instant::from_secs(2)), Opened::default());
}

fn connect(a: &mut Tunnels, b: &mut Tunnels) {
    let initiation = a.seal(id(2), b"x", Instant::from_secs(1));
    let response = b.open(&initiation[0], Instant::from_secs(1));
    let data = a.open(&response.answers[0], Instant::from_secs(1));
    b.open(&data.answers[0], Instant::from_secs(1));
}

fn pair() -> (Tunnels, Tunnels) {
    let (first, second) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
    let (first_key, second_key) = (first.public(), second.public());
    let mut a = Tunnels::new(first, Rng::from_seed([1; 32]));
    let mut b = Tunnels::new(second, Rng::from_seed([2; 32]));
    a.set_peers(&[(id(2), second_key)]);
    b.set_peers(&[(id(1), first_key)]);
    (a, b)
}

fn id(number: u8) -> DeviceId {
    DeviceId::from_bytes([number; 16])
}

#[test]
fn an_answer_counts_though_the_initiation_was_repeated() {
    let (mut a, mut b) = pair();
    let at = Instant::from_millis;
    let first = a.seal(id(2), b"far away", at(1_000));
    let repeated = a.handle_timeout(at(1_500));
    let late = b.open(&first[0], at(1_600));
    let data = a.open(&late.answers[0], at(2_200));
    assert_eq!(data.answers.len(), 1, "the packet goes by the first session");
    let later = b.open(&repeated[0].1, at(2_100));
    assert_eq!(b.open(&data.answers[0], at(2_800)).packet.as_deref(), Some(b"far away".as_slice()));
    let again = a.open(&later.answers[0], at(2_700));
    assert_eq!(b.open(&again.answers[0], at(3_300)).peer, Some(id(1)), "and the second is as good");
    assert_eq!(a.poll_timeout(), None);
}

#[test]
fn data_of_a_lost_session_asks_for_another_only_if_there_is_none() {
    let (mut a, mut b) = pair();
    assert_eq!(b.lose(id(1), Instant::from_secs(1)).len(), 1);
    connect(&mut a, &mut b);
    assert!(b.lose(id(1), Instant::from_secs(3)).is_empty());
}
