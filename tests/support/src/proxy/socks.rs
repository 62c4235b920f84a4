//! SOCKS 5 as far as a client without a password needs it (RFC 1928).

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};

use super::{Layer, Shared};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const SUCCEEDED: u8 = 0;
const NOT_ALLOWED: u8 = 2;
const HOST_UNREACHABLE: u8 = 4;

pub(super) fn serve(mut client: &TcpStream, shared: &Shared) -> io::Result<()> {
    let [_version, methods] = read(client)?;
    client.read_exact(&mut vec![0; usize::from(methods)])?;
    client.write_all(&[VERSION, NO_AUTHENTICATION])?;
    let (kind, host) = destination(client)?;
    let port = u16::from_be_bytes(read(client)?);
    let refused = {
        let mut state = shared.state.lock().unwrap();
        state.heads.push(format!("{kind} {host}:{port}"));
        state.refusal.is_some()
    };
    let server = match TcpStream::connect((host.as_str(), port)) {
        _ if refused => Err(NOT_ALLOWED),
        Err(_trouble) => Err(HOST_UNREACHABLE),
        Ok(server) => Ok(server),
    };
    client.write_all(&reply(*server.as_ref().err().unwrap_or(&SUCCEEDED)))?;
    match server {
        Ok(server) => shared.tunnel(client, &Layer(None), &server),
        Err(_reason) => client.shutdown(Shutdown::Both),
    }
}

/// Reads the request up to its port.
fn destination(mut client: &TcpStream) -> io::Result<(&'static str, String)> {
    let [_version, _command, _reserved, kind] = read(client)?;
    match kind {
        1 => Ok(("address", Ipv4Addr::from(read::<4>(client)?).to_string())),
        4 => Ok(("address", Ipv6Addr::from(read::<16>(client)?).to_string())),
        _ => {
            let [length] = read(client)?;
            let mut name = vec![0; usize::from(length)];
            client.read_exact(&mut name)?;
            Ok(("name", String::from_utf8_lossy(&name).into_owned()))
        }
    }
}

/// An answer; the address that it tells is that of nobody.
fn reply(code: u8) -> [u8; 10] {
    [VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

fn read<const N: usize>(mut client: &TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}
