//! The machine behind the control sockets: checkpoint, handshake and relay, whichever run here.
//!
//! They share their sockets and, on a device, one session; `proto` has them as one machine. This is its shell's side:
//! relay frames take the short way, numbers go into the metrics. What the machine needs of INDEX comes through
//! [`feed`].

pub mod feed;

use std::net::SocketAddr;

use lanyard_proto::rejected::Rejected;
use lanyard_proto::service::{Endpoint, EndpointCommand, EndpointEvent, Forward};
use lanyard_proto::time::{Instant, Wakeup};
use lanyard_proto::transmit::{Datagram, Transmit};
use lanyard_wire::classify::{Class, classify};
use tokio::sync::watch;

use crate::udp::{Machine, Reply};

/// The machine, as the shell sees it.
#[derive(Debug)]
pub struct Control {
    endpoint: Endpoint,
    channels: watch::Sender<usize>,
}

impl Control {
    /// The machine, and how many relay channels it has: told within a second.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> (Self, watch::Receiver<usize>) {
        let (channels, receiver) = watch::channel(0);
        (Self { endpoint, channels }, receiver)
    }
}

impl Machine for Control {
    type Command = EndpointCommand;
    type Event = EndpointEvent;

    const NAME: &'static str = "control";

    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<Option<Reply>, Rejected> {
        if classify(datagram.bytes) != Class::Relay {
            return self.endpoint.handle_datagram(datagram, now).map(|()| None);
        }
        match self.endpoint.forward(datagram.remote, datagram.bytes, now) {
            Forward::To(target) => Ok(Some(Reply::Forward(target))),
            Forward::Hint(bytes) => {
                Ok(Some(Reply::Send(Transmit { local: datagram.local, remote: datagram.remote, bytes })))
            }
            Forward::Drop(why) => Err(why),
        }
    }

    fn handle_train(
        &mut self,
        remote: SocketAddr,
        bytes: &[u8],
        stride: usize,
        now: Instant,
    ) -> Option<Result<SocketAddr, Rejected>> {
        self.endpoint.forward_train(remote, bytes, stride, now)
    }

    fn handle_command(&mut self, command: EndpointCommand, now: Instant) {
        self.endpoint.handle_command(command, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<EndpointEvent> {
        self.endpoint.poll_event()
    }

    fn poll_timeout(&self) -> Option<Wakeup> {
        self.endpoint.poll_timeout()
    }

    fn observe(&self) {
        observe(&self.endpoint);
        let now = self.endpoint.bindings();
        self.channels.send_if_modified(|told| core::mem::replace(told, now) != now);
    }
}

fn observe(endpoint: &Endpoint) {
    metrics::gauge!("lanyard_checkpoint_sessions").set(endpoint.sessions() as f64);
    metrics::gauge!("lanyard_relay_bindings").set(endpoint.bindings() as f64);
    let relayed = endpoint.relayed();
    metrics::counter!("lanyard_relay_packets_total").absolute(relayed.packets);
    metrics::counter!("lanyard_relay_bytes_total").absolute(relayed.bytes);
    metrics::counter!("lanyard_relay_quotas_spent_total").absolute(relayed.quotas_spent);
}
