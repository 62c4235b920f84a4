//! `--network`, `-p` and `-P`: what the container is connected to.

use clap::Args;
use ucr_images::ImageConfig;
use ucr_runtime::network::{self, Connected, Network, Request};

use super::ports::{self, Publication};
use crate::command_error::CommandError;
use crate::report::Failure;
use crate::settings::Settings;

/// What the container is connected to, and which of its ports are published.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Network of the container: host, none, bridge, or the name of a network of CNI's, of which
    /// there may be several [default: host, and with -p bridge]
    #[arg(long, value_name = "NETWORK", alias = "net", value_parser = parse)]
    network: Vec<Network>,
    /// Port of the host that leads to one of the container; without HOST, any that is free
    #[arg(
        short,
        long,
        value_name = "[[IP:]HOST:]PORT[/tcp|udp]",
        value_parser = Publication::parse
    )]
    publish: Vec<Publication>,
    /// Publish all ports that the image exposes
    #[arg(short = 'P', long)]
    publish_all: bool,
}

fn parse(text: &str) -> Result<Network, String> {
    match text {
        "host" => Ok(Network::Host),
        "none" => Ok(Network::None),
        "bridge" => Ok(Network::Bridge),
        _ if text.starts_with("container:") || text.starts_with("ns:") => Err(format!(
            "\"{text}\" is not supported: it is host, none, bridge or the name of a network"
        )),
        name => name
            .parse()
            .map(Network::Named)
            .map_err(|error| format!("{error}")),
    }
}

impl NetworkArgs {
    fn publishes(&self) -> bool {
        self.publish_all || !self.publish.is_empty()
    }

    /// The networks that are asked for.
    pub(crate) fn networks(&self) -> Vec<Network> {
        match &self.network[..] {
            [] if self.publishes() => vec![Network::Bridge],
            [] => vec![Network::Host],
            networks => networks.to_vec(),
        }
    }

    /// Whether the network is the host's.
    pub(crate) fn is_host(&self) -> bool {
        self.networks() == [Network::Host]
    }

    /// Its name, or names, for who looks it up.
    pub(super) fn word(&self) -> String {
        let networks = self.networks();
        let words = networks.iter().map(|network| match network {
            Network::Host => "host",
            Network::None => "none",
            Network::Bridge => "bridge",
            Network::Named(name) => name.as_str(),
        });
        words.collect::<Vec<_>>().join(",")
    }

    /// Refuses flags that do not go together.
    pub(super) fn check(&self) -> Result<(), CommandError> {
        let networks = self.networks();
        let alone = [Network::Host, Network::None];
        match networks.iter().find(|network| alone.contains(network)) {
            Some(_) if networks.len() > 1 => Err(CommandError::sentence(
                "--network host, none and bridge each stand for themselves",
            )),
            Some(Network::Host) if self.publishes() => Err(CommandError::sentence(
                "-p does not go with --network host: the container's ports are the host's as they are",
            )
            .hint("-p alone, which is --network bridge")),
            Some(_) if self.publishes() => Err(CommandError::sentence(
                "-p does not go with --network none: nothing leads into the container",
            )
            .hint("-p alone, which is --network bridge")),
            _ => Ok(()),
        }
    }

    /// Connects the container `id`, as whose its ports are known by `holder`; none for the host's
    /// network, and for none at all.
    pub(super) fn connect(
        &self,
        (id, holder): (&str, &str),
        image: &ImageConfig,
        settings: &Settings,
    ) -> Result<Option<Connected>, CommandError> {
        let networks = self.networks();
        if let [Network::Host | Network::None] = networks[..] {
            return Ok(None);
        }
        let exposed = image.exposed_ports().iter().filter(|_| self.publish_all);
        let ports = ports::requests(&self.publish, exposed.map(String::as_str));
        let request = Request {
            id: id.parse().map_err(CommandError::new)?,
            holder: format!("container {holder}"),
            state_root: settings.state.clone(),
            networks,
            ports: ports.map_err(CommandError::sentence)?,
            offered: settings.network.offered(),
            bridge: settings.network.bridge(),
            cni: settings.network.cni(),
        };
        network::connect(&request).map(Some).map_err(failed)
    }
}

/// What is said where a network cannot be had.
pub(crate) fn failed(error: network::Error) -> CommandError {
    let (failure, hint) = (Failure::launch(error.code()), error.hint());
    CommandError::new(error).told_as(failure).hints(hint)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        network: NetworkArgs,
    }

    fn args(text: &str) -> NetworkArgs {
        let words = ["ucr"].into_iter().chain(text.split_whitespace());
        Cli::try_parse_from(words).unwrap().network
    }

    #[test]
    fn publishing_implies_the_bridge() {
        for (text, word) in [
            ("", "host"),
            ("--network none", "none"),
            ("-p 80", "bridge"),
            ("-P", "bridge"),
            ("--net a --network b -p 80", "a,b"),
        ] {
            let args = args(text);
            assert_eq!(args.word(), word, "{text}");
            assert!(args.check().is_ok(), "{text}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for text in [
            "--network host -p 80",
            "--network none -P",
            "--network host --network a",
        ] {
            assert!(args(text).check().is_err(), "{text}");
        }
    }

    #[test]
    fn i48_the_name_of_a_network_on_the_command_line_is_no_path() {
        for text in [
            "../x",
            "/etc",
            "a b",
            "",
            "container:x",
            "ns:/proc/1/ns/net",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
