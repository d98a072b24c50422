//! The shell around every UDP machine: it owns the sockets and the clock, and decides nothing.
//!
//! A datagram's life:
//! 1. One system call reads a batch; each of its buffers may hold a train of equal datagrams (GRO).
//! 2. The machine gets a train whole, and if it cannot say where all of that goes, its datagrams one by one. It says
//!    what to do at once: nothing, send an answer, or pass the same bytes on to somebody else: `shared`.
//! 3. Whatever else the machine wants to send is collected behind it.
//! 4. Datagrams to a door go to its connection's queue (`door`); the others to one address become trains again and
//!    leave, one system call each (GSO): `batch`. A train that is passed on leaves from the buffer it came in. A full
//!    socket drops: a relay does not queue, and every question of the protocol is asked again.
//!
//! Relay frames, where they have sockets of their own, are read and passed on by a thread of their own (`frames`), which
//! sleeps in the kernel and not in the runtime. Both use the machine in turn, and neither while it sends.
//!
//! Commands and events of the machine pass through bounded channels. An event that finds its channel full is dropped
//! and counted: the device behind it asks again.

mod batch;
mod frames;
mod routes;
mod shared;
pub mod sockets;
#[cfg(test)]
mod tests;

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;

use lanyard_proto::rejected::Rejected;
use lanyard_proto::time::{Instant, Wakeup};
use lanyard_proto::transmit::{Datagram, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};

use self::frames::Frames;
use self::shared::{Desk, Shared};
use self::sockets::Sockets;
use crate::clock::Clock;
use crate::door::{Arrived, Doors};

/// Largest train the kernel hands out.
const TRAIN_MAX: usize = 65_536;

/// What a machine wants done at once about the datagram it was just shown.
#[derive(Debug)]
pub enum Reply {
    /// Pass the same bytes on.
    Forward(SocketAddr),
    /// Send this.
    Send(Transmit),
}

/// A machine of `proto` as the shell sees it: the six verbs, and its numbers.
pub trait Machine: Send + 'static {
    /// Wishes from the program.
    type Command: Send + 'static;
    /// Facts for the program.
    type Event: Send + 'static;

    /// Name in metrics.
    const NAME: &'static str;

    /// Bytes from the network; `None` when there is nothing to be done at once.
    ///
    /// # Errors
    /// Why they were ignored.
    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<Option<Reply>, Rejected>;

    /// Datagrams of `stride` bytes, the last one perhaps shorter, that came as one train: where all of them go, or
    /// why none does. `None` when each is to be looked at by itself.
    fn handle_train(
        &mut self,
        _remote: SocketAddr,
        _bytes: &[u8],
        _stride: usize,
        _now: Instant,
    ) -> Option<Result<SocketAddr, Rejected>> {
        None
    }

    /// A wish. Nothing where there are none, as with everything below: some machines only answer.
    fn handle_command(&mut self, _command: Self::Command, _now: Instant) {}

    /// Time passed.
    fn handle_timeout(&mut self, _now: Instant) {}

    /// What to send.
    fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// What happened.
    fn poll_event(&mut self) -> Option<Self::Event> {
        None
    }

    /// When to come back.
    fn poll_timeout(&self) -> Option<Wakeup> {
        None
    }

    /// Writes its numbers into the metrics; called once a second.
    fn observe(&self);
}

/// A machine with its sockets.
#[derive(Debug)]
pub struct Shell<M: Machine> {
    shared: Shared<M>,
    arrived: Option<mpsc::Receiver<Arrived>>,
}

impl<M: Machine> Shell<M> {
    /// Puts a machine behind sockets.
    #[must_use]
    pub fn new(machine: M, sockets: Sockets, clock: Clock) -> Self {
        Self { shared: Shared::new(machine, sockets, clock), arrived: None }
    }

    /// Lets the machine be reached through doors as well.
    #[must_use]
    pub fn with_doors(mut self, doors: Doors, arrived: mpsc::Receiver<Arrived>) -> Self {
        self.shared.doors = Some(doors);
        self.arrived = Some(arrived);
        self
    }

    /// Runs until `stop` turns true or its sender is gone; what waits to be sent then is sent.
    pub async fn run(
        self,
        mut commands: mpsc::Receiver<M::Command>,
        events: mpsc::Sender<M::Event>,
        mut stop: watch::Receiver<bool>,
    ) {
        let (shared, mut arrived) = (Arc::new(self.shared), self.arrived);
        let frames = match Frames::start(&shared) {
            Ok(frames) => frames,
            Err(error) => {
                tracing::error!(%error, "the thread of the relay frames does not start");
                return;
            }
        };
        let mut desk = Desk::new();
        let mut every_second = observation_interval();
        let (mut has_commands, mut turn) = (true, 0);
        loop {
            let wakeup = shared.lock().machine.poll_timeout();
            let at = wakeup.map(|wakeup| shared.clock.tokio_instant(wakeup.at));
            tokio::select! {
                socket = shared.sockets.readable(&mut turn) => shared.read(socket, &mut desk),
                Some(first) = next_arrived(&mut arrived) => shared.take(first, arrived.as_mut(), &mut desk),
                command = commands.recv(), if has_commands => match command {
                    Some(command) => shared.obey(command, &mut commands),
                    None => has_commands = false,
                },
                () = sleep_until(at.unwrap_or_else(tokio::time::Instant::now)), if at.is_some() => {
                    shared.lock().machine.handle_timeout(shared.clock.now());
                }
                () = shared.news.notified() => {}
                _ = every_second.tick() => shared.observe(),
                stopped = stop.wait_for(|stop| *stop) => {
                    drop(stopped);
                    break;
                }
            }
            shared.drain(&events, &mut desk);
        }
        drop(frames);
        shared.drain(&events, &mut desk);
        shared.observe();
    }
}

/// The next datagram out of a door; never where there are no doors.
async fn next_arrived(arrived: &mut Option<mpsc::Receiver<Arrived>>) -> Option<Arrived> {
    match arrived {
        Some(arrived) => arrived.recv().await,
        None => std::future::pending().await,
    }
}

fn observation_interval() -> Interval {
    let mut every_second = interval(core::time::Duration::from_secs(1));
    every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every_second
}

/// Room for one batch of trains.
#[derive(Debug)]
pub struct Buffers {
    bytes: Vec<Vec<u8>>,
    meta: [RecvMeta; BATCH_SIZE],
}

impl Buffers {
    fn new() -> Self {
        Self { bytes: vec![vec![0; TRAIN_MAX]; BATCH_SIZE], meta: [RecvMeta::default(); BATCH_SIZE] }
    }

    fn filled(&self, index: usize) -> (&RecvMeta, &[u8]) {
        let meta = &self.meta[index];
        (meta, &self.bytes[index][..meta.len])
    }

    fn first(&mut self) -> (IoSliceMut<'_>, &mut [RecvMeta]) {
        (IoSliceMut::new(&mut self.bytes[0]), &mut self.meta[..1])
    }

    fn parts(&mut self) -> ([IoSliceMut<'_>; BATCH_SIZE], &mut [RecvMeta; BATCH_SIZE]) {
        let mut buffers = self.bytes.iter_mut();
        let slices = core::array::from_fn(|_| {
            IoSliceMut::new(buffers.next().map_or(&mut [][..], |buffer| buffer.as_mut_slice()))
        });
        (slices, &mut self.meta)
    }
}
