//! Datagrams in a stream of bytes: each behind its length in two bytes, most significant first (RFC 4571, section 2).

use std::io;
use std::net::SocketAddr;

use lanyard_wire::classify::{Class, classify};
use lanyard_wire::door::MESSAGE_MAX;
use lanyard_wire::envelope::{CARRY, PING, PONG};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

use crate::sockets::{Doors, Outlet};

/// Bytes that are read, or put together into one write, at a time: small datagrams share a segment.
const CHUNK: usize = 16 << 10;

/// Hands on what a peer may send, until the stream ends; a length that no datagram has ends it.
pub(super) async fn inbound(read: impl AsyncRead + Unpin, doors: &Doors, addr: SocketAddr) -> io::Result<()> {
    let mut read = BufReader::with_capacity(CHUNK, read);
    loop {
        let length = match read.read_u16().await {
            Ok(length) => usize::from(length),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        if length == 0 || length > MESSAGE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a datagram of {length} bytes")));
        }
        let mut bytes = vec![0; length];
        read.read_exact(&mut bytes).await?;
        match classify(&bytes) {
            // Frames: one end may be the other's peer relay.
            Class::WireGuard | Class::Relay => doors.arrived(addr, bytes),
            Class::Lanyard if matches!(bytes.first(), Some(&(PING | PONG | CARRY))) => {
                doors.arrived(addr, bytes);
            }
            Class::Lanyard | Class::Stun | Class::Noise => {}
        }
    }
}

/// Writes what waits, until that fails.
pub(super) async fn outbound(mut write: impl AsyncWrite + Unpin, outlet: &Outlet) -> io::Error {
    let mut chunk = Vec::with_capacity(CHUNK + 2 + MESSAGE_MAX);
    loop {
        let mut next = Some(outlet.next().await);
        chunk.clear();
        while let Some(datagram) = next {
            let Ok(length) = u16::try_from(datagram.len()) else { break };
            chunk.extend_from_slice(&length.to_be_bytes());
            chunk.extend_from_slice(&datagram);
            next = if chunk.len() < CHUNK { outlet.pop() } else { None };
        }
        if let Err(error) = write.write_all(&chunk).await {
            return error;
        }
    }
}
