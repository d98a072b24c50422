//! A device's session with a service, by hand: enough of the protocol to join a network or to bind a channel.
#![allow(dead_code, reason = "of what two benches share each uses some")]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use lanyard_proto::noise::{Initiator, SessionKeys};
use lanyard_proto::rng::Rng;
use lanyard_wire::body::{DeviceBody, ServiceBody};
use lanyard_wire::envelope::{DATA, DataHeader, GateKeys, Hello, HelloPayload, Retry, Welcome};
use lanyard_wire::ids::{DeviceId, RequestId, SessionIndex};
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::relay::{FromRelay, ToRelay};
use lanyard_wire::token::Token;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// How often something is asked.
const TRIES: u32 = 3;

/// Where the device finds its session; the service's answers carry it.
const INDEX: SessionIndex = SessionIndex::new(0x1001);

/// Seconds since 1970.
pub(crate) fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A device that has a session.
pub(crate) struct Session {
    pub(crate) id: DeviceId,
    pub(crate) socket: UdpSocket,
    keys: SessionKeys,
    index: SessionIndex,
    counter: u64,
}

impl Session {
    /// Opens a session from a local address.
    pub(crate) fn open(
        number: u32,
        local: SocketAddr,
        relay: SocketAddr,
        key: &PublicKey,
    ) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind(local).with_context(|| format!("bind {local}"))?;
        socket.connect(relay)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let (identity, mut rng) = (SecretKey::from_bytes(seed), Rng::from_seed(seed));
        let mut hello = |cookie| -> anyhow::Result<(Vec<u8>, Initiator)> {
            let timestamp_ms = u64::try_from(unix().as_millis())?;
            let payload = HelloPayload { timestamp_ms, boot: timestamp_ms, version_min: 1, version_max: 1 };
            let exchange = Initiator::new(&identity, key, &payload, &mut rng).context("key exchange")?;
            Ok((Hello::new(INDEX, *exchange.hello(), cookie, &GateKeys::of(key)).encode(), exchange))
        };
        let (first, _) = hello([0; 16])?;
        let retry = ask(&socket, &first).context("no RETRY")?;
        let retry = Retry::parse(&retry).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        std::thread::sleep(Duration::from_millis(2));
        let (second, exchange) = hello(retry.cookie)?;
        let welcome = ask(&socket, &second).context("no WELCOME")?;
        let welcome = Welcome::parse(&welcome).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let (said, keys) = exchange.finish(&welcome.noise).context("a false WELCOME")?;
        let id = DeviceId::of(&identity.public());
        let mut session = Self { id, socket, keys, index: said.session, counter: 0 };
        session.say(&DeviceBody::KeepAlive)?;
        Ok(session)
    }

    /// Says something under the session.
    pub(crate) fn say(&mut self, body: &DeviceBody) -> anyhow::Result<()> {
        let header = DataHeader { answer: false, receiver: self.index, counter: self.counter };
        self.counter += 1;
        self.socket.send(&header.seal(&self.keys.sealing, &body.to_bytes()))?;
        Ok(())
    }

    /// Asks for a sign of life; how long it took, if it came within 100 ms.
    pub(crate) fn ask_alive(&mut self) -> anyhow::Result<Option<Duration>> {
        self.socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let header = DataHeader { answer: true, receiver: self.index, counter: self.counter };
        self.counter += 1;
        let asked = Instant::now();
        self.socket.send(&header.seal(&self.keys.sealing, &DeviceBody::KeepAlive.to_bytes()))?;
        let mut buffer = [0; 2_048];
        Ok(self.socket.recv(&mut buffer).is_ok().then(|| asked.elapsed()))
    }

    /// Shows a token and waits until the channel is bound.
    pub(crate) fn bind(&mut self, token: Token) -> anyhow::Result<()> {
        let request = RequestId::new(u32::try_from(self.counter)?);
        self.say(&DeviceBody::Relay(ToRelay::Bind { request, token }))?;
        let mut buffer = [0; 2_048];
        loop {
            let length = self.socket.recv(&mut buffer).context("no answer to Bind")?;
            match self.open_datagram(buffer.get_mut(..length).unwrap_or_default()) {
                Some((_, ServiceBody::Relay(FromRelay::Bound { peer_here, .. }))) => {
                    ensure!(peer_here, "the relay does not know the other end");
                    return Ok(());
                }
                Some((_, ServiceBody::Relay(FromRelay::Refused { why, .. }))) => bail!("refused: {why:?}"),
                _ => {}
            }
        }
    }

    /// What the service said in a datagram of this session, and the datagram's counter if it wants an answer.
    pub(crate) fn open_datagram(&self, bytes: &mut [u8]) -> Option<(Option<u64>, ServiceBody)> {
        if bytes.first() != Some(&DATA) {
            return None;
        }
        let header = DataHeader::parse(bytes).ok()?;
        let body = header.open(&self.keys.opening, bytes)?;
        Some((header.answer.then_some(header.counter), ServiceBody::parse(body).ok()?))
    }
}

/// Asks until an answer comes: of datagrams to a busy service some are lost.
fn ask(socket: &UdpSocket, question: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut buffer = vec![0; 2_048];
    let mut answer = Err(std::io::ErrorKind::TimedOut.into());
    for _ in 0..TRIES {
        socket.send(question)?;
        answer = socket.recv(&mut buffer);
        if answer.is_ok() {
            break;
        }
    }
    buffer.truncate(answer?);
    Ok(buffer)
}
