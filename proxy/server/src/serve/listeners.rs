//! The sockets that clients connect to.

use crate::data::accept::{Door, Spread};
use crate::serve::inherited::Inherited;
use crate::serve::unix_socket::SocketFile;
use anyhow::{Result, anyhow};
use settings::{Listen, ListenAddresses, UnixFolder, UnixSocket};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// `EAFNOSUPPORT`: the machine knows no such kind of address.
const NO_SUCH_FAMILY: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
/// Connections to the HTTP port that the kernel keeps until they are accepted.
const HTTP_BACKLOG: i32 = 1024;

/// Where one can connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    /// By TCP.
    Tcp(SocketAddr),
    /// By a unix socket.
    Unix(PathBuf),
    /// By a unix socket of this name in Linux's abstract namespace.
    Abstract(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

impl Address {
    fn unix(socket: &UnixSocket, port: u16) -> Self {
        let name = format!(".s.PGSQL.{port}");
        match &socket.folder {
            UnixFolder::Path(folder) => Self::Unix(folder.join(name)),
            UnixFolder::Abstract(prefix) => Self::Abstract(format!("{prefix}/{name}")),
        }
    }
}

/// Whether the machine must have an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Needed {
    Yes,
    /// One of those that `*` stands for.
    IfThere,
}

/// Sockets on one address.
#[derive(Debug)]
struct Taken {
    address: Address,
    sockets: Vec<Socket>,
    /// Those that were listened on before this process had them stay open without it.
    fresh: bool,
}

/// Addresses that are ours, where nobody can connect yet.
#[derive(Debug)]
pub(crate) struct Bound {
    taken: Vec<Taken>,
    files: Vec<SocketFile>,
    backlog: i32,
    what: &'static str,
}

impl Bound {
    /// Takes the addresses for PostgreSQL's protocol, for so many threads.
    ///
    /// # Errors
    /// An address that another process has, or that this machine hasn't.
    pub(crate) fn postgres(listen: &Listen, threads: usize, inherited: &mut Inherited) -> Result<Self> {
        let mut bound = Self {
            taken: Vec::new(),
            files: Vec::new(),
            backlog: i32::try_from(listen.backlog).unwrap_or(i32::MAX),
            what: "PostgreSQL clients",
        };
        for (n, address) in listen.postgres().into_iter().enumerate() {
            let needed = match listen.addresses {
                ListenAddresses::All if n > 0 => Needed::IfThere,
                ListenAddresses::All | ListenAddresses::These(_) => Needed::Yes,
            };
            bound.take_tcp(address, threads, needed, inherited)?;
        }
        if let Some(socket) = &listen.unix_socket {
            bound.take_unix(Address::unix(socket, listen.port), socket, inherited)?;
        }
        Ok(bound)
    }

    /// Takes the address for HTTP.
    ///
    /// # Errors
    /// As [`Bound::postgres`].
    pub(crate) fn http(listen: &Listen, inherited: &mut Inherited) -> Result<Self> {
        let mut bound = Self {
            taken: Vec::new(),
            files: Vec::new(),
            backlog: HTTP_BACKLOG,
            what: "HTTP",
        };
        bound.take_tcp(listen.http, 1, Needed::Yes, inherited)?;
        Ok(bound)
    }

    fn take_tcp(
        &mut self,
        address: SocketAddr,
        threads: usize,
        needed: Needed,
        inherited: &mut Inherited,
    ) -> Result<()> {
        let named = Address::Tcp(address);
        let handed = inherited.take(&named);
        if !handed.is_empty() {
            self.add(named, handed, false);
            return Ok(());
        }
        match bind_tcp(address, threads) {
            Ok(sockets) => self.add(named, sockets, true),
            Err(error) if needed == Needed::IfThere && is_missing(&error) => {
                tracing::info!(%address, %error, "not listened on");
            }
            Err(error) => return Err(refused(&named, self.what, &error)),
        }
        Ok(())
    }

    fn take_unix(&mut self, address: Address, options: &UnixSocket, inherited: &mut Inherited) -> Result<()> {
        let handed = inherited.take(&address);
        if !handed.is_empty() {
            self.files.extend(inherited.take_file(&address));
            self.add(address, handed, false);
            return Ok(());
        }
        let socket = match &address {
            Address::Unix(path) => SocketFile::take(path, options).map(|(socket, file)| {
                self.files.push(file);
                socket
            }),
            Address::Abstract(name) => bind_abstract(name),
            Address::Tcp(_) => Err(io::ErrorKind::InvalidInput.into()),
        };
        let socket = socket.map_err(|error| refused(&address, self.what, &error))?;
        self.add(address, vec![socket], true);
        Ok(())
    }

    fn add(&mut self, address: Address, sockets: Vec<Socket>, fresh: bool) {
        self.taken.push(Taken {
            address,
            sockets,
            fresh,
        });
    }

    /// Lets clients connect.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen(self) -> Result<Listening> {
        let mut sockets = Vec::new();
        for taken in self.taken {
            for socket in taken.sockets {
                if taken.fresh {
                    // A port that another process has bound but doesn't listen on yet is found out only here.
                    socket
                        .listen(self.backlog)
                        .map_err(|error| refused(&taken.address, self.what, &error))?;
                }
                sockets.push((taken.address.clone(), socket));
            }
        }
        let mut files = self.files;
        for file in &mut files {
            let address = Address::Unix(file.path().to_owned());
            let shown = file.sign().and_then(|()| file.show());
            shown.map_err(|error| refused(&address, self.what, &error))?;
        }
        Ok(Listening { sockets, files })
    }
}

/// Sockets that clients connect to, for as long as this lives or another process has them.
#[derive(Debug)]
pub(crate) struct Listening {
    sockets: Vec<(Address, Socket)>,
    files: Vec<SocketFile>,
}

impl Listening {
    /// What each of so many threads accepts from.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub(crate) fn doors(&self, threads: usize) -> io::Result<Vec<Vec<Door>>> {
        let mut doors: Vec<Vec<Door>> = (0..threads).map(|_| Vec::new()).collect();
        let mut places: Vec<(&Address, usize)> = Vec::new();
        for (address, socket) in &self.sockets {
            let found = places.iter().position(|(other, _)| *other == address);
            let place = found.map_or(0, |found| places.get(found).map_or(0, |(_, count)| *count));
            match found.and_then(|found| places.get_mut(found)) {
                Some((_, count)) => *count += 1,
                None => places.push((address, 1)),
            }
            let all = self.sockets.iter().filter(|(other, _)| other == address).count();
            let spread = if all < threads {
                Spread::InTurn
            } else {
                Spread::Own
            };
            let socket = socket.try_clone()?;
            if let Some(doors) = doors.get_mut(place % threads.max(1)) {
                doors.push(Door { socket, spread });
            }
        }
        Ok(doors)
    }

    /// The sockets with their addresses.
    pub(crate) fn sockets(&self) -> &[(Address, Socket)] {
        &self.sockets
    }

    /// The files of unix sockets.
    pub(crate) fn files(&self) -> &[SocketFile] {
        &self.files
    }

    /// Another process has them from here on: what lies in the file system stays.
    pub(crate) fn give_away(mut self) {
        self.files.iter_mut().for_each(SocketFile::give_away);
    }

    /// The addresses, for people.
    pub(crate) fn addresses(&self) -> String {
        let mut texts: Vec<String> = self
            .sockets
            .iter()
            .map(|(address, _)| address.to_string())
            .collect();
        texts.dedup();
        texts.join(", ")
    }
}

/// The machine has no addresses of this kind.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(NO_SUCH_FAMILY)
}

fn refused(address: &Address, what: &str, error: &io::Error) -> anyhow::Error {
    let why = match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, Address::Tcp(address)) => {
            format!("port {} is taken: another process listens there", address.port())
        }
        (io::ErrorKind::AddrInUse, _) => "another process listens there".to_owned(),
        (io::ErrorKind::AlreadyExists, _) => "there is a file that is no socket".to_owned(),
        (io::ErrorKind::PermissionDenied, Address::Tcp(address)) => {
            format!("port {} may not be used by this user", address.port())
        }
        (io::ErrorKind::AddrNotAvailable, Address::Tcp(address)) => {
            format!("{} is no address of this machine", address.ip())
        }
        _ => error.to_string(),
    };
    anyhow!("can't listen on {address} for {what}: {why}")
}

/// Whether several sockets of this process have the port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shared {
    Yes,
    No,
}

fn bind_tcp(address: SocketAddr, threads: usize) -> io::Result<Vec<Socket>> {
    if threads <= 1 {
        return Ok(vec![bind(address, Shared::No)?]);
    }
    // Sockets that share a port would share it with another Ringway as well, silently.
    drop(bind(address, Shared::No)?);
    (0..threads).map(|_| bind(address, Shared::Yes)).collect()
}

fn bind(address: SocketAddr, shared: Shared) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier life that the kernel still remembers don't count.
    socket.set_reuse_address(true)?;
    if shared == Shared::Yes {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // `::` means IPv6 alone, whatever the system's default: 0.0.0.0 may be wanted beside it.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_abstract(name: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(format!("\0{name}"))?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
