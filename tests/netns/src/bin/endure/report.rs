//! What came of it, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::faults::Direct;
use super::soak::{Passed, Soaked};

impl Passed {
    /// Bits a second of all streams of a way.
    fn rates_gbps(&self) -> [f64; 2] {
        self.bytes.map(|bytes| gbps(bytes, self.took))
    }

    /// For the progress.
    pub(super) fn line(&self) -> String {
        let [there, back] = self.rates_gbps();
        let taken = match self.taken_after {
            Some(after) => format!("taken after {:.1} s", after.as_secs_f64()),
            None => "NOT taken".to_owned(),
        };
        let lost = self.datagrams.lost();
        format!(
            "{:<6}: {there:.2} and {back:.2} Gbit/s, standstill {:.2} s at {:+.1} s, datagrams {:.2} s ({lost} \
             of {} lost), {taken}, {} changes, the machine's pause {:.2} s{}",
            self.direct.path(),
            self.standstill.as_secs_f64(),
            self.standstill_at_s,
            self.datagram_standstill.as_secs_f64(),
            self.datagrams.sent,
            self.changes.len(),
            self.machine_pause.as_secs_f64(),
            if self.is_kept { "" } else { ", and left again" },
        )
    }
}

/// A summary: a row for each path, and what holds for all.
pub(super) fn text(soaked: &Soaked) -> String {
    let mut text = format!(
        "\n{}, {:.1} minutes\n\n| path | phases | Gbit/s there | back | longest standstill of a stream | of the datagrams | \
         datagrams lost | path taken after, at the most |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
        soaked.link.name(),
        soaked.took().as_secs_f64() / 60.0,
    );
    for direct in [Direct::Open, Direct::Cut] {
        let phases: Vec<&Passed> = soaked.judged().filter(|passed| passed.direct == direct).collect();
        let took = phases.iter().map(|passed| passed.took).sum();
        let rate = |way: usize| gbps(phases.iter().map(|passed| passed.bytes[way]).sum(), took);
        let longest = |pause: fn(&Passed) -> Duration| {
            phases.iter().map(|passed| pause(passed)).max().unwrap_or_default().as_secs_f64()
        };
        let sent: u64 = phases.iter().map(|passed| passed.datagrams.sent).sum();
        let lost: u64 = phases.iter().map(|passed| passed.datagrams.lost()).sum();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {:.2} s | {:.2} s | {lost} of {sent} | {:.1} s |",
            direct.path(),
            phases.len(),
            rate(0),
            rate(1),
            longest(|passed| passed.standstill),
            longest(|passed| passed.datagram_standstill),
            longest(|passed| passed.taken_after.unwrap_or_default()),
        );
    }
    let _ = writeln!(text);
    for memory in &soaked.memory {
        if let (Some(trend), Some(own)) = (memory.trend(), memory.own_trend()) {
            let [second, last, most] = [trend.second, trend.last, trend.most].map(mebibytes);
            let [own_second, own_last] = [own.second, own.last].map(mebibytes);
            let who = memory.who;
            let _ = writeln!(
                text,
                "memory of {who}: {second:.2} MiB in the second quarter, {last:.2} in the last, {most:.2} at the most; of its own \
                 {own_second:.2} and {own_last:.2}"
            );
        }
    }
    let (made, followed) = soaked.switches();
    let bytes: u64 = soaked.phases.iter().flat_map(|passed| passed.bytes).sum();
    let _ = writeln!(
        text,
        "{made} switches, {followed} followed by both ends, {} other path changes; {} handshakes; {:.1} GB checked, {} bytes wrong; {} datagrams checked, \
         {} wrong, {} repeated",
        soaked.stray_changes(),
        soaked.rekeys,
        millions(bytes) / 1e3,
        soaked.wrong_bytes,
        soaked.datagrams.arrived,
        soaked.datagrams.wrong,
        soaked.datagrams.repeated,
    );
    let unjudged = soaked.phases.len() - soaked.judged().count();
    if unjudged > 0 {
        let pause = soaked.phases.iter().map(|passed| passed.machine_pause).max().unwrap_or_default();
        let pause = pause.as_secs_f64();
        let _ = writeln!(
            text,
            "{unjudged} phases are not in the table: the machine ran nothing of ours for up to {pause:.2} s in them, or in those \
             before"
        );
    }
    let broken = soaked.broken_promises();
    let _ = match broken.as_slice() {
        [] => writeln!(text, "every promise was kept"),
        broken => writeln!(text, "BROKEN: {}", broken.join("; ")),
    };
    text
}

/// The same, and every phase.
pub(super) fn json(all: &[Soaked]) -> Value {
    let of_phase = |passed: &Passed| {
        json!({
            "path": passed.direct.path(),
            "seconds": passed.took.as_secs_f64(),
            "gbps": passed.rates_gbps(),
            "standstill_s": passed.standstill.as_secs_f64(),
            "standstill_at_s": passed.standstill_at_s,
            "datagram_standstill_s": passed.datagram_standstill.as_secs_f64(),
            "machine_pause_s": passed.machine_pause.as_secs_f64(),
            "datagrams_sent": passed.datagrams.sent,
            "datagrams_lost": passed.datagrams.lost(),
            "taken_after_s": passed.taken_after.map(|after| after.as_secs_f64()),
            "is_kept": passed.is_kept,
            "changes": passed.changes,
        })
    };
    let of_link = |soaked: &Soaked| {
        let (made, followed) = soaked.switches();
        let memory: serde_json::Map<String, Value> =
            soaked.memory.iter().map(|memory| (memory.who.to_owned(), json!(memory.samples()))).collect();
        let own: serde_json::Map<String, Value> =
            soaked.memory.iter().map(|memory| (memory.who.to_owned(), json!(memory.own_samples()))).collect();
        json!({
            "link": soaked.link.name(),
            "phases": soaked.phases.iter().map(of_phase).collect::<Vec<_>>(),
            "memory_bytes": memory,
            "own_memory_bytes": own,
            "switches": made,
            "switches_followed": followed,
            "other_changes": soaked.stray_changes(),
            "handshakes": soaked.rekeys,
            "wrong_bytes": soaked.wrong_bytes,
            "datagrams": {
                "sent": soaked.datagrams.sent,
                "arrived": soaked.datagrams.arrived,
                "wrong": soaked.datagrams.wrong,
                "repeated": soaked.datagrams.repeated,
            },
            "broken": soaked.broken_promises(),
        })
    };
    json!(all.iter().map(of_link).collect::<Vec<_>>())
}

fn gbps(bytes: u64, took: Duration) -> f64 {
    millions(bytes) * 8.0 / 1e3 / took.as_secs_f64().max(0.001)
}

fn millions(bytes: u64) -> f64 {
    Duration::from_micros(bytes).as_secs_f64()
}

fn mebibytes(bytes: u64) -> f64 {
    millions(bytes) * 1e6 / 1_048_576.0
}
