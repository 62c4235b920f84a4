//! `openssl s_server`, for what no TLS server of this process would do.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::ca::Issued;
use crate::real_registry::put;

/// A running `openssl s_server`; it is killed when this is dropped.
#[derive(Debug)]
pub struct OpensslServer {
    address: SocketAddr,
    child: Child,
    _directory: TempDir,
}

impl OpensslServer {
    /// Starts a server that answers every request with a page, with further arguments.
    ///
    /// # Panics
    ///
    /// When `openssl` is missing (see `need_command!`) or refuses the arguments.
    pub fn start(issued: &Issued, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = ("server.pem", "server.key");
        put(
            &directory.path().join(certificate),
            issued.certificate.as_bytes(),
        );
        put(&directory.path().join(key), issued.key.as_bytes());
        let mut child = Command::new("openssl")
            .args(["s_server", "-www", "-accept", "127.0.0.1:0"])
            .args(["-cert", certificate, "-key", key])
            .args(arguments)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT ")?.parse().ok());
        Self {
            address: address.expect("s_server says where it listens"),
            child,
            _directory: directory,
        }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use crate::{HttpClient, OpensslServer, TestCa};

    #[test]
    fn it_serves_a_page() {
        crate::need_command!("openssl");
        let ca = TestCa::new("openssl");
        let server = OpensslServer::start(&ca.issue(&["127.0.0.1"]), &[]);
        let client = HttpClient::https(&server.address().to_string(), &ca.pem());
        assert_eq!(client.get("/").unwrap().status, 200);
    }
}
