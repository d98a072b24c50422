//! The load, the same for both relays: packets into one socket, and what comes out of another.
//!
//! Sending is bounded by a window, so that nothing is lost and the relay, or the generator, is what limits it; the
//! relay's own processor time is what counts.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

/// How packets are handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// One call for each.
    Singly,
    /// Trains (GSO), as a device's data plane sends them.
    Trains,
}

/// A socket that sends and receives in batches.
pub(crate) struct Lane {
    socket: UdpSocket,
    state: UdpSocketState,
    remote: SocketAddr,
    buffers: Vec<Vec<u8>>,
}

impl Lane {
    pub(crate) fn new(socket: UdpSocket, remote: SocketAddr) -> anyhow::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), 4 << 20);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), 4 << 20);
        socket.set_nonblocking(true)?;
        Ok(Self { socket, state, remote, buffers: vec![vec![0; 65_536]; BATCH_SIZE] })
    }

    /// Datagrams of `segment` bytes that fit into one call.
    pub(crate) fn train(&self, segment: usize) -> usize {
        (60_000 / segment).clamp(1, self.state.max_gso_segments())
    }

    /// Sends one datagram, or a train of datagrams of `segment` bytes.
    pub(crate) fn send(&self, contents: &[u8], segment: Option<usize>) -> bool {
        let destination = self.remote;
        let transmit = Transmit { destination, ecn: None, contents, segment_size: segment, src_ip: None };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit).is_ok()
    }

    /// How many datagrams of at least `least` bytes have come; control messages are shorter.
    pub(crate) fn drain(&mut self, least: usize) -> u64 {
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let mut count = 0;
        loop {
            let mut buffers = self.buffers.iter_mut();
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = core::array::from_fn(|_| {
                IoSliceMut::new(buffers.next().map_or(&mut [][..], Vec::as_mut_slice))
            });
            let Ok(got) = self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut meta) else {
                return count;
            };
            for meta in meta.iter().take(got).filter(|meta| meta.len >= least) {
                count += meta.len.div_ceil(meta.stride.max(1)) as u64;
            }
        }
    }
}

/// Drives packets through for a time; gives how many came out.
pub(crate) fn drive(into: &mut Lane, out: &mut Lane, frame: &[u8], sending: Sending, time: Duration) -> u64 {
    let train = match sending {
        Sending::Singly => 1,
        Sending::Trains => into.train(frame.len()),
    };
    let contents = frame.repeat(train);
    let segment = (train > 1).then_some(frame.len());
    // About 256 KB of payload: far below every socket's buffer, with the kernel's bookkeeping counted in.
    let window = (256_000 / (frame.len() + 500)).max(2 * train) as u64;
    let begun = Instant::now();
    let (mut under_way, mut came, mut heard) = (0_u64, 0, Instant::now());
    while begun.elapsed() < time {
        while under_way + train as u64 <= window && into.send(&contents, segment) {
            under_way += train as u64;
        }
        let got = out.drain(100);
        came += got;
        under_way = under_way.saturating_sub(got);
        if got > 0 {
            heard = Instant::now();
        } else if heard.elapsed() > Duration::from_millis(20) {
            // Lost, for want of room somewhere.
            (under_way, heard) = (0, Instant::now());
        }
        into.drain(100);
    }
    came
}

/// How long single packets take from one socket to the other.
pub(crate) fn delays(into: &Lane, out: &mut Lane, frame: &[u8], count: usize) -> Vec<Duration> {
    let mut delays = Vec::with_capacity(count);
    out.drain(0);
    for _ in 0..count {
        let begun = Instant::now();
        into.send(frame, None);
        while out.drain(100) == 0 && begun.elapsed() < Duration::from_millis(100) {}
        delays.push(begun.elapsed());
        while begun.elapsed() < Duration::from_millis(1) {
            std::hint::spin_loop();
        }
    }
    delays
}
