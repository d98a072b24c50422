//! Numbered datagrams beside the streams, each of which is checked: lost ones are counted, a wrong byte is a broken promise.
//!
//! TCP waits longer than the path is gone, its timers back off; these are sent whatever becomes of those before, so that
//! their longest pause is the tunnel's own.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use lanyard_netns::inside::inside;
use lanyard_netns::pattern::Pattern;
use lanyard_netns::standstill::Standstill;

/// Time between two.
const EVERY: Duration = Duration::from_millis(5);
/// The number in front, and the most that follows: with headers no more than the tunnel takes in one piece.
const NUMBER: usize = 8;
const LENGTH_MAX: usize = 1_200;
/// How long after the last one others may still arrive.
const LATE_MAX: Duration = Duration::from_millis(500);

/// A row of datagrams from one end to the other.
#[derive(Debug)]
pub(super) struct Datagrams {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

/// What has become of them so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) arrived: u64,
    /// Came more than once.
    pub(super) repeated: u64,
    /// Had a byte that was not sent.
    pub(super) wrong: u64,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    arrivals: Mutex<Arrivals>,
}

#[derive(Debug)]
struct Arrivals {
    pattern: Pattern,
    /// By number.
    is_there: Vec<bool>,
    tally: Tally,
    standstill: Standstill,
}

impl Tally {
    /// Both together.
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            arrived: self.arrived + other.arrived,
            repeated: self.repeated + other.repeated,
            wrong: self.wrong + other.wrong,
        }
    }

    /// What was added to it since it was `earlier`.
    pub(super) const fn since(self, earlier: Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            arrived: self.arrived - earlier.arrived,
            repeated: self.repeated - earlier.repeated,
            wrong: self.wrong - earlier.wrong,
        }
    }

    /// Those that never came; those that are under way count for a moment.
    pub(super) const fn lost(self) -> u64 {
        self.sent.saturating_sub(self.arrived)
    }
}

impl Datagrams {
    /// Begins to send from one namespace to the other, whose overlay address is `address`.
    pub(super) fn start(from: &str, to: &str, address: Ipv4Addr, seed: u64) -> Result<Self> {
        let receiver = inside(to, || Ok(UdpSocket::bind((address, 0))?))?;
        let sender = inside(from, || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
        let target = receiver.local_addr()?;
        receiver.set_read_timeout(Some(Duration::from_millis(100)))?;
        let pattern = Pattern::new(seed);
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            arrivals: Mutex::new(Arrivals::new(pattern)),
        });
        let (sending, receiving) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            thread::spawn(move || send(&sender, target, pattern, &sending)),
            thread::spawn(move || receive(&receiver, &receiving)),
        ];
        Ok(Self { shared, threads })
    }

    /// What has become of them so far.
    pub(super) fn tally(&self) -> Tally {
        let sent = self.shared.sent.load(Ordering::Acquire);
        Tally { sent, ..self.shared.lock().tally }
    }

    /// Forgets the pauses so far.
    pub(super) fn reset_standstill(&self) {
        self.shared.lock().standstill.reset();
    }

    /// The longest pause between two arrivals since the reset, one that still lasts included.
    pub(super) fn longest_standstill(&self) -> Duration {
        self.shared.lock().standstill.longest(Instant::now()).0
    }

    /// Ends them.
    pub(super) fn finish(self) -> Result<Tally> {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().map_err(|_panic| anyhow!("the datagrams panicked"))??;
        }
        let sent = self.shared.sent.load(Ordering::Acquire);
        let tally = self.shared.lock().tally;
        Ok(Tally { sent, ..tally })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrivals {
    fn new(pattern: Pattern) -> Self {
        let standstill = Standstill::new(Instant::now());
        Self { pattern, is_there: Vec::new(), tally: Tally::default(), standstill }
    }

    /// One has come.
    fn take(&mut self, bytes: &[u8], sent: u64) {
        let head = bytes.first_chunk::<NUMBER>().map(|number| u64::from_be_bytes(*number));
        // A number that was never sent is as wrong as any other byte, and is no place to remember.
        let Some((number, at)) = head
            .filter(|number| *number < sent)
            .and_then(|number| Some((number, usize::try_from(number).ok()?)))
        else {
            self.tally.wrong += 1;
            return;
        };
        let body = &bytes[NUMBER..];
        if body.len() != length_of(number) || self.pattern.count_wrong(place_of(number), body) > 0 {
            self.tally.wrong += 1;
            return;
        }
        if self.is_there.len() <= at {
            self.is_there.resize(at + 1, false);
        }
        if std::mem::replace(&mut self.is_there[at], true) {
            self.tally.repeated += 1;
        } else {
            self.tally.arrived += 1;
        }
    }
}

fn send(socket: &UdpSocket, target: SocketAddr, pattern: Pattern, shared: &Shared) -> Result<()> {
    let (begun, mut bytes) = (Instant::now(), [0; NUMBER + LENGTH_MAX]);
    let mut due = Duration::ZERO;
    for number in 0.. {
        if shared.stop.load(Ordering::Acquire) {
            break;
        }
        let length = NUMBER + length_of(number);
        bytes[..NUMBER].copy_from_slice(&number.to_be_bytes());
        pattern.fill(place_of(number), &mut bytes[NUMBER..length]);
        // Counted first: none arrives that is not.
        shared.sent.store(number + 1, Ordering::Release);
        socket.send_to(&bytes[..length], target).context("send a datagram")?;
        due += EVERY;
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

fn receive(socket: &UdpSocket, shared: &Shared) -> Result<()> {
    let mut bytes = [0; 2 * LENGTH_MAX];
    let mut stopped: Option<Instant> = None;
    loop {
        match socket.recv(&mut bytes) {
            Ok(length) => {
                let sent = shared.sent.load(Ordering::Acquire);
                let mut arrivals = shared.lock();
                arrivals.standstill.arrived(Instant::now());
                arrivals.take(&bytes[..length], sent);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("receive a datagram"),
        }
        if shared.stop.load(Ordering::Acquire)
            && stopped.get_or_insert_with(Instant::now).elapsed() >= LATE_MAX
        {
            return Ok(());
        }
    }
}

/// What follows the number of this one: all lengths in turn.
const fn length_of(number: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "less than LENGTH_MAX")]
    let length = (number.wrapping_mul(977) % LENGTH_MAX as u64) as usize;
    length + 1
}

/// Where its bytes stand in the pattern.
const fn place_of(number: u64) -> u64 {
    number * LENGTH_MAX as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(pattern: Pattern, number: u64) -> Vec<u8> {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.resize(NUMBER + length_of(number), 0);
        pattern.fill(place_of(number), &mut bytes[NUMBER..]);
        bytes
    }

    #[test]
    fn lengths_are_all_there_are() {
        let mut lengths: Vec<usize> = (0..LENGTH_MAX as u64).map(length_of).collect();
        lengths.sort_unstable();
        assert!(lengths.into_iter().eq(1..=LENGTH_MAX));
    }

    #[test]
    fn each_is_right_wrong_or_repeated() {
        let pattern = Pattern::new(9);
        let mut arrivals = Arrivals::new(pattern);
        for number in [0, 2, 1, 2] {
            arrivals.take(&datagram(pattern, number), 10);
        }
        let mut changed = datagram(pattern, 3);
        *changed.last_mut().unwrap() ^= 1;
        arrivals.take(&changed, 10);
        let mut short = datagram(pattern, 4);
        short.pop();
        arrivals.take(&short, 10);
        arrivals.take(&datagram(pattern, 10), 10);
        arrivals.take(&[1, 2, 3], 10);
        arrivals.take(&datagram(Pattern::new(8), 5), 10);
        assert_eq!(arrivals.tally, Tally { sent: 0, arrived: 3, repeated: 1, wrong: 5 });
    }
}
