#!/usr/bin/env python3
"""Debian's docker-registry on loopback, with TLS by a CA of its own and a password.

As a program, `registry.py DIRECTORY [--for-all]` makes a CA and a registry in
DIRECTORY, starts it, prints its `host:port` once it listens, and stops it when
it is terminated or its standard input ends. One for all asks for no password.
"""

import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

PRINCIPAL = "alice"
SECRET = "correct horse battery staple"
# Its log comes through a pipe.
QUIET_SECONDS = 0.2
REQUEST = re.compile(r"http\.request\.id=(\S+)")
# Another process may take the free port first.
ATTEMPTS = 5

CONFIGURATION = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{storage}"}}}}
http:
  addr: {host}
  secret: not-a-secret
  tls: {{certificate: "{directory}/server.pem", key: "{directory}/server.key"}}
"""
PASSWORD = """\
auth: {{htpasswd: {{realm: ucr, path: "{directory}/htpasswd"}}}}
"""


class Registry:
    """A running registry; use it in a `with` statement."""

    def __init__(self, directory, storage=None, auth=PASSWORD):
        self.directory = pathlib.Path(directory).resolve()
        self.storage = pathlib.Path(storage or self.directory / "storage").resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ca = self.directory / "ca.pem"
        self._configuration = CONFIGURATION + auth
        self.host = None
        self._process = None

    def __enter__(self):
        make_certificates(self.directory)
        make_password(self.directory)
        for _ in range(ATTEMPTS):
            if self._start():
                return self
        raise RuntimeError(f"docker-registry does not start, see {self._log()}")

    def __exit__(self, *_):
        if self._process:
            self._process.terminate()
            self._process.wait()

    def bytes_sent(self):
        """Bytes that it has written so far (proc(5), io): what it sent, and its log."""
        for line in pathlib.Path(f"/proc/{self._process.pid}/io").read_text().splitlines():
            if line.startswith("wchar:"):
                return int(line.split()[1])
        raise RuntimeError("the kernel does not count what processes write")

    def requests(self):
        """The requests that it has answered so far: those logged when it logs no more."""
        seen, now = None, self._log().read_text(errors="replace")
        while seen != now:
            time.sleep(QUIET_SECONDS)
            seen, now = now, self._log().read_text(errors="replace")
        return len(set(REQUEST.findall(now)))

    def _log(self):
        return self.directory / "registry.log"

    def _start(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{free.getsockname()[1]}"
        config = self.directory / "config.yml"
        config.write_text(
            self._configuration.format(host=self.host, directory=self.directory, storage=self.storage)
        )
        self._process = subprocess.Popen(
            # It ends with this process, also when that is killed.
            ["setpriv", "--pdeathsig", "TERM", "docker-registry", "serve", config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output = self._process.stdout
        with open(self._log(), "ab", buffering=0) as log:
            for line in output:
                log.write(line)
                if b"listening on" in line:
                    self._follow(output)
                    return True
        self._process.wait()
        return False

    def _follow(self, output):
        """Keeps reading, because the registry stops when nobody does."""

        def copy():
            with open(self._log(), "ab", buffering=0) as log:
                for line in output:
                    log.write(line)

        threading.Thread(target=copy, daemon=True).start()


def make_certificates(directory):
    """Makes `ca.pem`, the same as DER in `ca.crt`, and a server certificate for loopback."""
    # Debian's openssl.cnf marks what `req -x509` makes as a CA.
    openssl(directory, "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 "
            "-keyout ca.key -out ca.pem -subj", "/O=Example Corp/CN=Example Corp private CA")
    openssl(directory, "x509 -in ca.pem -outform DER -out ca.crt")
    openssl(directory, "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
            "-keyout server.key -out server.csr -subj /CN=localhost")
    (directory / "server.ext").write_text("subjectAltName = DNS:localhost, IP:127.0.0.1\n")
    openssl(directory, "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
            "-days 30 -extfile server.ext -out server.pem")


def openssl(directory, arguments, *more):
    command = ["openssl", *arguments.split(), *more]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


def make_password(directory):
    """Makes `htpasswd` and `secret`, the file that holds the password."""
    (directory / "secret").write_text(SECRET)
    (directory / "secret").chmod(0o600)
    hashed = subprocess.run(
        ["htpasswd", "-niB", PRINCIPAL], input=SECRET, capture_output=True, text=True, check=True
    )
    (directory / "htpasswd").write_text(hashed.stdout)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    directory, *flags = sys.argv[1:]
    with Registry(directory, auth="" if "--for-all" in flags else PASSWORD) as registry:
        print(registry.host, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
