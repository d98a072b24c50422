//! TCP through the tunnel, with its longest stall measured.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::inside::inside;
use crate::pattern::Pattern;
use crate::standstill::Standstill;

/// What is written at once where a rate is kept, and where none is.
const SMALL: usize = 16 * 1024;
const LARGE: usize = 128 * 1024;

/// How long a read or a write may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Each transfer has bytes of its own, so that one's are wrong in another.
static SEEDS: AtomicU64 = AtomicU64::new(1);

/// One running transfer: bytes of a known pattern flow from one namespace to another until it is finished.
#[derive(Debug)]
pub struct Transfer {
    stop: Arc<AtomicBool>,
    arrivals: Arc<Arrivals>,
    sender: JoinHandle<Result<u64>>,
    receiver: JoinHandle<Result<Received>>,
}

/// What has arrived so far.
#[derive(Debug)]
struct Arrivals {
    bytes: AtomicU64,
    wrong: AtomicU64,
    standstill: Mutex<Standstill>,
}

impl Arrivals {
    fn new() -> Self {
        let standstill = Mutex::new(Standstill::new(Instant::now()));
        Self { bytes: AtomicU64::new(0), wrong: AtomicU64::new(0), standstill }
    }

    fn standstill(&self) -> MutexGuard<'_, Standstill> {
        self.standstill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the receiving end saw.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Bytes that arrived, each checked against the pattern.
    pub bytes: u64,
    /// The longest time between two arrivals, from the first byte on.
    pub longest_stall: Duration,
    /// From the first byte to the last.
    pub took: Duration,
}

impl Transfer {
    /// Starts sending from namespace `from` to `to`, whose overlay address is `address`, at most `rate` bytes a
    /// second (0: as fast as it goes).
    ///
    /// # Errors
    ///
    /// When the connection cannot be opened within 10 s.
    pub fn start(from: &str, to: &str, address: Ipv4Addr, rate: u64) -> Result<Self> {
        let listener = inside(to, || Ok(TcpListener::bind(SocketAddr::from((address, 0)))?))
            .with_context(|| format!("listen on {address}"))?;
        let target = listener.local_addr()?;
        let stream = inside(from, || Ok(TcpStream::connect_timeout(&target, Duration::from_secs(10))?))
            .with_context(|| format!("connect to {target} through the tunnel"))?;
        let (incoming, _) = listener.accept()?;
        let stop = Arc::new(AtomicBool::new(false));
        let halt = Arc::clone(&stop);
        let arrivals = Arc::new(Arrivals::new());
        let seen = Arc::clone(&arrivals);
        let pattern = Pattern::new(SEEDS.fetch_add(1, Ordering::Relaxed));
        Ok(Self {
            stop,
            arrivals,
            sender: thread::spawn(move || send(stream, pattern, rate, &halt)),
            receiver: thread::spawn(move || receive(incoming, pattern, &seen)),
        })
    }

    /// Forgets the pauses so far: what [`Transfer::longest_standstill`] tells begins now.
    pub fn reset_standstill(&self) {
        self.arrivals.standstill().reset();
    }

    /// The longest pause between two arrivals since the reset, one that still lasts included, and when it began.
    #[must_use]
    pub fn longest_standstill(&self) -> (Duration, Instant) {
        self.arrivals.standstill().longest(Instant::now())
    }

    /// Bytes that have arrived so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.arrivals.bytes.load(Ordering::Relaxed)
    }

    /// Those of them that were wrong.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.arrivals.wrong.load(Ordering::Relaxed)
    }

    /// Whether both ends still hold the connection.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.sender.is_finished() && !self.receiver.is_finished()
    }

    /// Ends the transfer and checks that every byte sent has arrived, in order.
    ///
    /// # Errors
    ///
    /// When the connection broke, a byte was wrong, or some are missing.
    pub fn finish(self) -> Result<Received> {
        self.stop.store(true, Ordering::Relaxed);
        let sent =
            self.sender.join().map_err(|_panic| anyhow!("the sender panicked"))?.context("the sender")?;
        let received = self
            .receiver
            .join()
            .map_err(|_panic| anyhow!("the receiver panicked"))?
            .context("the receiver")?;
        let wrong = self.arrivals.wrong.load(Ordering::Relaxed);
        ensure!(wrong == 0, "{wrong} bytes of {} were wrong", received.bytes);
        ensure!(sent == received.bytes, "{sent} bytes were sent and {} arrived", received.bytes);
        Ok(received)
    }
}

fn send(mut stream: TcpStream, pattern: Pattern, rate: u64, halt: &AtomicBool) -> Result<u64> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let (begun, mut sent) = (Instant::now(), 0_u64);
    // Small pieces where a rate is kept, so that pauses between them are short.
    let mut piece = vec![0; if rate == 0 { LARGE } else { SMALL }];
    while !halt.load(Ordering::Relaxed) {
        pattern.fill(sent, &mut piece);
        stream.write_all(&piece).with_context(|| format!("after {sent} bytes"))?;
        sent += piece.len() as u64;
        if let Some(due_us) = (sent * 1_000_000).checked_div(rate) {
            thread::sleep(Duration::from_micros(due_us).saturating_sub(begun.elapsed()));
        }
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok(sent)
}

fn receive(mut stream: TcpStream, pattern: Pattern, arrivals: &Arrivals) -> Result<Received> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut buffer, mut bytes) = (vec![0; LARGE], 0_u64);
    let mut longest_stall = Duration::ZERO;
    let mut first: Option<Instant> = None;
    let mut last = Instant::now();
    loop {
        let length = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).with_context(|| format!("after {bytes} bytes")),
        };
        let now = Instant::now();
        arrivals.standstill().arrived(now);
        if first.is_some() {
            longest_stall = longest_stall.max(now - last);
        }
        first.get_or_insert(now);
        last = now;
        arrivals.wrong.fetch_add(pattern.count_wrong(bytes, &buffer[..length]), Ordering::Relaxed);
        bytes += length as u64;
        arrivals.bytes.store(bytes, Ordering::Relaxed);
    }
    Ok(Received { bytes, longest_stall, took: first.map_or(Duration::ZERO, |begun| last - begun) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends these bytes, and says what became of them.
    fn arrivals_of(bytes: &[u8], pattern: Pattern) -> Arrivals {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (incoming, _) = listener.accept().unwrap();
        stream.write_all(bytes).unwrap();
        drop(stream);
        let arrivals = Arrivals::new();
        assert_eq!(receive(incoming, pattern, &arrivals).unwrap().bytes, bytes.len() as u64);
        arrivals
    }

    #[test]
    fn the_receiver_notices_wrong_bytes() {
        let pattern = Pattern::new(3);
        let mut bytes = vec![0; 100_001];
        pattern.fill(0, &mut bytes);
        assert_eq!(arrivals_of(&bytes, pattern).wrong.into_inner(), 0);
        bytes[100] ^= 1;
        bytes[77_777] ^= 0x80;
        assert_eq!(arrivals_of(&bytes, pattern).wrong.into_inner(), 2);
    }
}
