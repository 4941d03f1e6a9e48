//! The arguments of `vethlab attach`.

use clap::Args;

use super::up::WhichArgs;

const EXAMPLES: &str = "\
Examples:
  vethlab attach -p shop front -- curl http://web
      curl on the network front of the project shop, which is up: its own address, Docker's names
  vethlab attach -p shop --name probe front -- iperf3 -s
      a real server, which the others reach by the name probe
  vethlab attach -p shop --root front -- nmap -sS web
      as uid 0 of the namespace, for a program that asks who it is

The program runs in kernel namespaces of its own (network, mounts, processes, host name) whose eth0
is a port of the emulated bridge; hosts, resolv.conf and hostname are a container's. When it ends,
everything that it started ends, and the container is gone. It gets no other open files than its
standard streams.

It needs root, or user namespaces that are open to users; /dev/net/tun is used where it can be
opened, a veth pair elsewhere.

Exit codes:
  the program's; 128 and the signal's number if one ended it; 127 if it cannot be started
  2  no such project is up, no such network, no namespaces here";

/// `vethlab attach`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct AttachArgs {
    /// Which project.
    #[command(flatten)]
    pub which: WhichArgs,
    /// The container's name, by which others find it
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Run the program as uid 0 of its namespace
    #[arg(long)]
    pub root: bool,
    /// This process is the first of the namespace
    #[arg(long, hide = true)]
    pub inside: bool,
    /// A network of the project
    #[arg(value_name = "NETWORK")]
    pub network: String,
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    pub argv: Vec<String>,
}
