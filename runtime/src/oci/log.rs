//! The log file that a caller names, in the form that runc gave it.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

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
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = since.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let nanoseconds = since.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

/// Year, month and day of a number of days since 1970, in the proleptic Gregorian calendar.
///
/// Counted in eras of 400 years that begin on the first of March, so that a leap day is the
/// last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
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
