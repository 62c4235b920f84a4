//! The image, and behind it the task's own words, of which none is a flag of ours.

use clap::builder::{Arg, Command, ValueParser};
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Error, FromArgMatches};
use ucr_images::ImageName;

use crate::image_arg::image_name;

/// What clap knows the words by.
const ID: &str = "words";
/// What is said of them.
const HELP: &str = "Image, as [docker://]HOST[:PORT]/PATH[:TAG][@DIGEST], oci:DIR[:TAG], \
    oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], or - for an archive on standard input; \
    behind it arguments for the image's entrypoint, or the command to run";

/// The image, and arguments for its entrypoint or the command to run.
#[derive(Debug)]
pub(crate) struct Words {
    /// The image.
    pub(crate) image: ImageName,
    /// What stands behind it, whatever it looks like: `run IMAGE -v x` gives `-v x` to the task.
    pub(crate) command: Vec<String>,
}

impl FromArgMatches for Words {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut words = matches.get_many::<String>(ID).into_iter().flatten();
        let image = words.next().map_or("", String::as_str);
        let parsed = image_name(image).map_err(|why| {
            let text = format!("invalid value '{image}' for '<IMAGE>': {why}\n");
            Error::raw(ErrorKind::ValueValidation, text)
        });
        Ok(Self {
            image: parsed?,
            command: words.cloned().collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Words {
    fn augment_args(command: Command) -> Command {
        let words = Arg::new(ID)
            .value_name("IMAGE")
            .help(HELP)
            .required(true)
            .num_args(1..)
            .trailing_var_arg(true)
            .value_parser(ValueParser::string());
        command
            .arg(words)
            .override_usage("ucr run [OPTIONS] <IMAGE> [ARG]...")
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[arg(short, long)]
        volume: Vec<String>,
        #[command(flatten)]
        words: Words,
    }

    fn parse(text: &str) -> Result<Cli, Error> {
        Cli::try_parse_from(text.split(' '))
    }

    #[test]
    fn flags_behind_the_image_are_the_tasks() {
        for (text, volumes, command) in [
            ("ucr -v a r.example/i", &["a"][..], &[][..]),
            ("ucr r.example/i -v a --help", &[], &["-v", "a", "--help"]),
            ("ucr r.example/i ls -v", &[], &["ls", "-v"]),
            ("ucr -v a -- r.example/i -- x", &["a"], &["--", "x"]),
        ] {
            let cli = parse(text).unwrap();
            assert_eq!(
                (&*cli.volume, &*cli.words.command),
                (
                    &volumes.iter().map(ToString::to_string).collect::<Vec<_>>()[..],
                    &command.iter().map(ToString::to_string).collect::<Vec<_>>()[..],
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn what_names_no_image_is_refused_as_such() {
        let refused = parse("ucr https://x ls").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ValueValidation);
        assert!(parse("ucr --nonsense r.example/i").is_err());
        assert!(parse("ucr").is_err());
    }
}
