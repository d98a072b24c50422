//! coturn's `turnserver` and the least of a TURN client (RFC 8656): allocate, bind a channel.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

/// The channel that the client's packets travel by.
pub(crate) const CHANNEL: u16 = 0x4000;

const COOKIE: u32 = 0x2112_A442;

/// Starts it on a core, without logins and with one relay thread, as `lanyard-server` has one.
pub(crate) fn start(core: usize, address: SocketAddr, dir: &Path) -> anyhow::Result<Child> {
    let ip = address.ip().to_string();
    Command::new("taskset")
        .args(["-c", &core.to_string(), "turnserver", "-n", "-z", "-m", "1", "-L", &ip, "-E", &ip, "-p"])
        .arg(address.port().to_string())
        .args(["--allow-loopback-peers", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp", "--log-file"])
        .arg(dir.join("turn.log"))
        .arg("--pidfile")
        .arg(dir.join("turn.pid"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start turnserver: tests/setup installs coturn")
}

/// A socket whose channel leads through the server to `peer`.
pub(crate) fn allocate(local: IpAddr, server: SocketAddr, peer: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((local, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    // REQUESTED-TRANSPORT: UDP.
    ask(&socket, 0x0003, &attribute(0x0019, &[17, 0, 0, 0])).context("Allocate")?;
    let channel = attribute(0x000C, &[CHANNEL.to_be_bytes(), [0; 2]].concat());
    let peer = attribute(0x0012, &xored(peer)?);
    ask(&socket, 0x0009, &[channel, peer].concat()).context("ChannelBind")?;
    Ok(socket)
}

/// What stands in front of a payload of this length.
pub(crate) fn header(length: u16) -> Vec<u8> {
    [CHANNEL.to_be_bytes(), length.to_be_bytes()].concat()
}

/// Asks until there is an answer of success: the server may be starting.
fn ask(socket: &UdpSocket, kind: u16, attributes: &[u8]) -> anyhow::Result<()> {
    let length = u16::try_from(attributes.len())?;
    let mut message = [kind.to_be_bytes(), length.to_be_bytes()].concat();
    message.extend(COOKIE.to_be_bytes());
    message.extend(*b"lanyard-load");
    message.extend(attributes);
    let mut buffer = [0; 1_024];
    for _ in 0..25 {
        // Refused while nobody listens yet.
        if socket.send(&message).is_err() || socket.recv(&mut buffer).is_err() {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        let answer = u16::from_be_bytes([buffer[0], buffer[1]]);
        if answer != kind | 0x0100 {
            bail!("turnserver answered {answer:#06x}");
        }
        return Ok(());
    }
    bail!("turnserver does not answer")
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(0);
    [&kind.to_be_bytes()[..], &length.to_be_bytes(), value].concat()
}

fn xored(address: SocketAddr) -> anyhow::Result<Vec<u8>> {
    let SocketAddr::V4(v4) = address else { bail!("{address} is not IPv4") };
    let port = v4.port() ^ 0x2112;
    let ip = v4.ip().to_bits() ^ COOKIE;
    Ok([&[0, 1][..], &port.to_be_bytes(), &ip.to_be_bytes()].concat())
}
