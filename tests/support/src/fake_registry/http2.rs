//! HTTP/2 for whoever offers it: answers in streams, and what goes wrong with those.
//!
//! Requests are taken without their bodies.

use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::task::Poll;

use h2::server::{Connection, SendResponse};
use h2::{Reason, SendStream};
use rustls::{ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::message::{Ending, Request, Response};

/// The name of the protocol in TLS (RFC 9113, section 3.2).
pub(super) const ALPN: &[u8] = b"h2";

type Stream = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;

/// What h2 takes as a body, by its name here.
type Body = SendStream<bytes::Bytes>;

/// Serves a connection to its end, or gives it back where HTTP/1.1 is to be spoken.
pub(super) fn serve(
    socket: &TcpStream,
    config: Arc<ServerConfig>,
    shared: &Shared,
) -> io::Result<Option<ServerConnection>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let stream = runtime.block_on(accept(socket, config))?;
    if stream.get_ref().1.alpn_protocol() == Some(ALPN) {
        runtime
            .block_on(serve_streams(stream, shared))
            .map_err(io::Error::other)?;
        return Ok(None);
    }
    let (copy, connection) = stream.into_inner();
    drop(copy);
    socket.set_nonblocking(false)?;
    Ok(Some(connection))
}

async fn accept(socket: &TcpStream, config: Arc<ServerConfig>) -> io::Result<Stream> {
    let copy = socket.try_clone()?;
    copy.set_nonblocking(true)?;
    let copy = tokio::net::TcpStream::from_std(copy)?;
    TlsAcceptor::from(config).accept(copy).await
}

async fn serve_streams(stream: Stream, shared: &Shared) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(stream) = connection.accept().await {
        let (head, respond) = stream?;
        let request = request(&head);
        let response = shared.answer(&request);
        let is_head = request.method == "HEAD";
        answer(&mut connection, respond, &response, is_head).await?;
    }
    Ok(())
}

/// A request as one of HTTP/1.1, but for `:authority` in place of `Host`.
fn request<B>(head: &http::Request<B>) -> Request {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut headers: Vec<_> = head
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect();
    let authority = head.uri().authority().map(ToString::to_string);
    headers.extend(authority.map(|name| (":authority".to_owned(), name)));
    let target = head.uri().path_and_query().map(ToString::to_string);
    Request {
        method: head.method().to_string(),
        target: target.unwrap_or_default(),
        headers,
        body: Vec::new(),
    }
}

/// Sends a response as far as it goes, and ends the stream or the connection as it says.
async fn answer(
    connection: &mut Connection<Stream, bytes::Bytes>,
    mut respond: SendResponse<bytes::Bytes>,
    response: &Response,
    is_head: bool,
) -> Result<(), h2::Error> {
    let mut stream = None;
    if response.status != 0 {
        let ends = is_head && response.ending == Ending::KeepAlive;
        stream = Some(respond.send_response(head(response), ends)?);
    }
    if let Some(stream) = stream.as_mut().filter(|_| !is_head) {
        send_body(connection, stream, response).await?;
    }
    match (response.ending, stream) {
        (Ending::Reset, Some(mut stream)) => stream.send_reset(Reason::INTERNAL_ERROR),
        (Ending::Reset, None) => respond.send_reset(Reason::INTERNAL_ERROR),
        (Ending::Cut | Ending::Close, _) => connection.abrupt_shutdown(Reason::NO_ERROR),
        (Ending::KeepAlive, _) => {}
    }
    Ok(())
}

async fn send_body(
    connection: &mut Connection<Stream, bytes::Bytes>,
    stream: &mut Body,
    response: &Response,
) -> Result<(), h2::Error> {
    let body = &response.body;
    let ends = response.ending == Ending::KeepAlive;
    let Some(hold) = &response.hold else {
        stream.send_data(body.clone().into(), ends)?;
        send_out(connection).await;
        return Ok(());
    };
    let (before, after) = body.split_at(hold.offset.min(body.len()));
    stream.send_data(before.to_vec().into(), false)?;
    send_out(connection).await;
    hold.pass();
    stream.send_data(after.to_vec().into(), ends)
}

/// Sends what the connection holds back, so that a reset does not take it away.
async fn send_out(connection: &mut Connection<Stream, bytes::Bytes>) {
    poll_fn(|context| {
        // Whether it has ended shows when the next request is waited for.
        let _ = connection.poll_closed(context);
        Poll::Ready(())
    })
    .await;
}

fn head(response: &Response) -> http::Response<()> {
    let mut head = http::Response::builder().status(response.status);
    for (name, value) in &response.headers {
        head = head.header(name, value);
    }
    head.body(()).unwrap()
}
