//! Our relay beside coturn: the same load, on the same machine, in the same run.
//!
//! `lanyard-server` (RELAY alone) and `turnserver` run on one core in turn, the load on another. A packet takes the
//! cheapest way that each has: by a channel between two sessions here, by ChannelData to a plain UDP peer there.
//! What counts is packets for each second of the relay's own processor time (`/proc/PID/stat`), and how much later
//! than without a relay a packet comes when there is little to do. Rounds of both alternate; of speeds the median is
//! printed. Then ours alone: how equal the parts of greedy pairs are, and how fast it answers while it is flooded.
//!
//! `cargo bench -p lanyard-coordinator --bench relay`, with `-- speed`, `latency` or `greed` for a part of it

#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

mod coturn;
mod greed;
mod load;
mod server;
mod session;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::ids::Channel;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use self::load::{Lane, Sending, delays, drive};
use self::server::{Server, Settings, cpu_time};

/// Rounds of each measurement.
const ROUNDS: usize = 5;

/// How long one round takes.
const ROUND: Duration = Duration::from_millis(1_200);

/// Packets whose way is timed in one slice, one each millisecond.
const TIMED: usize = 100;

/// Slices of each relay. An even number: each is first as often as the other.
const SLICES: usize = 40;

/// The core of whichever relay is measured; the load has the next one.
const CORE: usize = 0;

const PAYLOADS: [usize; 2] = [128, 1_400];

/// One relay, ready to carry.
struct Rig {
    name: &'static str,
    pid: u32,
    into: Lane,
    out: Lane,
    frames: Vec<Vec<u8>>,
}

fn main() -> anyhow::Result<()> {
    let mut core = CpuSet::new();
    core.set(CORE + 1)?;
    if sched_setaffinity(Pid::from_raw(0), &core).is_err() {
        println!("one core only: the relay and its load share it");
    }
    let server = Server::start(CORE, &Settings::UNLIMITED)?;
    let ours = lanyard(&server)?;
    let dir = tempfile::tempdir()?;
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, free_port()?).into();
    let turnserver = server::Killed(coturn::start(CORE, address, dir.path())?);
    let theirs = turn(turnserver.0.id(), address)?;
    let mut rigs = [ours, theirs];
    if wants("speed") {
        println!("| payload | sent | relay | packets/s of one core | Gbit/s of one core |");
        println!("| --- | --- | --- | --- | --- |");
        for (index, payload) in PAYLOADS.into_iter().enumerate() {
            for sending in [Sending::Singly, Sending::Trains] {
                speed(&mut rigs, index, payload, sending)?;
            }
        }
    }
    if wants("latency") {
        println!("\n| payload | relay | added p50 | added p99 |\n| --- | --- | --- | --- |");
        for (index, payload) in PAYLOADS.into_iter().enumerate() {
            latency(&mut rigs, index, payload)?;
        }
    }
    drop((rigs, turnserver, server));
    if wants("greed") {
        greed::fairness()?;
        greed::control_under_flood()?;
    }
    Ok(())
}

/// Whether a part is to be measured: all are, unless some are named.
fn wants(part: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|name| name == part)
}

/// A pair that is joined by our relay.
fn lanyard(server: &Server) -> anyhow::Result<Rig> {
    let (left, right, channel) = server.pair(0)?;
    let frames = PAYLOADS.iter().map(|payload| frame(channel, *payload)).collect::<Result<_, _>>()?;
    Ok(Rig {
        name: "lanyard",
        pid: server.pid(),
        into: Lane::new(left.socket, server.address)?,
        out: Lane::new(right.socket, server.address)?,
        frames,
    })
}

/// A client and its peer, joined by coturn.
fn turn(pid: u32, address: SocketAddr) -> anyhow::Result<Rig> {
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = coturn::allocate(Ipv4Addr::LOCALHOST.into(), address, peer.local_addr()?)?;
    let frame = |payload: &usize| -> anyhow::Result<Vec<u8>> {
        Ok([coturn::header(u16::try_from(*payload)?), vec![1; *payload]].concat())
    };
    let frames = PAYLOADS.iter().map(frame).collect::<Result<_, _>>()?;
    Ok(Rig { name: "coturn", pid, into: Lane::new(client, address)?, out: Lane::new(peer, address)?, frames })
}

/// A relay frame with a payload that looks like WireGuard's.
fn frame(channel: Channel, payload: usize) -> anyhow::Result<Vec<u8>> {
    let header = RelayHeader { channel, length: u16::try_from(payload)? }.encode();
    Ok([&header[..], &[4, 0, 0, 0], &vec![1; payload - 4]].concat())
}

fn speed(rigs: &mut [Rig; 2], index: usize, payload: usize, sending: Sending) -> anyhow::Result<()> {
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (rig, rates) in rigs.iter_mut().zip(&mut rates) {
            let before = cpu_time(rig.pid)?;
            let came = drive(&mut rig.into, &mut rig.out, &rig.frames[index], sending, ROUND);
            rates.push(came as f64 / (cpu_time(rig.pid)? - before).as_secs_f64());
        }
    }
    let how = match sending {
        Sending::Singly => "one by one",
        Sending::Trains => "in trains",
    };
    for (rig, rates) in rigs.iter().zip(rates) {
        let rate = median(rates);
        let gbit = rate * payload as f64 * 8.0 / 1e9;
        println!("| {payload} B | {how} | {} | {:.0} k | {gbit:.2} |", rig.name, rate / 1e3);
    }
    Ok(())
}

/// Slices of both alternate, so that whatever else the machine does meets both; every packet counts.
fn latency(rigs: &mut [Rig; 2], index: usize, payload: usize) -> anyhow::Result<()> {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let there = far.local_addr()?;
    let (near, mut far) = (Lane::new(near, there)?, Lane::new(far, there)?);
    let (mut plain, mut relayed) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..SLICES {
        plain.extend(delays(&near, &mut far, &rigs[0].frames[index], TIMED / 4));
        for (rig, relayed) in rigs.iter_mut().zip(&mut relayed) {
            relayed.extend(delays(&rig.into, &mut rig.out, &rig.frames[index], TIMED));
        }
        // Whoever came first comes second next time.
        rigs.reverse();
        relayed.reverse();
    }
    plain.sort_unstable();
    let at = |delays: &[Duration], share: usize| delays[delays.len() * share / 100].as_secs_f64() * 1e6;
    for (rig, mut relayed) in rigs.iter().zip(relayed) {
        relayed.sort_unstable();
        let [p50, p99] = [50, 99].map(|share| at(&relayed, share) - at(&plain, 50));
        println!("| {payload} B | {} | {p50:.1} µs | {p99:.1} µs |", rig.name);
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn free_port() -> std::io::Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits for something, a moment at a time.
fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is_there() {
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(10), "no {what} within 10 s");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
