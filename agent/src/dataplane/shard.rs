//! A shard: one thread, one queue of the TUN, one socket per family, both directions to completion.
//!
//! Nothing is handed from thread to thread on a packet's way, and nothing is shared but the table's snapshot
//! and the peers' locks. While there is work the shard alternates between its directions, a bounded turn each;
//! when there is none it sleeps until the kernel has something.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lanyard_proto::transmit::SocketId;
use tracing::{debug, error};

use super::Shared;
use super::inbound::Inbound;
use super::outbound::{Outbound, Turn};
use super::wait::{Interest, Sleeper};
use crate::tun::TunQueue;

/// Everything one shard owns.
pub(super) struct Shard {
    number: usize,
    shared: Arc<Shared>,
    queue: Arc<TunQueue>,
    sleeper: Sleeper,
    outbound: Outbound,
    inbound: Inbound,
}

impl Shard {
    pub(super) fn new(number: usize, shared: &Arc<Shared>, queue: Arc<TunQueue>, sleeper: Sleeper) -> Self {
        let outbound = Outbound::new(Arc::clone(shared));
        let inbound = Inbound::new(Arc::clone(shared), queue.offload());
        Self { number, shared: Arc::clone(shared), queue, sleeper, outbound, inbound }
    }

    /// Forwards until it is told to stop or the TUN is gone.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        if let Err(error) = self.forward(&shared) {
            error!(shard = self.number, %error, "the system gives nothing to sleep by");
        }
        debug!(shard = self.number, "shard ended");
        shared.activity.alarm();
    }

    fn forward(&mut self, shared: &Shared) -> io::Result<()> {
        let Some(sockets) = shared.sockets.shard(self.number) else { return Ok(()) };
        let watch = self.sleeper.watch(&self.queue, sockets, self.number == 0)?;
        let mut queue_is_ready = true;
        let (mut v4, mut v6, mut kept) = (Interest::new(), Interest::new(), Interest::new());
        while !shared.stop.load(Ordering::Acquire) {
            let peers = shared.peers.load();
            let mut busy = false;
            if std::mem::replace(&mut queue_is_ready, true) {
                match self.outbound.turn(&self.queue, sockets, &peers) {
                    Turn::Busy => busy = true,
                    Turn::Idle => {}
                    Turn::Ended => break,
                }
            }
            let (inbound, queue) = (&mut self.inbound, &self.queue);
            busy |= v4.ask(|| inbound.turn(queue, sockets, (SocketId::MAIN, &sockets.v4), &peers));
            if let Some(udp) = &sockets.v6 {
                busy |= v6.ask(|| inbound.turn(queue, sockets, (SocketId::MAIN, udp), &peers));
            }
            if self.number == 0 {
                busy |= inbound.turn_doors(queue, sockets, &peers);
                busy |= kept.ask(|| {
                    sockets.kept.read_ready(|local, udp| inbound.turn(queue, sockets, (local, udp), &peers))
                });
            }
            // Not held while sleeping: an old table's peers are to go.
            drop(peers);
            if !busy {
                let ready = watch.sleep();
                queue_is_ready = ready.queue;
                v4.set(ready.v4);
                v6.set(ready.v6);
                kept.set(ready.kept);
            }
        }
        Ok(())
    }
}
