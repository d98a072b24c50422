//! TCP between the hub and the others at the same time, and how evenly it is shared.
//!
//! One stream for each end, all counted over the same seconds, which begin when all of them flow: programs that start one
//! after the other would have the first ones count while they are alone.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use lanyard_netns::inside::inside;
use lanyard_netns::steal::Clocks;

/// What a stream is given and asked for at a time.
const PIECE: usize = 128 << 10;
/// From the first byte until counting begins: TCP has found its rate by then, with a fiftieth of it for each stream too.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long a stream may take to be set up, and may be without any byte.
const PATIENCE: Duration = Duration::from_secs(20);
/// A second of which the hypervisor took more than this share says nothing; another one is counted for it.
const STOLEN_MAX: f64 = 0.05;
/// Seconds at most, for each that is to be counted.
const TRIES: u32 = 4;

/// Which way bytes flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToHub,
    FromHub,
}

/// What the streams carried in the same seconds.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    /// Bytes that arrived, by stream, in the seconds that count.
    pub(super) bytes: Vec<u64>,
    pub(super) took: Duration,
    /// Bytes of all streams, those of seconds that do not count as well.
    pub(super) whole: u64,
    /// Seconds that do not count.
    pub(super) left_out: u32,
}

/// A stream's two ends, in their namespaces.
struct Stream {
    sender: TcpStream,
    receiver: TcpStream,
    arrived: AtomicU64,
}

impl Carried {
    /// Nothing of so many streams.
    pub(super) fn nothing(streams: usize) -> Self {
        Self { bytes: vec![0; streams], took: Duration::ZERO, whole: 0, left_out: 0 }
    }

    /// Adds what the same streams carried at another time.
    pub(super) fn add(&mut self, other: &Self) {
        self.bytes.iter_mut().zip(&other.bytes).for_each(|(sum, bytes)| *sum += bytes);
        self.took += other.took;
        self.whole += other.whole;
        self.left_out += other.left_out;
    }

    /// Bits a second, of all together.
    pub(super) fn rate_bps(&self) -> f64 {
        to_f64(self.bytes.iter().sum()) * 8.0 / self.took.as_secs_f64()
    }

    /// Jain's index: 1 if all had the same, 1/n if one had everything.
    pub(super) fn fairness(&self) -> f64 {
        let sum: f64 = self.bytes.iter().copied().map(to_f64).sum();
        let squares: f64 = self.bytes.iter().copied().map(to_f64).map(|bytes| bytes * bytes).sum();
        let count = to_f64(self.bytes.len() as u64);
        if squares == 0.0 { 0.0 } else { sum * sum / (count * squares) }
    }
}

/// Lets one stream flow between the hub and each of these namespaces, as fast as they go, until so many seconds count.
///
/// `meanwhile` is called at the beginning and at the end of [`Carried::whole`].
pub(super) fn run(
    hub: (&str, Ipv4Addr),
    ends: &[&str],
    way: Way,
    seconds: u32,
    mut meanwhile: impl FnMut() -> Result<()>,
) -> Result<Carried> {
    let listener = inside(hub.0, || Ok(TcpListener::bind((hub.1, 0))?))?;
    let far = listener.local_addr()?;
    let streams =
        ends.iter().map(|end| Stream::open(&listener, far, end, way)).collect::<Result<Vec<_>>>()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for stream in &streams {
            scope.spawn(|| stream.send(&stop));
            scope.spawn(|| stream.receive(&stop));
        }
        let counted = count(&streams, seconds, &mut meanwhile);
        stop.store(true, Ordering::Release);
        counted
    })
}

fn count(streams: &[Stream], seconds: u32, meanwhile: &mut impl FnMut() -> Result<()>) -> Result<Carried> {
    let arrived = || streams.iter().map(|stream| stream.arrived.load(Ordering::Acquire)).collect::<Vec<_>>();
    let end = Instant::now() + PATIENCE;
    while arrived().contains(&0) {
        ensure!(Instant::now() < end, "a stream does not flow within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(WARM_UP);
    meanwhile()?;
    let first = arrived();
    let mut carried = Carried::nothing(streams.len());
    let mut counted = 0;
    for tried in 0..seconds.saturating_mul(TRIES) {
        let (begun, clocks, before) = (Instant::now(), Clocks::now()?, arrived());
        thread::sleep(Duration::from_secs(1));
        let after = arrived();
        let took = begun.elapsed();
        // What is left of the tries is needed, whatever comes.
        let is_needed = seconds - counted >= seconds * TRIES - tried;
        if Clocks::now()?.stolen_since(clocks) > STOLEN_MAX && !is_needed {
            carried.left_out += 1;
            continue;
        }
        carried.took += took;
        for (sum, (after, before)) in carried.bytes.iter_mut().zip(after.iter().zip(&before)) {
            *sum += after - before;
        }
        counted += 1;
        if counted == seconds {
            break;
        }
    }
    carried.whole = arrived().iter().sum::<u64>() - first.iter().sum::<u64>();
    meanwhile()?;
    Ok(carried)
}

impl Stream {
    fn open(listener: &TcpListener, far: SocketAddr, end: &str, way: Way) -> Result<Self> {
        let outer = inside(end, || {
            TcpStream::connect_timeout(&far, PATIENCE)
                .with_context(|| format!("{end} does not reach the hub"))
        })?;
        let (inner, _) = listener.accept()?;
        let (sender, receiver) = match way {
            Way::ToHub => (outer, inner),
            Way::FromHub => (inner, outer),
        };
        for socket in [&sender, &receiver] {
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            socket.set_write_timeout(Some(Duration::from_millis(100)))?;
        }
        Ok(Self { sender, receiver, arrived: AtomicU64::new(0) })
    }

    fn send(&self, stop: &AtomicBool) -> Result<()> {
        let piece = vec![0; PIECE];
        while !stop.load(Ordering::Acquire) {
            if let Err(error) = (&self.sender).write(&piece)
                && !is_timeout(error.kind())
            {
                return Err(anyhow!(error).context("send"));
            }
        }
        Ok(())
    }

    fn receive(&self, stop: &AtomicBool) -> Result<()> {
        let mut piece = vec![0; PIECE];
        while !stop.load(Ordering::Acquire) {
            match (&self.receiver).read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    self.arrived.fetch_add(length as u64, Ordering::AcqRel);
                }
                Err(error) if is_timeout(error.kind()) => {}
                Err(error) => return Err(anyhow!(error).context("receive")),
            }
        }
        Ok(())
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[expect(clippy::cast_precision_loss, reason = "bytes of some seconds are far from 2^53")]
pub(super) fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_one_for_equal_shares_and_falls_to_one_nth() {
        let carried = |bytes: &[u64]| {
            let took = Duration::from_secs(2);
            Carried { bytes: bytes.to_vec(), took, ..Carried::nothing(0) }
        };
        assert!((carried(&[7, 7, 7, 7]).fairness() - 1.0).abs() < 1e-12);
        assert!((carried(&[7, 0, 0, 0]).fairness() - 0.25).abs() < 1e-12);
        assert!((carried(&[1, 3]).fairness() - 0.8).abs() < 1e-12);
        let mut twice = carried(&[500, 500]);
        assert!((twice.rate_bps() - 4_000.0).abs() < 1e-9);
        twice.add(&carried(&[1_500, 1_500]));
        assert!((twice.rate_bps() - 8_000.0).abs() < 1e-9);
    }
}
