//! TCP by `iperf3`, and round trips by `ping`: what everybody can repeat by hand.

use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lanyard_netns::bed::Bed;
use lanyard_netns::fleet::output_of;
use lanyard_netns::wait_for;
use serde_json::Value;

/// The port of `iperf3`, as /proc shows it.
const PORT_HEX: &str = ":1451 ";
/// A socket that listens, as /proc shows it.
const LISTENING: &str = " 0A ";

/// A running `iperf3`, as a rule the far end. Ends when dropped.
#[derive(Debug)]
pub(super) struct Listener(Child);

/// Which way bytes flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    There,
    Back,
}

/// What a transfer came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    /// Bytes that arrived.
    pub(super) bytes: f64,
    /// Bits of them each second.
    pub(super) rate_bps: f64,
}

/// Round trips, sorted, and how many there were none of.
#[derive(Clone, Debug)]
pub(super) struct RoundTrips {
    sorted_ms: Vec<f64>,
    pub(super) lost: usize,
}

impl Listener {
    /// Starts `iperf3` at the far end and waits until it listens.
    pub(super) fn start(bed: &Bed) -> Result<Self> {
        let mut command = bed.command(1, "iperf3");
        command.arg("-s").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let listener = Self(command.spawn().context("start iperf3 -s")?);
        wait_for("iperf3 that listens", Duration::from_secs(5), || {
            let sockets = ["tcp", "tcp6"].map(|family| listener.read(&format!("net/{family}")));
            let is_there = |line: &str| line.contains(PORT_HEX) && line.contains(LISTENING);
            sockets.iter().flat_map(|text| text.lines()).any(is_there).then_some(())
        })?;
        Ok(listener)
    }

    /// Bytes that all interfaces of the far end have received.
    fn received(&self) -> u64 {
        let text = self.read("net/dev");
        let rows = text.lines().filter_map(|line| line.split_once(':'));
        rows.filter_map(|(_, row)| row.split_whitespace().next()?.parse::<u64>().ok()).sum()
    }

    fn read(&self, what: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{what}", self.0.id())).unwrap_or_default()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl RoundTrips {
    /// The round trip that this share of all took at the most; none if none came back.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a place in a list of some thousands"
        )]
        let at = (self.sorted_ms.len() as f64 * share) as usize;
        self.sorted_ms.get(at.min(self.sorted_ms.len().saturating_sub(1))).copied()
    }
}

/// So many streams of TCP to or from the far end, as fast as they go, for so long.
pub(super) fn tcp(bed: &Bed, far: Ipv4Addr, streams: u32, way: Way, seconds: u32) -> Result<Carried> {
    let mut command = client(bed, far, streams, seconds);
    if way == Way::Back {
        command.arg("-R");
    }
    carried(&output_of(&mut command)?)
}

/// Echo requests five milliseconds apart, for so long.
pub(super) fn ping(bed: &Bed, far: Ipv4Addr, seconds: u32) -> Result<RoundTrips> {
    let count = seconds * 200;
    let mut command = bed.command(0, "ping");
    command.args(["-n", "-i", "0.005", "-W", "1", "-c", &count.to_string(), &far.to_string()]);
    // It fails when some are lost; what matters is what it says.
    let done = command.stdin(Stdio::null()).output().context("run ping")?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let times = said.lines().filter(|line| !line.contains("DUP!")).filter_map(|line| {
        let (_, time) = line.split_once(" time=")?;
        time.split_whitespace().next()?.parse::<f64>().ok()
    });
    let mut sorted_ms: Vec<f64> = times.collect();
    sorted_ms.sort_by(f64::total_cmp);
    ensure!(!sorted_ms.is_empty(), "no echo of {count} came back: {}", String::from_utf8_lossy(&done.stderr));
    let lost = usize::try_from(count)?.saturating_sub(sorted_ms.len());
    Ok(RoundTrips { sorted_ms, lost })
}

/// The same while one stream flows as fast as it goes.
pub(super) fn ping_loaded(bed: &Bed, listener: &Listener, far: Ipv4Addr, seconds: u32) -> Result<RoundTrips> {
    const RUNNING: u64 = 4 << 20;
    let before = listener.received();
    let start = || {
        let mut command = client(bed, far, 1, seconds + 2);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.map(Listener).context("run iperf3")
    };
    let mut stream = start()?;
    wait_for("a stream that flows", Duration::from_secs(10), || {
        // It ends at once while the far end is busy with the end of the stream before.
        if stream.0.try_wait().is_ok_and(|ended| ended.is_some()) {
            stream = start().ok()?;
        }
        (listener.received().saturating_sub(before) > RUNNING).then_some(())
    })?;
    let outcome = ping(bed, far, seconds);
    ensure!(stream.0.try_wait()?.is_none(), "the stream ended before the echoes");
    // Ended by itself, not killed: else the far end waits for it and refuses the next.
    stream.0.wait()?;
    outcome
}

fn client(bed: &Bed, far: Ipv4Addr, streams: u32, seconds: u32) -> std::process::Command {
    let mut command = bed.command(0, "iperf3");
    command.args(["-J", "-c", &far.to_string(), "-t", &seconds.to_string(), "-P", &streams.to_string()]);
    command
}

fn carried(said: &str) -> Result<Carried> {
    let report: Value = serde_json::from_str(said).context("read what iperf3 says")?;
    let sum = &report["end"]["sum_received"];
    let number = |name: &str| sum[name].as_f64().with_context(|| format!("iperf3 says nothing of {name}"));
    Ok(Carried { bytes: number("bytes")?, rate_bps: number("bits_per_second")? })
}
