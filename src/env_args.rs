//! Variables for a task: `--env` and `--env-file`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::command_error::CommandError;
use crate::settings::variable;

/// Variables of a task's environment.
#[derive(Debug, Default, Args)]
pub(crate) struct EnvArgs {
    /// Set an environment variable; without a value it is taken from the caller's environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Set the variables of a file, one in a line; lines that begin with # are comments
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
}

impl EnvArgs {
    /// The variables, each with its value: those of files first, as with Docker.
    pub(crate) fn resolve(&self) -> Result<Vec<String>, CommandError> {
        let mut resolved = Vec::new();
        for file in &self.env_file {
            for (number, line) in lines(file)? {
                let variable = one(&line).map_err(|why| {
                    let file = file.display();
                    CommandError::sentence(format!("{file}, line {number}: {why}"))
                })?;
                resolved.extend(variable);
            }
        }
        for text in &self.env {
            resolved.extend(one(text).map_err(CommandError::sentence)?);
        }
        Ok(resolved)
    }
}

/// The lines of a file that say something, with their numbers.
fn lines(path: &Path) -> Result<Vec<(usize, String)>, CommandError> {
    let failed = |why: &dyn std::fmt::Display| {
        let path = path.display();
        CommandError::sentence(format!("cannot read the variables of {path}: {why}"))
    };
    let bytes = std::fs::read(path).map_err(|error| failed(&ucr_sys::reason(&error)))?;
    let text = String::from_utf8(bytes).map_err(|_not_utf8| failed(&"it is not UTF-8"))?;
    // Left by editors that mark their files.
    let text = text.trim_start_matches('\u{feff}');
    let numbered = text.lines().enumerate();
    let said = numbered
        .map(|(index, line)| (index + 1, line.trim_start().to_owned()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    Ok(said.collect())
}

/// `NAME=VALUE` as it is, `NAME` with the value it has here, if it has one.
fn one(text: &str) -> Result<Option<String>, String> {
    let name = text.split('=').next().unwrap_or_default();
    if name.is_empty() || name.contains(char::is_whitespace) || text.contains('\0') {
        let text = text.escape_default();
        return Err(format!("\"{text}\" is not NAME or NAME=VALUE"));
    }
    if name.len() < text.len() {
        return Ok(Some(text.to_owned()));
    }
    let Some(value) = variable(name) else {
        return Ok(None);
    };
    match value.into_string() {
        Ok(value) => Ok(Some(format!("{name}={value}"))),
        Err(_not_utf8) => Err(format!("the value of ${name} is not valid UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn resolved(env: &[&str], file: &str) -> Result<Vec<String>, CommandError> {
        let mut temp = tempfile::NamedTempFile::new().unwrap();
        temp.write_all(file.as_bytes()).unwrap();
        let args = EnvArgs {
            env: env.iter().map(ToString::to_string).collect(),
            env_file: vec![temp.path().to_owned()],
        };
        args.resolve()
    }

    #[test]
    fn a_variable_without_value_is_taken_from_here_or_left_out() {
        let resolved = resolved(&["A=b=c", "PATH", "UCR_NO_SUCH_VARIABLE"], "").unwrap();
        assert_eq!(resolved[0], "A=b=c");
        assert!(resolved[1].starts_with("PATH=/"));
        assert_eq!(resolved.len(), 2);
    }

    #[test]
    fn a_file_has_one_in_each_line_and_flags_come_after() {
        let file = "\u{feff}# one\n\nA=1 2\r\n  B='x' # no comment\nUCR_NO_SUCH_VARIABLE\n";
        let resolved = resolved(&["A=3"], file).unwrap();
        assert_eq!(resolved, ["A=1 2", "B='x' # no comment", "A=3"]);
    }

    #[test]
    fn what_is_no_variable_is_refused_with_its_line() {
        for text in ["=x", "", "A B=c"] {
            assert!(resolved(&[text], "").is_err(), "{text:?}");
        }
        let error = resolved(&[], "A=1\nexport B=2\n").unwrap_err();
        let message = error.message();
        assert!(
            message.ends_with("line 2: \"export B=2\" is not NAME or NAME=VALUE"),
            "{message}"
        );
    }
}
