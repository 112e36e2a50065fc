//! How the proxy ends: at once, when transactions are finished, or when its clients have left.

use super::signals::Signals;
use super::{Ended, Process};
use crate::admin::Shutdown;
use crate::data::listen::ThreadCommand;
use anyhow::Result;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

/// How long clients that are cut off may take to hear of it.
const CUT_OFF_BOUND: Duration = Duration::from_secs(1);

impl Process {
    /// Ends what the data threads do.
    pub(super) async fn end(
        &mut self,
        how: Shutdown,
        signals: &mut Signals,
        ended: &mut mpsc::Receiver<Ended>,
    ) -> Result<()> {
        let how = match how {
            Shutdown::WaitForClients => {
                tracing::info!("no more clients; the proxy ends when the last one has left");
                self.shared.draining.store(true, Ordering::Release);
                self.close_doors().await;
                self.linger(None, signals, ended).await?
            }
            Shutdown::Now | Shutdown::WaitForServers => how,
        };
        match how {
            Shutdown::Now => self.cut_off(self.mailboxes().len(), ended).await,
            Shutdown::WaitForServers | Shutdown::WaitForClients => self.drain(signals, ended).await,
        }
        Ok(())
    }

    /// Unready first, then no more clients; those that have a transaction get time to finish it.
    async fn drain(&self, signals: &mut Signals, ended: &mut mpsc::Receiver<Ended>) {
        self.shared.draining.store(true, Ordering::Release);
        let bound = self.shared.settings.load().limits.drain_timeout;
        tracing::info!(?bound, "draining; a second signal ends at once");
        let deadline = Instant::now() + bound;
        let mut left = 0;
        for mailbox in self.mailboxes() {
            // A thread whose mailbox stays full for so long is stuck; one that is gone needs no telling.
            if let Ok(Ok(())) = timeout_at(deadline, mailbox.send(ThreadCommand::Drain)).await {
                left += 1;
            }
        }
        while left > 0 {
            tokio::select! {
                thread = ended.recv() => match thread {
                    Some(_) => left -= 1,
                    None => break,
                },
                () = signals.stop() => {
                    tracing::warn!("a second signal: transactions under way are cut off");
                    return;
                }
                () = tokio::time::sleep_until(deadline) => {
                    tracing::warn!("the drain timeout is over: transactions under way are cut off");
                    return self.cut_off(left, ended).await;
                }
            }
        }
        tracing::info!("drained");
    }

    /// Every client is told, and what it does is cancelled; those that don't hear soon are dropped with the process.
    async fn cut_off(&self, threads: usize, ended: &mut mpsc::Receiver<Ended>) {
        self.shared.draining.store(true, Ordering::Release);
        for mailbox in self.mailboxes() {
            // A thread that can't be told ends with the process; to one that drains already the first says nothing new.
            let _ = mailbox.try_send(ThreadCommand::Drain);
            let _ = mailbox.try_send(ThreadCommand::CutOff);
        }
        let mut left = threads;
        let words = async {
            while left > 0 && ended.recv().await.is_some() {
                left -= 1;
            }
        };
        // Whoever has not heard by then is not listening.
        let _ = timeout(CUT_OFF_BOUND, words).await;
    }
}
