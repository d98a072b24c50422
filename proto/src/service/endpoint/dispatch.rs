//! Which service a device's message is for, and what the services need of each other for it.
//!
//! The services do not know one another: whether two devices may still meet, where a session is, how long its
//! round trips are, is looked up here and handed over. A message for a service that does not run here
//! is refused.

use alloc::boxed::Box;
use core::net::SocketAddr;

use lanyard_wire::body::DeviceBody;
use lanyard_wire::checkpoint::ToCheckpoint;
use lanyard_wire::handshake::{FromHandshake, OfferRefusal, ToHandshake};
use lanyard_wire::ids::DeviceId;
use lanyard_wire::relay::{FromRelay, RelayRefusal, ToRelay};
use lanyard_wire::session::FromDevice;
use lanyard_wire::token::Token;

use super::{Endpoint, complete};
use crate::rejected::Rejected;
use crate::service::admission::Arrival;
use crate::service::checkpoint::Checkpoint;
use crate::service::place::Spot;
use crate::service::session::Session;
use crate::time::Instant;

impl Endpoint {
    /// Hands the message of an authentic datagram to the service it is for.
    pub(super) fn dispatch(
        &mut self,
        arrival: Arrival,
        body: DeviceBody,
        remote: SocketAddr,
        now: Instant,
    ) -> Result<(), Rejected> {
        let device = arrival.device;
        match body {
            DeviceBody::KeepAlive => Ok(()),
            DeviceBody::Session(FromDevice::Bye) => {
                self.admission.register_mut().leave(&device, now);
                Ok(())
            }
            DeviceBody::Session(FromDevice::Proof { counter }) => self.prove(arrival, counter, now),
            DeviceBody::Checkpoint(message) => self.dispatch_checkpoint(arrival, message, now),
            DeviceBody::Handshake(message) => self.dispatch_handshake(arrival, message, remote, now),
            DeviceBody::Relay(message) => self.dispatch_relay(device, message, now),
        }
    }

    /// Takes a device's word that it hears us where it is now: what waited for that is said.
    fn prove(&mut self, arrival: Arrival, counter: u64, now: Instant) -> Result<(), Rejected> {
        let register = self.admission.register_mut();
        let session = register.session_mut(arrival.index).ok_or(Rejected::UnknownSession)?;
        if !session.prove(counter, now) {
            return Err(Rejected::Unexpected);
        }
        let spot = session.place.spot();
        for body in session.place.release() {
            self.says.tell_bytes(arrival.device, body);
        }
        self.settle_in(arrival.device, spot, now);
        self.register_held(arrival, now)
    }

    /// Registers a device, once it has shown where it is: what it said may have been held up and sent on by somebody else, whose
    /// address would be told to it as its own, and by it to its peers.
    pub(super) fn register_held(&mut self, arrival: Arrival, now: Instant) -> Result<(), Rejected> {
        let session = self.admission.register_mut().session_mut(arrival.index);
        let session = session.ok_or(Rejected::UnknownSession)?;
        let Spot { addr, is_proven: true } = session.place.spot() else { return Ok(()) };
        let Some(register) = session.registering.take() else { return Ok(()) };
        let ticket = self.admission.ticket_for(arrival.index, now).ok_or(Rejected::UnknownSession)?;
        let checkpoint = self.checkpoint.as_mut().ok_or(Rejected::Unsupported)?;
        checkpoint.register(arrival.device, *register, addr, ticket, &mut self.says, now);
        Ok(())
    }

    fn dispatch_checkpoint(
        &mut self,
        arrival: Arrival,
        message: ToCheckpoint,
        now: Instant,
    ) -> Result<(), Rejected> {
        let device = arrival.device;
        let checkpoint = self.checkpoint.as_mut().ok_or(Rejected::Unsupported)?;
        match message {
            ToCheckpoint::Register(register) => {
                let session = self.admission.register_mut().session_mut(arrival.index);
                session.ok_or(Rejected::UnknownSession)?.registering = Some(Box::new(register));
                self.register_held(arrival, now)
            }
            ToCheckpoint::Ack { push } => {
                if let Some(rtt) = checkpoint.acknowledged(device, push, now)
                    && let Some(session) = self.admission.register_mut().session_mut(arrival.index)
                {
                    session.time(rtt);
                }
                Ok(())
            }
            consent @ ToCheckpoint::Consent(_) => {
                checkpoint.handle(device, consent, &mut self.says, now)?;
                // What it has with those whom it refuses now ends, too.
                self.cut(device);
                Ok(())
            }
            other @ (ToCheckpoint::Join(_)
            | ToCheckpoint::Leave { .. }
            | ToCheckpoint::RosterAsk(_)
            | ToCheckpoint::Begin { .. }
            | ToCheckpoint::PairVerdict(_)
            | ToCheckpoint::Links(_)) => checkpoint.handle(device, other, &mut self.says, now),
        }
    }

    fn dispatch_handshake(
        &mut self,
        arrival: Arrival,
        message: ToHandshake,
        remote: SocketAddr,
        now: Instant,
    ) -> Result<(), Rejected> {
        let device = arrival.device;
        let handshake = self.handshake.as_mut().ok_or(Rejected::Unsupported)?;
        match message {
            ToHandshake::Offer(offer) => {
                if !may_use(complete(self.checkpoint.as_ref()), device, &offer.ticket) {
                    let why = OfferRefusal::Expired;
                    self.says.tell(device, &FromHandshake::Rejected { attempt: offer.attempt, why });
                    return Err(Rejected::NotAllowed);
                }
                let register = self.admission.register_mut();
                // The peer will knock where the device is. Until it shows that it is there, and from an address that its newest
                // datagram did not come from, the offer may be one that somebody held up and sent on; the device repeats it.
                let session = register.session_mut(arrival.index).ok_or(Rejected::UnknownSession)?;
                if session.place.spot() != (Spot { addr: remote, is_proven: true }) {
                    return Err(Rejected::NotReady);
                }
                let rtt = register.current(&device).map(Session::rtt).unwrap_or_default();
                let now_s = self.wall.unix_s(now);
                handshake.offer(device, offer, remote, rtt, now_s, &mut self.says, now)?;
                register.promote(&device);
                Ok(())
            }
            ToHandshake::Report(report) => {
                let event = handshake.report(device, report, now)?;
                self.says.note(event);
                Ok(())
            }
        }
    }

    fn dispatch_relay(&mut self, device: DeviceId, message: ToRelay, now: Instant) -> Result<(), Rejected> {
        let relay = self.relay.as_mut().ok_or(Rejected::Unsupported)?;
        match message {
            ToRelay::Bind { request, token } => {
                let refused = if self.draining {
                    Some(RelayRefusal::Busy)
                } else if may_use(complete(self.checkpoint.as_ref()), device, &token) {
                    None
                } else {
                    Some(RelayRefusal::Expired)
                };
                if let Some(why) = refused {
                    self.says.tell(device, &FromRelay::Refused { request, why });
                    if self.draining {
                        self.says.tell(device, &FromRelay::Draining);
                    }
                    return Err(Rejected::NotAllowed);
                }
                let register = self.admission.register();
                let place_of =
                    |device: &DeviceId| register.current(device).map(|session| session.place.spot());
                relay.bind(device, request, &token, self.wall.unix_s(now), place_of, &mut self.says, now)?;
                self.admission.register_mut().promote(&device);
                Ok(())
            }
            ToRelay::Unbind { channel } => relay.unbind(device, channel),
        }
    }
}

/// Whether the two of a token still may meet, as far as it is known here.
///
/// A token outlives a membership; where the roster is at hand it has the last word.
fn may_use(checkpoint: Option<&Checkpoint>, device: DeviceId, token: &Token) -> bool {
    let peer = token.other(device);
    checkpoint.is_none_or(|known| peer.is_none_or(|peer| known.may_meet(&device, &peer)))
}
