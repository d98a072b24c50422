//! Leaving relayed pairs the time to go elsewhere before this process ends.
//!
//! The relay tells every device that has a channel ([`EndpointCommand::Drain`]); those that have another relay, or
//! another coordinator, bind there and give up their channels here. Nobody waits for those that have nowhere to go.

use std::time::Duration;

use lanyard_proto::service::EndpointCommand;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

/// The longest that this takes: with [`STILL`] less than what systemd grants, stopping included.
const LONGEST: Duration = Duration::from_secs(8);

/// When no channel was given up for so long, those that are left have nowhere to go. Devices are told each second, and
/// the number of channels is a second old at the most.
const STILL: Duration = Duration::from_millis(2_500);

/// What it takes to say farewell.
#[derive(Debug)]
pub(crate) struct Farewell {
    commands: mpsc::Sender<EndpointCommand>,
    channels: watch::Receiver<usize>,
    still: Duration,
}

impl Farewell {
    /// With the way to the machine, and how many relay channels it has.
    pub(crate) const fn new(
        commands: mpsc::Sender<EndpointCommand>,
        channels: watch::Receiver<usize>,
    ) -> Self {
        Self { commands, channels, still: STILL }
    }

    /// Returns when nobody has a channel any more, nobody moves any more, or [`LONGEST`] has passed.
    pub(crate) async fn say(&mut self) {
        let mut left = *self.channels.borrow_and_update();
        if left == 0 || self.commands.send(EndpointCommand::Drain).await.is_err() {
            return;
        }
        tracing::info!(
            channels = left,
            "relayed pairs are told to go elsewhere; another signal stops at once"
        );
        let end = Instant::now() + LONGEST;
        while left > 0 {
            let patience = end.min(Instant::now() + self.still);
            left = match timeout_at(patience, self.channels.wait_for(|now| *now < left)).await {
                Ok(Ok(now)) => *now,
                Ok(Err(_)) => return,
                Err(_) => {
                    tracing::info!(channels = left, "these are left behind");
                    return;
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_channels_nobody_is_told_and_nothing_waits() {
        let (mut farewell, mut said, _channels) = farewell(0);
        farewell.say().await;
        assert!(said.try_recv().is_err());
    }

    #[tokio::test]
    async fn it_ends_when_the_last_channel_is_given_up() {
        let (mut farewell, mut said, channels) = farewell(2);
        let moving = async {
            assert_eq!(said.recv().await, Some(EndpointCommand::Drain));
            for left in [1, 0] {
                channels.send_replace(left);
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(farewell.say(), moving);
        assert_eq!(*farewell.channels.borrow(), 0);
    }

    #[tokio::test]
    async fn those_that_have_nowhere_to_go_are_not_waited_for() {
        let (mut farewell, mut said, channels) = farewell(7);
        farewell.still = Duration::from_millis(1);
        farewell.say().await;
        assert_eq!((said.try_recv(), *channels.borrow()), (Ok(EndpointCommand::Drain), 7));
    }

    fn farewell(channels: usize) -> (Farewell, mpsc::Receiver<EndpointCommand>, watch::Sender<usize>) {
        let (commands, said) = mpsc::channel(1);
        let (sender, channels) = watch::channel(channels);
        (Farewell::new(commands, channels), said, sender)
    }
}
