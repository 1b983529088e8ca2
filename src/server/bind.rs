//! Binding: one listener per core on each address.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::{ListenAddress, ListenAddresses};

const BACKLOG: i32 = 1_024;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub struct BindError {
    address: ListenAddress,
    cause: io::Error,
}

/// The listeners of one setting: for each address, one per core.
pub(super) struct Listeners(Vec<(ListenAddress, Vec<CoreListener>)>);

/// The listeners of a setting of several configurations: where it is the same, they are one.
#[derive(Default)]
pub(super) struct SharedListeners(Vec<(ListenAddresses, Listeners)>);

impl SharedListeners {
    /// The number of the listeners on these addresses, which are bound if nobody asked for them before.
    pub(super) fn bind(&mut self, addresses: &ListenAddresses, cores: usize) -> Result<usize, BindError> {
        if let Some(number) = self.0.iter().position(|(known, _)| known == addresses) {
            return Ok(number);
        }
        self.0.push((addresses.clone(), bind(addresses, cores)?));
        Ok(self.0.len() - 1)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What was bound.
    pub(super) fn addresses(&self, number: usize) -> ListenAddresses {
        addresses(&self.0[number].1)
    }

    /// In the order of their numbers.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Listeners> {
        self.0.iter_mut().map(|(_, listeners)| listeners)
    }
}

/// A listener that waits for the core that will use it.
pub(super) enum CoreListener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Listeners {
    /// The listeners of one more core.
    pub(super) fn next_core(&mut self) -> impl Iterator<Item = CoreListener> {
        self.0.iter_mut().filter_map(|(_, listeners)| listeners.pop())
    }
}

/// What was bound: port 0 has become a real one.
pub(super) fn addresses(listeners: &Listeners) -> ListenAddresses {
    listeners.0.iter().map(|(address, _)| address.clone()).collect()
}

pub(super) fn bind(addresses: &ListenAddresses, cores: usize) -> Result<Listeners, BindError> {
    let bound = addresses.iter().map(|address| {
        let result = match address {
            ListenAddress::Tcp(address) => bind_tcp(*address, cores),
            ListenAddress::Unix(path) => bind_unix(path, cores),
        };
        result.map_err(|cause| BindError { address: address.clone(), cause })
    });
    bound.collect::<Result<_, _>>().map(Listeners)
}

/// The kernel spreads connections over sockets that share a port (`SO_REUSEPORT`). It would also let another process of the
/// same user join them, unnoticed, so the port is first claimed without sharing.
fn bind_tcp(wanted: std::net::SocketAddr, cores: usize) -> io::Result<(ListenAddress, Vec<CoreListener>)> {
    let socket = |address: std::net::SocketAddr, shared| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        io::Result::Ok(socket)
    };
    let claim = socket(wanted, false)?;
    let address = claim.local_addr()?.as_socket().unwrap_or(wanted);
    drop(claim);
    let listeners = (0..cores).map(|_| {
        let socket = socket(address, true)?;
        socket.listen(BACKLOG)?;
        Ok(CoreListener::Tcp(socket.into()))
    });
    Ok((ListenAddress::Tcp(address), listeners.collect::<io::Result<_>>()?))
}

/// One Unix socket, which all cores accept from. A file that a dead process left is replaced; a living one is not.
fn bind_unix(path: &Path, cores: usize) -> io::Result<(ListenAddress, Vec<CoreListener>)> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // The user and its group: in a pod, the containers that share the directory.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    socket.listen(BACKLOG)?;
    let listener: std::os::unix::net::UnixListener = socket.into();
    let listeners = (0..cores).map(|_| listener.try_clone().map(CoreListener::Unix)).collect::<io::Result<_>>()?;
    Ok((ListenAddress::Unix(path.to_owned()), listeners))
}
