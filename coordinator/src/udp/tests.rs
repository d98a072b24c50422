//! The shell on loopback, around a machine that does as its datagrams say.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::time::Duration;

use lanyard_proto::transmit::SocketId;

use super::sockets::Routing;
use super::*;

/// How long a datagram may take before a test says what was missing.
const DEADLINE: Duration = Duration::from_secs(10);

/// First byte `e`: answer with the same. `f`: pass on to the address behind it. `q`: answer, but through the queue.
/// `t`: answer when time has passed. Anything else is rejected.
#[derive(Debug, Default)]
struct Obedient {
    queue: VecDeque<Transmit>,
    later: Option<(Instant, Transmit)>,
    events: VecDeque<usize>,
}

impl Machine for Obedient {
    type Command = Transmit;
    type Event = usize;

    const NAME: &'static str = "test";

    fn handle_datagram(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<Option<Reply>, Rejected> {
        let answer =
            Transmit { local: datagram.local, remote: datagram.remote, bytes: datagram.bytes.to_vec() };
        match datagram.bytes.first() {
            Some(b'e') => return Ok(Some(Reply::Send(answer))),
            Some(b'f') => {
                let text = core::str::from_utf8(&datagram.bytes[1..]).map_err(|_| Rejected::Malformed)?;
                let target = text.trim_end_matches('.').parse().map_err(|_| Rejected::Malformed)?;
                return Ok(Some(Reply::Forward(target)));
            }
            Some(b'q') => self.queue.push_back(answer),
            Some(b't') => self.later = Some((now + Duration::from_millis(5), answer)),
            _ => return Err(Rejected::Malformed),
        }
        self.events.push_back(datagram.bytes.len());
        Ok(None)
    }

    /// `F`: all pass on to the address behind it.
    fn handle_train(
        &mut self,
        _remote: SocketAddr,
        bytes: &[u8],
        stride: usize,
        _now: Instant,
    ) -> Option<Result<SocketAddr, Rejected>> {
        let text = core::str::from_utf8(bytes[..stride].strip_prefix(b"F")?).ok()?;
        text.trim_end_matches('.').parse().ok().map(Ok)
    }

    fn handle_command(&mut self, command: Transmit, _now: Instant) {
        self.queue.push_back(command);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.later.as_ref().is_some_and(|(at, _)| *at <= now)
            && let Some((_, transmit)) = self.later.take()
        {
            self.queue.push_back(transmit);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.queue.pop_front()
    }

    fn poll_event(&mut self) -> Option<usize> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Wakeup> {
        self.later.as_ref().map(|(at, _)| Wakeup { at: *at, why: "answer" })
    }

    fn observe(&self) {}
}

struct Rig {
    port: u16,
    commands: mpsc::Sender<Transmit>,
    events: mpsc::Receiver<usize>,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
}

fn rig(listen: &[&str], routing: Routing) -> Rig {
    let wanted: Vec<_> =
        (0u16..).map(SocketId).zip(listen.iter().map(|text| text.parse().unwrap())).collect();
    let sockets = Sockets::bind(&wanted, routing, "control.listen").unwrap();
    let port = sockets.addresses()[0].port();
    let (commands, from_program) = mpsc::channel(8);
    let (to_program, events) = mpsc::channel(8);
    let (stop, stopped) = watch::channel(false);
    let shell = Shell::new(Obedient::default(), sockets, Clock::start());
    let running = tokio::spawn(shell.run(from_program, to_program, stopped));
    Rig { port, commands, events, stop, running }
}

fn client(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket, what: &str) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 2_048];
    let (length, from) = socket.recv_from(&mut buffer).unwrap_or_else(|error| panic!("no {what}: {error}"));
    buffer.truncate(length);
    (buffer, from)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_at_once_through_the_queue_and_after_a_time() {
    let mut rig = rig(&["127.0.0.1:0"], Routing::ByRemote);
    let client = client("127.0.0.1");
    for question in ["echo", "queue", "timer"] {
        client.send_to(question.as_bytes(), ("127.0.0.1", rig.port)).unwrap();
        assert_eq!(receive(&client, question).0, question.as_bytes());
    }
    assert_eq!(rig.events.recv().await, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_leaves_from_the_address_that_was_asked() {
    let rig = rig(&["0.0.0.0:0"], Routing::ByRemote);
    let client = client("127.0.0.1");
    for asked in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        for question in ["echo", "queue"] {
            client.send_to(question.as_bytes(), (asked, rig.port)).unwrap();
            assert_eq!(
                receive(&client, question).1,
                SocketAddr::new(asked.parse().unwrap(), rig.port),
                "{question}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateless_machine_answers_from_the_socket_and_the_address_that_were_asked() {
    let rig = rig(&["0.0.0.0:0", "127.0.0.9:0"], Routing::BySocket);
    let client = client("127.0.0.1");
    client.send_to(b"echo", ("127.0.0.2", rig.port)).unwrap();
    assert_eq!(receive(&client, "answer").1.to_string(), format!("127.0.0.2:{}", rig.port));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_families_are_served() {
    let rig = rig(&["127.0.0.1:0", "[::1]:0"], Routing::ByRemote);
    let four = client("127.0.0.1");
    four.send_to(b"echo", ("127.0.0.1", rig.port)).unwrap();
    receive(&four, "answer over IPv4");
    let six = client("::1");
    let remote = six.local_addr().unwrap();
    rig.commands.send(Transmit { local: SocketId::MAIN, remote, bytes: b"hello".to_vec() }).await.unwrap();
    assert_eq!(receive(&six, "datagram over IPv6").0, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_passed_on_whole_in_order_and_unchanged() {
    let rig = rig(&["127.0.0.1:0"], Routing::ByRemote);
    let (sender, receiver) = (client("127.0.0.1"), client("127.0.0.1"));
    let target = receiver.local_addr().unwrap().to_string();
    // Equal datagrams become trains; the shorter one in the middle ends a train, the longer one begins another.
    let lengths = [1_000, 1_000, 1_000, 400, 1_000, 1_000, 1_200, 1_200, 64];
    for length in lengths {
        let frame = format!("f{target:.<width$}", width = length - 1);
        sender.send_to(frame.as_bytes(), ("127.0.0.1", rig.port)).unwrap();
    }
    for length in lengths {
        let (bytes, _) = receive(&receiver, "forwarded datagram");
        assert_eq!(bytes.len(), length);
        assert!(bytes.starts_with(format!("f{target}").as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_stops_when_it_is_told() {
    let rig = rig(&["127.0.0.1:0"], Routing::ByRemote);
    let client = client("127.0.0.1");
    let remote = client.local_addr().unwrap();
    rig.commands.send(Transmit { local: SocketId::MAIN, remote, bytes: b"last".to_vec() }).await.unwrap();
    assert_eq!(receive(&client, "last datagram").0, b"last");
    rig.stop.send_replace(true);
    tokio::time::timeout(DEADLINE, rig.running).await.expect("the shell did not stop").unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_setting() {
    let holder = client("127.0.0.1");
    let address = holder.local_addr().unwrap();
    let error = Sockets::bind(&[(SocketId::MAIN, address)], Routing::ByRemote, "control.listen").unwrap_err();
    assert_eq!(error.code(), "serve.port");
    let text = error.to_string();
    assert!(
        text.contains(&address.to_string()) && text.contains("control.listen") && text.contains("ss -ulnp"),
        "{text}"
    );
}

#[tokio::test]
async fn an_address_this_machine_does_not_have_is_named() {
    let address = "203.0.113.77:0".parse().unwrap();
    let error = Sockets::bind(&[(SocketId::MAIN, address)], Routing::ByRemote, "stun.addresses").unwrap_err();
    assert!(error.to_string().contains("no such address"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_train_that_is_passed_on_arrives_as_the_datagrams_it_was_made_of() {
    let rig = rig(&["127.0.0.1:0"], Routing::ByRemote);
    let (near, far) = (client("127.0.0.1"), client("127.0.0.1"));
    let first = format!("F{:.<79}", far.local_addr().unwrap());
    let datagrams = [first.as_bytes(), &[2; 80], &[3; 80], &[4; 17]];
    let state = quinn_udp::UdpSocketState::new((&near).into()).unwrap();
    let transmit = quinn_udp::Transmit {
        destination: ([127, 0, 0, 1], rig.port).into(),
        ecn: None,
        contents: &datagrams.concat(),
        segment_size: Some(80),
        src_ip: None,
    };
    state.try_send((&near).into(), &transmit).unwrap();
    for datagram in datagrams {
        assert_eq!(receive(&far, "datagram").0, datagram);
    }
}

#[tokio::test]
async fn relay_frames_have_a_socket_of_their_own_on_the_same_port() {
    let wanted = [(SocketId::MAIN, "127.0.0.1:0".parse().unwrap())];
    let bound = Sockets::bind(&wanted, Routing::ByRemote, "control.listen").unwrap();
    let sockets = bound.with_frames_apart();
    let ([address], [frames]) = (&sockets.addresses()[..], sockets.frames()) else { panic!("two on one") };
    let (client, mut buffers) = (client("127.0.0.1"), Buffers::new());
    for (kind, is_apart) in [(0xC0, true), (0xC1, false), (0xC0, true), (0x04, false)] {
        client.send_to(&[kind; 20], address).unwrap();
        assert_eq!(frames.receive(&mut buffers).unwrap(), is_apart.then_some(1));
        assert_eq!(sockets.receive_before(0, &mut buffers), (!is_apart).then_some(1));
        assert_eq!(buffers.filled(0).1, &[kind; 20]);
    }
}

/// Passes relay frames on to whom was named last, by a datagram that is none.
#[derive(Debug, Default)]
struct Patchbay(Option<SocketAddr>);

impl Machine for Patchbay {
    type Command = ();
    type Event = ();

    const NAME: &'static str = "patchbay";

    fn handle_datagram(&mut self, datagram: Datagram<'_>, _now: Instant) -> Result<Option<Reply>, Rejected> {
        if datagram.bytes.first() == Some(&0xC0) {
            return self.0.map(|target| Some(Reply::Forward(target))).ok_or(Rejected::UnknownChannel);
        }
        self.0 = core::str::from_utf8(datagram.bytes).ok().and_then(|text| text.parse().ok());
        Ok(None)
    }

    fn observe(&self) {}
}

fn patchbay(address: &str) -> Arc<Shared<Patchbay>> {
    let wanted = [(SocketId::MAIN, address.parse().unwrap())];
    let bound = Sockets::bind(&wanted, Routing::ByRemote, "control.listen").unwrap();
    Arc::new(Shared::new(Patchbay::default(), bound.with_frames_apart(), Clock::start()))
}

#[tokio::test]
async fn what_came_before_a_relay_frame_is_looked_at_before_the_frame_is_refused() {
    let shared = patchbay("127.0.0.1:0");
    let (near, far) = (client("127.0.0.1"), client("127.0.0.1"));
    let service = shared.sockets.addresses()[0];
    let (mut desk, mut before) = (Desk::new(), Desk::new());
    near.send_to(far.local_addr().unwrap().to_string().as_bytes(), service).unwrap();
    near.send_to(&[0xC0; 40], service).unwrap();
    let count = shared.sockets.frames()[0].wait(&mut desk.buffers).unwrap().unwrap();
    shared.pass_on(0, &mut desk, count, &mut before);
    assert_eq!(receive(&far, "frame"), (vec![0xC0; 40], service));
    assert_eq!(shared.sockets.receive_before(0, &mut desk.buffers), None, "nothing is left to look at");
}

#[tokio::test]
async fn the_thread_of_the_relay_frames_passes_on_and_ends_when_it_is_dropped() {
    let shared = patchbay("0.0.0.0:0");
    let (near, far) = (client("127.0.0.1"), client("127.0.0.1"));
    shared.lock().machine.0 = far.local_addr().ok();
    let frames = Frames::start(&shared).unwrap();
    // Asked at another address than the usual one: what is passed on leaves from where its receiver asked, if anywhere.
    let service = SocketAddr::from(([127, 0, 0, 1], shared.sockets.addresses()[0].port()));
    for length in [40, 41, 300] {
        near.send_to(&vec![0xC0; length], service).unwrap();
        assert_eq!(receive(&far, "frame"), (vec![0xC0; length], service));
    }
    drop(frames);
    assert_eq!(Arc::strong_count(&shared), 1, "the thread let go of everything");
}
