//! `lanyard-server doctor`
//!
//! Each check says what it found and, when that is not good, what to do. Nothing is changed. It runs beside a
//! running server: a port that is taken is asked whether it is ours.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lanyard_wire::limits::WEB_PORT;
use serde::Serialize;

use super::Place;
use super::output::hanging;
use crate::api;
use crate::config::{Config, Service};
use crate::index::{Index, Location};
use crate::keys;
use crate::problem::story_of;

/// Free space under which a database should not run.
const DISK_MIN_BYTES: u64 = 256 << 20;

/// Largest datagram buffer the kernel should allow, so that a burst of devices is not dropped.
const SOCKET_BUFFER_WANTED: u64 = 4 << 20;

/// 2025-01-01: a clock before that has never been set.
const CLOCK_MIN_S: u64 = 1_735_689_600;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    text: String,
}

pub(super) async fn run(place: &Place) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    match place.config() {
        Ok(config) => {
            findings.push(ok("settings", format!("{} is in order", place.config_path().display())));
            check_files(&config, &mut findings);
            check_database(place, &config, &mut findings).await;
            check_ports(&config, &mut findings);
            check_addresses(&config, &mut findings);
            check_machine(&config, &mut findings);
        }
        Err(error) => {
            findings.push(Finding { check: "settings", level: Level::Fail, text: story_of(&error) });
        }
    }
    let has_failed = findings.iter().any(|finding| finding.level == Level::Fail);
    place.output.print("findings", &findings, || render(&findings))?;
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn render(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|finding| {
            let mark = match finding.level {
                Level::Ok => "ok  ",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            hanging(&format!("{mark}  {:<9}  ", finding.check), &finding.text)
        })
        .collect()
}

fn ok(check: &'static str, text: impl Into<String>) -> Finding {
    Finding { check, level: Level::Ok, text: text.into() }
}

fn warn(check: &'static str, text: impl Into<String>) -> Finding {
    Finding { check, level: Level::Warn, text: text.into() }
}

fn fail(check: &'static str, text: impl Into<String>) -> Finding {
    Finding { check, level: Level::Fail, text: text.into() }
}

fn check_files(config: &Config, findings: &mut Vec<Finding>) {
    let dir = &config.data.dir;
    let mut checks = vec![keys::check_private(dir)];
    if config.runs(Service::Checkpoint) {
        checks.push(keys::read_identity(dir).map(drop));
    }
    checks.push(keys::read_fleet(dir).map(drop));
    let before = findings.len();
    findings.extend(checks.into_iter().filter_map(Result::err).map(|error| fail("keys", story_of(&error))));
    if findings.len() == before {
        findings.push(ok("keys", format!("{} is closed to others, its keys are readable", dir.display())));
    }
}

async fn check_database(place: &Place, config: &Config, findings: &mut Vec<Finding>) {
    if !config.runs(Service::Index) {
        return;
    }
    let examined = async {
        let index: Index = place.index(config).await?;
        let lines = index.integrity_findings().await?;
        let networks = index.networks().await?.len();
        let devices = index.devices().await?.len();
        index.close().await;
        anyhow::Ok((lines, networks, devices))
    };
    findings.push(match examined.await {
        Ok((lines, networks, devices)) if lines.is_empty() => {
            // Whoever runs a Postgres server looks after its pages.
            let is_file = config.database().is_ok_and(|location| matches!(location, Location::Sqlite(_)));
            let how = if is_file { "sound" } else { "answers" };
            ok("database", format!("{how}, {networks} networks, {devices} devices"))
        }
        Ok((lines, ..)) => fail(
            "database",
            format!("damaged ({}): stop lanyard-server and restore a backup", lines.join("; ")),
        ),
        Err(error) => fail("database", story_of(&error)),
    });
}

fn check_ports(config: &Config, findings: &mut Vec<Finding>) {
    let mut udp: Vec<SocketAddr> = Vec::new();
    if config.runs_control() {
        udp.extend(&config.control.listen);
    }
    if config.runs(Service::Stun) {
        let any = [IpAddr::from([0, 0, 0, 0])];
        let addresses = if config.stun.addresses.is_empty() { &any[..] } else { &config.stun.addresses };
        udp.extend(addresses.iter().flat_map(|ip| config.stun.ports.map(|port| SocketAddr::new(*ip, port))));
    }
    let web = config.web.listen.parse::<SocketAddr>().ok();
    let is_running = web.is_some_and(answers_health);
    for address in udp {
        findings.push(port_finding("port", address, "udp", UdpSocket::bind(address).err(), is_running));
    }
    if let Some(address) = web {
        findings.push(port_finding("port", address, "tcp", TcpListener::bind(address).err(), is_running));
    }
    check_door(config, is_running, findings);
    findings.push(warn(
        "reach",
        "whether these ports are open from outside cannot be seen from here: run \"lanyard netcheck\" on a device \
         in another network",
    ));
}

/// Devices in networks that block UDP come by TLS, and by port 443 only.
fn check_door(config: &Config, is_running: bool, findings: &mut Vec<Finding>) {
    if config.web.tls.is_empty() {
        let text = "web.tls is empty: devices in networks that block UDP cannot connect";
        findings.push(warn("door", text));
        return;
    }
    if let Err(error) = api::certificate::check(config) {
        findings.push(fail("door", story_of(&error)));
    }
    for address in &config.web.tls {
        let error = match api::tls::try_bind(*address) {
            Err(error) if address.is_ipv6() && error.kind() != std::io::ErrorKind::AddrInUse => continue,
            other => other.err(),
        };
        findings.push(match error {
            Some(error) if error.kind() == std::io::ErrorKind::PermissionDenied => warn(
                "door",
                format!(
                    "tcp {address}: {error}; the service needs CAP_NET_BIND_SERVICE for a port below 1024, see \
                     docs/operations.md, \"Ports\""
                ),
            ),
            error => port_finding("door", *address, "tcp", error, is_running),
        });
    }
    if !config.web.tls.iter().any(|address| address.port() == WEB_PORT) {
        let text = format!(
            "TLS is not on port {WEB_PORT}: networks that let only that port out keep their devices away, unless a \
             router in front passes it on"
        );
        findings.push(warn("door", text));
    }
}

fn port_finding(
    check: &'static str,
    address: SocketAddr,
    kind: &str,
    error: Option<std::io::Error>,
    is_running: bool,
) -> Finding {
    match error {
        None => ok(check, format!("{kind} {address} is free")),
        Some(error) if error.kind() == std::io::ErrorKind::AddrInUse && is_running => {
            ok(check, format!("{kind} {address} is in use; a lanyard-server is running"))
        }
        Some(error) => fail(check, format!("{kind} {address}: {error}; find who has it with \"ss -ulntp\"")),
    }
}

/// Whether a lanyard-server answers on its web address.
fn answers_health(address: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let reachable = if address.ip().is_unspecified() {
        SocketAddr::new(
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { [0, 0, 0, 0, 0, 0, 0, 1u16].into() },
            address.port(),
        )
    } else {
        address
    };
    let asked = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect_timeout(&reachable, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(64 << 10).read_to_string(&mut answer)?;
        Ok(answer)
    };
    asked().is_ok_and(|answer| answer.contains("\"program\":\"lanyard-server\""))
}

fn check_addresses(config: &Config, findings: &mut Vec<Finding>) {
    let is_here = |ip: &IpAddr| UdpSocket::bind((*ip, 0)).is_ok();
    let elsewhere: Vec<String> =
        config.public.addresses.iter().filter(|ip| !is_here(ip)).map(ToString::to_string).collect();
    findings.push(if elsewhere.is_empty() {
        ok("public", format!("{} is an address of this machine", config.public.host))
    } else {
        warn(
            "public",
            format!(
                "{} is not an address of this machine: the router in front must pass on UDP {} and the STUN ports",
                elsewhere.join(", "),
                config.control.listen.first().map_or(0, SocketAddr::port)
            ),
        )
    });
    if config.runs(Service::Stun) {
        let pairs = config.stun.addresses.iter().filter(|ip| ip.is_ipv4()).count();
        findings.push(if pairs >= 2 || !config.stun.elsewhere.is_empty() {
            ok("stun", "a true pair of addresses")
        } else {
            warn(
                "stun",
                "one address only: netcheck cannot tell address-dependent from port-dependent NATs; a second IP \
                 address (--public-alt, stun.addresses) makes it a pair",
            )
        });
    }
}

fn check_machine(config: &Config, findings: &mut Vec<Finding>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    findings.push(if now >= CLOCK_MIN_S {
        ok("clock", "is set")
    } else {
        fail(
            "clock",
            "has never been set: invites and tickets would expire wrongly; set it (timedatectl set-ntp true)",
        )
    });
    if let Some(free) = free_bytes(&config.data.dir) {
        let text = format!("{} MiB free in {}", free >> 20, config.data.dir.display());
        findings.push(if free >= DISK_MIN_BYTES {
            ok("disk", text)
        } else {
            fail("disk", format!("{text}: free some, or the database stops taking changes"))
        });
    }
    let limit =
        std::fs::read_to_string("/proc/sys/net/core/rmem_max").ok().and_then(|text| text.trim().parse().ok());
    if let Some(limit) = limit {
        let limit: u64 = limit;
        findings.push(if limit >= SOCKET_BUFFER_WANTED {
            ok("buffers", format!("the kernel allows {} KiB for a socket", limit >> 10))
        } else {
            warn(
                "buffers",
                format!(
                    "the kernel allows {} KiB for a socket; with thousands of devices set net.core.rmem_max and \
                     wmem_max to {SOCKET_BUFFER_WANTED}",
                    limit >> 10
                ),
            )
        });
    }
    let owner = std::fs::metadata(&config.data.dir).map(|data| data.uid());
    let me = std::fs::metadata("/proc/self").map(|process| process.uid());
    if let (Ok(owner), Ok(me)) = (owner, me)
        && owner != me
    {
        let text = format!(
            "{} belongs to user {owner}, this runs as {me}: files made now may be unreadable to the service",
            config.data.dir.display()
        );
        findings.push(warn("owner", text));
    }
}

/// Free space for ordinary users where that directory lies.
#[expect(unsafe_code, reason = "the standard library cannot ask for free space")]
fn free_bytes(dir: &std::path::Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(dir.as_os_str().as_bytes()).ok()?;
    let mut answer = core::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends in NUL and `answer` has the size of the structure the call fills.
    let code = unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) };
    if code != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it filled the structure.
    let answer = unsafe { answer.assume_init() };
    Some(answer.f_bavail.saturating_mul(answer.f_frsize))
}
