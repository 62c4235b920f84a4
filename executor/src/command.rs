//! What runs in a container, of what its task says and what its image says.

use thiserror::Error;

use crate::task::Command;

/// By whose rules the two are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Semantics {
    /// Those of Mesos' `docker/runtime` isolator: an image's first word stays.
    Mesos,
    /// Those of `docker run`: what is said takes the place of the image's command.
    Docker,
    /// Those of Mesos' `appc/runtime` isolator: the image's first word stays, its others do not.
    Appc,
}

/// A command that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MergeError {
    /// Neither the task nor the image says what runs.
    #[error(
        "nothing says what runs: the task has no command, and the image neither entrypoint nor command"
    )]
    NoProgram,
    /// There is nothing for the shell.
    #[error("a shell is asked for, and no line for it")]
    NoLine,
    /// Mesos takes the first argument for the name that the program gets, and it is another.
    #[error(
        "the first argument is the name that the program is run under, and \"{}\" cannot be run as \"{}\": put the program first",
        crate::error::shown(.program),
        crate::error::shown(.name)
    )]
    OtherName {
        /// The program.
        program: String,
        /// The first argument.
        name: String,
    },
}

/// Merges what a task says with what its image says: a program and its arguments.
///
/// A program without a slash is looked up in `PATH` by whoever runs it. Without an image both
/// `entrypoint` and `cmd` are empty; of an `AppC` image `exec` is the entrypoint.
///
/// # Errors
/// When nothing is left to run. Source: `docs/isolators/docker-runtime.md`, and
/// `isolators/{docker,appc}/runtime.cpp`, of Mesos; `docker.cpp` for the other.
pub fn merge(
    command: &Command,
    entrypoint: &[String],
    cmd: &[String],
    semantics: Semantics,
) -> Result<Vec<String>, MergeError> {
    if command.shell {
        let line = command.value.clone().ok_or(MergeError::NoLine)?;
        return Ok(["/bin/sh", "-c"]
            .map(str::to_owned)
            .into_iter()
            .chain([line])
            .collect());
    }
    let merged = match (semantics, &command.value) {
        (Semantics::Docker, value) => {
            let said: Vec<_> = value.iter().chain(&command.arguments).cloned().collect();
            let rest = if said.is_empty() { cmd } else { &said };
            [entrypoint, rest].concat()
        }
        (_, Some(program)) => return run_as_said(program, &command.arguments),
        (Semantics::Mesos, None) => of_image(entrypoint, cmd, &command.arguments),
        (Semantics::Appc, None) => match (command.arguments.as_slice(), entrypoint) {
            ([], exec) => exec.to_vec(),
            (_, []) => Vec::new(),
            (arguments, exec) => exec.iter().take(1).chain(arguments).cloned().collect(),
        },
    };
    match merged.first() {
        Some(program) if !program.is_empty() => Ok(merged),
        _ => Err(MergeError::NoProgram),
    }
}

/// The rows of Mesos' table in which the task says no program.
fn of_image(entrypoint: &[String], cmd: &[String], arguments: &[String]) -> Vec<String> {
    match (entrypoint, arguments) {
        ([], []) => cmd.to_vec(),
        ([], arguments) => match cmd {
            [] => Vec::new(),
            [program, ..] => [std::slice::from_ref(program), arguments].concat(),
        },
        (entrypoint, []) => [entrypoint, cmd].concat(),
        (entrypoint, arguments) => [entrypoint, arguments].concat(),
    }
}

/// A program of the task's own, whose first argument is its name (`execlp` in `mesos.proto`).
fn run_as_said(program: &str, arguments: &[String]) -> Result<Vec<String>, MergeError> {
    let last = |path: &str| path.rsplit('/').next().map(str::to_owned);
    let Some((name, rest)) = arguments.split_first() else {
        // Mesos runs it with no arguments at all, not even its name: no program expects that.
        return Ok(vec![program.to_owned()]);
    };
    if name != program && last(name) != last(program) {
        return Err(MergeError::OtherName {
            program: program.to_owned(),
            name: name.clone(),
        });
    }
    Ok([&[program.to_owned()], rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn merged(command: &Command, image: (&str, &str), semantics: Semantics) -> Option<String> {
        let (entrypoint, cmd) = image;
        let merged = merge(command, &words(entrypoint), &words(cmd), semantics);
        merged.ok().map(|merged| merged.join(" "))
    }

    fn command(shell: bool, value: &str, arguments: &str) -> Command {
        Command {
            shell,
            value: Some(value.to_owned()).filter(|value| !value.is_empty()),
            arguments: words(arguments),
            directory: None,
        }
    }

    /// Images without either, with a command, with an entrypoint, and with both.
    const IMAGES: [(&str, &str); 4] = [("", ""), ("", "c0 c1"), ("e0 e1", ""), ("e0 e1", "c0 c1")];

    fn check(semantics: Semantics, rows: &[(Command, [&str; 4])]) {
        for (command, cells) in rows {
            for (image, cell) in IMAGES.into_iter().zip(cells) {
                let merged = merged(command, image, semantics).unwrap_or_default();
                assert_eq!(merged, *cell, "{semantics:?} {command:?} {image:?}");
            }
        }
    }

    /// The 24 cells of `docs/isolators/docker-runtime.md`; an error is an empty one.
    #[test]
    fn every_cell_of_mesos_table_is_as_it_says() {
        let shell = ["/bin/sh -c v"; 4];
        check(
            Semantics::Mesos,
            &[
                (
                    command(false, "", ""),
                    ["", "c0 c1", "e0 e1", "e0 e1 c0 c1"],
                ),
                (
                    command(false, "", "a b"),
                    ["", "c0 a b", "e0 e1 a b", "e0 e1 a b"],
                ),
                (command(false, "v", ""), ["v"; 4]),
                (command(false, "v", "v a"), ["v a"; 4]),
                (command(true, "", ""), [""; 4]),
                (command(true, "", "a"), [""; 4]),
                (command(true, "v", ""), shell),
                (command(true, "v", "a"), shell),
            ],
        );
    }

    #[test]
    fn every_cell_of_dockers_table_is_as_docker_run_does() {
        let shell = ["/bin/sh -c v"; 4];
        check(
            Semantics::Docker,
            &[
                (
                    command(false, "", ""),
                    ["", "c0 c1", "e0 e1", "e0 e1 c0 c1"],
                ),
                (
                    command(false, "", "a b"),
                    ["a b", "a b", "e0 e1 a b", "e0 e1 a b"],
                ),
                (command(false, "v", ""), ["v", "v", "e0 e1 v", "e0 e1 v"]),
                (
                    command(false, "v", "a"),
                    ["v a", "v a", "e0 e1 v a", "e0 e1 v a"],
                ),
                (command(true, "", ""), [""; 4]),
                (command(true, "v", "a"), shell),
            ],
        );
    }

    #[test]
    fn every_cell_of_appcs_table_is_as_it_says() {
        let appc = |command: &Command, exec: &str| merged(command, (exec, ""), Semantics::Appc);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(appc(&command(false, "", ""), ""), None);
        assert_eq!(appc(&command(false, "", ""), "e0 e1"), some("e0 e1"));
        assert_eq!(appc(&command(false, "", "a"), ""), None);
        assert_eq!(appc(&command(false, "", "a b"), "e0 e1"), some("e0 a b"));
        assert_eq!(appc(&command(false, "v", ""), "e0 e1"), some("v"));
        assert_eq!(appc(&command(false, "v", "v a"), "e0 e1"), some("v a"));
        assert_eq!(appc(&command(true, "v", ""), "e0 e1"), some("/bin/sh -c v"));
    }

    #[test]
    fn the_missions_inky_says_hello_by_either_rules() {
        let hello = command(false, "", "hello");
        for semantics in [Semantics::Mesos, Semantics::Docker] {
            assert_eq!(
                merged(&hello, ("echo", "inky"), semantics).as_deref(),
                Some("echo hello")
            );
            let nothing = merged(&Command::default(), ("echo", "inky"), semantics);
            assert_eq!(nothing.as_deref(), Some("echo inky"));
        }
    }

    #[test]
    fn w44_a_program_always_gets_its_name() {
        assert_eq!(
            merged(&command(false, "/bin/ls", ""), ("", ""), Semantics::Mesos).as_deref(),
            Some("/bin/ls")
        );
    }

    #[test]
    fn the_first_argument_of_a_program_is_its_name() {
        let ls = |arguments| {
            merge(
                &command(false, "/bin/ls", arguments),
                &[],
                &[],
                Semantics::Mesos,
            )
        };
        assert_eq!(ls("ls -l").unwrap(), ["/bin/ls", "-l"]);
        assert_eq!(ls("/bin/ls -l").unwrap(), ["/bin/ls", "-l"]);
        let error = ls("-l").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the first argument is the name that the program is run under, and \"/bin/ls\" cannot be run as \"-l\": put the program first"
        );
    }

    #[test]
    fn a_program_without_a_name_is_none() {
        let empty = [String::new()];
        let merged = merge(&Command::default(), &empty, &[], Semantics::Mesos);
        assert_eq!(merged, Err(MergeError::NoProgram));
    }
}
