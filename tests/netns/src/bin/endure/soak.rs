//! One kind of wire for its share of the time: phases of half a minute, and what each came to.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lanyard_netns::bed::{Bed, Link};
use lanyard_netns::fleet::output_of;
use lanyard_netns::journal::{Moment, path_changes};
use lanyard_netns::team::Team;
use lanyard_netns::{Transfer, interrupts};

use super::Options;
use super::datagrams::{Datagrams, Tally};
use super::faults::{self, Direct};
use super::machine::Machine;
use super::memory::{self, Memory};

/// How long the wire is the same.
const PHASE: Duration = Duration::from_secs(30);
/// The longest a stream may stand still.
const STANDSTILL_MAX: Duration = Duration::from_secs(2);
/// A phase in which the machine ran nothing of ours for longer tells nothing of a stream's pauses, nor does the next one: TCP doubles its
/// waiting each time it hears nothing.
const MACHINE_PAUSE_MAX: Duration = Duration::from_millis(500);
/// Of so many phases one may say nothing.
const UNJUDGED_EVERY: usize = 4;
/// How often the agents are asked for the path until it is the one that is wanted.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Keys are renewed after two minutes; a soak that is longer than this has seen that.
const REKEYED_BY: Duration = Duration::from_secs(150);
/// The relay forwards as fast as it can: what is limited would not be full speed.
const COORDINATOR: [(&str, &str); 2] =
    [("LANYARD_SERVER_RELAY_RATE_BPS", "0"), ("LANYARD_SERVER_RELAY_NETWORK_BPS", "0")];
/// What is counted in the logs: path changes and handshakes.
const AGENTS: [(&str, &str); 1] =
    [("LANYARD_LOG", "info,lanyard_proto=debug,lanyard_agent::dataplane::keeper=debug")];
/// What an agent logs when its handshake was answered.
const HANDSHAKE: &str = "session established";

/// What a phase came to.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    pub(super) direct: Direct,
    /// How long it lasted.
    pub(super) took: Duration,
    /// Bytes of TCP that arrived, from the first end to the second and back.
    pub(super) bytes: [u64; 2],
    /// The longest pause of any stream, and when it began after the phase did, in seconds: before it if negative.
    pub(super) standstill: Duration,
    pub(super) standstill_at_s: f64,
    /// The longest pause of the datagrams beside, either way.
    pub(super) datagram_standstill: Duration,
    /// For how long the machine ran nothing of ours at the most.
    pub(super) machine_pause: Duration,
    /// When both ends said that they have the path, if they did.
    pub(super) taken_after: Option<Duration>,
    /// Path changes of both ends, as their logs have them: one of each end where all goes well, none in the first phase.
    pub(super) changes: Vec<String>,
    /// Whether both ends had the path when the phase was over.
    pub(super) is_kept: bool,
    pub(super) datagrams: Tally,
}

/// What all of it came to.
#[derive(Debug)]
pub(super) struct Soaked {
    pub(super) link: Link,
    pub(super) phases: Vec<Passed>,
    pub(super) memory: Vec<Memory>,
    pub(super) wrong_bytes: u64,
    pub(super) datagrams: Tally,
    /// Handshakes that came to their end while it ran.
    pub(super) rekeys: usize,
    /// Streams that broke, and what is missing of them.
    pub(super) broken: Vec<String>,
}

/// Soaks on one kind of wire for so long.
pub(super) fn soak(link: Link, time: Duration, options: &Options) -> Result<Soaked> {
    let bed = Bed::make(link)?;
    if let Some(name) = &options.congestion {
        for end in 0..2 {
            let setting = format!("net.ipv4.tcp_congestion_control={name}");
            output_of(bed.command(end, "sysctl").args(["-w", &setting]))?;
        }
    }
    let mut team = Team::make(&bed, &COORDINATOR, &AGENTS).context("join two agents")?;
    team.start()?;
    let before = handshakes(&team);
    let mut run = Run::start(&bed, &team, options)?;
    let mut phases = Vec::new();
    let begun = Instant::now();
    let mut outcome = Ok(());
    while outcome.is_ok() && begun.elapsed() < time {
        let direct = if phases.len().is_multiple_of(2) { Direct::Open } else { Direct::Cut };
        let length = PHASE.min(time.saturating_sub(begun.elapsed()));
        outcome = run.pass(direct, length).map(|passed| {
            eprintln!("{} {:>4} s: {}", link.name(), begun.elapsed().as_secs(), passed.line());
            phases.push(passed);
        });
    }
    ensure!(!interrupts::came(), "interrupted");
    faults::impose(&bed, Direct::Open, 0.0)?;
    let mut soaked = run.finish(link)?;
    soaked.broken.extend(outcome.err().map(|error| format!("{error:#}")));
    soaked.phases = phases;
    soaked.rekeys = handshakes(&team).saturating_sub(before);
    if !soaked.broken_promises().is_empty() {
        team.keep_logs();
        eprintln!("the logs are in {}", team.directory().display());
    }
    Ok(soaked)
}

/// Handshakes that came to their end so far; the end that began them says so.
fn handshakes(team: &Team) -> usize {
    let logs = team.agents().iter().map(|agent| std::fs::read_to_string(agent.log_file()));
    logs.map(|log| log.unwrap_or_default().matches(HANDSHAKE).count()).sum()
}

/// Everything that runs while the wire changes.
struct Run<'r> {
    bed: &'r Bed,
    team: &'r Team,
    loss_percent: f64,
    /// From the first end to the second, and back.
    streams: [Vec<Transfer>; 2],
    datagrams: Vec<Datagrams>,
    memory: Vec<Memory>,
    machine: Machine,
    sampled_at: Instant,
}

impl<'r> Run<'r> {
    fn start(bed: &'r Bed, team: &'r Team, options: &Options) -> Result<Self> {
        let ends = [0, 1].map(|end| (bed.namespace(end), bed.namespace(1 - end), team.addresses[1 - end]));
        let open = |(from, to, address)| {
            (0..options.streams).map(|_| Transfer::start(from, to, address, 0)).collect()
        };
        let datagrams = ends.iter().zip(1..).map(|((from, to, address), seed)| {
            // No stream has these seeds.
            Datagrams::start(from, to, *address, u64::MAX - seed)
        });
        let datagrams = datagrams.collect::<Result<Vec<_>>>()?;
        // They are what makes the pair look for a path.
        team.wait_until_direct()?;
        let [there, back]: [Result<Vec<_>>; 2] = ends.map(open);
        let agents = ["agent a", "agent b"].into_iter().zip(team.processes());
        let memory = agents.chain([("server", team.coordinator())]);
        let memory = memory.map(|(who, process)| Memory::of(who, process)).collect();
        Ok(Self {
            bed,
            team,
            loss_percent: options.loss_percent,
            streams: [there?, back?],
            datagrams,
            memory,
            machine: Machine::watch(),
            sampled_at: Instant::now(),
        })
    }

    /// One phase from its beginning to its end.
    fn pass(&mut self, direct: Direct, length: Duration) -> Result<Passed> {
        let (before, datagrams_before) = (self.received(), self.tally());
        self.streams.iter().flatten().for_each(Transfer::reset_standstill);
        self.datagrams.iter().for_each(Datagrams::reset_standstill);
        self.machine.reset();
        let (begun, begun_at) = (Instant::now(), Moment::now());
        faults::impose(self.bed, direct, self.loss_percent)?;
        let mut taken_after = None;
        while begun.elapsed() < length {
            ensure!(!interrupts::came(), "interrupted");
            ensure!(self.streams.iter().flatten().all(Transfer::is_alive), "a stream broke");
            if taken_after.is_none() && self.is_taken(direct) {
                taken_after = Some(begun.elapsed());
            }
            if self.sampled_at.elapsed() >= memory::EVERY {
                self.memory.iter_mut().try_for_each(Memory::sample)?;
                self.sampled_at += memory::EVERY;
            }
            std::thread::sleep(ASK_EVERY.min(length.saturating_sub(begun.elapsed())));
        }
        let took = begun.elapsed();
        let (after, datagrams) = (self.received(), self.tally());
        let pauses = self.streams.iter().flatten().map(Transfer::longest_standstill);
        let (standstill, since) = pauses.max().context("there are no streams")?;
        let standstill_at_s =
            if since >= begun { (since - begun).as_secs_f64() } else { -(begun - since).as_secs_f64() };
        let datagram_standstill =
            self.datagrams.iter().map(Datagrams::longest_standstill).max().unwrap_or_default();
        let changes = self.team.agents().iter().flat_map(|agent| {
            path_changes(agent, begun_at).into_iter().map(|change| {
                let what = change.line.split_once(" to=").map_or(change.to, |(_, what)| what);
                format!("{} +{:.2} s {what}", agent.host, change.at.since(begun_at).as_secs_f64())
            })
        });
        Ok(Passed {
            direct,
            took,
            bytes: [after[0] - before[0], after[1] - before[1]],
            standstill,
            standstill_at_s,
            datagram_standstill,
            machine_pause: self.machine.longest_pause(),
            taken_after,
            changes: changes.collect(),
            is_kept: self.is_taken(direct),
            datagrams: datagrams.since(datagrams_before),
        })
    }

    /// Whether both ends say that their path is this one.
    fn is_taken(&self, direct: Direct) -> bool {
        let [a, b] = self.team.agents();
        let has_path = |path: Option<String>| path.is_some_and(|path| path == direct.path());
        has_path(a.path_to(&b.host)) && has_path(b.path_to(&a.host))
    }

    fn received(&self) -> [u64; 2] {
        [0, 1].map(|way: usize| self.streams[way].iter().map(Transfer::received).sum())
    }

    fn tally(&self) -> Tally {
        self.datagrams.iter().map(Datagrams::tally).fold(Tally::default(), Tally::plus)
    }

    /// Ends everything and looks at what came of it.
    fn finish(self, link: Link) -> Result<Soaked> {
        let (mut wrong_bytes, mut broken) = (0, Vec::new());
        for (way, stream) in ["to b", "to a"]
            .into_iter()
            .zip(self.streams)
            .flat_map(|(way, streams)| streams.into_iter().map(move |stream| (way, stream)))
        {
            wrong_bytes += stream.wrong();
            broken.extend(stream.finish().err().map(|error| format!("a stream {way}: {error:#}")));
        }
        let mut datagrams = Tally::default();
        for row in self.datagrams {
            datagrams = datagrams.plus(row.finish()?);
        }
        let (phases, rekeys) = (Vec::new(), 0);
        Ok(Soaked { link, phases, memory: self.memory, wrong_bytes, datagrams, rekeys, broken })
    }
}

impl Soaked {
    /// How long it took.
    pub(super) fn took(&self) -> Duration {
        self.phases.iter().map(|passed| passed.took).sum()
    }

    /// Switches of the path that were made, and those that both ends followed.
    pub(super) fn switches(&self) -> (usize, usize) {
        let switched = self.phases.iter().skip(1);
        (switched.clone().count(), switched.filter(|passed| passed.taken_after.is_some()).count())
    }

    /// Path changes that no switch asked for, of both ends together.
    pub(super) fn stray_changes(&self) -> usize {
        let strays = |(number, passed): (usize, &Passed)| {
            let asked = if number == 0 { 0 } else { 2 };
            passed.changes.len().saturating_sub(asked)
        };
        self.phases.iter().enumerate().map(strays).sum()
    }

    /// Phases that tell of the tunnel, since the machine ran it in them and in those before.
    pub(super) fn judged(&self) -> impl Iterator<Item = &Passed> {
        let mut was_run = true;
        self.phases.iter().filter(move |passed| {
            let is_run = passed.machine_pause <= MACHINE_PAUSE_MAX;
            std::mem::replace(&mut was_run, is_run) && is_run
        })
    }

    /// The longest a stream stood still in the phases that tell of the tunnel.
    pub(super) fn standstill(&self) -> Duration {
        self.judged().map(|passed| passed.standstill).max().unwrap_or_default()
    }

    /// What was promised and not kept, for people.
    pub(super) fn broken_promises(&self) -> Vec<String> {
        let mut broken = self.broken.clone();
        if self.standstill() > STANDSTILL_MAX {
            broken.push(format!("a stream stood still for {:.2} s", self.standstill().as_secs_f64()));
        }
        let unjudged = self.phases.len() - self.judged().count();
        if unjudged * UNJUDGED_EVERY > self.phases.len() {
            broken.push(format!("the machine is too busy: {unjudged} phases say nothing"));
        }
        if self.wrong_bytes > 0 || self.datagrams.wrong > 0 {
            let (bytes, datagrams) = (self.wrong_bytes, self.datagrams.wrong);
            broken.push(format!("{bytes} bytes of the streams and {datagrams} datagrams were wrong"));
        }
        for (who, trend) in self.memory.iter().filter_map(|memory| Some((memory.who, memory.trend()?))) {
            if !trend.is_flat() {
                broken
                    .push(format!("the memory of {who} grew from {} to {} bytes", trend.second, trend.last));
            }
        }
        let (made, followed) = self.switches();
        if followed < made {
            broken.push(format!("of {made} switches both ends followed {followed}"));
        }
        if self.rekeys == 0 && self.took() > REKEYED_BY {
            broken.push("keys were not renewed".to_owned());
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Eight phases with these pauses of a stream and of the machine, in milliseconds; the others have none.
    fn soaked(pauses: &[(usize, u32, u32)]) -> Soaked {
        let phase = |number: usize| {
            let found = pauses.iter().find(|(at, _, _)| *at == number);
            let (stream, machine) = found.map_or((0, 0), |(_, stream, machine)| (*stream, *machine));
            Passed {
                direct: Direct::Open,
                took: PHASE,
                bytes: [1, 1],
                standstill: MS * stream,
                standstill_at_s: 0.0,
                datagram_standstill: Duration::ZERO,
                machine_pause: MS * machine,
                taken_after: Some(MS),
                changes: Vec::new(),
                is_kept: true,
                datagrams: Tally::default(),
            }
        };
        Soaked {
            link: Link::Veth,
            phases: (0..8).map(phase).collect(),
            memory: Vec::new(),
            wrong_bytes: 0,
            datagrams: Tally::default(),
            rekeys: 1,
            broken: Vec::new(),
        }
    }

    #[test]
    fn a_stream_that_stands_still_breaks_a_promise_unless_the_machine_stood_still() {
        assert!(soaked(&[(3, 2_000, 500)]).broken_promises().is_empty());
        assert_eq!(soaked(&[(3, 2_001, 500)]).broken_promises().len(), 1);
        assert!(soaked(&[(3, 9_000, 501), (4, 9_000, 0)]).broken_promises().is_empty());
        assert_eq!(soaked(&[(3, 0, 501), (5, 9_000, 0)]).broken_promises().len(), 1);
    }

    #[test]
    fn a_machine_that_stands_still_all_the_time_breaks_the_promise_to_measure() {
        assert!(soaked(&[(0, 0, 900)]).broken_promises().is_empty());
        assert_eq!(soaked(&[(0, 0, 900), (4, 0, 900)]).broken_promises().len(), 1);
    }

    #[test]
    fn whatever_else_was_promised_is_looked_at() {
        let mut wrong = soaked(&[]);
        assert!(wrong.broken_promises().is_empty());
        wrong.wrong_bytes = 1;
        wrong.rekeys = 0;
        wrong.phases[5].taken_after = None;
        wrong.broken.push("a stream broke".to_owned());
        assert_eq!(wrong.broken_promises().len(), 4);
        assert_eq!(wrong.switches(), (7, 6));
    }
}
