//! Small datagrams: how many each second, while less than one in a hundred is lost.
//!
//! The rate is searched for: raised until too many are lost, then narrowed down between the last that went and the
//! first that did not. The sender is paced every quarter of a millisecond, and gives up a rate that it cannot reach itself.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lanyard_netns::bed::Bed;
use lanyard_netns::inside::inside;

/// Payload of each datagram.
pub(super) const PAYLOAD: usize = 128;
/// More lost than this of a hundred is too many.
const LOSS_MAX_PERCENT: u64 = 1;
const BATCH: usize = 64;
const PACE: Duration = Duration::from_micros(250);
/// The first rate, each second; everybody reaches it.
const RATE_FIRST: u64 = 20_000;
/// Steps of narrowing down: 1.5 becomes 1.03.
const NARROWINGS: usize = 4;
/// How long after the last one datagrams may still arrive.
const LATE_MAX: Duration = Duration::from_millis(200);
/// Room of the receiver, so that it is the tunnel that loses.
const RECEIVE_BUFFER: libc::c_int = 8 << 20;

/// One sender and one receiver.
struct Lane {
    sender: UdpSocket,
    receiver: UdpSocket,
    /// Which try is under way; datagrams of an earlier one do not count.
    number: AtomicU64,
    arrived: AtomicU64,
}

/// What a try came to.
struct Tried {
    /// Datagrams that arrived, each second.
    rate: u64,
    is_good: bool,
    /// The sender itself did not get there.
    is_spent: bool,
}

/// The highest rate found, in datagrams a second. Each try takes `each`.
pub(super) fn highest_rate(bed: &Bed, far: Ipv4Addr, each: Duration) -> Result<u64> {
    let receiver = inside(bed.namespace(1), || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    let sender = inside(bed.namespace(0), || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    make_room(&receiver)?;
    receiver.set_read_timeout(Some(Duration::from_millis(20)))?;
    sender.connect(SocketAddr::from((far, receiver.local_addr()?.port())))?;
    let lane = Lane { sender, receiver, number: AtomicU64::new(1), arrived: AtomicU64::new(0) };
    thread::scope(|scope| {
        let receiving = scope.spawn(|| lane.receive());
        let found = lane.search(each);
        lane.number.store(0, Ordering::Release);
        receiving.join().map_err(|_panic| anyhow::anyhow!("the receiver panicked"))?;
        found
    })
}

impl Lane {
    fn search(&self, each: Duration) -> Result<u64> {
        let mut best = 0;
        let (mut good, mut rate) = (0, RATE_FIRST);
        let mut bad = loop {
            let tried = self.attempt_twice(rate, each)?;
            if !tried.is_good {
                break rate;
            }
            best = best.max(tried.rate);
            good = rate;
            if tried.is_spent {
                return Ok(best);
            }
            rate += rate / 2;
        };
        for _ in 0..NARROWINGS {
            let middle = u64::midpoint(good, bad);
            let tried = self.attempt_twice(middle, each)?;
            if tried.is_good {
                (good, best) = (middle, best.max(tried.rate));
            } else {
                bad = middle;
            }
        }
        Ok(best)
    }

    /// A second chance: another program may have had the core.
    fn attempt_twice(&self, rate: u64, each: Duration) -> Result<Tried> {
        let first = self.attempt(rate, each)?;
        if first.is_good { Ok(first) } else { self.attempt(rate, each) }
    }

    fn attempt(&self, rate: u64, each: Duration) -> Result<Tried> {
        let number = self.number.load(Ordering::Acquire) + 1;
        self.arrived.store(0, Ordering::Release);
        self.number.store(number, Ordering::Release);
        let begun = Instant::now();
        let mut sent = 0;
        let due = |elapsed: Duration| rate * u64::try_from(elapsed.as_micros()).unwrap_or(0) / 1_000_000;
        while begun.elapsed() < each {
            let behind = due(begun.elapsed()).saturating_sub(sent);
            if behind == 0 {
                thread::sleep(PACE);
            } else {
                sent += send(&self.sender, number, behind)?;
            }
        }
        let took = begun.elapsed();
        let wanted = due(took);
        let (mut arrived, mut since) = (self.arrived.load(Ordering::Acquire), Instant::now());
        while arrived < sent && since.elapsed() < LATE_MAX {
            thread::sleep(PACE);
            let now = self.arrived.load(Ordering::Acquire);
            if now > arrived {
                (arrived, since) = (now, Instant::now());
            }
        }
        let took_us = u64::try_from(took.as_micros())?.max(1);
        Ok(Tried {
            rate: arrived * 1_000_000 / took_us,
            is_good: sent.saturating_sub(arrived) * 100 < sent * LOSS_MAX_PERCENT,
            is_spent: sent * 100 < wanted * 95,
        })
    }

    /// Counts what arrives until there are no more tries.
    fn receive(&self) {
        let mut bytes = vec![[0_u8; PAYLOAD]; BATCH];
        loop {
            let count = receive(&self.receiver, &mut bytes);
            let number = self.number.load(Ordering::Acquire);
            if number == 0 {
                return;
            }
            let ours = bytes.iter().take(count).filter(|bytes| bytes.starts_with(&number.to_be_bytes()));
            self.arrived.fetch_add(ours.count() as u64, Ordering::AcqRel);
        }
    }
}

/// Sends up to a batch of datagrams in one call, and says how many the kernel took.
#[expect(unsafe_code, reason = "the standard library has no call for several datagrams")]
fn send(socket: &UdpSocket, number: u64, wanted: u64) -> Result<u64> {
    let mut bytes = [0_u8; PAYLOAD];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: PAYLOAD };
    // SAFETY: all-zero is a message without address, parts and control data.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for message in &mut messages {
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
    }
    let count = libc::c_uint::try_from(wanted.min(BATCH as u64))?;
    // SAFETY: `count` messages are initialised, and what they point to outlives the call, which only reads it.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
    match u64::try_from(sent) {
        Ok(sent) => Ok(sent),
        Err(_) => {
            let error = std::io::Error::last_os_error();
            match error.raw_os_error() {
                // What a full queue does not take is sent and lost.
                Some(libc::ENOBUFS | libc::EAGAIN) => Ok(1),
                _ => Err(error).context("send datagrams"),
            }
        }
    }
}

/// Receives what is there, up to a batch, and says how many; waits for the first as long as the socket says.
#[expect(unsafe_code, reason = "the standard library has no call for several datagrams")]
fn receive(socket: &UdpSocket, bytes: &mut [[u8; PAYLOAD]]) -> usize {
    let mut parts: Vec<libc::iovec> = bytes
        .iter_mut()
        .map(|bytes| libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: PAYLOAD })
        .collect();
    // SAFETY: all-zero is a message without address, parts and control data.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    let mut count = 0;
    for (message, part) in messages.iter_mut().zip(&mut parts) {
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: `count` messages are initialised, each with one part of its own that outlives the call.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            count,
            libc::MSG_WAITFORONE,
            std::ptr::null_mut(),
        )
    };
    usize::try_from(received).unwrap_or(0)
}

#[expect(unsafe_code, reason = "the standard library has no call for the size of a socket's buffer")]
fn make_room(socket: &UdpSocket) -> Result<()> {
    let size = RECEIVE_BUFFER;
    // SAFETY: the kernel reads as many bytes of `size` as it is told there are.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const size).cast(),
            libc::socklen_t::try_from(size_of_val(&size))?,
        )
    };
    if failed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("room for datagrams") }
}
