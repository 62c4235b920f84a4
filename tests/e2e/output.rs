//! What a command said, and one that still runs.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid,
};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit code, or 128 and the signal that killed it.
    pub(crate) code: i32,
    /// Its data.
    pub(crate) stdout: String,
    /// Its talk.
    pub(crate) stderr: String,
}

impl Output {
    /// Runs a command to its end.
    #[track_caller]
    pub(crate) fn of(command: &mut Command) -> Self {
        command.output().unwrap().into()
    }

    /// It must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.ended(0)
    }

    /// It must have ended with `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// It must have said all of `texts` on standard error.
    #[track_caller]
    pub(crate) fn said(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "no {text:?} in {self:#?}");
        }
        self
    }

    /// It must have failed with `code` and one message: a line, then what explains it and what to try.
    #[track_caller]
    pub(crate) fn refused(self, code: i32) -> Self {
        let this = self.ended(code);
        let mut lines = this.stderr.lines();
        let first = lines.next().unwrap_or_default();
        assert!(first.starts_with("ucr: "), "{this:#?}");
        assert!(
            lines.all(|line| line.starts_with("  note: ") || line.starts_with("  try: ")),
            "{this:#?}"
        );
        assert_eq!(this.stdout, "", "{this:#?}");
        this
    }

    /// The lines of its data.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt;

        let status = output.status;
        let killed = || 128 + status.signal().unwrap();
        Self {
            code: status.code().unwrap_or_else(killed),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A command that runs, its output piped to the test.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    said: String,
}

impl Running {
    /// Starts a command.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            stdout,
            said: String::new(),
        }
    }

    /// Waits until its output has the line `wanted`.
    #[track_caller]
    pub(crate) fn until(&mut self, wanted: &str) {
        let mut line = String::new();
        while line.trim_end() != wanted {
            line.clear();
            if self.stdout.read_line(&mut line).unwrap() == 0 {
                let mut stderr = String::new();
                let talk = self.child.stderr.as_mut().unwrap();
                talk.read_to_string(&mut stderr).unwrap();
                panic!("it ended without {wanted:?}: {}{stderr}", self.said);
            }
            self.said.push_str(&line);
        }
    }

    /// Waits until its talk has a line with `wanted` in it.
    #[track_caller]
    pub(crate) fn until_said(&mut self, wanted: &str) {
        let mut talk = BufReader::with_capacity(1, self.child.stderr.as_mut().unwrap());
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert_ne!(talk.read_line(&mut line).unwrap(), 0, "no {wanted:?}");
        }
    }

    /// Waits until its output has `question` in it, which need not end a line, and answers.
    #[track_caller]
    pub(crate) fn answer(&mut self, question: &str, answer: &str) {
        let mut said = Vec::new();
        while !String::from_utf8_lossy(&said).contains(question) {
            let mut byte = [0];
            self.stdout.read_exact(&mut byte).unwrap();
            said.push(byte[0]);
        }
        self.said.push_str(&String::from_utf8(said).unwrap());
        let stdin = self.child.stdin.as_mut().unwrap();
        std::io::Write::write_all(stdin, answer.as_bytes()).unwrap();
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends its standard input.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it, and waits until it stands still.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let (_, status) = waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED)
            .unwrap()
            .unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    /// Waits until it has ended, whoever has its output open still.
    pub(crate) fn wait_for_end(&self) {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&self.child)), ended).unwrap();
    }

    /// Waits for its end and that of everybody who has its output open.
    pub(crate) fn finish(mut self) -> Output {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let mut stderr = String::new();
        let talk = self.child.stderr.as_mut().unwrap();
        talk.read_to_string(&mut stderr).unwrap();
        let output = std::process::Output {
            status: self.child.wait().unwrap(),
            stdout: Vec::new(),
            stderr: stderr.into(),
        };
        Output {
            stdout: std::mem::take(&mut self.said) + &rest,
            ..output.into()
        }
    }
}

/// A test that fails leaves nothing that runs.
impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // It may end just now; then there is nobody to kill.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
