//! A network of 5,000 devices: what a join costs the coordinator, and when everybody knows of it.
//!
//! `LANYARD_BENCH_DEVICES=500` makes fewer. The coordinator is a process of its own with everything on; the devices are sessions by
//! hand, each with an address of its own, which acknowledge what they are told as agents do. They join one after the other while nobody
//! listens; then all come online; then more join while all listen.
#![allow(clippy::print_stdout, reason = "a bench prints")]

#[path = "../relay/session.rs"]
mod session;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use lanyard_wire::body::{DeviceBody, ServiceBody};
use lanyard_wire::checkpoint::{Change, FromCheckpoint, Join, JoinOutcome, Register, ToCheckpoint};
use lanyard_wire::ids::{DeviceId, RequestId};
use lanyard_wire::join::JoinString;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::nat::NatCard;
use lanyard_wire::session::FromDevice;
use tokio::sync::mpsc;

use self::session::Session;

/// Devices of the network.
const DEVICES: u32 = 5_000;

/// Joins that are measured, while nobody listens and while all do.
const JOINS: u32 = 100;
const HEARD: u32 = 20;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Devices keep their sessions alive so often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Ticks of `/proc/PID/stat` in a second (Linux, USER_HZ).
const TICKS: u64 = 100;

/// A coordinator and the network that devices join.
struct Coordinator {
    process: Child,
    address: SocketAddr,
    join: JoinString,
    _dir: tempfile::TempDir,
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        let _it_may_be_gone = self.process.kill();
        let _its_status = self.process.wait();
    }
}

impl Coordinator {
    fn start(devices: u32) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        administer(dir.path(), &["init", "--public", "127.0.0.1"])?;
        administer(dir.path(), &["network", "add", "fleet", "--prefix", "10.200.0.0/16"])?;
        let uses = (devices + HEARD).to_string();
        let invite = administer(dir.path(), &["invite", "add", "fleet", "--uses", &uses])?;
        let join = invite["invite"]["join"].as_str().context("no join string")?;
        let join = JoinString::parse(join).context("the join string")?;
        let log = dir.path().join("log");
        let process = program(dir.path())
            .arg("serve")
            .env("LANYARD_SERVER_CONTROL_LISTEN", "127.0.0.1:0")
            .env("LANYARD_SERVER_STUN_ADDRESSES", "127.0.0.1")
            .env("LANYARD_SERVER_STUN_PORTS", "0,0")
            .env("LANYARD_SERVER_WEB_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("start lanyard-server")?;
        let mut coordinator = Self { process, address: (Ipv4Addr::LOCALHOST, 0).into(), join, _dir: dir };
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log)?;
            if text.contains("is ready") {
                let place =
                    text.lines().find_map(|line| line.split_once("listening on udp ")?.1.split(' ').next());
                coordinator.address = place.context("no control port in the log")?.parse()?;
                return Ok(coordinator);
            }
            ensure!(begun.elapsed() < DEADLINE, "it does not become ready: {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Processor time so far, in user space and in the kernel.
    fn processor(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, rest) = stat.rsplit_once(')').context("a line of /proc/PID/stat")?;
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|text| text.parse().unwrap_or(0)).sum();
        Ok(Duration::from_millis(ticks * 1_000 / TICKS))
    }

    /// Waits until it has nothing to do for a second.
    fn settle(&self) -> anyhow::Result<()> {
        let mut before = self.processor()?;
        for _ in 0..DEADLINE.as_secs() * 5 {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.processor()?;
            if now - before < Duration::from_millis(50) {
                return Ok(());
            }
            before = now;
        }
        bail!("the coordinator does not come to rest")
    }

    fn session(&self, number: u32) -> anyhow::Result<Session> {
        let [_, high, middle, low] = number.to_be_bytes();
        let local = Ipv4Addr::new(127, 16 + high, middle, low.max(1));
        Session::open(number, (local, 0).into(), self.address, &self.join.key)
    }

    /// Lets a device in.
    fn join(&self, number: u32) -> anyhow::Result<Session> {
        let mut session = self.session(number)?;
        session.say(&DeviceBody::Checkpoint(ToCheckpoint::Register(presence())))?;
        let mut wireguard = [9; 32];
        wireguard[..4].copy_from_slice(&number.to_be_bytes());
        let join = Join {
            request: RequestId::new(2),
            network: self.join.network.clone(),
            invite: self.join.invite,
            password: None,
            name: format!("laptop-{number}").parse()?,
            wireguard: PublicKey::from_bytes(wireguard),
            os: "linux".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            prefixes: Vec::new(),
        };
        session.say(&DeviceBody::Checkpoint(ToCheckpoint::Join(join)))?;
        let mut buffer = [0; 2_048];
        loop {
            let length = session.socket.recv(&mut buffer).context("no answer to Join")?;
            let Some((_, body)) = session.open_datagram(buffer.get_mut(..length).unwrap_or_default()) else {
                continue;
            };
            if let ServiceBody::Checkpoint(FromCheckpoint::JoinAnswer { outcome, .. }) = body {
                ensure!(matches!(outcome, JoinOutcome::Joined { .. }), "device {number}: {outcome:?}");
                return Ok(session);
            }
        }
    }
}

/// A device that says nothing about where it is.
fn presence() -> Register {
    let card = NatCard::default();
    Register { request: RequestId::new(1), card, candidates: Vec::new(), relays: false, prekey: None }
}

fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanyard-server"));
    command.env("LANYARD_SERVER_DIR", dir.join("data")).env("LANYARD_SERVER_WEB_TLS", "");
    command
}

fn administer(dir: &Path, words: &[&str]) -> anyhow::Result<serde_json::Value> {
    let output = program(dir).args(words).arg("--json").output()?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A device heard of another one.
struct News {
    of: DeviceId,
    at: Instant,
    bytes: usize,
}

/// What devices have in common.
#[derive(Default)]
struct Listening {
    /// Datagrams that came, and how many bytes they had.
    datagrams: AtomicU64,
    bytes: AtomicU64,
    is_over: AtomicBool,
}

/// Lives as a device does: acknowledges what it is told and keeps its session.
async fn listen(
    mut session: Session,
    all: Arc<Listening>,
    told: mpsc::UnboundedSender<News>,
) -> anyhow::Result<()> {
    session.socket.set_nonblocking(true)?;
    let socket = tokio::net::UdpSocket::from_std(session.socket.try_clone()?)?;
    let mut alive = tokio::time::interval(KEEP_ALIVE);
    let mut buffer = vec![0; 2_048];
    while !all.is_over.load(Ordering::Relaxed) {
        let length = tokio::select! {
            length = socket.recv(&mut buffer) => length?,
            _ = alive.tick() => {
                session.say(&DeviceBody::KeepAlive)?;
                continue;
            }
        };
        all.datagrams.fetch_add(1, Ordering::Relaxed);
        all.bytes.fetch_add(length as u64, Ordering::Relaxed);
        let opened = session.open_datagram(buffer.get_mut(..length).unwrap_or_default());
        let Some((wants_answer, body)) = opened else { continue };
        if let Some(counter) = wants_answer {
            session.say(&DeviceBody::Session(FromDevice::Proof { counter }))?;
        }
        let push = if let ServiceBody::Checkpoint(FromCheckpoint::RosterChanged(changed)) = body {
            for change in &changed.changes {
                if let Change::Present(member) = change {
                    told.send(News { of: member.device(), at: Instant::now(), bytes: length })?;
                }
            }
            changed.push
        } else if let ServiceBody::Checkpoint(FromCheckpoint::Presence(presence)) = body {
            presence.push
        } else {
            continue;
        };
        session.say(&DeviceBody::Checkpoint(ToCheckpoint::Ack { push }))?;
    }
    Ok(())
}

/// Joins while nobody listens.
fn alone(coordinator: &Coordinator, devices: u32) -> anyhow::Result<()> {
    let (mut begun, mut before) = (Instant::now(), coordinator.processor()?);
    for number in 0..devices {
        if number + JOINS == devices {
            (begun, before) = (Instant::now(), coordinator.processor()?);
        }
        let mut session = coordinator.join(number)?;
        session.say(&DeviceBody::Session(FromDevice::Bye))?;
    }
    let (took, used) = (begun.elapsed() / JOINS, (coordinator.processor()? - before) / JOINS);
    println!(
        "a join to {devices} that are away: {took:.1?}, processor time {used:.2?}, with its session and its goodbye"
    );
    Ok(())
}

/// Joins while all listen.
async fn heard(
    coordinator: &Coordinator,
    devices: u32,
    told: &mut mpsc::UnboundedReceiver<News>,
) -> anyhow::Result<()> {
    let (mut first, mut last, mut sizes) = (Vec::new(), Vec::new(), BTreeMap::new());
    let before = coordinator.processor()?;
    let mut newcomers = Vec::new();
    for number in devices..devices + HEARD {
        let begun = Instant::now();
        let newcomer = tokio::task::block_in_place(|| coordinator.join(number))?;
        let mut ears = 0;
        while ears < devices {
            let news = tokio::time::timeout(DEADLINE, told.recv()).await;
            let news =
                news.with_context(|| format!("{ears} of {devices} heard of it"))?.context("all left")?;
            if news.of == newcomer.id {
                if ears == 0 {
                    first.push(news.at - begun);
                }
                ears += 1;
                *sizes.entry(news.bytes).or_insert(0_u32) += 1;
                if ears == devices {
                    last.push(news.at - begun);
                }
            }
        }
        newcomers.push(newcomer);
    }
    tokio::task::block_in_place(|| coordinator.settle())?;
    let used = (coordinator.processor()? - before) / HEARD;
    first.sort_unstable();
    last.sort_unstable();
    let (usual, most) = (last[last.len() / 2], last[last.len() - 1]);
    println!(
        "a join to {devices} that are there: the first hears of it after {:.1?}, all after {usual:.1?} (at most {most:.1?})",
        first[first.len() / 2]
    );
    println!("  processor time of the coordinator for all of it, acknowledgements included: {used:.1?}");
    for (bytes, count) in sizes {
        println!("  {bytes} bytes of UDP payload: {count} datagrams");
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let devices = std::env::var("LANYARD_BENCH_DEVICES").ok().and_then(|text| text.parse().ok());
    let devices = devices.unwrap_or(DEVICES);
    ensure!(devices > JOINS, "more than {JOINS} devices");
    ensure!(UdpSocket::bind((Ipv4Addr::new(127, 16, 0, 1), 0)).is_ok(), "127.0.0.0/8 is this machine's");
    let coordinator = Coordinator::start(devices)?;
    alone(&coordinator, devices)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let all = Arc::new(Listening::default());
        let (tell, mut told) = mpsc::unbounded_channel();
        let (begun, before) = (Instant::now(), coordinator.processor()?);
        for number in 0..devices {
            let mut session = tokio::task::block_in_place(|| coordinator.session(number))?;
            session.say(&DeviceBody::Checkpoint(ToCheckpoint::Register(presence())))?;
            tokio::spawn(listen(session, Arc::clone(&all), tell.clone()));
        }
        let came = begun.elapsed();
        tokio::task::block_in_place(|| coordinator.settle())?;
        let (datagrams, bytes) = (all.datagrams.load(Ordering::Relaxed), all.bytes.load(Ordering::Relaxed));
        println!("{devices} come online within {came:.0?}: {datagrams} datagrams, {bytes} bytes to them, processor time {:.1?}", coordinator.processor()? - before);
        heard(&coordinator, devices, &mut told).await?;
        all.is_over.store(true, Ordering::Relaxed);
        Ok(())
    })
}
