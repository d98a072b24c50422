//! Sealed things: nothing forged opens, everything sealed does, and no counter is accepted twice.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use lanyard_wire::codec::Wire;
use lanyard_wire::envelope::{DataHeader, HelloPayload, Resume, Resumed, ResumedKeys, WelcomePayload};
use lanyard_wire::ids::SessionIndex;
use lanyard_wire::keys::SymmetricKey;
use lanyard_wire::limits::COUNTER_MAX;
use lanyard_wire::seal::{ReplayWindow, Ticket, TicketBody, TicketKey, open_in_place};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<SymmetricKey> = LazyLock::new(|| SymmetricKey::from_bytes([0xA5; 32]));
static TICKETS: LazyLock<TicketKey> = LazyLock::new(|| TicketKey::new(7, &KEY));

fuzz_target!(|bytes: &[u8]| {
    opens_nothing_forged(bytes);
    opens_what_was_sealed(bytes);
    accepts_no_counter_twice(bytes);
});

fn opens_nothing_forged(bytes: &[u8]) {
    assert!(open_in_place(&KEY, 0, b"", &mut bytes.to_vec()).is_none());
    if let Ok(header) = DataHeader::parse(bytes) {
        assert!(header.open(&KEY, &mut bytes.to_vec()).is_none());
    }
    if let Ok(resume) = Resume::parse(bytes) {
        assert!(resume.open(&KEY).is_none());
        assert!(TICKETS.open(&resume.ticket).is_none());
    }
    if let Ok(resumed) = Resumed::parse(bytes) {
        let keys = ResumedKeys::derive(&KEY, &[0; 16], &resumed.nonce);
        assert!(resumed.open(&keys).is_none());
    }
    if let Ok(ticket) = <Ticket as Wire>::from_bytes(bytes) {
        assert!(TICKETS.open(&ticket).is_none());
    }
}

fn opens_what_was_sealed(bytes: &[u8]) {
    let counter = bytes.first_chunk().map_or(0, |counter| u64::from_be_bytes(*counter));
    let header = DataHeader { answer: bytes.len() % 2 == 0, receiver: SessionIndex::new(9), counter };
    let mut datagram = header.seal(&KEY, bytes);
    assert_eq!(DataHeader::parse(&datagram), Ok(header));
    assert_eq!(header.open(&KEY, &mut datagram), Some(bytes));
    for result in [
        HelloPayload::from_bytes(bytes).map(|payload| payload.to_bytes()),
        WelcomePayload::from_bytes(bytes).map(|payload| payload.to_bytes()),
        TicketBody::from_bytes(bytes).map(|body| body.to_bytes()),
    ] {
        assert!(result.is_err() || result.as_deref() == Ok(bytes));
    }
    if let Ok(body) = TicketBody::from_bytes(bytes) {
        let ticket = TICKETS.seal(&body, [3; 12]);
        assert_eq!(TICKETS.open(&ticket), Some(body));
        let mut changed = *ticket.as_bytes();
        changed[usize::from(bytes[0]) % 112] ^= 1;
        assert_eq!(TICKETS.open(&Ticket::from_bytes(changed)), None);
    }
}

fn accepts_no_counter_twice(bytes: &[u8]) {
    let (mut window, mut seen) = (ReplayWindow::<2>::new(), BTreeSet::new());
    for chunk in bytes.chunks_exact(2) {
        // Small steps around a base that lies low, in the middle or at the very end.
        let base = [0, u64::MAX / 2, COUNTER_MAX - 20, u64::MAX - 255][usize::from(chunk[0] % 4)];
        let counter = base.saturating_add(u64::from(chunk[1]));
        let checked = window.check(counter);
        assert_eq!(window.accept(counter), checked);
        if checked {
            assert!(seen.insert(counter), "accepted twice: {counter}");
            assert!(counter <= COUNTER_MAX);
        }
    }
}
