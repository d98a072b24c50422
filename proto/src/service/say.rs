//! What the services of an endpoint want said, before it is sealed or handed to the program.

use alloc::vec::Vec;

use lanyard_wire::codec::Wire;
use lanyard_wire::ids::DeviceId;

use super::command::EndpointEvent;

/// Messages to devices and facts for the program, in order.
///
/// Emptied by the endpoint after each call, so it holds what one call said. Calls that could say much look at
/// [`Says::is_long`] and leave the rest for the next.
#[derive(Debug, Default)]
pub(super) struct Says {
    messages: Vec<(DeviceId, Vec<u8>)>,
    events: Vec<EndpointEvent>,
}

impl Says {
    /// Messages after which a call had better end: together with their answers they fit the outbox.
    const LONG: usize = 256;

    /// Says a message to a device; lost if the device has no session when it is sent.
    pub(super) fn tell(&mut self, device: DeviceId, message: &impl Wire) {
        self.tell_bytes(device, message.to_bytes());
    }

    /// Says a message that was encoded before.
    pub(super) fn tell_bytes(&mut self, device: DeviceId, body: Vec<u8>) {
        self.messages.push((device, body));
    }

    /// Notes a fact for the program.
    pub(super) fn note(&mut self, event: EndpointEvent) {
        self.events.push(event);
    }

    /// Whether anything is said to this device.
    pub(super) fn has_for(&self, device: &DeviceId) -> bool {
        self.messages.iter().any(|(to, _)| to == device)
    }

    /// Whether so much was said that the rest should wait for the next call.
    pub(super) fn is_long(&self) -> bool {
        self.messages.len() >= Self::LONG
    }

    /// Takes all messages and facts.
    pub(super) fn take(&mut self) -> (Vec<(DeviceId, Vec<u8>)>, Vec<EndpointEvent>) {
        (core::mem::take(&mut self.messages), core::mem::take(&mut self.events))
    }
}
