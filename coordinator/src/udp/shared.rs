//! What a shell's task and its thread for relay frames have in common: the machine, and where senders are.
//!
//! Whoever has read a batch takes the lock, lets the machine decide about all of it, and gives the lock back before the
//! first datagram leaves: sending is what takes time.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lanyard_proto::rejected::Rejected;
use lanyard_proto::time::Instant;
use lanyard_proto::transmit::{Datagram, SocketId, Transmit};
use lanyard_wire::door::is_door;
use quinn_udp::BATCH_SIZE;
use tokio::sync::{Notify, mpsc};

use super::batch::{Batch, Sent};
use super::routes::{Route, Routes};
use super::sockets::Sockets;
use super::{Buffers, Machine, Reply};
use crate::clock::Clock;
use crate::door::{Arrived, Doors};

/// Batches read before commands and timers get their turn.
const ROUNDS: usize = 8;

/// Commands taken before sockets and timers get their turn.
const COMMANDS: usize = 256;

/// A machine, its sockets, and what of both changes.
#[derive(Debug)]
pub(super) struct Shared<M> {
    pub(super) sockets: Sockets,
    pub(super) doors: Option<Doors>,
    pub(super) clock: Clock,
    /// The machine was shown something by the other thread: it may have something to send or to tell.
    pub(super) news: Notify,
    state: Mutex<State<M>>,
    sent: Mutex<Sent>,
}

/// What one at a time works with.
#[derive(Debug)]
pub(super) struct State<M> {
    pub(super) machine: M,
    routes: Routes,
    counters: Counters,
}

/// What one shell has been shown, for the metrics.
#[derive(Debug, Default)]
struct Counters {
    rx_datagrams: u64,
    rx_bytes: u64,
    events_dropped: u64,
    rejected: [u64; 32],
}

/// Where one thread works: what it has read, and what is to leave.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) buffers: Buffers,
    leaving: Vec<Leaving>,
    batch: Batch,
}

/// A datagram, or a train of them, that is to leave.
#[derive(Debug)]
struct Leaving {
    what: What,
    remote: SocketAddr,
    /// `None` for a door, and where no socket has that family.
    route: Option<Route>,
}

#[derive(Debug)]
enum What {
    /// The machine's own words.
    Said(Vec<u8>),
    /// A part of a buffer, as it came; a train if `stride` is less than its length.
    Received { buffer: usize, range: Range<usize>, stride: usize },
}

impl Desk {
    pub(super) fn new() -> Self {
        Self { buffers: Buffers::new(), leaving: Vec::new(), batch: Batch::new() }
    }

    /// Step 4.
    fn send<M>(&mut self, shared: &Shared<M>) {
        for Leaving { what, remote, route } in self.leaving.drain(..) {
            let (bytes, stride) = match &what {
                What::Said(bytes) => (bytes.as_slice(), bytes.len()),
                What::Received { buffer, range, stride } => {
                    (&self.buffers.filled(*buffer).1[range.clone()], *stride)
                }
            };
            if is_door(remote) {
                for datagram in bytes.chunks(stride.max(1)) {
                    shared.doors.iter().for_each(|doors| doors.send(remote, datagram));
                }
            } else if bytes.len() > stride {
                self.batch.push_train(&shared.sockets, route, remote, bytes, stride);
            } else {
                self.batch.push(&shared.sockets, route, remote, bytes);
            }
        }
        self.batch.flush(&shared.sockets);
        lock(&shared.sent).add(self.batch.take_counters());
    }
}

impl<M: Machine> Shared<M> {
    pub(super) fn new(machine: M, sockets: Sockets, clock: Clock) -> Self {
        let state = State { machine, routes: Routes::default(), counters: Counters::default() };
        let (news, state, sent) = (Notify::new(), Mutex::new(state), Mutex::default());
        Self { sockets, doors: None, clock, news, state, sent }
    }

    /// The machine, for one at a time.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<M>> {
        lock(&self.state)
    }

    /// Steps 1, 2 and 4, up to [`ROUNDS`] times on one socket.
    pub(super) fn read(&self, socket: usize, desk: &mut Desk) {
        for _ in 0..ROUNDS {
            let mut state = self.lock();
            // Read under the lock: whoever asks for what came before a relay frame finds it in the kernel, or decided.
            let Some(count) = self.sockets.receive(socket, &mut desk.buffers) else { return };
            state.handle_batch(self, socket, desk, count, None);
            drop(state);
            desk.send(self);
            if count < BATCH_SIZE {
                return;
            }
        }
    }

    /// Steps 2 and 4 for relay frames that were read into `desk` from the socket beside `home`.
    pub(super) fn pass_on(&self, home: usize, desk: &mut Desk, count: usize, before: &mut Desk) {
        self.lock().handle_batch(self, home, desk, count, Some(&mut *before));
        desk.send(self);
        if !before.leaving.is_empty() {
            before.send(self);
        }
    }

    /// Steps 2 and 4 for what came through doors.
    pub(super) fn take(
        &self,
        first: Arrived,
        mut arrived: Option<&mut mpsc::Receiver<Arrived>>,
        desk: &mut Desk,
    ) {
        let mut state = self.lock();
        let now = self.clock.now();
        let mut next = Some(first);
        for _ in 0..COMMANDS {
            let Some(Arrived { remote, bytes }) = next else { break };
            let datagram = Datagram { local: SocketId::MAIN, remote, bytes: &bytes };
            let decided = state.machine.handle_datagram(datagram, now);
            desk.leaving.extend(state.count(&bytes, decided).map(|reply| match reply {
                Reply::Forward(target) => {
                    state.leaving(self, What::Said(bytes), SocketId::MAIN, target, None)
                }
                Reply::Send(Transmit { local, remote, bytes }) => {
                    state.leaving(self, What::Said(bytes), local, remote, None)
                }
            }));
            next = arrived.as_mut().and_then(|arrived| arrived.try_recv().ok());
        }
        drop(state);
        desk.send(self);
    }

    pub(super) fn obey(&self, first: M::Command, commands: &mut mpsc::Receiver<M::Command>) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.machine.handle_command(first, now);
        for _ in 1..COMMANDS {
            let Ok(command) = commands.try_recv() else { return };
            state.machine.handle_command(command, now);
        }
    }

    /// Steps 3 and 4.
    pub(super) fn drain(&self, events: &mpsc::Sender<M::Event>, desk: &mut Desk) {
        let mut state = self.lock();
        while let Some(Transmit { local, remote, bytes }) = state.machine.poll_transmit() {
            desk.leaving.push(state.leaving(self, What::Said(bytes), local, remote, None));
        }
        while let Some(event) = state.machine.poll_event() {
            if events.try_send(event).is_err() {
                state.counters.events_dropped += 1;
            }
        }
        drop(state);
        desk.send(self);
    }

    /// Writes the numbers into the metrics.
    pub(super) fn observe(&self) {
        let state = self.lock();
        let counters = &state.counters;
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
        let sent = lock(&self.sent);
        set("lanyard_udp_tx_datagrams_total", sent.datagrams);
        set("lanyard_udp_tx_bytes_total", sent.bytes);
        set("lanyard_udp_tx_dropped_total", sent.dropped);
        drop(sent);
        self.doors.iter().for_each(Doors::observe);
        state.machine.observe();
    }
}

impl<M: Machine> State<M> {
    /// Step 2 for a batch in `desk`, from a socket, or from the one beside it if there is a desk for what came `before`.
    fn handle_batch(
        &mut self,
        shared: &Shared<M>,
        socket: usize,
        desk: &mut Desk,
        count: usize,
        mut before: Option<&mut Desk>,
    ) {
        let now = shared.clock.now();
        for index in 0..count {
            let (meta, bytes) = desk.buffers.filled(index);
            if is_door(meta.addr) {
                // A door is no place that UDP comes from.
                self.reject(Rejected::NotAllowed, 1);
                continue;
            }
            let arrival = self.routes.arrive(&shared.sockets, socket, meta);
            let (remote, stride) = (meta.addr, meta.stride.max(1));
            if bytes.len() > stride
                && let Some(decided) = self.decide_train(remote, bytes, stride, now)
            {
                let what = What::Received { buffer: index, range: 0..bytes.len(), stride };
                let leaving = |target| self.leaving(shared, what, SocketId::MAIN, target, None);
                desk.leaving.extend(decided.map(leaving));
                continue;
            }
            for (number, bytes) in bytes.chunks(stride).enumerate() {
                let datagram = Datagram { local: arrival.local, remote, bytes };
                let mut reply = self.machine.handle_datagram(datagram, now);
                if !matches!(reply, Ok(Some(Reply::Forward(_))))
                    && let Some(before) = before.take()
                    && self.catch_up(shared, socket, before)
                {
                    reply = self.machine.handle_datagram(datagram, now);
                }
                desk.leaving.extend(self.count(bytes, reply).map(|reply| match reply {
                    Reply::Forward(target) => {
                        let range = number * stride..number * stride + bytes.len();
                        let what = What::Received { buffer: index, range, stride };
                        self.leaving(shared, what, SocketId::MAIN, target, None)
                    }
                    Reply::Send(Transmit { local, remote, bytes }) => {
                        self.leaving(shared, What::Said(bytes), local, remote, arrival.ip)
                    }
                }));
            }
        }
    }

    /// Shows the machine what waits at the socket that sessions are kept by; says whether there was anything.
    ///
    /// Whoever binds a channel sends frames right behind, and the kernel has them in two queues: before a frame is
    /// refused, what came before it is looked at.
    fn catch_up(&mut self, shared: &Shared<M>, home: usize, before: &mut Desk) -> bool {
        let Some(count) = shared.sockets.receive_before(home, &mut before.buffers) else { return false };
        self.handle_batch(shared, home, before, count, None);
        shared.news.notify_one();
        true
    }

    /// Step 2 for a train: `None` when its datagrams are to be looked at one by one.
    fn decide_train(
        &mut self,
        remote: SocketAddr,
        bytes: &[u8],
        stride: usize,
        now: Instant,
    ) -> Option<Option<SocketAddr>> {
        let decided = self.machine.handle_train(remote, bytes, stride, now)?;
        let count = bytes.len().div_ceil(stride) as u64;
        self.counters.rx_datagrams += count;
        self.counters.rx_bytes += bytes.len() as u64;
        Some(decided.inspect_err(|why| self.reject(*why, count)).ok())
    }

    /// Counts a datagram and what was decided about it.
    fn count(&mut self, bytes: &[u8], decided: Result<Option<Reply>, Rejected>) -> Option<Reply> {
        self.counters.rx_datagrams += 1;
        self.counters.rx_bytes += bytes.len() as u64;
        decided.inspect_err(|why| self.reject(*why, 1)).ok().flatten()
    }

    /// How something leaves; `asked` is the address the question came to.
    fn leaving(
        &self,
        shared: &Shared<M>,
        what: What,
        local: SocketId,
        remote: SocketAddr,
        asked: Option<IpAddr>,
    ) -> Leaving {
        Leaving { what, remote, route: self.routes.route(&shared.sockets, local, remote, asked) }
    }

    fn reject(&mut self, why: Rejected, datagrams: u64) {
        if let Some(count) = self.counters.rejected.get_mut(why as usize) {
            *count += datagrams;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
