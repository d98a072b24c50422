//! Connections between two sets of sockets on the loopback interface.

use lanyard_proto::overlay::PeerEntry;
use lanyard_proto::transmit::SocketId;
use lanyard_wire::envelope::PING;
use lanyard_wire::keys::PublicKey;

use super::*;

/// One device as far as TCP is concerned.
struct End {
    sockets: Sockets,
    streams: Streams,
    opened: mpsc::Receiver<Opened>,
    table: watch::Sender<Arc<ForwardingTable>>,
}

impl End {
    fn new() -> Self {
        let sockets = Sockets::bind(0, 1).unwrap();
        let table = watch::Sender::default();
        let (streams, opened) = Streams::new(sockets.clone(), table.subscribe());
        Self { sockets, streams, opened, table }
    }

    fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.sockets.port()).into()
    }

    /// Takes the next connection; gives the name that the machine would hear, or would learn from a datagram.
    async fn next(&mut self) -> SocketAddr {
        let opened = timeout(CALL_FOR, self.opened.recv()).await.unwrap().unwrap();
        self.streams.adopt(opened);
        *self.streams.remotes.0.lock().last_key_value().unwrap().0
    }

    fn send(&self, to: SocketAddr, bytes: &[u8]) -> u64 {
        self.sockets.doors().send(to, bytes, bytes.len())
    }

    async fn until_gone(&self, stream: SocketAddr) {
        let gone = async {
            while self.streams.remotes().of(stream).is_some() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.unwrap();
    }

    async fn heard(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let heard = async {
            loop {
                let heard = self.sockets.doors().take(16);
                if !heard.is_empty() {
                    return heard;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(5), heard).await.unwrap()
    }
}

fn peer() -> DeviceId {
    DeviceId::from_bytes([7; 16])
}

/// A datagram of this type that is long enough to be one.
fn datagram(first: u8) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[0] = first;
    bytes
}

#[tokio::test]
async fn a_call_carries_probes_and_tunnels_both_ways_and_nothing_else() {
    let (mut a, mut b) = (End::new(), End::new());
    // The call is there before it is taken.
    a.streams.dial(peer(), vec![b.addr()]);
    sleep(CALL_EVERY).await;
    b.streams.listen();
    let (at_a, at_b) = (a.next().await, b.next().await);
    assert_eq!(a.streams.remotes().of(at_a), Some(b.addr()));
    assert!(door::is_peers(at_a) && door::is_peers(at_b));

    let (probe, data) = (datagram(PING), datagram(4));
    for bytes in [&datagram(0x20), &vec![0; 70], &probe, &data] {
        assert_eq!(a.send(at_a, bytes), 0);
    }
    let mut heard = b.heard().await;
    while heard.len() < 2 {
        heard.extend(b.heard().await);
    }
    assert_eq!(heard, [(at_b, probe.clone()), (at_b, data)]);
    b.send(at_b, &probe);
    assert_eq!(a.heard().await, [(at_a, probe)]);
}

#[tokio::test]
async fn nobody_is_called_who_does_not_take_calls_and_calls_are_not_taken_unasked() {
    let (mut a, b) = (End::new(), End::new());
    a.streams.dial(peer(), vec![b.addr()]);
    assert!(timeout(CALL_EVERY * 5, a.opened.recv()).await.is_err());
    assert!(TcpStream::connect(b.addr()).await.is_err());
}

#[tokio::test]
async fn a_connection_that_no_path_uses_is_closed_and_one_that_a_path_uses_stays() {
    let (mut a, mut b) = (End::new(), End::new());
    b.streams.prove_in = Duration::from_millis(50);
    b.streams.listen();
    a.streams.dial(peer(), vec![b.addr()]);
    let (at_a, at_b) = (a.next().await, b.next().await);
    b.table.send_replace(table_with(at_b));
    a.send(at_a, &datagram(PING));
    assert_eq!(b.heard().await.len(), 1);
    assert!(b.streams.remotes().of(at_b).is_some());
    b.table.send_replace(Arc::default());
    b.until_gone(at_b).await;
    assert_eq!(b.send(at_b, &datagram(4)), 1, "its queue is gone, too");
}

#[tokio::test]
async fn a_length_that_no_datagram_has_ends_the_connection() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut b = End::new();
    b.streams.listen();
    let mut stream = tcp::connect(b.addr()).await.unwrap();
    let at_b = b.next().await;
    stream.write_all(&[0xFF, 0xFF, 1, 2, 3]).await.unwrap();
    let read = timeout(Duration::from_secs(5), stream.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    b.until_gone(at_b).await;
}

#[tokio::test]
async fn a_full_house_refuses_whoever_comes_next() {
    let mut b = End::new();
    let mut kept = Vec::new();
    while kept.len() <= STREAMS_MAX {
        b.streams.listen();
        for _ in 0..OPENED_MAX {
            kept.push(tcp::connect(b.addr()).await.unwrap());
            let opened = timeout(CALL_FOR, b.opened.recv()).await.unwrap().unwrap();
            b.streams.adopt(opened);
        }
    }
    assert_eq!(b.streams.remotes.0.lock().len(), STREAMS_MAX);
}

fn table_with(remote: SocketAddr) -> Arc<ForwardingTable> {
    let entry = PeerEntry {
        device: peer(),
        name: "nas".parse().unwrap(),
        wireguard: PublicKey::from_bytes([9; 32]),
        addresses: Vec::new(),
        path: Path::Direct { local: SocketId::MAIN, remote },
        mtu: 1_280,
        repeats: 0,
    };
    Arc::new(ForwardingTable::new(1, Vec::new(), vec![entry], &[]))
}
