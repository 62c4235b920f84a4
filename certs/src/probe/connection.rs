//! The connection that a probe is made over: bounded in time and amount, and led
//! through a proxy where there is one.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::{ProbeError, Route, bare_host};
use crate::x509::printable;

/// rustls limits one handshake message to 64 KiB; this limits all of them.
const MOST_BYTES: usize = 256 << 10;
/// The longest answer of a proxy that is read.
const LONGEST_HEAD: usize = 16 << 10;

impl fmt::Debug for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("Direct"),
            Self::Proxy { host, port, .. } => write!(f, "Proxy({host}:{port})"),
        }
    }
}

impl Route<'_> {
    /// Connects to a server, and says with which address the connection was made.
    pub(super) fn connect(
        self,
        host: &str,
        port: u16,
        deadline: Deadline,
    ) -> Result<(BoundedStream, SocketAddr), ProbeError> {
        let Route::Proxy {
            host: proxy,
            port: proxy_port,
            authorization,
        } = self
        else {
            return connect(host, port, deadline);
        };
        let (mut stream, address) = connect(bare_host(proxy), proxy_port, deadline)?;
        let target = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let proof = authorization.map(|value| format!("Proxy-Authorization: {value}\r\n"));
        let proof = proof.unwrap_or_default();
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proof}\r\n");
        let answer = stream
            .write_all(request.as_bytes())
            .and_then(|()| head(&mut stream))
            .map_err(|source| ProbeError::Connect { address, source })?;
        let line = answer.lines().next().unwrap_or_default();
        match line.split(' ').nth(1) {
            Some(status) if line.starts_with("HTTP/1.") && status.starts_with('2') => {
                Ok((stream, address))
            }
            _ => Err(ProbeError::Tunnel {
                proxy: format!("{proxy}:{proxy_port}"),
                answer: printable(line),
            }),
        }
    }
}

/// Reads to the end of the head of an answer and not a byte further: what follows is TLS.
fn head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn connect(
    host: &str,
    port: u16,
    deadline: Deadline,
) -> Result<(BoundedStream, SocketAddr), ProbeError> {
    let addresses = (host, port)
        .to_socket_addrs()
        .map_err(|source| ProbeError::Resolve {
            host: host.to_owned(),
            source,
        })?;
    let mut failure = ProbeError::NoAddress {
        host: host.to_owned(),
    };
    for address in addresses {
        let connected = deadline
            .left()
            .and_then(|left| TcpStream::connect_timeout(&address, left));
        match connected {
            Ok(stream) => {
                let stream = BoundedStream {
                    stream,
                    deadline,
                    left: MOST_BYTES,
                };
                return Ok((stream, address));
            }
            Err(source) => failure = ProbeError::Connect { address, source },
        }
    }
    Err(failure)
}

/// The moment when the probe gives up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// A timeout too long for the clock is none.
    pub(super) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    fn left(self) -> io::Result<Duration> {
        let Some(moment) = self.0 else {
            return Ok(Duration::MAX);
        };
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(left)
        }
    }
}

/// A connection that ends at a moment, however slowly bytes drip in, and after
/// an amount, however fast.
pub(super) struct BoundedStream {
    stream: TcpStream,
    deadline: Deadline,
    left: usize,
}

impl io::Read for BoundedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("the server sent too much"));
        }
        let wanted = buffer.len().min(self.left);
        self.stream.set_read_timeout(Some(self.deadline.left()?))?;
        let count = self.stream.read(&mut buffer[..wanted]).map_err(timed_out)?;
        self.left -= count;
        Ok(count)
    }
}

impl io::Write for BoundedStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.deadline.left()?))?;
        self.stream.write(buffer).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A socket's timeout comes as `EAGAIN` (socket(7), `SO_RCVTIMEO`), which rustls
/// would take for a non-blocking socket.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        io::ErrorKind::TimedOut.into()
    } else {
        error
    }
}
