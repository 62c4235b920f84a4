//! Requests and responses of HTTP/1.1, as far as a registry needs them, and as
//! wrong as a test wants them.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::gate::Latch;

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of the first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Whether `pattern` is part of `METHOD /path?query`.
    pub fn matches(&self, pattern: &str) -> bool {
        format!("{} {}", self.method, self.target).contains(pattern)
    }

    /// Reads one request; `None` when the other side closed before it.
    pub(super) fn read(stream: &mut BufReader<impl Read>) -> io::Result<Option<Self>> {
        let Some(first) = line(stream)? else {
            return Ok(None);
        };
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        };
        let mut headers = Vec::new();
        while let Some(line) = line(stream)?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: Vec::new(),
        };
        let length = request
            .header("content-length")
            .and_then(|length| length.parse().ok());
        request.body.resize(length.unwrap_or(0), 0);
        stream.read_exact(&mut request.body)?;
        Ok(Some(request))
    }
}

fn line(stream: &mut BufReader<impl Read>) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = stream.read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim_end().to_owned()))
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`, true.
    Length,
    /// `Content-Length` with this number.
    Claimed(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The same without the last chunk, to be cut off.
    ChunkedUnterminated,
    /// The same with a chunk in the middle whose length is no number.
    ChunkedBroken,
    /// By the end of the connection.
    Close,
    /// Nothing is told: the body is all that is sent, be it HTTP or not.
    Raw,
}

/// What becomes of the connection after the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It stays open.
    KeepAlive,
    /// It is closed properly, over TLS with `close_notify`.
    Close,
    /// It is closed without `close_notify`.
    Cut,
    /// It is reset.
    Reset,
}

/// Where a response waits for a [`Gate`](super::Gate).
#[derive(Debug, Clone)]
pub struct Hold {
    /// How many bytes of the body are sent before; the headers always are.
    pub offset: usize,
    pub(super) latch: Latch,
}

impl Hold {
    /// Says that the server has come to it, and waits.
    pub(super) fn pass(&self) {
        self.latch.pass();
    }
}

/// A response. What is sent is what stands here, sense or nonsense.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code; 0 sends nothing at all.
    pub status: u16,
    /// The headers, without those of the framing.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How the end of the body is told.
    pub framing: Framing,
    /// What becomes of the connection.
    pub ending: Ending,
    /// Where it waits.
    pub hold: Option<Hold>,
}

impl Response {
    /// A response with a body and its type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            body: body.into(),
            framing: Framing::Length,
            ending: Ending::KeepAlive,
            hold: None,
        }
    }

    /// An error as the distribution spec writes it ("Error Codes").
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::new(status, "application/json", body.to_string())
    }

    /// Adds a header, in place of one of that name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &match self.framing {
            Framing::Length => format!("Content-Length: {}\r\n", self.body.len()),
            Framing::Claimed(length) => format!("Content-Length: {length}\r\n"),
            Framing::Chunked | Framing::ChunkedUnterminated | Framing::ChunkedBroken => {
                "Transfer-Encoding: chunked\r\n".to_owned()
            }
            Framing::Close | Framing::Raw => "Connection: close\r\n".to_owned(),
        };
        head + "\r\n"
    }

    /// Sends the response; the body only if the request was not a `HEAD`.
    pub(super) fn write(&self, stream: &mut impl Write, request: &Request) -> io::Result<()> {
        if self.framing == Framing::Raw {
            stream.write_all(&self.body)?;
            return stream.flush();
        }
        if self.status == 0 {
            return Ok(());
        }
        stream.write_all(self.head().as_bytes())?;
        if request.method != "HEAD" {
            let body = self.framed_body();
            let offset = self
                .hold
                .as_ref()
                .map_or(body.len(), |hold| hold.offset.min(body.len()));
            let (before, after) = body.split_at(offset);
            stream.write_all(before)?;
            if let Some(hold) = &self.hold {
                stream.flush()?;
                hold.pass();
            }
            stream.write_all(after)?;
        }
        stream.flush()
    }

    fn framed_body(&self) -> Vec<u8> {
        if matches!(
            self.framing,
            Framing::Length | Framing::Claimed(_) | Framing::Close | Framing::Raw
        ) {
            return self.body.clone();
        }
        let mut body = Vec::new();
        let chunks = self.body.chunks(1000);
        let middle = chunks.len() / 2;
        for (n, chunk) in chunks.enumerate() {
            if n == middle && self.framing == Framing::ChunkedBroken {
                body.extend(b"no number\r\n");
            }
            body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        if self.framing != Framing::ChunkedUnterminated {
            body.extend(b"0\r\n\r\n");
        }
        body
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        _ => "Scripted",
    }
}
