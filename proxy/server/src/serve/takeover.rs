//! The side of a process that replaces a running one: it takes over its listening sockets.

use crate::serve::handover::{
    END, LOCK, MEETING, READY, REFUSED, RELEASED, SOCKET, TAKEOVER, cancel_text, meeting_name,
};
use crate::serve::inherited::Inherited;
use crate::serve::passing::{Channel, Meeting};
use anyhow::{Context, Result, bail};
use settings::Settings;
use socket2::Socket;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use wire::CancelKey;

/// For each text of the predecessor.
const TEXT_BOUND: Duration = Duration::from_secs(10);

/// The process that this one replaces.
#[derive(Debug)]
pub(crate) struct Predecessor(Channel);

/// A predecessor and what it gave besides its sockets.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The process.
    pub(crate) predecessor: Predecessor,
    /// Where the next successor will connect.
    pub(crate) meeting: Meeting,
}

/// Asks the running process for its sockets; `None`: none runs.
///
/// # Errors
/// A process of another user or version, or one that doesn't answer.
pub(crate) fn ask(settings: &Settings, inherited: &mut Inherited) -> Result<Option<Taken>> {
    let name = meeting_name(settings);
    let Some(channel) = Channel::connect(&name).context("can't reach the running process")? else {
        tracing::info!("no running process to take over from: starting as usual");
        return Ok(None);
    };
    if !channel.is_trusted()? {
        bail!("the running process belongs to another user");
    }
    channel.bound(Some(TEXT_BOUND))?;
    channel.send(TAKEOVER, None)?;
    let (mut meeting, mut sockets) = (None, Vec::new());
    loop {
        let received = channel.receive().context("the running process doesn't answer")?;
        let Some((text, descriptor)) = received else {
            tracing::info!("the running process is ending: starting as usual");
            return Ok(None);
        };
        if let Some(why) = text.strip_prefix(REFUSED) {
            bail!("the running process refused: {why}");
        }
        match (text.as_str(), descriptor) {
            (END, None) => break,
            (MEETING, Some(descriptor)) => meeting = Some(Meeting::taken_over(Socket::from(descriptor))),
            (_, Some(descriptor)) => sockets.push((text, descriptor)),
            (text, None) => bail!("the running process said `{text}`"),
        }
    }
    for (text, descriptor) in sockets {
        take(inherited, &text, descriptor);
    }
    Ok(Some(Taken {
        predecessor: Predecessor(channel),
        meeting: meeting.context("the running process gave no place to meet")?,
    }))
}

fn take(inherited: &mut Inherited, text: &str, descriptor: OwnedFd) {
    if let Some(address) = text.strip_prefix(SOCKET) {
        inherited.add(address.to_owned(), Socket::from(descriptor));
    } else if let Some(path) = text.strip_prefix(LOCK) {
        inherited.add_lock(PathBuf::from(path), File::from(descriptor));
    }
}

impl Predecessor {
    /// Tells it that this process accepts connections, and waits until it accepts none.
    ///
    /// # Errors
    /// When it has ended, or doesn't answer.
    pub(crate) fn relieve(&self) -> Result<()> {
        self.0.send(READY, None)?;
        match self.0.receive()? {
            Some((text, _)) if text == RELEASED => Ok(()),
            _ => bail!("it ended without a word"),
        }
    }

    /// Passes on a cancel request, which may be meant for one of its clients.
    pub(crate) fn cancel(&self, key: &CancelKey) {
        if let Err(error) = self.0.send_at_once(&cancel_text(key)) {
            tracing::debug!(%error, "a cancel request was not passed on");
        }
    }

    /// Calls `gone` when the process has ended, from a thread of its own.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn watch(this: &Arc<Self>, gone: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        this.0.bound(None)?;
        let predecessor: Weak<Self> = Arc::downgrade(this);
        std::thread::Builder::new()
            .name("ringway-takeover".to_owned())
            .spawn(move || {
                if let Some(predecessor) = predecessor.upgrade() {
                    while matches!(predecessor.0.receive(), Ok(Some(_))) {}
                }
                gone();
            })?;
        Ok(())
    }
}
