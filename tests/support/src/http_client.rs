//! The smallest HTTP client that can push to a registry and ask it questions.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

/// No answer after this long is a failure of the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one host; each request has its own connection.
#[derive(Debug, Clone)]
pub struct HttpClient {
    host: String,
    tls: Option<Arc<ClientConfig>>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as far as it came.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// The value of the first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl HttpClient {
    /// A client of `HOST:PORT` over TLS that trusts one CA.
    pub fn https(host: &str, ca_pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            host: host.to_owned(),
            tls: Some(Arc::new(config)),
        }
    }

    /// A client of `HOST:PORT` in clear.
    pub fn http(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            tls: None,
        }
    }

    /// Asks for a path.
    pub fn get(&self, target: &str) -> io::Result<HttpResponse> {
        self.send("GET", target, &[], b"")
    }

    /// Sends a request and reads until the other side closes.
    ///
    /// # Errors
    ///
    /// Whatever the connection suffers, a missing answer included; a body that
    /// is cut off is no error.
    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<HttpResponse> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        head += &format!("Connection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut stream = self.connect()?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        stream.flush()?;
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        match parse(&answer) {
            Some(response) => Ok(response),
            None => Err(end
                .err()
                .unwrap_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))),
        }
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let tcp = TcpStream::connect(&self.host)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        let (name, _port) = self.host.rsplit_once(':').unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(tls.clone(), name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, tcp)))
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn parse(answer: &[u8]) -> Option<HttpResponse> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = answer[end + 4..].to_vec();
    let chunked =
        |(name, value): &(String, String)| name == "transfer-encoding" && value == "chunked";
    if headers.iter().any(chunked) {
        body = dechunk(&body);
    }
    Some(HttpResponse {
        status,
        headers,
        body,
    })
}

/// Joins the chunks of RFC 9112, section 7.1, as far as they came.
fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let length = std::str::from_utf8(&rest[..end]).unwrap();
        let length = usize::from_str_radix(length.trim(), 16).unwrap();
        let chunk = &rest[end + 2..];
        body.extend(&chunk[..length.min(chunk.len())]);
        if length == 0 {
            break;
        }
        rest = chunk.get(length + 2..).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(dechunk(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), b"abcde");
        assert_eq!(dechunk(b"5\r\nab"), b"ab");
    }
}
