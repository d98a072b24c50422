//! The shell around every UDP machine: it owns the sockets and the clock, and decides nothing.
//!
//! A datagram's life:
//! 1. One system call reads a batch; each of its buffers may hold a train of equal datagrams (GRO).
//! 2. The machine gets a train whole, and if it cannot say where all of that goes, its datagrams one by one. It says
//!    what to do at once: nothing, send an answer, or pass the same bytes on to somebody else. A train that is passed
//!    on leaves from the buffer it came in.
//! 3. Whatever else the machine wants to send is collected behind it.
//! 4. Datagrams to a door go to its connection's queue (`door`); the others to one address become trains again and
//!    leave, one system call each (GSO). A full socket drops: a relay does not queue, and every question of the
//!    protocol is asked again.
//!
//! Commands and events of the machine pass through bounded channels. An event that finds its channel full is dropped
//! and counted: the device behind it asks again.

mod batch;
pub mod sockets;
#[cfg(test)]
mod tests;

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};

use lanyard_proto::rejected::Rejected;
use lanyard_proto::time::{Instant, Wakeup};
use lanyard_proto::transmit::{Datagram, SocketId, Transmit};
use lanyard_wire::door::is_door;
use quinn_udp::{BATCH_SIZE, RecvMeta};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};

use self::batch::Batch;
use self::sockets::{Arrival, Sockets};
use crate::clock::Clock;
use crate::door::{Arrived, Doors};

/// Batches read before commands and timers get their turn.
const ROUNDS: usize = 8;

/// Commands taken before sockets and timers get their turn.
const COMMANDS: usize = 256;

/// Largest train the kernel hands out.
const TRAIN_MAX: usize = 65_536;

/// What a machine wants done with the datagram it was just shown.
#[derive(Debug)]
pub enum Reply {
    /// Nothing.
    Nothing,
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

    /// Bytes from the network.
    ///
    /// # Errors
    /// Why they were ignored.
    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<Reply, Rejected>;

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

    /// A wish.
    fn handle_command(&mut self, command: Self::Command, now: Instant);

    /// Time passed.
    fn handle_timeout(&mut self, now: Instant);

    /// What to send.
    fn poll_transmit(&mut self) -> Option<Transmit>;

    /// What happened.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// When to come back.
    fn poll_timeout(&self) -> Option<Wakeup>;

    /// Writes its numbers into the metrics; called once a second.
    fn observe(&self);
}

/// What one shell has done, for the metrics.
#[derive(Debug, Default)]
struct Counters {
    rx_datagrams: u64,
    rx_bytes: u64,
    events_dropped: u64,
    rejected: [u64; 32],
}

/// A machine with its sockets.
#[derive(Debug)]
pub struct Shell<M: Machine> {
    machine: M,
    sockets: Sockets,
    doors: Option<(Doors, mpsc::Receiver<Arrived>)>,
    clock: Clock,
    batch: Batch,
    counters: Counters,
}

impl<M: Machine> Shell<M> {
    /// Puts a machine behind sockets.
    #[must_use]
    pub fn new(machine: M, sockets: Sockets, clock: Clock) -> Self {
        let (batch, counters) = (Batch::new(), Counters::default());
        Self { machine, sockets, doors: None, clock, batch, counters }
    }

    /// Lets the machine be reached through doors as well.
    #[must_use]
    pub fn with_doors(mut self, doors: Doors, arrived: mpsc::Receiver<Arrived>) -> Self {
        self.doors = Some((doors, arrived));
        self
    }

    /// Runs until `stop` turns true or its sender is gone; what waits to be sent then is sent.
    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<M::Command>,
        events: mpsc::Sender<M::Event>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut buffers = Box::new([Buffers::new(), Buffers::new()]);
        let mut every_second = observation_interval();
        let mut has_commands = true;
        loop {
            let wakeup = self.machine.poll_timeout();
            let at = wakeup.map(|wakeup| self.clock.tokio_instant(wakeup.at));
            tokio::select! {
                socket = self.sockets.readable() => self.read(socket, &mut buffers),
                Some(arrived) = next_arrived(&mut self.doors) => self.take(arrived),
                command = commands.recv(), if has_commands => match command {
                    Some(command) => self.obey(command, &mut commands),
                    None => has_commands = false,
                },
                () = sleep_until(at.unwrap_or_else(tokio::time::Instant::now)), if at.is_some() => {
                    self.machine.handle_timeout(self.clock.now());
                }
                _ = every_second.tick() => self.observe(),
                stopped = stop.wait_for(|stop| *stop) => {
                    drop(stopped);
                    break;
                }
            }
            self.drain(&events);
        }
        self.drain(&events);
        self.observe();
    }

    /// Steps 1 and 2, up to [`ROUNDS`] times on one socket; once on one with relay frames only, so that nothing else
    /// waits for more than a batch of those.
    fn read(&mut self, socket: usize, [buffers, before]: &mut [Buffers; 2]) {
        let is_apart = self.sockets.has_frames_only(socket);
        for _ in 0..if is_apart { 1 } else { ROUNDS } {
            let Some(count) = self.sockets.receive(socket, buffers) else { return };
            if let Some((first, waiting)) = self.sockets.receive_before(socket, before) {
                self.handle_batch(first, before, waiting);
            }
            self.handle_batch(socket, buffers, count);
            if count < BATCH_SIZE {
                return;
            }
        }
    }

    fn handle_batch(&mut self, socket: usize, buffers: &Buffers, count: usize) {
        let now = self.clock.now();
        for index in 0..count {
            let (meta, bytes) = buffers.filled(index);
            if is_door(meta.addr) {
                // A door is no place that UDP comes from.
                self.reject(Rejected::NotAllowed, 1);
                continue;
            }
            let arrival = self.sockets.arrive(socket, meta);
            if meta.len > meta.stride && self.handle_train(meta.addr, bytes, meta.stride, now) {
                continue;
            }
            for datagram in bytes.chunks(meta.stride.max(1)) {
                self.handle(arrival, meta.addr, datagram, now);
            }
        }
    }

    /// Step 2 for what came through doors.
    fn take(&mut self, first: Arrived) {
        let now = self.clock.now();
        let mut next = Some(first);
        for _ in 0..COMMANDS {
            let Some(Arrived { remote, bytes }) = next else { return };
            self.handle(Arrival { local: SocketId::MAIN, ip: None }, remote, &bytes, now);
            next = self.doors.as_mut().and_then(|(_, arrived)| arrived.try_recv().ok());
        }
        if let Some(Arrived { remote, bytes }) = next {
            self.handle(Arrival { local: SocketId::MAIN, ip: None }, remote, &bytes, now);
        }
    }

    /// Step 2 for a train; says whether that was all.
    fn handle_train(&mut self, remote: SocketAddr, bytes: &[u8], stride: usize, now: Instant) -> bool {
        let Some(decided) = self.machine.handle_train(remote, bytes, stride, now) else { return false };
        let count = bytes.len().div_ceil(stride.max(1)) as u64;
        self.counters.rx_datagrams += count;
        self.counters.rx_bytes += bytes.len() as u64;
        match decided {
            Ok(target) if is_door(target) => {
                for datagram in bytes.chunks(stride.max(1)) {
                    self.send(SocketId::MAIN, target, None, datagram);
                }
            }
            Ok(target) => {
                let route = self.sockets.route(SocketId::MAIN, target, None);
                self.batch.push_train(&self.sockets, route, target, bytes, stride);
            }
            Err(why) => self.reject(why, count),
        }
        true
    }

    fn handle(&mut self, arrival: Arrival, remote: SocketAddr, bytes: &[u8], now: Instant) {
        self.counters.rx_datagrams += 1;
        self.counters.rx_bytes += bytes.len() as u64;
        let datagram = Datagram { local: arrival.local, remote, bytes };
        match self.machine.handle_datagram(datagram, now) {
            Ok(Reply::Nothing) => {}
            Ok(Reply::Forward(target)) => self.send(SocketId::MAIN, target, None, bytes),
            Ok(Reply::Send(transmit)) => {
                self.send(transmit.local, transmit.remote, arrival.ip, &transmit.bytes);
            }
            Err(why) => self.reject(why, 1),
        }
    }

    fn send(&mut self, local: SocketId, remote: SocketAddr, asked: Option<IpAddr>, bytes: &[u8]) {
        if is_door(remote) {
            if let Some((doors, _)) = &self.doors {
                doors.send(remote, bytes);
            }
            return;
        }
        let route = self.sockets.route(local, remote, asked);
        self.batch.push(&self.sockets, route, remote, bytes);
    }

    fn reject(&mut self, why: Rejected, datagrams: u64) {
        if let Some(count) = self.counters.rejected.get_mut(why as usize) {
            *count += datagrams;
        }
    }

    fn obey(&mut self, first: M::Command, commands: &mut mpsc::Receiver<M::Command>) {
        let now = self.clock.now();
        self.machine.handle_command(first, now);
        for _ in 1..COMMANDS {
            let Ok(command) = commands.try_recv() else { return };
            self.machine.handle_command(command, now);
        }
    }

    /// Steps 3 and 4.
    fn drain(&mut self, events: &mpsc::Sender<M::Event>) {
        while let Some(transmit) = self.machine.poll_transmit() {
            self.send(transmit.local, transmit.remote, None, &transmit.bytes);
        }
        self.batch.flush(&self.sockets);
        while let Some(event) = self.machine.poll_event() {
            if events.try_send(event).is_err() {
                self.counters.events_dropped += 1;
            }
        }
    }

    fn observe(&self) {
        let counters = &self.counters;
        let set =
            |name: &'static str, value: u64| metrics::counter!(name, "machine" => M::NAME).absolute(value);
        set("lanyard_udp_rx_datagrams_total", counters.rx_datagrams);
        set("lanyard_udp_rx_bytes_total", counters.rx_bytes);
        set("lanyard_udp_events_dropped_total", counters.events_dropped);
        for why in Rejected::ALL {
            let count = counters.rejected.get(*why as usize).copied().unwrap_or(0);
            metrics::counter!("lanyard_udp_rejected_total", "machine" => M::NAME, "why" => why.as_str())
                .absolute(count);
        }
        let sent = self.batch.counters();
        set("lanyard_udp_tx_datagrams_total", sent.datagrams);
        set("lanyard_udp_tx_bytes_total", sent.bytes);
        set("lanyard_udp_tx_dropped_total", sent.dropped);
        if let Some((doors, _)) = &self.doors {
            doors.observe();
        }
        self.machine.observe();
    }
}

/// The next datagram out of a door; never where there are no doors.
async fn next_arrived(doors: &mut Option<(Doors, mpsc::Receiver<Arrived>)>) -> Option<Arrived> {
    match doors {
        Some((_, arrived)) => arrived.recv().await,
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

    fn parts(&mut self) -> ([IoSliceMut<'_>; BATCH_SIZE], &mut [RecvMeta; BATCH_SIZE]) {
        let mut buffers = self.bytes.iter_mut();
        let slices = core::array::from_fn(|_| {
            IoSliceMut::new(buffers.next().map_or(&mut [][..], |buffer| buffer.as_mut_slice()))
        });
        (slices, &mut self.meta)
    }
}
