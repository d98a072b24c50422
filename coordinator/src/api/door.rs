//! The door: a WebSocket whose binary messages are datagrams (RFC 6455; docs/protocol.md, "Doors").
//!
//! Anybody may open one; what a stranger can do with it is what a stranger can do by UDP, and what it holds is
//! bounded: messages by their length before they are read, connections by source and in number, and time by
//! [`SILENCE`]. Reading and writing go on beside each other: if one waited for the other, two full streams would
//! wait for each other for ever.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use lanyard_wire::door::{MESSAGE_MAX, PROTOCOL};
use tokio::time::{Instant, timeout_at};

use super::Web;
use crate::door::Connection;

/// How long a connection may bring no datagram.
///
/// A device keeps its session alive every 25 s, every 120 s once it knows its mapping; a connection that is silent for
/// longer is dead, or never was a device's.
const SILENCE: Duration = Duration::from_secs(180);

/// How long a new connection may take to its first datagram: a device opens it because it has one.
const FIRST: Duration = Duration::from_secs(10);

/// Bytes that are put together into one write, so that small datagrams share a TLS record.
const WRITE_MAX: usize = 16 << 10;

/// `GET /door`
pub(super) async fn open(
    State(web): State<Web>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(doors) = &web.doors else { return StatusCode::NOT_FOUND.into_response() };
    let Some(connection) = doors.enter(remote.ip()) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let upgrade = upgrade.protocols([PROTOCOL]).max_message_size(MESSAGE_MAX).max_frame_size(MESSAGE_MAX);
    upgrade
        .write_buffer_size(WRITE_MAX)
        .max_write_buffer_size(WRITE_MAX + 2 * MESSAGE_MAX)
        .on_upgrade(move |socket| carry(socket, connection))
}

/// Moves datagrams until either way ends.
async fn carry(socket: WebSocket, connection: Connection) {
    tracing::debug!(addr = %connection.addr(), "door opened");
    let (sink, stream) = socket.split();
    let why = tokio::select! {
        why = inbound(stream, &connection) => why,
        () = outbound(sink, &connection) => "the stream takes no more",
    };
    tracing::debug!(addr = %connection.addr(), why, "door closed");
}

async fn inbound<E>(
    mut stream: impl Stream<Item = Result<Message, E>> + Unpin,
    connection: &Connection,
) -> &'static str {
    let mut deadline = Instant::now() + FIRST;
    loop {
        match timeout_at(deadline, stream.next()).await {
            Ok(Some(Ok(Message::Binary(bytes)))) => {
                deadline = Instant::now() + SILENCE;
                if !connection.arrived(bytes.into()).await {
                    return "the server stops";
                }
            }
            // They are answered below us; they are no sign of a device.
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
            Ok(Some(Ok(Message::Text(_) | Message::Close(_))) | None) => return "closed by the other end",
            Ok(Some(Err(_))) => return "broken, or not as agreed",
            Err(_) => return "silent for too long",
        }
    }
}

/// Writes what waits, and only then flushes: many datagrams share one write.
async fn outbound(mut sink: impl Sink<Message> + Unpin, connection: &Connection) {
    loop {
        let mut next = Some(connection.next().await);
        while let Some(datagram) = next {
            if sink.feed(Message::Binary(datagram.into())).await.is_err() {
                return;
            }
            next = connection.pop();
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}
