//! TCP through the tunnel, with its longest stall measured.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::inside::inside;

/// What arrives in one read; also the period of the pattern that is checked.
const CHUNK: usize = 16 * 1024;

/// One running transfer: bytes of a known pattern flow from one namespace to another until it is finished.
#[derive(Debug)]
pub struct Transfer {
    stop: Arc<AtomicBool>,
    gauge: Arc<Mutex<Gauge>>,
    sender: JoinHandle<Result<u64>>,
    receiver: JoinHandle<Result<Received>>,
}

/// The pauses between arrivals since it was reset.
#[derive(Clone, Copy, Debug)]
struct Gauge {
    last: Instant,
    longest: Duration,
    /// When the longest began.
    since: Instant,
}

impl Gauge {
    fn new() -> Self {
        let now = Instant::now();
        Self { last: now, longest: Duration::ZERO, since: now }
    }

    fn see(&mut self, now: Instant) {
        if now - self.last > self.longest {
            (self.longest, self.since) = (now - self.last, self.last);
        }
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
        let gauge = Arc::new(Mutex::new(Gauge::new()));
        let seen = Arc::clone(&gauge);
        Ok(Self {
            stop,
            gauge,
            sender: std::thread::spawn(move || send(stream, rate, &halt)),
            receiver: std::thread::spawn(move || receive(incoming, &seen)),
        })
    }

    /// Forgets the pauses so far: what [`Transfer::longest_standstill`] tells begins now.
    pub fn reset_standstill(&self) {
        lock(&self.gauge).longest = Duration::ZERO;
    }

    /// The longest pause between two arrivals since the reset, one that still lasts included, and when it began.
    #[must_use]
    pub fn longest_standstill(&self) -> (Duration, Instant) {
        let mut gauge = *lock(&self.gauge);
        gauge.see(Instant::now());
        (gauge.longest, gauge.since)
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
        ensure!(sent == received.bytes, "{sent} bytes were sent and {} arrived", received.bytes);
        Ok(received)
    }
}

fn send(mut stream: TcpStream, rate: u64, halt: &AtomicBool) -> Result<u64> {
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    let (begun, pattern, mut sent) = (Instant::now(), pattern(), 0_u64);
    while !halt.load(Ordering::Relaxed) {
        stream.write_all(&pattern).with_context(|| format!("after {sent} bytes"))?;
        sent += pattern.len() as u64;
        if let Some(due_us) = (sent * 1_000_000).checked_div(rate) {
            std::thread::sleep(Duration::from_micros(due_us).saturating_sub(begun.elapsed()));
        }
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok(sent)
}

fn lock(gauge: &Mutex<Gauge>) -> MutexGuard<'_, Gauge> {
    gauge.lock().unwrap_or_else(PoisonError::into_inner)
}

fn receive(mut stream: TcpStream, gauge: &Mutex<Gauge>) -> Result<Received> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let (pattern, mut buffer) = (pattern(), vec![0; CHUNK]);
    let (mut bytes, mut longest_stall) = (0_u64, Duration::ZERO);
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
        {
            let mut gauge = lock(gauge);
            gauge.see(now);
            gauge.last = now;
        }
        if first.is_some() {
            longest_stall = longest_stall.max(now - last);
        }
        first.get_or_insert(now);
        last = now;
        for &byte in &buffer[..length] {
            let at = usize::try_from(bytes % CHUNK as u64)?;
            ensure!(byte == pattern[at], "byte {bytes} is {byte:#04x}");
            bytes += 1;
        }
    }
    Ok(Received { bytes, longest_stall, took: first.map_or(Duration::ZERO, |begun| last - begun) })
}

fn pattern() -> Vec<u8> {
    (0..CHUNK).map(|index| (index.wrapping_mul(31) >> 3).to_le_bytes()[0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receiver_notices_a_wrong_byte() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (incoming, _) = listener.accept().unwrap();
        let mut bytes = pattern();
        bytes[100] ^= 1;
        stream.write_all(&bytes).unwrap();
        drop(stream);
        let gauge = Mutex::new(Gauge::new());
        assert!(receive(incoming, &gauge).is_err());
    }
}
