//! A way to the endpoint that breaks where it hurts: after COMMIT has been sent and before its answer is passed on.

use anyhow::Result;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes bytes on, except for the answers to as many COMMITs as it was told to cut off.
pub struct Cut {
    pub port: u16,
    commits: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cut {
    /// Listens on a free port and passes everything on to `target`.
    pub async fn before(target: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let commits = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&commits);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target, Arc::clone(&counter)));
            }
        });
        Ok(Self { port, commits, task })
    }

    /// Cuts off the answers to the next `count` COMMITs.
    pub fn cut_next(&self, count: u32) {
        self.commits.store(count, Ordering::SeqCst);
    }

    /// How many are still to be cut off.
    pub fn left(&self) -> u32 {
        self.commits.load(Ordering::SeqCst)
    }
}

async fn pass(mut client: TcpStream, target: u16, commits: Arc<AtomicU32>) -> std::io::Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let bytes = &up[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                server.write_all(bytes).await?;
                let committing = bytes.windows(6).any(|window| window == b"COMMIT");
                let take = |left: u32| left.checked_sub(1);
                if committing && commits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                    // The server has done it once it answers.
                    return server.read(&mut down).await.map(drop);
                }
            }
            read = server.read(&mut down) => {
                let bytes = &down[..read?];
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}
