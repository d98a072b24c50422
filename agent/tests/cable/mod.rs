//! Two network namespaces with a cable between them, and a data plane at an end of it.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use lanyard_agent::dataplane::DataPlane;
use lanyard_agent::sockets::Sockets;
use lanyard_agent::tun::{Tun, TunAddresses, TunConfig};
use lanyard_proto::overlay::table::{ForwardingTable, OverlayAddress, Path, PeerEntry};
use lanyard_proto::transmit::SocketId;
use lanyard_wire::ids::{DeviceId, NetworkId};
use lanyard_wire::keys::{PublicKey, SecretKey};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Two namespaces with a virtual cable between them.
pub(crate) struct Cable {
    pub(crate) a: Namespace,
    pub(crate) b: Namespace,
}

pub(crate) struct Namespace(String);

impl Cable {
    /// `None`, with a line that says so, where namespaces cannot be made.
    pub(crate) fn lay(name: &str) -> Option<Self> {
        if std::fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid()) != 0 {
            println!("skipped: network namespaces need root");
            return None;
        }
        let names = ["a", "b"].map(|end| format!("dp-{name}-{end}-{}", std::process::id()));
        let [a, b] = names.map(|name| {
            run("ip", &["netns", "add", &name]);
            Namespace(name)
        });
        run(
            "ip",
            &["link", "add", "cable", "netns", &a.0, "type", "veth", "peer", "name", "cable", "netns", &b.0],
        );
        for (end, address) in [(&a, "10.88.0.1/24"), (&b, "10.88.0.2/24")] {
            end.run("ip", &["link", "set", "lo", "up"]);
            end.run("sysctl", &["-q", "-w", "net.ipv6.conf.cable.addr_gen_mode=1"]);
            end.run("ip", &["addr", "add", address, "dev", "cable"]);
            end.run("ip", &["link", "set", "cable", "up"]);
        }
        Some(Self { a, b })
    }
}

impl Namespace {
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Does something on a thread of its own inside the namespace.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = File::open(format!("/run/netns/{}", self.0)).unwrap();
                nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) {
        run("ip", &[&["netns", "exec", &self.0, program], arguments].concat());
    }

    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> String {
        let output =
            Command::new("ip").args(["netns", "exec", &self.0, program]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A device in one of the namespaces.
pub(crate) struct Site {
    number: u8,
    pub(crate) plane: DataPlane,
    sockets: Sockets,
    pub(crate) addresses: TunAddresses,
    runtime: Runtime,
    _up: (mpsc::Receiver<lanyard_agent::sockets::Inbound>, mpsc::Receiver<lanyard_agent::dataplane::Waiting>),
}

impl Site {
    pub(crate) fn open(cable: &Cable, number: u8) -> Self {
        Self::open_at(cable, number, 0)
    }

    /// Opens it at a port that was its own before.
    pub(crate) fn open_at(cable: &Cable, number: u8, port: u16) -> Self {
        let namespace = if number == 1 { &cable.a } else { &cable.b };
        namespace.inside(|| {
            let runtime = runtime();
            let config = TunConfig { name: "lanyard0".to_owned(), queues: 2 };
            let tun = runtime.block_on(Tun::create(&config)).unwrap();
            let sockets = Sockets::bind(port, 2).unwrap();
            let (sender, control) = mpsc::channel(64);
            let (waiting, waits) = mpsc::channel(64);
            let plane =
                DataPlane::start(tun.queues, sockets.clone(), &secret(number), sender, waiting).unwrap();
            let addresses = tun.addresses;
            let mut site = Self { number, plane, sockets, addresses, runtime, _up: (control, waits) };
            site.apply(&[own(number)]);
            site
        })
    }

    pub(crate) fn apply(&mut self, addresses: &[OverlayAddress]) {
        self.runtime.block_on(self.addresses.apply(addresses)).unwrap();
    }

    pub(crate) fn knows(&self, peer: &Self, path: Path) {
        self.set(vec![entry(peer.number, secret(peer.number).public(), path)]);
    }

    pub(crate) fn set(&self, peers: Vec<PeerEntry>) {
        self.plane.set_table(&Arc::new(ForwardingTable::new(1, vec![own(self.number)], peers, &[])));
    }

    pub(crate) fn outer(&self) -> SocketAddr {
        (Ipv4Addr::new(10, 88, 0, self.number), self.sockets.port()).into()
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The peer with this number, as a table has it.
pub(crate) fn entry(number: u8, wireguard: PublicKey, path: Path) -> PeerEntry {
    PeerEntry {
        device: DeviceId::from_bytes([number; 16]),
        name: "peer".parse().unwrap(),
        wireguard,
        addresses: vec![ip4(number).into(), ip6(number).into()],
        path,
        mtu: 1_280,
        repeats: 0,
    }
}

pub(crate) fn own(number: u8) -> OverlayAddress {
    OverlayAddress {
        network: NetworkId::from_bytes([1; 16]),
        name: "home".parse().unwrap(),
        ip4: Some((ip4(number), 24)),
        ip6: (ip6(number), 64),
    }
}

pub(crate) fn direct(remote: SocketAddr) -> Path {
    Path::Direct { local: SocketId::MAIN, remote }
}

pub(crate) fn secret(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

pub(crate) fn ip4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, number)
}

pub(crate) fn ip6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xFD09, 0, 0, 0, 0, 0, 0, u16::from(number))
}
