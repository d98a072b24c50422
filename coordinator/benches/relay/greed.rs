//! What greedy pairs leave to others: equal parts to each other, and its turn to everything that is no relay frame.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lanyard_wire::ids::Channel;

use super::load::Lane;
use super::server::{Server, Settings};
use super::session::Session;
use super::{CORE, frame};

/// What all pairs share.
const TOTAL_BPS: u64 = 100_000_000;

const PAYLOAD: usize = 1_400;

/// How long pairs push before it counts, and how long it counts.
const PUSH: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Questions asked during a flood, one each 5 ms.
const QUESTIONS: usize = 400;

/// A pair that wants more than its part.
struct Greedy {
    near: UdpSocket,
    far: UdpSocket,
    frame: Vec<u8>,
    want_bps: u64,
    owed: u64,
    got: u64,
}

/// Prints how equal the parts of greedy pairs are that want between 1.5 and 5 times their part (50), or 1.5 and 12
/// times (2).
pub(crate) fn fairness() -> anyhow::Result<()> {
    println!("\n| greedy pairs | smallest part | largest part | of the limit | Jain's index |");
    println!("| --- | --- | --- | --- | --- |");
    for (count, factors) in [(2_u16, &[15, 120][..]), (50, &[15, 20, 30, 40, 50][..])] {
        let server =
            Server::start(CORE, &Settings("rate_bps = 0\nnetwork_bps = 0\ntotal_bps = 100_000_000\n"))?;
        let mut pairs = Vec::new();
        for number in 0..count {
            let (left, right, channel) = server.pair(number)?;
            for socket in [&left.socket, &right.socket] {
                socket.set_nonblocking(true)?;
            }
            let factor = factors[usize::from(number) % factors.len()];
            let want_bps = TOTAL_BPS / u64::from(count) * factor / 10;
            let frame = frame(channel, PAYLOAD)?;
            pairs.push(Greedy { near: left.socket, far: right.socket, frame, want_bps, owed: 0, got: 0 });
        }
        push(&mut pairs, PUSH[0]);
        pairs.iter_mut().for_each(|pair| pair.got = 0);
        push(&mut pairs, PUSH[1]);
        let parts: Vec<f64> =
            pairs.iter().map(|pair| pair.got as f64 * 8e-6 / PUSH[1].as_secs_f64()).collect();
        let (sum, squares): (f64, f64) = (parts.iter().sum(), parts.iter().map(|part| part * part).sum());
        let jain = sum * sum / (squares * f64::from(count));
        let (least, most) = parts.iter().fold((f64::MAX, 0_f64), |(a, b), part| (a.min(*part), b.max(*part)));
        let share = sum * 1e8 / TOTAL_BPS as f64;
        println!("| {count} | {least:.2} Mbit/s | {most:.2} Mbit/s | {share:.0} % | {jain:.4} |");
    }
    Ok(())
}

/// Every millisecond each sends what it wants to have sent by then.
fn push(pairs: &mut [Greedy], time: Duration) {
    let begun = Instant::now();
    let mut last = begun;
    let mut buffer = [0; 2_048];
    while begun.elapsed() < time {
        let now = Instant::now();
        let passed = u64::try_from((now - last).as_nanos()).unwrap_or(0);
        last = now;
        for pair in &mut *pairs {
            pair.owed = (pair.owed + pair.want_bps * passed / 8_000_000_000).min(100_000);
            while pair.owed >= PAYLOAD as u64 {
                pair.owed -= PAYLOAD as u64;
                let _ = pair.near.send(&pair.frame);
            }
            while let Ok(length) = pair.far.recv(&mut buffer) {
                // Answers to Bind and the like are shorter.
                pair.got += if length > PAYLOAD { PAYLOAD as u64 } else { 0 };
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Prints how fast the relay answers in a session of a third device while a pair floods it with trains.
pub(crate) fn control_under_flood() -> anyhow::Result<()> {
    println!("\n| | answers | p50 | p99 |\n| --- | --- | --- | --- |");
    let server = Server::start(CORE, &Settings::UNLIMITED)?;
    let (left, right, channel) = server.pair(0)?;
    let (mut asker, _other, _) = server.pair(1)?;
    tell("idle", &ask(&mut asker)?);
    let stop = AtomicBool::new(false);
    let into = Lane::new(left.socket, server.address)?;
    let told = std::thread::scope(|scope| {
        scope.spawn(|| flood(&into, channel, &stop));
        std::thread::sleep(Duration::from_millis(200));
        let told = ask(&mut asker);
        stop.store(true, Ordering::Relaxed);
        told
    });
    tell("flooded by one pair", &told?);
    drop(right);
    Ok(())
}

fn flood(into: &Lane, channel: Channel, stop: &AtomicBool) {
    let Ok(frame) = frame(channel, PAYLOAD) else { return };
    let train = frame.repeat(into.train(frame.len()));
    while !stop.load(Ordering::Relaxed) {
        into.send(&train, Some(frame.len()));
    }
}

fn ask(asker: &mut Session) -> anyhow::Result<Vec<Duration>> {
    let mut answers = Vec::new();
    for _ in 0..QUESTIONS {
        answers.extend(asker.ask_alive()?);
        std::thread::sleep(Duration::from_millis(5));
    }
    answers.sort_unstable();
    Ok(answers)
}

fn tell(when: &str, answers: &[Duration]) {
    let at = |share: usize| answers.get(answers.len() * share / 100).copied().unwrap_or_default();
    println!("| {when} | {} of {QUESTIONS} | {:.1?} | {:.1?} |", answers.len(), at(50), at(99));
}
