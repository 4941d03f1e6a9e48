//! The arguments of `vethlab doctor`.

use clap::Args;

use super::Format;

const EXAMPLES: &str = "\
Examples:
  vethlab doctor
      which ways of attaching work on this machine for this user, and why the others do not
  vethlab doctor --format json
      the same for machines

Each way is really tried, in a process of its own that ends after it. Nothing is sent further than
loopback, and nothing is left behind. Names of others are not looked up, and nobody is pinged: it is
seen whether that would be allowed.

Exit codes:
  0  projects can be brought up here, with published ports; other ways may be missing
  1  they cannot";

/// `vethlab doctor`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// How the table is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Try this way only, and say so in a line: the process that tries it
    #[arg(long = "try", value_name = "WAY", hide = true)]
    pub trial: Option<String>,
}
