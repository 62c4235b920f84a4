//! Keeps a task from its start to its end: what it says, what it is told, and what it may not.

use std::time::{Duration, Instant};

use ucr_executor::task::Task;
use ucr_runtime::state::{self, Found};
use ucr_sys::process;
use ucr_sys::ready::{self, For};
use ucr_sys::signal::{Number, SignalFd};

use super::checks::{Checks, Place, Verdict};
use super::disk::Disk;
use super::files::Images;
use super::member::{End, Member};
use super::network::Connection;
use super::status::{Line, Reason, State, Told};
use crate::command_error::CommandError;
use crate::settings::Settings;

/// Signals that ask a task to end.
const ENDING: [Number; 2] = [2, 15];

/// Why a task is being ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// It was asked for.
    Asked(Number),
    /// Its time was over.
    TimeOver(Duration),
    /// It wrote more than it may.
    Disk(String),
    /// It was not healthy for too long.
    Unhealthy(String),
    /// Another of its containers has failed.
    Sibling(String),
    /// It cannot be looked after.
    Broken(String),
}

/// A task that is being ended.
#[derive(Debug)]
struct Ending {
    why: Why,
    /// When what is left of it is killed.
    at: Option<Instant>,
}

/// A task while it lives.
#[derive(Debug)]
pub(super) struct Keeper<'a> {
    task: &'a Task,
    settings: &'a Settings,
    told: &'a Told,
    signals: &'a SignalFd,
    connection: &'a Connection,
    members: Vec<Member>,
    checked: Option<&'a Images>,
    checks: Vec<Checks>,
    disk: Option<Disk>,
    is_running: bool,
    healthy: Option<bool>,
    time_over: Option<Instant>,
    ending: Option<Ending>,
}

impl<'a> Keeper<'a> {
    /// Of a task whose containers have been started.
    pub(super) fn new(
        (task, settings, told): (&'a Task, &'a Settings, &'a Told),
        signals: &'a SignalFd,
        connection: &'a Connection,
        members: Vec<Member>,
        disk: Option<Disk>,
    ) -> Self {
        Self {
            task,
            settings,
            told,
            signals,
            connection,
            members,
            checked: None,
            checks: Vec::new(),
            disk,
            is_running: false,
            healthy: None,
            time_over: None,
            ending: None,
        }
    }

    /// Keeps it until it is over; gives what the command ends with.
    pub(super) fn keep(mut self) -> Result<u8, CommandError> {
        while !self.members.iter().all(Member::is_over) {
            self.wait()?;
            for member in &mut self.members {
                member.attend().map_err(CommandError::new)?;
            }
            self.hear_signals()?;
            self.notice_starts();
            self.hear_checks();
            self.watch_disk();
            self.watch_time();
            self.notice_failures();
        }
        let line = self.last_line();
        let code = line.exit_code.unwrap_or_default();
        self.told.tell(line);
        Ok(code)
    }

    /// Ends those containers that run of a task that could not be started as a whole.
    pub(super) fn give_up(mut self) -> Result<(), CommandError> {
        self.signal(process::KILL);
        while !self.members.iter().all(Member::is_over) {
            self.wait()?;
            for member in &mut self.members {
                member.attend().map_err(CommandError::new)?;
            }
        }
        Ok(())
    }

    fn wait(&self) -> Result<(), CommandError> {
        let members = self.members.iter().flat_map(Member::awaited);
        let checks = self.checks.iter().flat_map(Checks::awaited);
        let signals = std::iter::once(std::os::fd::AsFd::as_fd(self.signals));
        let all = signals.chain(members).chain(checks);
        let awaited: Vec<_> = all.map(|fd| (fd, For::Reading)).collect();
        let killing = self.ending.as_ref().and_then(|ending| ending.at);
        let disk = self.disk.as_ref().map(Disk::next);
        let next = [killing, self.time_over, disk];
        let next = next.into_iter().flatten().min();
        ready::wait_any(&awaited, next)
            .map(drop)
            .map_err(CommandError::new)
    }

    fn hear_signals(&mut self) -> Result<(), CommandError> {
        while let Some(number) = self.signals.next().map_err(CommandError::new)? {
            if ENDING.contains(&number) {
                let grace = self.task.grace;
                self.end(Why::Asked(number), grace);
            } else if ucr_runtime::process::is_forwarded(number) {
                self.signal(number);
            }
        }
        Ok(())
    }

    /// Tells that it runs, once all of its containers do.
    fn notice_starts(&mut self) {
        if self.is_running
            || self.ending.is_some()
            || self.members.iter().any(|member| member.id().is_none())
        {
            return;
        }
        self.is_running = true;
        self.time_over = self
            .task
            .max_completion
            .and_then(|time| Instant::now().checked_add(time));
        self.told.tell(self.line(State::Running));
        if let Err(error) = self.start_checks() {
            self.end(Why::Broken(error.message()), self.task.grace);
        }
    }

    /// Lets its health be watched once it runs: what its definition says, and its images.
    pub(super) fn check(&mut self, images: &'a Images) {
        self.checked = Some(images);
    }

    fn start_checks(&mut self) -> Result<(), CommandError> {
        let Some(images) = self.checked else {
            return Ok(());
        };
        for (index, member) in self.members.iter().enumerate() {
            let container = &self.task.containers[index];
            let wanted = images.checks(index, container);
            let pid = member.pid();
            let place = Place {
                container: member.id().map_or("", |id| id.as_str()),
                connection: self.connection,
                namespace: self.connection.namespace(pid),
                settings: self.settings,
            };
            self.checks.extend(Checks::start(&wanted, &place)?);
        }
        Ok(())
    }

    fn hear_checks(&mut self) {
        let told = self.checks.iter_mut().flat_map(Checks::attend);
        let told: Vec<Verdict> = told.collect();
        for verdict in told {
            self.judge(verdict);
        }
    }

    fn judge(&mut self, verdict: Verdict) {
        // Who is being ended need not be well.
        if self.ending.is_some() {
            return;
        }
        if verdict.is_health {
            self.healthy = Some(verdict.healthy);
        }
        let reason = if verdict.is_health {
            Reason::Health
        } else {
            Reason::Check
        };
        let line = Line {
            reason: Some(reason),
            healthy: self.healthy,
            message: verdict.message.clone(),
            ..self.line(State::Running)
        };
        self.told.tell(line);
        if verdict.kills {
            let message = verdict.message.unwrap_or_default();
            self.end(Why::Unhealthy(message), self.task.grace);
        }
    }

    fn watch_disk(&mut self) {
        let Some(disk) = &mut self.disk else {
            return;
        };
        if let Some(message) = disk.look() {
            self.end(Why::Disk(message), Duration::ZERO);
        }
    }

    fn watch_time(&mut self) {
        let now = Instant::now();
        if self.time_over.is_some_and(|at| now >= at) {
            self.time_over = None;
            let time = self.task.max_completion.unwrap_or_default();
            self.end(Why::TimeOver(time), Duration::ZERO);
        }
        let is_killed = |ending: &Ending| ending.at.is_some_and(|at| now >= at);
        if self.ending.as_ref().is_some_and(is_killed) {
            if let Some(ending) = &mut self.ending {
                ending.at = None;
            }
            self.signal(process::KILL);
        }
    }

    /// A pod whose container has failed is ended as a whole (Mesos' default executor).
    fn notice_failures(&mut self) {
        let failed = self.members.iter().find(|member| {
            let end = member.end();
            end.is_some_and(|end| end.code != 0 || end.failure.is_some())
        });
        let is_last = self.members.iter().all(|member| member.end().is_some());
        if let (Some(failed), false) = (failed, is_last) {
            let name = failed.name().to_owned();
            self.end(Why::Sibling(name), self.task.grace);
        }
    }

    /// Asks it to end, and kills what is left of it after `grace`; a second time changes nothing
    /// but that it may be sooner.
    fn end(&mut self, why: Why, grace: Duration) {
        let at = Instant::now().checked_add(grace);
        if let Some(ending) = &mut self.ending {
            ending.at = ending.at.min(at);
            return;
        }
        let message = match &why {
            Why::Asked(number) => format!("asked to end by signal {number}"),
            why => why.to_string(),
        };
        self.ending = Some(Ending { why, at });
        let line = Line {
            message: Some(message),
            ..self.line(State::Killing)
        };
        self.told.tell(line);
        for member in &self.members {
            self.ask(member);
        }
    }

    /// Asks one container to end, in the way that its image wants.
    fn ask(&self, member: &Member) {
        let found = member
            .id()
            .map(|id| state::find(&self.settings.state, id.as_str()));
        let asked = match found {
            Some(Ok(Found::Alive(record))) => {
                let stop = record.about.stop.signal;
                let opened = ucr_runtime::control::Container::open(&self.settings.state, &record);
                let opened = opened.ok().flatten();
                opened.is_some_and(|container| container.signal_group(stop).is_ok())
            }
            _ => false,
        };
        if !asked {
            // It does not run yet, or any more: that is its supervisor's to know.
            let _ = member.signal(process::TERM);
        }
    }

    fn signal(&self, number: Number) {
        for member in &self.members {
            let sent = match (number, member.id()) {
                // Its supervisor has to live on, to clear away.
                (process::KILL, Some(id)) => self.kill(id.as_str()),
                _ => false,
            };
            if !sent {
                // One that has just ended needs no signal.
                let _ = member.signal(number);
            }
        }
    }

    /// Kills a container whose supervisor lives; false where that cannot be done.
    fn kill(&self, id: &str) -> bool {
        let Ok(Found::Alive(record)) = state::find(&self.settings.state, id) else {
            return false;
        };
        let opened = ucr_runtime::control::Container::open(&self.settings.state, &record);
        let opened = opened.ok().flatten();
        opened.is_some_and(|container| container.signal(process::KILL).is_ok())
    }

    /// A line with what is known now.
    fn line(&self, state: State) -> Line {
        let containers: Vec<_> = self.members.iter().map(Member::status).collect();
        Line {
            healthy: self.healthy,
            pid: containers.first().and_then(|status| status.pid),
            ip: self.connection.addresses().first().copied(),
            addresses: self.connection.addresses().to_vec(),
            ports: self.connection.ports(self.task),
            containers,
            ..Line::new(state)
        }
    }

    /// The container whose end is the task's: who failed first, else the first.
    fn decisive(&self) -> Option<&Member> {
        let failed = |member: &&Member| member.end().is_some_and(|end| end.code != 0);
        let first = match self.ending.as_ref().map(|ending| &ending.why) {
            Some(Why::Sibling(name)) => self.members.iter().find(|one| one.name() == name),
            _ => self.members.iter().find(failed),
        };
        first.or(self.members.first())
    }

    /// How it came out.
    fn last_line(&self) -> Line {
        let end = self.decisive().and_then(Member::end).cloned();
        let end = end.unwrap_or_default();
        let lost = self.members.iter().find_map(|member| member.lost.clone());
        let (state, reason, message) = self.verdict(&end);
        let message = [message, lost].into_iter().flatten().collect::<Vec<_>>();
        let (phase, code, retryable) = match end.failure.clone() {
            Some((phase, code, retryable)) => (Some(phase), Some(code), Some(retryable)),
            None => (None, None, None),
        };
        Line {
            reason,
            phase,
            code,
            retryable,
            exit_code: Some(end.code),
            signal: end.signal,
            oom: Some(end.oom),
            message: Some(message.join("; ")).filter(|text| !text.is_empty()),
            ..self.line(state)
        }
    }

    fn verdict(&self, end: &End) -> (State, Option<Reason>, Option<String>) {
        let why = self.ending.as_ref().map(|ending| &ending.why);
        match why {
            Some(Why::Asked(_)) => return (State::Killed, None, None),
            Some(why @ Why::Unhealthy(_)) => {
                return (State::Killed, Some(Reason::Health), Some(why.to_string()));
            }
            Some(why @ Why::TimeOver(_)) => {
                return (State::Failed, Some(Reason::TimeOver), Some(why.to_string()));
            }
            Some(why @ Why::Disk(_)) => {
                return (State::Failed, Some(Reason::Disk), Some(why.to_string()));
            }
            Some(why @ Why::Broken(_)) => {
                return (State::Failed, Some(Reason::Launch), Some(why.to_string()));
            }
            Some(Why::Sibling(_)) | None => {}
        }
        match end {
            End {
                failure: Some(_),
                message,
                ..
            } => (State::Failed, Some(Reason::Launch), message.clone()),
            End { oom: true, .. } => {
                let text = "the kernel killed it: out of memory".to_owned();
                (State::Failed, Some(Reason::Memory), Some(text))
            }
            End {
                signal: Some(signal),
                ..
            } => {
                let text = format!("Command terminated with signal {signal}");
                (State::Failed, None, Some(text))
            }
            End { code: 0, .. } => (State::Finished, None, None),
            End { code, .. } => (
                State::Failed,
                None,
                Some(format!("Command exited with status {code}")),
            ),
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asked(number) => write!(f, "asked to end by signal {number}"),
            Self::TimeOver(time) => write!(f, "its time of {} s is over", time.as_secs_f64()),
            Self::Unhealthy(message) => write!(f, "not healthy: {message}"),
            Self::Disk(message) | Self::Broken(message) => f.write_str(message),
            Self::Sibling(name) => write!(f, "the container {name} has failed"),
        }
    }
}
