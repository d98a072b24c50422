//! Which outside port a new mapping gets.

use lanyard_proto::rng::Rng;
use lanyard_proto::time::Instant;

use super::Ports;

/// Lowest port that is given away.
const LOWEST: u16 = 1_024;

/// Where a router that counts begins, and where it goes on from the other end.
const FIRST: u16 = 20_000;

/// Others take so many ports at most between two of ours: they wait for their connections, too.
const OTHERS_MAX: u64 = 2_000;

/// A router's memory of the ports it gave.
#[derive(Clone, Debug)]
pub(super) struct Chooser {
    ports: Ports,
    next: u16,
    /// When the last port was given, for what others took since.
    last: Instant,
    /// How often all ports changed; after the first time preserved ports are no longer to be had.
    rebinds: u16,
}

impl Chooser {
    pub(super) const fn new(ports: Ports) -> Self {
        Self { ports, next: FIRST, last: Instant::ZERO, rebinds: 0 }
    }

    /// Other ports from now on.
    pub(super) const fn rebind(&mut self) {
        self.rebinds = self.rebinds.wrapping_add(1);
        let next = self.next.wrapping_add(5_000);
        self.next = if next < FIRST { FIRST } else { next };
    }

    /// Whether a port is the socket's own where that is free.
    pub(super) const fn preserves(&self) -> bool {
        matches!(self.ports, Ports::Preserved) && self.rebinds == 0
    }

    /// A free port for a socket whose own is `wanted`, if there is one.
    pub(super) fn choose(
        &mut self,
        wanted: u16,
        is_free: impl Fn(u16) -> bool,
        rng: &mut Rng,
        now: Instant,
    ) -> Option<u16> {
        let any = |rng: &mut Rng| below(rng, u16::MAX - LOWEST + 1).saturating_add(LOWEST);
        let from = |start| first_free(start, LOWEST, u16::MAX, &is_free);
        match self.ports {
            Ports::Preserved if self.preserves() => from(wanted),
            Ports::Preserved | Ports::Random => from(any(rng)),
            Ports::Sequential { step, others } => {
                for _ in 0..self.taken_by_others(others, rng, now) {
                    self.next = after(self.next, step);
                }
                // A port in use is stepped over.
                let port = (0..=u16::MAX).find_map(|_| {
                    let port = self.next;
                    self.next = after(port, step);
                    is_free(port).then_some(port)
                });
                self.last = now;
                port
            }
            Ports::Block { low, size } => {
                let low = self.block(low, size);
                let start = low.saturating_add(below(rng, size));
                first_free(start, low, low.saturating_add(size.saturating_sub(1)), &is_free)
            }
        }
    }

    /// How many ports went to others since the last one of ours.
    fn taken_by_others(&self, per_minute: u16, rng: &mut Rng, now: Instant) -> u64 {
        if per_minute == 0 {
            return 0;
        }
        // Twice the mean at the most, evenly: bursts, and times without any.
        let micros = u64::try_from(now.saturating_since(self.last).as_micros()).unwrap_or(u64::MAX);
        let twice = micros.saturating_mul(2 * u64::from(per_minute));
        (rng.below(twice.max(1)) / 60_000_000).min(OTHERS_MAX)
    }

    /// Where the block lies now: after a rebind the customer has another one of the same size.
    const fn block(&self, low: u16, size: u16) -> u16 {
        let room = u16::MAX - FIRST - size;
        let moved = low.saturating_sub(FIRST) as u32 + self.rebinds as u32 * 3 * size as u32;
        if self.rebinds == 0 { low } else { FIRST + (moved % room as u32) as u16 }
    }
}

fn after(port: u16, step: i8) -> u16 {
    match port.checked_add_signed(step.into()) {
        Some(next) if next >= FIRST => next,
        Some(_) => u16::MAX,
        None => FIRST,
    }
}

fn below(rng: &mut Rng, bound: u16) -> u16 {
    u16::try_from(rng.below(bound.into())).unwrap_or(0)
}

fn first_free(start: u16, low: u16, high: u16, is_free: &impl Fn(u16) -> bool) -> Option<u16> {
    (start..=high).chain(low..start).find(|port| is_free(*port))
}
