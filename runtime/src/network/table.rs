//! Whether a table of nftables is there: asked of the kernel, which takes no process.

use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::Error;

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE`, linux/netfilter/nf_tables.h.
const GET_TABLE: u16 = 10 << 8 | 1;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const FLAGS: u16 = 1 | 4;
/// `NFPROTO_INET`.
const INET: u8 = 1;
/// `NFTA_TABLE_NAME`.
const NAME: u16 = 1;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `ENOENT`.
const NO_ENTRY: i32 = 2;

/// Whether the namespace that this thread is in has the table `name` of the family inet.
pub(super) fn is_there(name: &str) -> Result<bool, Error> {
    match ask(name) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(NO_ENTRY) => Ok(false),
        Err(error) => Err(Error::Netlink(format!("look for the table {name}"), error)),
    }
}

fn ask(name: &str) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&question(name), 0)?;
    loop {
        let (answer, _) = socket.recv_from_full()?;
        let Some(code) = verdict(&answer) else {
            continue;
        };
        return match code {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(-code)),
        };
    }
}

/// `struct nlmsghdr`, `struct nfgenmsg`, and the name as the only attribute.
fn question(name: &str) -> Vec<u8> {
    let value = name.len() + 1;
    let length = 16 + 4 + (4 + value).next_multiple_of(4);
    let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::from(short(length)).to_ne_bytes());
    bytes.extend(GET_TABLE.to_ne_bytes());
    bytes.extend(FLAGS.to_ne_bytes());
    // Sequence and port: there is one question alone.
    bytes.extend([0; 8]);
    bytes.extend([INET, 0, 0, 0]);
    bytes.extend(short(4 + value).to_ne_bytes());
    bytes.extend(NAME.to_ne_bytes());
    bytes.extend(name.as_bytes());
    bytes.resize(length, 0);
    bytes
}

/// The number of the error that a datagram brings; the table itself comes before it.
fn verdict(answer: &[u8]) -> Option<i32> {
    let mut rest = answer;
    loop {
        let length = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        if kind == ERROR {
            return Some(i32::from_ne_bytes(rest.get(16..20)?.try_into().ok()?));
        }
        rest = rest.get(length.next_multiple_of(4).max(16)..)?;
    }
}
