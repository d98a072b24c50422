//! A device that was started again knows none of the sessions of before.

use super::*;

#[test]
fn a_restarted_peer_is_back_with_the_next_packet_to_it() {
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    a.knows(&b, direct(&b));
    b.knows(&a, direct(&a));
    a.tun.send(&datagram(1, 2, b"before", 0)).unwrap();
    b.receive("a packet before the restart");
    let port = b.sockets.port();
    drop(b);
    let b = Device::start_at(2, Offload::None, port);
    b.knows(&a, direct(&a));
    send_until_heard(&a, &b);
}

#[test]
fn a_restarted_peer_that_has_no_path_yet_asks_for_a_session_by_the_channel() {
    let relay = Relay::start();
    let (a, b) = (Device::start(1, Offload::None), Device::start(2, Offload::None));
    relay.serve(&a, &b);
    a.knows(&b, relay.path());
    b.knows(&a, relay.path());
    a.tun.send(&datagram(1, 2, b"before", 0)).unwrap();
    b.receive("a packet before the restart");
    let port = b.sockets.port();
    drop(b);
    let b = Device::start_at(2, Offload::None, port);
    // Nobody here wants anything of A; that the channel is the pair's is all that is known.
    b.moves(&a, Path::None, &relay);
    send_until_heard(&a, &b);
}

/// The first packet is for a session that B has lost; it makes B ask for a new one at once. WireGuard alone would take
/// 15 s to notice.
fn send_until_heard(a: &Device, b: &Device) {
    let begun = Instant::now();
    for number in 1.. {
        assert!(begun.elapsed() < DEADLINE, "no packet after the restart");
        a.tun.send(&datagram(1, 2, b"after", number)).unwrap();
        if b.try_receive(Duration::from_millis(100)).is_some() {
            break;
        }
    }
    assert!(b.plane.counters().of(Dropped::NoSession) > 0);
}
