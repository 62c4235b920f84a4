//! The log file that a caller names, in the form that runc gave it.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Where errors are written besides standard error, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The file.
    pub file: PathBuf,
    /// The form of its lines.
    pub format: Format,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Keys and values, as logfmt.
    Text,
    /// A JSON object.
    Json,
}

impl Log {
    /// Adds a line of level `error` that says what `error` does, and all that caused it.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or written.
    pub fn error(&self, error: &dyn Error) -> std::io::Result<()> {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            message = format!("{message}: {error}");
            source = error.source();
        }
        self.write(&message)
    }

    /// Adds a line of level `error` that says `message`.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or written.
    pub fn write(&self, message: &str) -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.file)?;
        let time = rfc3339(SystemTime::now());
        let message = serde_json::Value::from(message).to_string();
        let line = match self.format {
            Format::Text => format!("time=\"{time}\" level=error msg={message}\n"),
            Format::Json => {
                format!("{{\"level\":\"error\",\"msg\":{message},\"time\":\"{time}\"}}\n")
            }
        };
        // One write for a line: others write into the same file.
        file.write_all(line.as_bytes())
    }
}

/// A point in time as RFC 3339 has it, in UTC, to the nanosecond.
pub fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, nanosecond) = time.to_hms_nano();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanosecond:09}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_is_one_whole_object_whatever_the_message_holds() {
        let temp = tempfile::tempdir().expect("tempdir");
        let file = temp.path().join("log");
        let log = |format| Log {
            file: file.clone(),
            format,
        };
        log(Format::Json).write("a \"b\"\nc").expect("json");
        log(Format::Text).write("a \"b\"\nc").expect("text");
        let text = std::fs::read_to_string(&file).expect("read");
        let lines: Vec<&str> = text.lines().collect();
        let object: serde_json::Value = serde_json::from_str(lines[0]).expect("object");
        assert_eq!(
            (object["level"].as_str(), object["msg"].as_str()),
            (Some("error"), Some("a \"b\"\nc"))
        );
        assert!(
            lines[1].ends_with(r#"level=error msg="a \"b\"\nc""#),
            "{text}"
        );
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.000000000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.000000000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000000000Z");
    }
}
