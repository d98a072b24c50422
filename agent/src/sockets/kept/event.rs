//! Which of many sockets have something: one event for all. Windows does not say which, so each is asked.

use std::io;
use std::sync::Arc;

use lanyard_proto::transmit::SocketId;

use crate::sockets::Udp;
use crate::windows::Event;

#[derive(Debug)]
pub(super) struct ReadySet(Event);

impl ReadySet {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Event::new()?))
    }

    pub(super) fn add(&self, _: SocketId, udp: &Udp) -> io::Result<()> {
        self.0.follow(&udp.socket)
    }

    /// Its own event takes it over again, for which nobody waits.
    pub(super) fn remove(&self, udp: &Udp) {
        let _ = udp.event.follow(&udp.socket);
    }

    /// Names all.
    pub(super) fn each(&self, all: &[(SocketId, Arc<Udp>)], mut name: impl FnMut(SocketId)) {
        all.iter().for_each(|(id, _)| name(*id));
    }

    pub(super) const fn event(&self) -> &Event {
        &self.0
    }
}
