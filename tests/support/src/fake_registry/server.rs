//! Sockets and threads: one that accepts, one for each connection, all ended
//! when the server stops.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::Shared;
use super::http2;
use super::message::{Ending, Request};

#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    open: Arc<Open>,
    acceptor: Option<JoinHandle<Vec<JoinHandle<()>>>>,
}

/// What is needed to end every thread.
#[derive(Debug, Default)]
struct Open {
    stopping: AtomicBool,
    /// Weak, because a reset is only sent when the last handle is closed.
    sockets: Mutex<Vec<Weak<TcpStream>>>,
}

impl Server {
    pub(super) fn start(tls: Option<Arc<ServerConfig>>, shared: Arc<Shared>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Open::default());
        let accepting = open.clone();
        let acceptor = std::thread::spawn(move || accept(&listener, &tls, &shared, &accepting));
        Self {
            address,
            open,
            acceptor: Some(acceptor),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all threads. A connection of our own wakes the one that accepts.
    pub(super) fn stop(&mut self) {
        self.open.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        let connections = acceptor.join().unwrap_or_default();
        for socket in self.open.sockets.lock().unwrap().drain(..) {
            // Fails only where the client has closed already.
            let _ = socket
                .upgrade()
                .map(|socket| socket.shutdown(Shutdown::Both));
        }
        for connection in connections {
            // One that panicked has printed why.
            let _ = connection.join();
        }
    }
}

fn accept(
    listener: &TcpListener,
    tls: &Option<Arc<ServerConfig>>,
    shared: &Arc<Shared>,
    open: &Open,
) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    for stream in listener.incoming() {
        if open.stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        let socket = Arc::new(stream);
        shared.lock().connections += 1;
        open.sockets.lock().unwrap().push(Arc::downgrade(&socket));
        let (tls, shared) = (tls.clone(), shared.clone());
        // A client that goes away ends its connection, not the test.
        threads.push(std::thread::spawn(move || {
            drop(serve(Socket(socket), tls, &shared));
        }));
    }
    threads
}

fn serve(mut socket: Socket, tls: Option<Arc<ServerConfig>>, shared: &Shared) -> io::Result<()> {
    socket.0.set_nodelay(true)?;
    let Some(config) = tls else {
        return serve_stream(socket, shared);
    };
    if config.alpn_protocols.iter().any(|name| name == http2::ALPN) {
        return match http2::serve(&socket.0, config, shared)? {
            Some(connection) => serve_stream(StreamOwned::new(connection, socket), shared),
            None => Ok(()),
        };
    }
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    if let Err(refused) = connection.complete_io(&mut socket) {
        // Closed with something unread it would be reset, and the alert lost with it.
        socket.0.shutdown(Shutdown::Write)?;
        io::copy(&mut socket, &mut io::sink())?;
        return Err(refused);
    }
    serve_stream(StreamOwned::new(connection, socket), shared)
}

fn serve_stream(stream: impl Stream, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = Request::read(&mut stream)? {
        let response = shared.answer(&request);
        response.write(stream.get_mut(), &request)?;
        let asked_to_close = request.header("connection") == Some("close");
        match response.ending {
            Ending::KeepAlive if !asked_to_close => {}
            ending => return stream.into_inner().end(ending),
        }
    }
    Ok(())
}

/// A connection, in clear or not.
trait Stream: Read + Write {
    fn end(self, ending: Ending) -> io::Result<()>;
}

struct Socket(Arc<TcpStream>);

impl Stream for Socket {
    fn end(self, ending: Ending) -> io::Result<()> {
        if ending == Ending::Reset {
            // With a linger time of zero, close sends RST (socket(7)).
            return Ok(set_socket_linger(&*self.0, Some(Duration::ZERO))?);
        }
        self.0.shutdown(Shutdown::Both)
    }
}

impl Stream for StreamOwned<ServerConnection, Socket> {
    fn end(mut self, ending: Ending) -> io::Result<()> {
        if matches!(ending, Ending::KeepAlive | Ending::Close) {
            self.conn.send_close_notify();
            self.flush()?;
        }
        self.sock.end(ending)
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}
