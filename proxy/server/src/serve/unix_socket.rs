//! The file of a unix socket: its lock, its permissions, and that it appears and disappears as one.
//!
//! The lock is a file beside it, as PostgreSQL has one, and says the process id on its first line, as PostgreSQL reads it.
//! It is held by `flock`, so that a crash leaves nothing behind that would have to be judged.

use rustix::io::Errno;
use settings::UnixSocket;
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// How often a lock that somebody has just removed is tried again.
const LOCK_ATTEMPTS: usize = 8;
/// Where the system lists its groups.
const GROUPS: &str = "/etc/group";

/// A unix socket that is ours.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Where the socket lies until clients may connect; `None`: it is in its place.
    hidden: Option<PathBuf>,
    lock: File,
    /// Another process has taken it over.
    given_away: bool,
}

impl SocketFile {
    /// Takes the path and binds a socket, under another name for the time being.
    ///
    /// # Errors
    /// `AddrInUse` if another process has it, and those of the system.
    pub(crate) fn take(path: &Path, options: &UnixSocket) -> io::Result<(Socket, Self)> {
        let lock = lock(path)?;
        refuse_living(path)?;
        let hidden = with_suffix(path, &format!(".{}", std::process::id()));
        remove(&hidden)?;
        let mut file = Self {
            path: path.to_owned(),
            hidden: Some(hidden.clone()),
            lock,
            given_away: false,
        };
        file.sign()?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&hidden)?)?;
        if let Some(group) = &options.group {
            chown(&hidden, None, Some(group_id(group)?))?;
        }
        fs::set_permissions(&hidden, Permissions::from_mode(options.mode))?;
        Ok((socket, file))
    }

    /// One that the process before this has handed over with its lock.
    pub(crate) fn taken_over(path: PathBuf, lock: File) -> Self {
        Self {
            path,
            hidden: None,
            lock,
            given_away: false,
        }
    }

    /// Puts the socket in its place, once clients may connect: what was there is replaced at once.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn show(&mut self) -> io::Result<()> {
        if let Some(hidden) = &self.hidden {
            fs::rename(hidden, &self.path)?;
            self.hidden = None;
        }
        Ok(())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The lock, for the process that takes over.
    pub(crate) fn lock(&self) -> &File {
        &self.lock
    }

    /// Another process has it from here on: it stays when this is dropped.
    pub(crate) fn give_away(&mut self) {
        self.given_away = true;
    }

    /// Writes whose it is.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn sign(&mut self) -> io::Result<()> {
        self.lock.set_len(0)?;
        io::Seek::rewind(&mut self.lock)?;
        writeln!(self.lock, "{}", std::process::id())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.given_away {
            return;
        }
        let socket = self.hidden.as_ref().unwrap_or(&self.path);
        // The socket first: while the lock is there nobody else can have made another.
        for path in [socket, &lock_path(&self.path)] {
            if let Err(error) = remove(path) {
                tracing::warn!(path = %path.display(), %error, "a file of the unix socket stays behind");
            }
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn lock_path(path: &Path) -> PathBuf {
    with_suffix(path, ".lock")
}

fn lock(path: &Path) -> io::Result<File> {
    let path = lock_path(path);
    for _ in 0..LOCK_ATTEMPTS {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::AddrInUse.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had it may have removed it before it was ours: then it locks nothing.
        let own = file.metadata()?;
        if fs::metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
            return Ok(file);
        }
    }
    Err(ErrorKind::AddrInUse.into())
}

/// Programs that know nothing of our lock show that they live by accepting connections.
fn refuse_living(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(there) if !there.file_type().is_socket() => return Err(ErrorKind::AlreadyExists.into()),
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Ok(()) => Err(ErrorKind::AddrInUse.into()),
        // Its queue is full.
        Err(error) if error.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => {
            Err(ErrorKind::AddrInUse.into())
        }
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = fs::read_to_string(GROUPS)?;
    let unknown = || {
        io::Error::new(
            ErrorKind::NotFound,
            format!("there is no group {group} in {GROUPS}"),
        )
    };
    listed_group(&groups, group).ok_or_else(unknown)
}

/// The number of a group, in lines of `name:password:number:members`.
fn listed_group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::{SocketFile, listed_group, lock_path};
    use settings::{UnixFolder, UnixSocket};
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::Path;

    fn options() -> UnixSocket {
        UnixSocket {
            folder: UnixFolder::Path("unused".into()),
            mode: 0o750,
            group: None,
        }
    }

    fn refused(path: &Path) -> ErrorKind {
        SocketFile::take(path, &options()).unwrap_err().kind()
    }

    #[test]
    fn a_socket_appears_whole_and_goes_with_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".s.PGSQL.1");
        let (socket, mut file) = SocketFile::take(&path, &options()).unwrap();
        assert!(!path.exists());
        assert_eq!(refused(&path), ErrorKind::AddrInUse);
        socket.listen(1).unwrap();
        file.show().unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o750);
        let signed = fs::read_to_string(lock_path(&path)).unwrap();
        assert_eq!(signed, format!("{}\n", std::process::id()));
        assert_eq!(refused(&path), ErrorKind::AddrInUse);
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_crash_left_is_replaced_and_what_lives_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".s.PGSQL.1");
        let living = UnixListener::bind(&path).unwrap();
        fs::write(lock_path(&path), "1\n").unwrap();
        assert_eq!(refused(&path), ErrorKind::AddrInUse);
        drop(living);
        let (socket, mut file) = SocketFile::take(&path, &options()).unwrap();
        socket.listen(1).unwrap();
        file.show().unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".s.PGSQL.1");
        fs::write(&path, "precious").unwrap();
        assert_eq!(refused(&path), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn what_was_given_away_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".s.PGSQL.1");
        let (socket, mut file) = SocketFile::take(&path, &options()).unwrap();
        socket.listen(1).unwrap();
        file.show().unwrap();
        let lock = file.lock().try_clone().unwrap();
        file.give_away();
        drop(file);
        assert_eq!(refused(&path), ErrorKind::AddrInUse);
        let mut mine = SocketFile::taken_over(path.clone(), lock);
        mine.sign().unwrap();
        UnixStream::connect(mine.path()).unwrap();
        drop(mine);
        assert!(!path.exists());
    }

    #[test]
    fn groups_are_looked_up_by_name() {
        let groups = "root:x:0:\napp:x:1002:a,b\n";
        assert_eq!(listed_group(groups, "app"), Some(1002));
        assert_eq!(listed_group(groups, "ap"), None);
        assert_eq!(listed_group("broken", "broken"), None);
    }
}
