//! A sealed stream of JSON messages over TCP.
//!
//! 1. Noise `NNpsk0` under a key derived from the fleet key: who lacks the key gets no answer that makes sense and
//!    sees nothing.
//! 2. Frames: length as two bytes, big-endian, then one sealed message of at most 65,535 bytes. An empty message is
//!    a sign of life, sent every 5 s; three missing ones end the connection.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;

use lanyard_wire::keys::{SymmetricKey, derive_key};
use serde::Serialize;
use serde::de::DeserializeOwned;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, TransportState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// The handshake, by its name in the Noise framework.
const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";

/// Keeps a handshake of another protocol from being taken for this one.
const PROLOGUE: &[u8] = b"lanyard bus 1";

/// How long a handshake may take: a stranger that connects and says nothing holds a slot no longer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two signs of life.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// Silence after which the other end counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Longest sealed message, tag included.
const FRAME_MAX: usize = 65_535;

/// Bytes a seal adds.
const TAG: usize = 16;

/// Frames read but not yet opened.
const READ_AHEAD: usize = 16;

/// Which end of the stream we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Connected.
    Client,
    /// Was connected to.
    Index,
}

/// The key of the bus.
pub(super) fn bus_key(fleet: &SymmetricKey) -> SymmetricKey {
    derive_key(fleet, b"lanyard bus", &[])
}

/// Shakes hands with the other end.
///
/// # Errors
/// When it holds another key, says something else, or takes too long.
pub(super) async fn shake_hands(
    stream: &mut TcpStream,
    key: &SymmetricKey,
    end: End,
) -> Result<TransportState> {
    stream.set_nodelay(true)?;
    timeout(HANDSHAKE_TIMEOUT, exchange_keys(stream, key, end))
        .await
        .map_err(|_| Error::new(ErrorKind::TimedOut, "no handshake within 5 s"))?
}

async fn exchange_keys(stream: &mut TcpStream, key: &SymmetricKey, end: End) -> Result<TransportState> {
    let pattern = PATTERN.parse().map_err(|error: snow::Error| refused(&error))?;
    let builder = Builder::with_resolver(pattern, Box::new(SystemRandomness))
        .psk(0, key.as_bytes())
        .and_then(|builder| builder.prologue(PROLOGUE))
        .map_err(|error| refused(&error))?;
    let mut buffer = [0; 128];
    let mut state = match end {
        End::Client => builder.build_initiator(),
        End::Index => builder.build_responder(),
    }
    .map_err(|error| refused(&error))?;
    if end == End::Client {
        let written = state.write_message(&[], &mut buffer).map_err(|error| refused(&error))?;
        write_frame(stream, &buffer[..written]).await?;
    }
    let frame = read_frame(stream).await?;
    state.read_message(&frame, &mut buffer).map_err(|error| refused(&error))?;
    if end == End::Index {
        let written = state.write_message(&[], &mut buffer).map_err(|error| refused(&error))?;
        write_frame(stream, &buffer[..written]).await?;
    }
    state.into_transport_mode().map_err(|error| refused(&error))
}

/// Carries messages both ways until the stream or one of the channels ends.
///
/// # Errors
/// Why the stream ended; `Ok` when the local side is done.
pub(super) async fn carry<Out: Serialize, In: DeserializeOwned>(
    stream: TcpStream,
    mut seal: TransportState,
    outgoing: &mut mpsc::Receiver<Out>,
    incoming: &mpsc::Sender<In>,
) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let (frames_tx, mut frames) = mpsc::channel(READ_AHEAD);
    // A task of its own reads: a frame half read must not be lost when something else is ready first.
    let reading = tokio::spawn(read_frames(reader, frames_tx));
    let mut alive = interval(ALIVE_EVERY);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let ended = loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else { break Err(ErrorKind::UnexpectedEof.into()) };
                heard = Instant::now();
                match frame.and_then(|frame| open(&mut seal, &frame)) {
                    Ok(None) => {}
                    Ok(Some(message)) => if incoming.send(message).await.is_err() { break Ok(()) },
                    Err(error) => break Err(error),
                }
            }
            message = outgoing.recv() => {
                let Some(message) = message else { break Ok(()) };
                let sent = async { say(&mut writer, &mut seal, &serde_json::to_vec(&message)?).await };
                if let Err(error) = sent.await { break Err(error) }
            }
            _ = alive.tick() => {
                if heard.elapsed() > SILENCE_MAX { break Err(ErrorKind::TimedOut.into()) }
                if let Err(error) = say(&mut writer, &mut seal, &[]).await { break Err(error) }
            }
        }
    };
    reading.abort();
    ended
}

fn open<In: DeserializeOwned>(seal: &mut TransportState, frame: &[u8]) -> Result<Option<In>> {
    let mut text = vec![0; frame.len()];
    let length = seal.read_message(frame, &mut text).map_err(|error| refused(&error))?;
    text.truncate(length);
    if text.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(&text)?)) }
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), seal: &mut TransportState, text: &[u8]) -> Result<()> {
    if text.len() + TAG > FRAME_MAX {
        return Err(Error::new(ErrorKind::InvalidData, "a message longer than a frame"));
    }
    let mut frame = vec![0; text.len() + TAG];
    let length = seal.write_message(text, &mut frame).map_err(|error| refused(&error))?;
    timeout(SILENCE_MAX, write_frame(writer, &frame[..length]))
        .await
        .map_err(|_| Error::new(ErrorKind::TimedOut, "the other end takes nothing"))?
}

async fn read_frames(mut reader: impl AsyncRead + Unpin, frames: mpsc::Sender<Result<Vec<u8>>>) {
    loop {
        let frame = read_frame(&mut reader).await;
        let is_over = frame.is_err();
        if frames.send(frame).await.is_err() || is_over {
            return;
        }
    }
}

async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let length = reader.read_u16().await?;
    let mut frame = vec![0; usize::from(length)];
    reader.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write_frame(writer: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> Result<()> {
    let length = u16::try_from(frame.len()).map_err(|_| ErrorKind::InvalidData)?;
    let mut bytes = Vec::with_capacity(2 + frame.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(frame);
    writer.write_all(&bytes).await
}

fn refused(error: &snow::Error) -> Error {
    Error::new(
        ErrorKind::PermissionDenied,
        format!("the other end has another fleet.key, or is no lanyard-server ({error})"),
    )
}

/// The usual algorithms, with the operating system's random numbers.
struct SystemRandomness;

impl CryptoResolver for SystemRandomness {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Self))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

impl Random for SystemRandomness {
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> core::result::Result<(), snow::Error> {
        getrandom::fill(bytes).map_err(|_| snow::Error::Rng)
    }
}
