//! How to draw any message of the protocol.

use lanyard_wire::body::{DeviceBody, ServiceBody};
use lanyard_wire::checkpoint::*;
use lanyard_wire::handshake::*;
use lanyard_wire::ids::RelayTag;
use lanyard_wire::names::JoinPassword;
use lanyard_wire::relay::*;
use lanyard_wire::session::{FromDevice, FromService};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::values::*;

pub(crate) fn device_body() -> impl Strategy<Value = DeviceBody> {
    prop_oneof![
        Just(DeviceBody::KeepAlive),
        Just(DeviceBody::Session(FromDevice::Bye)),
        any::<u64>().prop_map(|counter| DeviceBody::Session(FromDevice::Proof { counter })),
        to_checkpoint().prop_map(DeviceBody::Checkpoint),
        to_handshake().prop_map(DeviceBody::Handshake),
        to_relay().prop_map(DeviceBody::Relay),
    ]
}

pub(crate) fn service_body() -> impl Strategy<Value = ServiceBody> {
    prop_oneof![
        1 => Just(ServiceBody::KeepAlive),
        1 => from_service().prop_map(ServiceBody::Session),
        5 => answer().prop_map(ServiceBody::Checkpoint),
        3 => push_message().prop_map(ServiceBody::Checkpoint),
        2 => from_handshake().prop_map(ServiceBody::Handshake),
        2 => from_relay().prop_map(ServiceBody::Relay),
    ]
}

fn from_service() -> impl Strategy<Value = FromService> {
    prop_oneof![
        ticket().prop_map(FromService::Ticket),
        (addr(), key()).prop_map(|(addr, key)| FromService::Move { addr, key }),
    ]
}

fn to_checkpoint() -> impl Strategy<Value = ToCheckpoint> {
    prop_oneof![
        (request(), card(), candidates(), any::<bool>(), option::of(key())).prop_map(
            |(request, card, candidates, relays, prekey)| {
                ToCheckpoint::Register(Register { request, card, candidates, relays, prekey })
            }
        ),
        join().prop_map(ToCheckpoint::Join),
        (request(), network()).prop_map(|(request, network)| ToCheckpoint::Leave { request, network }),
        (request(), network(), revision(), option::of(device())).prop_map(
            |(request, network, since, after)| ToCheckpoint::RosterAsk(RosterAsk {
                request,
                network,
                since,
                after
            })
        ),
        (request(), device()).prop_map(|(request, peer)| ToCheckpoint::Begin { request, peer }),
        push().prop_map(|push| ToCheckpoint::Ack { push }),
        (request(), vec(device(), 0..=60))
            .prop_map(|(request, refused)| ToCheckpoint::Consent(Consent { request, refused })),
        (device(), code(PairCode::KINDS), option::of(method()), any::<u32>()).prop_map(
            |(peer, code, method, took_ms)| ToCheckpoint::PairVerdict(PairVerdict {
                peer,
                code,
                method,
                took_ms
            })
        ),
        vec(link(), 0..=28).prop_map(|links| ToCheckpoint::Links(Links { links })),
    ]
}

fn link() -> impl Strategy<Value = LinkReport> {
    (device(), code(LinkPath::KINDS), option::of(any::<u32>()), any::<(u8, u8, u64, u64)>()).prop_map(
        |(peer, path, rtt_us, (pings, lost, tx_bytes, rx_bytes))| LinkReport {
            peer,
            path,
            rtt_us,
            pings,
            lost,
            tx_bytes,
            rx_bytes,
        },
    )
}

fn password() -> impl Strategy<Value = JoinPassword> {
    "[ -~]{1,64}".prop_map(|text| JoinPassword::parse(&text).unwrap())
}

fn join() -> impl Strategy<Value = Join> {
    (
        (request(), network_name(), option::of(invite()), option::of(password()), device_name()),
        (key(), short_text(), short_text(), vec(prefix4(), 0..=16)),
    )
        .prop_map(|((request, network, invite, password, name), (wireguard, os, version, prefixes))| {
            Join { request, network, invite, password, name, wireguard, os, version, prefixes }
        })
}

fn answer() -> impl Strategy<Value = FromCheckpoint> {
    prop_oneof![
        registered().prop_map(FromCheckpoint::Registered),
        (request(), join_outcome())
            .prop_map(|(request, outcome)| FromCheckpoint::JoinAnswer { request, outcome }),
        request().prop_map(|request| FromCheckpoint::Left { request }),
        roster().prop_map(FromCheckpoint::Roster),
        (request(), device(), begin_outcome()).prop_map(|(request, peer, outcome)| {
            FromCheckpoint::BeginAnswer(BeginAnswer { request, peer, outcome })
        }),
        (request(), network()).prop_map(|(request, network)| FromCheckpoint::NotMember { request, network }),
        request().prop_map(|request| FromCheckpoint::Accepted { request }),
    ]
}

fn push_message() -> impl Strategy<Value = FromCheckpoint> {
    prop_oneof![
        (push(), attempt(), token(), device(), any::<u8>()).prop_map(
            |(push, attempt, ticket, peer, handshake)| FromCheckpoint::Invited(Invited {
                push,
                attempt,
                ticket,
                peer,
                handshake
            })
        ),
        (push(), network(), revision(), revision(), vec(change(), 0..=8)).prop_map(
            |(push, network, from, to, changes)| FromCheckpoint::RosterChanged(RosterChanged {
                push,
                network,
                from,
                to,
                changes
            })
        ),
        (push(), vec((device(), availability()), 0..=22))
            .prop_map(|(push, changes)| FromCheckpoint::Presence(Presence { push, changes })),
    ]
}

fn registered() -> impl Strategy<Value = Registered> {
    (request(), option::of(number()), addr(), services(), vec((network(), revision()), 0..=32), ticket())
        .prop_map(|(request, number, observed, services, networks, ticket)| Registered {
            request,
            number,
            observed,
            services,
            networks,
            ticket,
        })
}

fn services() -> impl Strategy<Value = Services> {
    let service = || (key(), vec(addr(), 0..=4)).prop_map(|(key, addrs)| ServiceAddr { key, addrs });
    (vec(service(), 0..=3), vec(service(), 0..=3), vec(addr(), 0..=8))
        .prop_map(|(handshake, relay, stun)| Services { handshake, relay, stun })
}

fn join_outcome() -> impl Strategy<Value = JoinOutcome> {
    prop_oneof![
        network().prop_map(|network| JoinOutcome::Joined { network }),
        network().prop_map(|network| JoinOutcome::Pending { network }),
        code(JoinRefusal::KINDS).prop_map(JoinOutcome::Refused),
    ]
}

fn begin_outcome() -> impl Strategy<Value = BeginOutcome> {
    prop_oneof![
        Just(BeginOutcome::Offline),
        Just(BeginOutcome::Refused),
        Just(BeginOutcome::NoSharedNetwork),
        (attempt(), token(), any::<u8>()).prop_map(|(attempt, ticket, handshake)| BeginOutcome::Started {
            attempt,
            ticket,
            handshake
        }),
    ]
}

fn roster() -> impl Strategy<Value = Roster> {
    (
        (request(), network_card(), revision(), revision()),
        (any::<bool>(), option::of(device()), vec(change(), 0..=8)),
    )
        .prop_map(|((request, network, from, to), (full, next, changes))| Roster {
            request,
            network,
            from,
            to,
            full,
            next,
            changes,
        })
}

fn network_card() -> impl Strategy<Value = NetworkCard> {
    let addresses = (prefix4(), ip6(), ip4(), ip6());
    (network(), network_name(), addresses, code(MemberState::KINDS), any::<bool>()).prop_map(
        |(id, name, (prefix4, prefix6, ip4, ip6), state, peer_relay)| NetworkCard {
            id,
            name,
            prefix4,
            prefix6,
            ip4,
            ip6,
            state,
            peer_relay,
        },
    )
}

fn availability() -> impl Strategy<Value = Availability> {
    prop_oneof![
        Just(Availability::Offline),
        option::of(key()).prop_map(|prekey| Availability::Online { prekey }),
        option::of(key()).prop_map(|prekey| Availability::Relaying { prekey }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let grant = (channel(), any::<(u32, [u8; 16])>()).prop_map(|(channel, (expires_s, mac))| RelayGrant {
        channel,
        expires_s,
        mac,
    });
    let member = ((key(), number(), key(), device_name()), (ip4(), ip6(), availability(), grant)).prop_map(
        |((identity, number, wireguard, name), (ip4, ip6, availability, relay))| Member {
            identity,
            number,
            wireguard,
            name,
            ip4,
            ip6,
            availability,
            relay,
        },
    );
    prop_oneof![member.prop_map(Change::Present), device().prop_map(Change::Gone)]
}

fn to_handshake() -> impl Strategy<Value = ToHandshake> {
    let verdict = prop_oneof![
        (addr(), any::<u32>()).prop_map(|(remote, rtt_us)| Verdict::Direct { remote, rtt_us }),
        Just(Verdict::Relayed),
        Just(Verdict::None),
    ];
    prop_oneof![
        (attempt(), token(), candidates(), card(), any::<bool>(), relays()).prop_map(
            |(attempt, ticket, candidates, card, is_prepared, relays)| {
                ToHandshake::Offer(Offer { attempt, ticket, candidates, card, is_prepared, relays })
            }
        ),
        (attempt(), verdict).prop_map(|(attempt, verdict)| ToHandshake::Report(Report { attempt, verdict })),
    ]
}

fn from_handshake() -> impl Strategy<Value = FromHandshake> {
    prop_oneof![
        (attempt(), method(), candidates(), card(), any::<u16>(), option::of(any::<u32>())).prop_map(
            |(attempt, method, candidates, card, start_after_ms, relay)| FromHandshake::Go(Go {
                attempt,
                method,
                candidates,
                card,
                start_after_ms,
                relay: relay.map(RelayTag::new)
            })
        ),
        (attempt(), any::<u16>()).prop_map(|(attempt, ms)| FromHandshake::Wait { attempt, ms }),
        (attempt(), code(OfferRefusal::KINDS))
            .prop_map(|(attempt, why)| FromHandshake::Rejected { attempt, why }),
        (attempt(), method()).prop_map(|(attempt, method)| FromHandshake::Prepare { attempt, method }),
    ]
}

fn relays() -> impl Strategy<Value = Vec<RelayDistance>> {
    let relay = (any::<u32>(), any::<u16>());
    vec(relay.prop_map(|(relay, rtt_ms)| RelayDistance { relay: RelayTag::new(relay), rtt_ms }), 0..=3)
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(Method::Plain),
        Just(Method::Relay),
        Just(Method::Fresh),
        any::<u16>().prop_map(|sockets| Method::Open { sockets }),
        any::<u16>().prop_map(|ports| Method::Guess { ports }),
        any::<u16>().prop_map(|sockets| Method::Predict { sockets }),
        Just(Method::Connect),
        Just(Method::Accept),
    ]
}

fn to_relay() -> impl Strategy<Value = ToRelay> {
    prop_oneof![
        (request(), token()).prop_map(|(request, token)| ToRelay::Bind { request, token }),
        channel().prop_map(|channel| ToRelay::Unbind { channel }),
    ]
}

fn from_relay() -> impl Strategy<Value = FromRelay> {
    prop_oneof![
        (request(), channel(), any::<bool>()).prop_map(|(request, channel, peer_here)| FromRelay::Bound {
            request,
            channel,
            peer_here
        }),
        (request(), code(RelayRefusal::KINDS)).prop_map(|(request, why)| FromRelay::Refused { request, why }),
        (channel(), device()).prop_map(|(channel, peer)| FromRelay::Incoming { channel, peer }),
        Just(FromRelay::Draining),
    ]
}

/// Any variant of an enum that is nothing but a code.
pub(crate) fn code<T: lanyard_wire::codec::Wire + std::fmt::Debug>(
    kinds: &'static [(u8, &'static str)],
) -> impl Strategy<Value = T> {
    proptest::sample::select(kinds).prop_map(|(code, _)| T::from_bytes(&[code]).unwrap())
}
