//! A proxy that tunnels by CONNECT (RFC 9110, section 9.3.6), in clear or within
//! TLS, or by SOCKS 5 (RFC 1928), and tells what it was asked.

mod socks;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConfig, ServerConnection};

/// A running proxy; it stops when it is dropped.
#[derive(Debug)]
pub struct TestProxy {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    kind: Kind,
    state: Mutex<State>,
}

/// How a proxy is spoken to.
#[derive(Debug)]
enum Kind {
    Connect(Option<Arc<ServerConfig>>),
    Socks,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    refusal: Option<u16>,
    routes: HashMap<String, String>,
    authorization: Option<String>,
    heads: Vec<String>,
    connections: usize,
    sockets: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl TestProxy {
    /// Starts a proxy in clear.
    pub fn http() -> Self {
        Self::start(Kind::Connect(None), "http")
    }

    /// Starts a proxy that is spoken to by TLS.
    pub fn https(tls: Arc<ServerConfig>) -> Self {
        Self::start(Kind::Connect(Some(tls)), "https")
    }

    /// Starts a SOCKS proxy that knows no passwords.
    pub fn socks5() -> Self {
        Self::start(Kind::Socks, "socks5")
    }

    fn start(kind: Kind, scheme: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            kind,
            state: Mutex::default(),
        });
        let accepting = shared.clone();
        let acceptor = std::thread::spawn(move || accept(&listener, &accepting));
        Self {
            address,
            scheme,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Its URL, without a password.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Its URL with a user and a password.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("{}://{user}:{password}@{}", self.scheme, self.address)
    }

    /// From now on asks for this user and password.
    pub fn require(&self, user: &str, password: &str) {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        let wanted = format!("Proxy-Authorization: Basic {pair}\r\n");
        self.shared.state.lock().unwrap().authorization = Some(wanted);
    }

    /// From now on answers every request with this status, by SOCKS with "not allowed".
    pub fn refuse(&self, status: u16) {
        self.shared.state.lock().unwrap().refusal = Some(status);
    }

    /// From now on connects to this address who asks for `HOST:PORT`, by CONNECT.
    pub fn route(&self, host: &str, address: SocketAddr) {
        let mut state = self.shared.state.lock().unwrap();
        state.routes.insert(host.to_owned(), address.to_string());
    }

    /// What it was asked: request line and header of each request, as they came; by SOCKS
    /// `name HOST:PORT` or `address HOST:PORT`.
    pub fn heads(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().heads.clone()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().stopping = true;
        // A connection of our own wakes the one that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let mut state = self.shared.state.lock().unwrap();
        for socket in state.sockets.drain(..) {
            // Fails only where the other side has closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming().map_while(Result::ok) {
        let mut state = shared.state.lock().unwrap();
        if state.stopping {
            return;
        }
        state.connections += 1;
        state.sockets.extend(client.try_clone());
        let serving = shared.clone();
        // A client that goes away ends its connection, not the test.
        state.threads.push(std::thread::spawn(move || {
            drop(match &serving.kind {
                Kind::Connect(tls) => serve(&client, tls.clone(), &serving),
                Kind::Socks => socks::serve(&client, &serving),
            });
        }));
    }
}

fn serve(
    mut client: &TcpStream,
    tls: Option<Arc<ServerConfig>>,
    shared: &Shared,
) -> io::Result<()> {
    let layer = Layer::accept(client, tls)?;
    let mut head = layer.decode(&[])?;
    while !head.ends_with(b"\r\n\r\n") {
        let came = receive(client)?;
        head.extend(layer.decode(&came)?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let server = shared.decide(&head).and_then(|target| {
        // Whatever the trouble is, the server cannot be reached.
        TcpStream::connect(target).map_err(|_trouble| 502)
    });
    let server = match server {
        Ok(server) => server,
        Err(status) => {
            client.write_all(&layer.encode(refusal(status).as_bytes())?)?;
            return client.shutdown(Shutdown::Both);
        }
    };
    client.write_all(&layer.encode(b"HTTP/1.1 200 Connection established\r\n\r\n")?)?;
    shared.tunnel(client, &layer, &server)
}

impl Shared {
    /// Carries bytes both ways until both sides are done.
    fn tunnel(&self, client: &TcpStream, layer: &Layer, server: &TcpStream) -> io::Result<()> {
        self.state.lock().unwrap().sockets.push(server.try_clone()?);
        std::thread::scope(|scope| {
            scope.spawn(|| pump(client, server, |bytes| layer.decode(bytes)));
            pump(server, client, |bytes| layer.encode(bytes));
        });
        Ok(())
    }

    /// Records what was asked; returns where to connect, or the status of the refusal.
    fn decide(&self, head: &str) -> Result<String, u16> {
        let mut state = self.state.lock().unwrap();
        state.heads.push(head.to_owned());
        let authorized = state
            .authorization
            .as_ref()
            .is_none_or(|wanted| head.contains(wanted));
        match state.refusal {
            Some(status) => Err(status),
            None if !head.starts_with("CONNECT ") => Err(405),
            None if !authorized => Err(407),
            None => {
                let asked = head.split(' ').nth(1).unwrap_or_default();
                let route = state.routes.get(asked).cloned();
                Ok(route.unwrap_or_else(|| asked.to_owned()))
            }
        }
    }
}

fn refusal(status: u16) -> String {
    format!(
        "HTTP/1.1 {status} Refused\r\nProxy-Authenticate: Basic realm=\"proxy\"\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

/// Carries bytes one way until either side is done.
fn pump(from: &TcpStream, mut to: &TcpStream, turn: impl Fn(&[u8]) -> io::Result<Vec<u8>>) {
    while let Ok(bytes) = receive(from).and_then(|bytes| turn(&bytes)) {
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // Fails only where the other side has closed already.
    let _ = to.shutdown(Shutdown::Write);
}

/// What has come on a socket; an error when nothing will any more.
fn receive(mut from: &TcpStream) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 16 * 1024];
    let length = from.read(&mut buffer)?;
    buffer.truncate(length);
    match length {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        _ => Ok(buffer),
    }
}

/// What lies between the client's socket and the tunnel: nothing, or TLS.
struct Layer(Option<Mutex<ServerConnection>>);

impl Layer {
    fn accept(mut client: &TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let Some(tls) = tls else {
            return Ok(Self(None));
        };
        let mut connection = ServerConnection::new(tls).map_err(io::Error::other)?;
        connection.complete_io(&mut client)?;
        Ok(Self(Some(Mutex::new(connection))))
    }

    fn decode(&self, mut bytes: &[u8]) -> io::Result<Vec<u8>> {
        let Some(connection) = &self.0 else {
            return Ok(bytes.to_vec());
        };
        let mut connection = connection.lock().unwrap();
        let mut plain = Vec::new();
        loop {
            let state = connection.process_new_packets().map_err(io::Error::other)?;
            let mut part = vec![0; state.plaintext_bytes_to_read()];
            connection.reader().read_exact(&mut part)?;
            plain.extend(part);
            if bytes.is_empty() {
                return Ok(plain);
            }
            connection.read_tls(&mut bytes)?;
        }
    }

    fn encode(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let Some(connection) = &self.0 else {
            return Ok(bytes.to_vec());
        };
        let mut connection = connection.lock().unwrap();
        connection.writer().write_all(bytes)?;
        let mut sealed = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut sealed)?;
        }
        Ok(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TestCa;

    #[test]
    fn a_request_that_is_no_connect_is_recorded_and_refused() {
        let proxy = TestProxy::http();
        let client = crate::HttpClient::http(&proxy.host());
        assert_eq!(client.get("/x").unwrap().status, 405);
        assert!(proxy.heads()[0].starts_with("GET /x HTTP/1.1\r\n"));
    }

    #[test]
    fn within_tls_a_credential_may_be_asked_for() {
        let ca = TestCa::new("proxy");
        let proxy = TestProxy::https(ca.issue(&["127.0.0.1"]).server_config());
        proxy.require("user", "password");
        let client = crate::HttpClient::https(&proxy.host(), &ca.pem());
        let answer = client.send("CONNECT", "127.0.0.1:1", &[], b"").unwrap();
        assert_eq!((answer.status, proxy.connections()), (407, 1));
    }
}
