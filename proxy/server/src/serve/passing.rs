//! A connection between two processes of Ringway on one machine: short texts, each with a descriptor if need be.

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The longest text: the digits of the longest secret of a cancel request, with a word before them.
const MAX_TEXT: usize = 1024;
/// Processes that may wait to be answered.
const BACKLOG: i32 = 4;

/// Where a process waits for its successor.
#[derive(Debug)]
pub(crate) struct Meeting(Socket);

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Channel(Socket);

fn address(name: &str) -> io::Result<SockAddr> {
    SockAddr::unix(format!("\0{name}"))
}

fn socket() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::SEQPACKET, None)
}

impl Meeting {
    /// Waits under this name, which goes with the process.
    ///
    /// # Errors
    /// `AddrInUse` if another process has it.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let socket = socket()?;
        socket.bind(&address(name)?)?;
        socket.listen(BACKLOG)?;
        Ok(Self(socket))
    }

    /// One that the process before this has handed over.
    pub(crate) fn taken_over(socket: Socket) -> Self {
        Self(socket)
    }

    /// The next process.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn accept(&self) -> io::Result<Channel> {
        self.0.accept().map(|(socket, _)| Channel(socket))
    }

    /// For the process that takes over.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }
}

impl Channel {
    /// Connects to the process that waits under this name; `None`: there is none.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn connect(name: &str) -> io::Result<Option<Self>> {
        let socket = socket()?;
        match socket.connect(&address(name)?) {
            Ok(()) => Ok(Some(Self(socket))),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bounds the wait for each text; `None`: no bound.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn bound(&self, bound: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(bound)?;
        self.0.set_write_timeout(bound)
    }

    /// Whether the other process belongs to the same user, or to root: nobody else may have the sockets or give us some.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn is_trusted(&self) -> io::Result<bool> {
        let other = rustix::net::sockopt::socket_peercred(&self.0)?.uid;
        Ok(other.is_root() || other == rustix::process::geteuid())
    }

    /// Sends a text, with a descriptor if there is one.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn send(&self, text: &str, descriptor: Option<&dyn AsFd>) -> io::Result<()> {
        self.send_with(text, descriptor, SendFlags::empty())
    }

    /// Sends a text, unless the other process has left too many unread.
    ///
    /// # Errors
    /// `WouldBlock`, and those of the system.
    pub(crate) fn send_at_once(&self, text: &str) -> io::Result<()> {
        self.send_with(text, None, SendFlags::DONTWAIT)
    }

    fn send_with(&self, text: &str, descriptor: Option<&dyn AsFd>, flags: SendFlags) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.map(|descriptor| [descriptor.as_fd()]);
        if let Some(descriptors) = &descriptors
            && !control.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(ErrorKind::InvalidInput.into());
        }
        sendmsg(
            &self.0,
            &[IoSlice::new(text.as_bytes())],
            &mut control,
            flags | SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// The next text, with its descriptor; `None`: the other process has closed.
    ///
    /// # Errors
    /// `TimedOut` when it takes too long; those of the system; a text that is too long or no text.
    pub(crate) fn receive(&self) -> io::Result<Option<(String, Option<OwnedFd>)>> {
        let mut buffer = [0; MAX_TEXT];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut into = [IoSliceMut::new(&mut buffer)];
            match recvmsg(&self.0, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(ErrorKind::TimedOut.into()),
                other => break other?,
            }
        };
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let bytes = buffer.get(..received.bytes).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(None);
        }
        let text = str::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData)?;
        Ok(Some((text.to_owned(), descriptor)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Channel, Meeting};
    use socket2::Socket;
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn descriptors_go_with_their_texts() {
        let name = format!("ringway-test-passing-{}", std::process::id());
        assert!(Channel::connect(&name).unwrap().is_none());
        let meeting = Meeting::open(&name).unwrap();
        assert_eq!(Meeting::open(&name).unwrap_err().kind(), ErrorKind::AddrInUse);
        let there = Channel::connect(&name).unwrap().unwrap();
        let here = meeting.accept().unwrap();
        assert!(here.is_trusted().unwrap() && there.is_trusted().unwrap());

        let (mut mine, passed) = UnixStream::pair().unwrap();
        here.send("first", None).unwrap();
        here.send("second", Some(&passed)).unwrap();
        drop(passed);
        let (text, descriptor) = there.receive().unwrap().unwrap();
        assert_eq!((text.as_str(), descriptor.is_none()), ("first", true));
        let (text, descriptor) = there.receive().unwrap().unwrap();
        assert_eq!(text, "second");
        let mut theirs = UnixStream::from(descriptor.unwrap());
        theirs.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        mine.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");

        there.bound(Some(Duration::from_millis(10))).unwrap();
        assert_eq!(there.receive().unwrap_err().kind(), ErrorKind::TimedOut);
        drop(here);
        assert!(there.receive().unwrap().is_none());

        // The name lives on with whoever has the socket.
        let successor = Meeting::taken_over(Socket::from(meeting.share().unwrap()));
        drop(meeting);
        let again = Channel::connect(&name).unwrap().unwrap();
        successor.accept().unwrap().send("there", None).unwrap();
        assert_eq!(again.receive().unwrap().unwrap().0, "there");
    }
}
