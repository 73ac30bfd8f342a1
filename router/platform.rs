//! The only file of the router with calls that exist on some platforms and not on others.

#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod owner;
#[cfg(target_os = "linux")]
mod volume;

use tokio::net::TcpStream;

#[cfg(target_os = "linux")]
pub use host::host;
#[cfg(target_os = "linux")]
pub use owner::{as_owner_of, hand_back, is_strange_in};
#[cfg(target_os = "linux")]
pub use volume::Volume;

/// Asks the kernel to acknowledge what arrives at once instead of waiting some 40 ms for data to carry it.
///
/// Linux forgets the request after a while, so it is made again before every read. It matters with peers that leave Nagle's
/// algorithm on and write a PDU in two pieces. Elsewhere nothing is done; a failure is harmless and ignored.
#[cfg(target_os = "linux")]
pub fn acknowledge_at_once(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
}

/// See the Linux version: other platforms have no such option.
#[cfg(not(target_os = "linux"))]
pub fn acknowledge_at_once(_stream: &TcpStream) {}

/// Limits this process to `memory` bytes of address space, and forbids it to leave a core file: there could be pixels in it.
///
/// # Errors
/// The system does not do so.
#[cfg(unix)]
pub fn confine(memory: u64) -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let most = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::Core, most(0))?;
    Ok(setrlimit(Resource::As, most(memory))?)
}

/// See the Unix version: other platforms have no such limits that a process can set for itself.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn confine(_memory: u64) -> std::io::Result<()> {
    Ok(())
}

/// Tells when the process is asked to end: SIGTERM or SIGINT. From when this is made, they do not end the process by
/// themselves any more.
#[cfg(unix)]
#[derive(Debug)]
pub struct Terminations {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Terminations {
    /// Listens from now on.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns when it was asked, also when that was before this was called.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// See the Unix version: elsewhere it is Ctrl-C.
#[cfg(not(unix))]
#[derive(Debug)]
pub struct Terminations;

#[cfg(not(unix))]
impl Terminations {
    /// See the Unix version.
    ///
    /// # Errors
    /// None.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Returns when it was asked since this was called.
    pub async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Tells when the process is asked to read its configuration again: SIGHUP. From when this is made, the signal does not
/// end the process any more.
#[cfg(unix)]
#[derive(Debug)]
pub struct Hangups(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Hangups {
    /// Listens from now on.
    ///
    /// # Errors
    /// The signal handler cannot be installed.
    pub fn new() -> std::io::Result<Self> {
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).map(Self)
    }

    /// Returns when it was asked since the last time; several times count once.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// See the Unix version: elsewhere nobody asks in this way.
#[cfg(not(unix))]
#[derive(Debug)]
pub struct Hangups;

#[cfg(not(unix))]
impl Hangups {
    /// See the Unix version.
    ///
    /// # Errors
    /// None.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Never returns.
    pub async fn next(&mut self) {
        std::future::pending().await
    }
}

/// The name of the person at the command line, as the system has it; a claim like every name.
pub fn user_name() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME", "USERNAME"];
    let name = named.iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.trim().is_empty()));
    name.unwrap_or_else(unnamed)
}

/// Longest table of users that is looked at, in bytes.
#[cfg(unix)]
const MAX_USERS: u64 = 1 << 20;

/// A cron job or a service has no such variables: its name is what the system's own table calls its number.
#[cfg(unix)]
fn unnamed() -> String {
    use std::io::Read;
    let uid = rustix::process::getuid().as_raw();
    let mut users = Vec::new();
    let read =
        std::fs::File::open("/etc/passwd").and_then(|file| file.take(MAX_USERS).read_to_end(&mut users));
    let name = read.ok().and_then(|_| named_in(&String::from_utf8_lossy(&users), uid));
    name.unwrap_or_else(|| format!("uid {uid}"))
}

/// The name that a table in the form of `passwd(5)` has for a number.
#[cfg(unix)]
fn named_in(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.trim().is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(not(unix))]
fn unnamed() -> String {
    "command line".to_owned()
}

/// Gives a file another name, which must not be taken. On file systems that cannot do it in one step a second name is
/// made and the first removed.
///
/// # Errors
/// `AlreadyExists` when the name is taken, and whatever the system says.
#[cfg(target_os = "linux")]
pub fn rename_without_replacing(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        other => Ok(other?),
    }
}

/// See the Linux version.
#[cfg(not(target_os = "linux"))]
pub fn rename_without_replacing(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    std::fs::hard_link(from, to)?;
    std::fs::remove_file(from)
}

/// Gives a file of our own another name, whatever had that name before. For small files of the data directory that are
/// written anew; never for a payload.
///
/// # Errors
/// Whatever the system says.
#[allow(clippy::disallowed_methods, reason = "what is replaced is an older version of the same file of ours")]
pub fn replace(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    std::fs::rename(from, to)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// Whatever the system says.
pub fn sync_directory(path: &std::path::Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// See the Linux version: elsewhere it is run as who we are.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn as_owner_of<T: Send>(
    _directory: &std::path::Path,
    run: impl FnOnce() -> T + Send,
) -> std::io::Result<T> {
    Ok(run())
}

/// See the Linux version.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn hand_back(_directory: &std::path::Path, _names: &[&str]) -> std::io::Result<()> {
    Ok(())
}

/// See the Linux version.
#[cfg(not(target_os = "linux"))]
pub fn is_strange_in(_directory: &std::path::Path, _path: &std::path::Path) -> Option<(u32, u32)> {
    None
}

/// A file that only its owner can read.
#[cfg(unix)]
pub fn private(options: &mut std::fs::OpenOptions) -> &mut std::fs::OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

/// See the Unix version: elsewhere the data directory's own rights have to do.
#[cfg(not(unix))]
pub fn private(options: &mut std::fs::OpenOptions) -> &mut std::fs::OpenOptions {
    options
}

/// Makes a folder, and those above it that are not there, for its owner only.
///
/// # Errors
/// As [`std::fs::create_dir_all`].
#[cfg(unix)]
pub fn private_folder(path: &std::path::Path) -> std::io::Result<()> {
    std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700).create(path)
}

/// See the Unix version: elsewhere the rights of the folder above have to do.
///
/// # Errors
/// As [`std::fs::create_dir_all`].
#[cfg(not(unix))]
pub fn private_folder(path: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Takes from everybody but its owner what they may do in a folder. True when there was something; one that is not there is
/// none.
///
/// # Errors
/// It is another user's.
#[cfg(unix)]
pub fn make_private(folder: &std::path::Path) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = match std::fs::symlink_metadata(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    // What a link leads to was made by whoever made the link.
    if !metadata.is_dir() || is_private(&metadata) {
        return Ok(false);
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map(|()| true)
}

/// See the Unix version.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn make_private(_folder: &std::path::Path) -> std::io::Result<bool> {
    Ok(false)
}

/// Whether nobody but its owner can read or write a file.
#[cfg(unix)]
pub fn is_private(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 == 0
}

/// See the Unix version: elsewhere the rights of its folder have to do.
#[cfg(not(unix))]
pub fn is_private(_metadata: &std::fs::Metadata) -> bool {
    true
}

/// Whether an error says that the process, or the system, has no descriptor left.
pub fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let known = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| known.contains(&code))
}

/// Lets the process have as many descriptors as it may: the soft limit is for programs that use `select`.
#[cfg(unix)]
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// See the Unix version.
#[cfg(not(unix))]
pub fn raise_descriptor_limit() {}

#[cfg(all(test, unix))]
mod tests {
    use super::named_in;

    #[test]
    fn a_number_is_named_as_the_table_of_users_has_it() {
        let users = "# local\nroot:x:0:0:root:/root:/bin/sh\n::7:\nodd:x\n\noncall:x:1000:1000::/:/bin/sh\n";
        assert_eq!(named_in(users, 0).as_deref(), Some("root"));
        assert_eq!(named_in(users, 1000).as_deref(), Some("oncall"));
        assert_eq!((named_in(users, 7), named_in(users, 100), named_in("", 0)), (None, None, None));
    }
}
