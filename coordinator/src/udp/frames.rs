//! The threads that pass relay frames on, one for each socket that has nothing else.
//!
//! A thread sleeps in the kernel until a frame comes, and has it on its way with the next system call: the runtime
//! would wake a worker, the worker would find the task, and the task would ask what else there is to do. What came
//! meanwhile is read in batches. And where frames come in a flood, it is the kernel that shares the processor between
//! this thread and whoever answers devices.

use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::Machine;
use super::shared::{Desk, Shared};
use super::sockets::FrameSocket;

/// The threads while they run; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Frames {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Frames {
    /// Starts them; none where no socket has relay frames only.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(super) fn start<M: Machine>(shared: &Arc<Shared<M>>) -> Result<Self> {
        let mut frames = Self { threads: Vec::new(), stop: Arc::default() };
        for number in 0..shared.sockets.frames().len() {
            let (shared, stop) = (Arc::clone(shared), Arc::clone(&frames.stop));
            let carry = move || {
                let Some(socket) = shared.sockets.frames().get(number) else { return };
                if let Err(error) = carry(&shared, socket, &stop) {
                    tracing::error!(%error, "relay frames are no longer passed on");
                }
            };
            frames.threads.push(std::thread::Builder::new().name("relay frames".to_owned()).spawn(carry)?);
        }
        Ok(frames)
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the relay frames panicked");
            }
        }
    }
}

/// Until it is to stop.
fn carry<M: Machine>(shared: &Shared<M>, socket: &FrameSocket, stop: &AtomicBool) -> Result<()> {
    let (mut desk, mut before) = (Desk::new(), Desk::new());
    while !stop.load(Ordering::Relaxed) {
        let mut next = socket.wait(&mut desk.buffers)?;
        while let Some(count) = next {
            shared.pass_on(socket.home, &mut desk, count, &mut before);
            if stop.load(Ordering::Relaxed) {
                break;
            }
            next = socket.receive(&mut desk.buffers)?;
        }
    }
    Ok(())
}
