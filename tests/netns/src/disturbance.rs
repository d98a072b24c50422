//! What happens to a path while TCP flows through it, and how long the flow notices.
//!
//! A pair in the reference lab (80 ms between the peers, 40 ms to the coordinator) has a direct path and a transfer from
//! `a` to `b`. Then something happens at one end, or at both. Measured are the longest pause between two arrivals and,
//! from the event on, the time until both ends have a direct path again, which is read from their logs.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::fleet::Fleet;
use crate::inside::inside;
use crate::journal::{Moment, path_changes};
use crate::lab::Lab;
use crate::pair::connect;
use crate::transfer::Transfer;
use crate::wait_for;

/// Bytes a second: far below what the lab carries, enough that a pause is seen.
const RATE: u64 = 2_000_000;

/// A pair that is not direct again by then is not within this test.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long a path must have been direct to count as settled, and the transfer to flow, before the event and after it.
const SETTLED: Duration = Duration::from_secs(2);

/// How long a link is down. The kernel may take up to a second more until it lets packets pass: it looks at links no more
/// often than that.
const LINK_DOWN: Duration = Duration::from_millis(500);

/// Something that happens, at the site `ra` of the sender or `rb` of the receiver, or at both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// What it is called.
    pub name: &'static str,
    /// The events of natlab, one after the other.
    pub events: &'static [&'static [&'static str]],
}

const fn disturbance(name: &'static str, events: &'static [&'static [&'static str]]) -> Disturbance {
    Disturbance { name, events }
}

/// All of them.
pub const ALL: &[Disturbance] = &[
    disturbance("NAT reboot, sender", &[&["reboot", "ra"]]),
    disturbance("NAT reboot, receiver", &[&["reboot", "rb"]]),
    disturbance("NAT reboot, both", &[&["reboot", "ra"], &["reboot", "rb"]]),
    disturbance("rebind, sender", &[&["rebind", "ra"]]),
    disturbance("rebind, receiver", &[&["rebind", "rb"]]),
    disturbance("rebind, both", &[&["rebind", "ra"], &["rebind", "rb"]]),
    disturbance("new address, sender", &[&["newip", "ra"]]),
    disturbance("new address, receiver", &[&["newip", "rb"]]),
    disturbance("roam, sender", &[&["roam", "a", "rc"]]),
    disturbance("roam, receiver", &[&["roam", "b", "rc"]]),
    disturbance("link down and up, sender", &[]),
    disturbance("link down and up, receiver", &[]),
];

/// What it did.
#[derive(Clone, Debug)]
pub struct Disturbed {
    /// The longest pause between two arrivals.
    pub standstill: Duration,
    /// For how long of it a link was down, so that nothing could pass: measured with datagrams beside the tunnel.
    pub cut: Duration,
    /// From the beginning of that pause until both ends had a direct path for good; zero if they never left it.
    pub direct_after: Option<Duration>,
    /// Path changes of both ends meanwhile, for people.
    pub changes: Vec<String>,
    /// The ends of the logs of both.
    pub log: String,
}

impl Disturbance {
    /// Lets it happen; says for how long nothing could pass because a link was down.
    fn happen(self, lab: &Lab) -> Result<Duration> {
        let Some(host) = self.name.strip_prefix("link down and up, ") else {
            self.events.iter().try_for_each(|event| lab.event(event))?;
            return Ok(Duration::ZERO);
        };
        // As natlab's events down and up, without the time it takes to start.
        let (router, host) = if host == "sender" { ("ra", "a") } else { ("rb", "b") };
        let link = |way: &str| {
            let words = ["-n", &lab.namespace(router), "link", "set", "dev", host, way].map(str::to_owned);
            let status = std::process::Command::new("ip").args(words).status()?;
            ensure!(status.success(), "ip link set dev {host} {way} failed");
            Ok(())
        };
        let info = lab.info()?;
        let gateway: Ipv4Addr = info["nodes"][router]["gw"].as_str().unwrap_or_default().parse()?;
        let there = inside(&lab.namespace(router), || Ok(UdpSocket::bind((gateway, 0))?))?;
        let here = inside(&lab.namespace(host), || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
        there.set_nonblocking(true)?;
        let address = there.local_addr()?;
        let passes = || {
            // While the link is down this fails, and means nothing.
            let _ = here.send_to(b"through?", address);
            std::thread::sleep(Duration::from_millis(2));
            there.recv(&mut [0; 16]).ok()
        };
        wait_for("the first datagram to the router", PATIENCE, passes)?;
        while there.recv(&mut [0; 16]).is_ok() {}
        link("down")?;
        let begun = Instant::now();
        std::thread::sleep(LINK_DOWN);
        link("up")?;
        while passes().is_none() {
            ensure!(begun.elapsed() < PATIENCE, "the link to {host} stays down");
        }
        Ok(begun.elapsed())
    }
}

/// Makes a pair, disturbs it once, and measures.
///
/// # Errors
///
/// When the pair does not become direct in the first place, the transfer breaks, or a byte is lost or wrong.
pub fn disturb(disturbance: Disturbance) -> Result<Disturbed> {
    let site = |name: &str, host: &str| {
        format!("[site.{name}]\nnat = \"port-restricted\"\ndelay = 20\nhosts = [{host}]\n")
    };
    let topology = [site("ra", "\"a\""), site("rb", "\"b\""), site("rc", "")].concat();
    let fleet = Fleet::start(Lab::up(&topology)?)?;
    let (a, b) = (fleet.join("a")?, fleet.join("b")?);
    let logs = || format!("{}\n{}\n{}", fleet.log("a"), fleet.log("b"), fleet.log("server"));
    let outcome = connect(&a, &b).with_context(logs)?;
    ensure!(outcome.path == "direct", "the pair is not direct: {outcome:?}\n{}", logs());
    let transfer = Transfer::start(a.namespace(), b.namespace(), b.address()?, RATE)?;
    let flows_for = |time: Duration| {
        let begun = Instant::now();
        let passed = || (begun.elapsed() >= time || !transfer.is_alive()).then_some(());
        wait_for("the time to pass", time + Duration::from_secs(1), passed)?;
        ensure!(transfer.is_alive(), "the transfer broke\n{}", logs());
        Ok(())
    };
    flows_for(SETTLED)?;

    transfer.reset_standstill();
    let (begun, begun_at) = (Instant::now(), Moment::now());
    let cut = disturbance.happen(&fleet.lab)?;
    let happened = begun.elapsed();
    let changes = || [&a, &b].map(|agent| path_changes(agent, begun_at));
    let is_direct = || {
        let left = changes();
        let last = left.iter().flatten().map(|change| change.at).max_by_key(|at| at.since(begun_at));
        let is_quiet = last.is_none_or(|at| Moment::now().since(at) >= SETTLED);
        let is_direct = left.iter().all(|list| list.last().is_none_or(|change| change.to == "direct"));
        (is_quiet && is_direct && begun.elapsed() >= happened + SETTLED)
            .then(|| last.map_or(Duration::ZERO, |at| at.since(begun_at)))
    };
    let direct = wait_for("a direct path at both ends", PATIENCE, is_direct).ok();
    let (standstill, since) = transfer.longest_standstill();
    let direct_after = direct.map(|after| after.saturating_sub(since - begun));
    flows_for(Duration::ZERO)?;
    let log = |who: &str| fleet.log(who);
    transfer.finish().with_context(logs)?;
    let told = changes().into_iter().zip(["a", "b"]).flat_map(|(list, who)| {
        list.into_iter().map(move |change| {
            let why = change.line.rsplit_once("why=").map_or("", |(_, why)| why);
            format!("{who} +{} ms {} {why}", change.at.since(begun_at).as_millis(), change.to)
        })
    });
    Ok(Disturbed {
        standstill,
        cut,
        direct_after,
        changes: told.collect(),
        log: [log("a"), log("b")].join("\n"),
    })
}
