//! Log messages of the libraries, for who asks with `-v`.

use tracing_subscriber::filter::LevelFilter;

/// How log messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends log messages to stderr, as many as were asked for.
pub(crate) fn start(verbose: u8, format: LogFormat) {
    let level = match verbose {
        0 => return,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    match format {
        LogFormat::Text => subscriber.without_time().init(),
        LogFormat::Json => subscriber.json().without_time().init(),
    }
}
