//! Data packets without encryption: what the bench measures the rest of the data plane by.
//!
//! Only a program built with `--cfg lanyard_plain` sends them. It says so wherever it says its release, and does not run
//! where the bench does not let it ([`super::super::IS_ENCRYPTED`]). It differs from the others in what ChaCha20-Poly1305 would
//! do and in nothing else: header, length, counter, replay window and one copy each way are there, and the tag is zeros,
//! which no sealed packet has.
//!
//! Handshakes are real. So is one packet after each of them and after each tick of the timers: by it boringtun, at both
//! ends, goes to the newest session and sees that there is traffic, and from it the two ends learn here which session that is.

use lanyard_wire::seal::DeviceWindow;

use super::{OVERHEAD, Opened, Refusal};

/// Bytes in front of what is carried: kind, index, counter.
const HEADER: usize = 16;
/// Bytes behind it.
const TAG: usize = OVERHEAD - HEADER;
/// Sessions of a tunnel that may be heard by, as in boringtun.
const SESSIONS: usize = 8;

/// What is kept of a tunnel's sessions to send and take in without encryption.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// The newest session as the peer numbers it, and the counter that comes next.
    sending: Option<([u8; 4], u64)>,
    /// Whether that is known to be in use still.
    is_current: bool,
    /// Sessions by our own number, and what was heard by them.
    receiving: [Option<([u8; 4], DeviceWindow)>; SESSIONS],
}

impl Plain {
    /// Copies a packet into `room`, behind a header and in front of a tag of zeros; `None` if the next one is to be sealed.
    ///
    /// The room has [`OVERHEAD`] more than the packet.
    pub(super) fn seal(&mut self, packet: &[u8], room: &mut [u8]) -> Option<usize> {
        if !self.is_current {
            return None;
        }
        let (index, counter) = self.sending.as_mut()?;
        let (header, rest) = room.split_first_chunk_mut::<HEADER>()?;
        let (place, rest) = rest.split_at_mut_checked(packet.len())?;
        let tag = rest.first_chunk_mut::<TAG>()?;
        header[..4].copy_from_slice(&[4, 0, 0, 0]);
        header[4..8].copy_from_slice(index);
        header[8..].copy_from_slice(&counter.to_le_bytes());
        place.copy_from_slice(packet);
        *tag = [0; TAG];
        *counter += 1;
        Some(packet.len() + OVERHEAD)
    }

    /// Takes note of a packet that was sealed: its session is the one to send by.
    pub(super) fn note_sealed(&mut self, datagram: &[u8]) {
        let Some(index) = index_of(datagram) else { return };
        if self.sending.is_none_or(|(known, _)| known != index) {
            self.sending = Some((index, 0));
        }
        self.is_current = true;
    }

    /// The next packet is to be sealed: time passes, or the session may be another.
    pub(super) const fn doubt(&mut self) {
        self.is_current = false;
    }

    /// Takes in a data packet; `None` if it is a sealed one.
    ///
    /// # Errors
    ///
    /// By a session that no sealed packet came by, or seen before. The next sealed one is never far.
    pub(super) fn open(&mut self, datagram: &[u8], room: &mut [u8]) -> Option<Result<Opened, Refusal>> {
        let (header, rest) = datagram.split_first_chunk::<HEADER>()?;
        let (packet, tag) = rest.split_last_chunk::<TAG>()?;
        if header[0] != 4 || *tag != [0; TAG] {
            return None;
        }
        let index = index_of(header)?;
        let known = self.receiving.get_mut(slot(index))?.as_mut();
        let Some((_, window)) = known.filter(|(known, _)| *known == index) else {
            return Some(Err(Refusal::Unauthenticated));
        };
        let counter = u64::from_le_bytes(*header.last_chunk()?);
        if !window.check(counter) {
            return Some(Err(Refusal::Replayed));
        }
        room.get_mut(..packet.len())?.copy_from_slice(packet);
        window.accept(counter);
        Some(Ok(if packet.is_empty() { Opened::KeepAlive } else { Opened::Packet(packet.len()) }))
    }

    /// Takes note of a sealed data packet that was the peer's: its session may be heard by.
    pub(super) fn note_opened(&mut self, datagram: &[u8]) {
        let Some(index) = index_of(datagram) else { return };
        if let Some(place) = self.receiving.get_mut(slot(index))
            && place.as_ref().is_none_or(|(known, _)| *known != index)
        {
            *place = Some((index, DeviceWindow::new()));
        }
        self.doubt();
    }
}

/// The number of the session, as the receiver has it.
fn index_of(datagram: &[u8]) -> Option<[u8; 4]> {
    datagram.get(4..8)?.first_chunk().copied()
}

/// The lowest byte counts a tunnel's sessions.
fn slot(index: [u8; 4]) -> usize {
    usize::from(index[0]) % SESSIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 5] = [0x45, 1, 2, 3, 4];

    #[test]
    fn a_packet_passes_with_the_header_of_its_session_and_the_length_of_a_sealed_one() {
        let mut ends = Plain::default();
        let mut room = [0xAA; 64];
        ends.note_sealed(&sealed(7));
        let length = ends.seal(&PACKET, &mut room).unwrap();
        assert_eq!(length, PACKET.len() + OVERHEAD);
        assert_eq!(room[..HEADER], [4, 0, 0, 0, 7, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(room[HEADER..length], [&PACKET[..], &[0; TAG]].concat());
        ends.note_opened(&sealed(7));
        let mut out = [0; 64];
        assert_eq!(ends.open(&room[..length], &mut out), Some(Ok(Opened::Packet(PACKET.len()))));
        assert_eq!(out[..PACKET.len()], PACKET);
        assert_eq!(ends.open(&room[..length], &mut out), Some(Err(Refusal::Replayed)));
    }

    #[test]
    fn a_packet_is_sealed_first_and_again_after_each_doubt() {
        let mut plain = Plain::default();
        let mut room = [0; 64];
        assert_eq!(plain.seal(&PACKET, &mut room), None);
        plain.note_sealed(&sealed(7));
        assert!(plain.seal(&PACKET, &mut room).is_some());
        plain.doubt();
        assert_eq!(plain.seal(&PACKET, &mut room), None);
        plain.note_sealed(&sealed(7));
        plain.seal(&PACKET, &mut room).unwrap();
        assert_eq!(room[8], 1, "the same session counts on");
        plain.note_sealed(&sealed(8));
        plain.seal(&PACKET, &mut room).unwrap();
        assert_eq!(room[4..9], [8, 1, 1, 1, 0], "another begins with nothing");
    }

    #[test]
    fn a_session_that_nothing_sealed_came_by_is_not_heard_and_a_sealed_packet_is_left_alone() {
        let mut plain = Plain::default();
        let mut room = [0; 64];
        plain.note_sealed(&sealed(7));
        let length = plain.seal(&PACKET, &mut room).unwrap();
        assert_eq!(plain.open(&room[..length], &mut [0; 64]), Some(Err(Refusal::Unauthenticated)));
        assert_eq!(plain.open(&sealed(7), &mut [0; 64]), None);
    }

    /// A data packet of this session whose tag somebody computed.
    fn sealed(session: u8) -> Vec<u8> {
        [&[4, 0, 0, 0, session, 1, 1, 1][..], &[9; 40]].concat()
    }
}
