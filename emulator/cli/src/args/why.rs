//! The arguments of `vethlab why`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{EngineArg, Format, LoadArgs};

const EXAMPLES: &str = "\
Examples:
  vethlab why web db:5432
      in this folder's project, step by step, why web reaches the database's port, or why not, and
      what would change it
  vethlab why compose.yaml lan db
      the first port that db is known to listen on, asked by another machine on the host's network
  vethlab why --capture why.pcapng compose.yaml web dns:53/udp
      with the frames that the steps name, for Wireshark
  vethlab why -f compose.prod.yaml compose.yaml web db/icmp
      a ping, in a project of two files
  vethlab why --on server vethlab.yaml edge/proxy blog/db:3306
      between projects that run together on a host: services are PROJECT/SERVICE
  vethlab why shop web db:5432
      in the project that is up under this name, as it was loaded then: its files may have
      changed, and what runs is not touched

FROM and TO are services, or host, lan (another machine on the host's network), internet.

Exit codes:
  0  it is open: to a service by name or address, to a place by a published port
  1  it is closed, or not known
  2  bad input: a compose file that is refused, a name that is not there";

/// `vethlab why`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, override_usage = "vethlab why [OPTIONS] [COMPOSE] <FROM> <TO[:PORT[/udp]]>")]
pub struct WhyArgs {
    /// Who asks, and who is asked: TO, TO:PORT, TO:PORT/udp, TO/icmp; before them the compose file, a vethlab.yaml, a
    /// folder, or the name of a project that is up, if it is not this folder's project
    #[arg(num_args = 0..=3, value_name = "WORD")]
    pub words: Vec<String>,
    /// More compose files, which override the first
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How they are loaded.
    #[command(flatten)]
    pub load: LoadArgs,
    /// The project's name; the file's own name or its directory's if not given
    #[arg(short = 'p', long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Of a vethlab.yaml: the host whose projects are meant, or a project that runs by itself
    #[arg(long, value_name = "NAME")]
    pub on: Option<String>,
    /// The machine: its daemon.json, routes, addresses, uplink MTU
    #[arg(long, value_name = "FILE")]
    pub host: Option<PathBuf>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Draw ids, MACs and shuffles from this seed; the same seed gives the same bytes
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// The Docker engine that is modelled; what the file says if not given, else 29
    #[arg(long, value_enum)]
    pub engine: Option<EngineArg>,
    /// Write the frames that the steps name to this pcapng file
    #[arg(long, value_name = "OUT.pcapng")]
    pub capture: Option<PathBuf>,
}

impl WhyArgs {
    /// The file or the name of a project, if one is given.
    #[must_use]
    pub fn compose(&self) -> Option<&Path> {
        match self.words.as_slice() {
            [compose, _, _] => Some(Path::new(compose)),
            _ => None,
        }
    }

    /// Who asks, and who is asked.
    #[must_use]
    pub fn ends(&self) -> (&str, &str) {
        match self.words.as_slice() {
            [.., from, to] => (from, to),
            _ => ("", ""),
        }
    }
}
