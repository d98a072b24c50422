//! A tunnel between the two ends, made with whoever is measured, and what its two processes cost.
//!
//! It counts as up when the first echo comes back through it, and as ours only once the pair's path is direct.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lanyard_netns::bench::{cpu_time, memory};
use lanyard_netns::fleet::output_of;
use lanyard_netns::inside::inside;
use lanyard_netns::wait_for;

use super::bed::{Bed, UNDERLAY};
use super::peer::{Kind, Peer};
use super::team::Team;

/// Addresses inside the tunnels of the others.
const OVERLAY: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
/// What everybody's documentation gives a WireGuard interface on Ethernet.
const MTU: u16 = 1_420;
const PORT: u16 = 51_820;
/// Private and public keys of the others, in hexadecimal. They guard nothing: nobody but the two ends is there.
const KEYS: [(&str, &str); 2] = [
    (
        "b0ead33186ac80ab1b66216ed7f6ace6f23af75f21d5e83e94095c8921fd8b45",
        "ae001540fb7a51477359d1db612b53381e7f2a285138612f58ad3e7a1c50ca03",
    ),
    (
        "d8de61591edbc0700297fcec54764e6ade01a76e90fce24b4ef4188825d7bd5a",
        "7355e5f4ce1f783ab8fb19a497535b4487af405e695abfad212112b693fea01a",
    ),
];

/// How long a tunnel may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an echo is waited for before the next is sent.
const ECHO_EVERY: Duration = Duration::from_millis(5);
const ECHO_PORT: u16 = 7;

/// A tunnel that is up. Gone when dropped.
#[derive(Debug)]
pub(super) struct Tunnel<'t> {
    /// The far end's address inside.
    pub(super) far: Ipv4Addr,
    /// From the start of both programs to the first echo.
    pub(super) first_packet: Duration,
    /// The two processes; none where there is no tunnel.
    pub(super) processes: Vec<u32>,
    running: Running<'t>,
}

#[derive(Debug)]
enum Running<'t> {
    Nothing,
    Team(&'t mut Team),
    Children(Vec<Child>),
}

impl<'t> Tunnel<'t> {
    /// Starts both ends and waits for the first echo; with ours, for the direct path too.
    pub(super) fn start(bed: &Bed, peer: &Peer, team: &'t mut Team) -> Result<Self> {
        let server = inside(bed.namespace(1), || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, ECHO_PORT))?))?;
        let client = inside(bed.namespace(0), || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
        let begun = Instant::now();
        match &peer.kind {
            Kind::Bare => {
                let [_, far] = UNDERLAY;
                let first_packet = first_echo(&client, &server, far, begun)?;
                Ok(Self { far, first_packet, processes: Vec::new(), running: Running::Nothing })
            }
            Kind::Lanyard => {
                let far = team.addresses[1];
                let mut tunnel = Self {
                    far,
                    first_packet: Duration::ZERO,
                    processes: Vec::new(),
                    running: Running::Team(team),
                };
                // A handle on the team only once something runs that has to be stopped.
                let Running::Team(team) = &mut tunnel.running else { return Ok(tunnel) };
                tunnel.first_packet = thread::scope(|scope| {
                    let echo = scope.spawn(|| first_echo(&client, &server, far, begun));
                    let started = team.start();
                    let first = echo.join().map_err(|_panic| anyhow::anyhow!("the echo panicked"))?;
                    started.and(first)
                })?;
                team.wait_until_direct()?;
                tunnel.processes = team.processes();
                Ok(tunnel)
            }
            Kind::WireGuard { program, options } => {
                let mut tunnel = Self {
                    far: OVERLAY[1],
                    first_packet: Duration::ZERO,
                    processes: Vec::new(),
                    running: Running::Children(Vec::new()),
                };
                let Running::Children(children) = &mut tunnel.running else { return Ok(tunnel) };
                for end in 0..2 {
                    let mut command = bed.command(end, program);
                    command.args(*options).arg(interface(end));
                    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                    let child = command.spawn().with_context(|| format!("start {}", program.display()))?;
                    tunnel.processes.push(child.id());
                    children.push(child);
                }
                for end in 0..2 {
                    configure(bed, end).with_context(|| format!("set up {}", peer.name))?;
                }
                tunnel.first_packet = first_echo(&client, &server, tunnel.far, begun)?;
                Ok(tunnel)
            }
        }
    }

    /// Processor time of both ends so far.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        self.processes.iter().map(|process| cpu_time(*process)).sum()
    }

    /// The most memory both ends ever had, added: bytes.
    pub(super) fn peak_memory(&self) -> Result<u64> {
        self.processes.iter().map(|process| memory(*process, "VmHWM")).sum()
    }
}

impl Drop for Tunnel<'_> {
    fn drop(&mut self) {
        match &mut self.running {
            Running::Nothing => {}
            Running::Team(team) => team.stop(),
            Running::Children(children) => {
                for (end, child) in children.iter_mut().enumerate() {
                    // Fails only when it has ended by itself; killed, it leaves its socket.
                    let _ = child.kill();
                    let _ = child.wait();
                    let _ = std::fs::remove_file(socket_of(end));
                }
            }
        }
    }
}

/// The name of an end's interface: the sockets of all namespaces are in one folder, so it is nobody else's.
fn interface(end: usize) -> String {
    format!("ly{}e{end}", std::process::id())
}

fn socket_of(end: usize) -> PathBuf {
    Path::new("/var/run/wireguard").join(format!("{}.sock", interface(end)))
}

/// Tells one end its key and its peer, and gives its interface an address.
fn configure(bed: &Bed, end: usize) -> Result<()> {
    let far = 1 - end;
    let text = format!(
        "set=1\nprivate_key={}\nlisten_port={PORT}\nreplace_peers=true\npublic_key={}\n\
         endpoint={}:{PORT}\nallowed_ip={}/32\n\n",
        KEYS[end].0, KEYS[far].1, UNDERLAY[far], OVERLAY[far],
    );
    let socket = socket_of(end);
    let mut stream = wait_for("the program's socket", PATIENCE, || UnixStream::connect(&socket).ok())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(text.as_bytes())?;
    let mut said = Vec::new();
    while !said.ends_with(b"\n\n") {
        let mut bytes = [0; 256];
        let length = stream.read(&mut bytes).context("no answer to the settings")?;
        ensure!(length > 0, "the program closed its socket");
        said.extend_from_slice(&bytes[..length]);
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(said.contains("errno=0"), "the settings were refused: {said}");
    let (name, own) = (interface(end), OVERLAY[end]);
    for words in [format!("addr add {own}/24 dev {name}"), format!("link set {name} mtu {MTU} up")] {
        output_of(bed.command(end, "ip").args(words.split(' ')))?;
    }
    Ok(())
}

/// The time from `begun` to the first echo that comes back from the far end.
fn first_echo(client: &UdpSocket, server: &UdpSocket, far: Ipv4Addr, begun: Instant) -> Result<Duration> {
    client.set_read_timeout(Some(ECHO_EVERY))?;
    server.set_read_timeout(Some(ECHO_EVERY))?;
    thread::scope(|scope| {
        let answering = scope.spawn(|| answer_first(server, begun + PATIENCE));
        let far = SocketAddr::from((far, ECHO_PORT));
        let mut bytes = [0; 16];
        let first = loop {
            if begun.elapsed() > PATIENCE {
                break Err(anyhow::anyhow!("no echo within {PATIENCE:?}"));
            }
            // No route yet, or nobody behind it: both pass.
            if client.send_to(b"echo", far).is_err() {
                thread::sleep(Duration::from_millis(1));
            } else if client.recv_from(&mut bytes).is_ok() {
                break Ok(begun.elapsed());
            }
        };
        answering.join().map_err(|_panic| anyhow::anyhow!("the echo's other end panicked"))??;
        first
    })
}

/// Answers until something was answered.
fn answer_first(server: &UdpSocket, until: Instant) -> Result<()> {
    let mut bytes = [0; 16];
    while Instant::now() < until {
        match server.recv_from(&mut bytes) {
            Ok((length, from)) if server.send_to(&bytes[..length], from).is_ok() => return Ok(()),
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(error).context("wait for an echo");
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}
