//! The arguments of `vethlab capture` and `vethlab extcap`.

use std::path::PathBuf;

use clap::Args;

use super::Bounds;

const EXAMPLES: &str = "\
Examples:
  vethlab capture -w - | tshark -r - -l
      this folder's project in tshark, each frame once for each network that it crosses
  vethlab capture shop -i web:eth0 -w - tcp port 80 | wireshark -k -i -
      one interface of the project shop in Wireshark, through a filter in tcpdump's language
  vethlab capture -i db -i back-tier -w db.pcapng 'host web and not arp'
      all interfaces of a service and a network, into a file; Ctrl-C ends it
  vethlab capture -w out.pcapng --ring 10MB:5
      for as long as it takes: OUT_00001.pcapng and so on, of which the last five stay
  vethlab capture -D
      the names that -i takes

A frame that died stands there with the reason as a comment. Whoever reads too slowly loses
frames, which are counted and said so; the project is not slowed down.

Exit codes:
  0  it ended: by Ctrl-C, by the reader, with --count, or with the project
  2  no such project is up, a wrong interface or filter, a file that cannot be written";

const EXTCAP: &str = "\
Examples:
  vethlab extcap --install
      Wireshark and tshark list the projects that are up among their interfaces from then on
  tshark -D
      the interfaces: vethlab:shop, vethlab:shop:any, vethlab:shop:web:eth0, ...
  tshark -i vethlab:shop:web:eth0 -f 'tcp port 80'
      capture at one
  vethlab extcap --uninstall
      take it away again

The other arguments are those with which Wireshark calls its plug-ins.

Exit codes:
  0  it was done
  2  it could not be";

/// `vethlab capture`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CapturingArgs {
    /// The project, if one is up under this name, then a filter in tcpdump's language
    #[arg(value_name = "PROJECT|EXPR")]
    pub words: Vec<String>,
    /// The project's name; else the first word, this folder's compose file, or the only one that is up
    #[arg(short = 'p', long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Capture at this interface: web:eth0, web (all of its interfaces), a network, a bridge, any; may be repeated
    #[arg(short, long = "interface", value_name = "PLACE")]
    pub interfaces: Vec<String>,
    /// Write pcapng to this file; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// The bounds.
    #[command(flatten)]
    pub bounds: Bounds,
    /// Print the names of the interfaces instead
    #[arg(short = 'D', long)]
    pub list_interfaces: bool,
}

/// `vethlab extcap`: the names are Wireshark's.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXTCAP)]
pub struct ExtcapArgs {
    /// Put the plug-in into Wireshark's personal folder for them
    #[arg(long)]
    pub install: bool,
    /// Take it away again
    #[arg(long, conflicts_with = "install")]
    pub uninstall: bool,
    /// Put it into, or take it from, this folder instead
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// List the interfaces
    #[arg(long)]
    pub extcap_interfaces: bool,
    /// The version of Wireshark
    #[arg(long, value_name = "VERSION")]
    pub extcap_version: Option<String>,
    /// The interface
    #[arg(long, value_name = "NAME")]
    pub extcap_interface: Option<String>,
    /// List the link types of the interface
    #[arg(long)]
    pub extcap_dlts: bool,
    /// List the options of the interface
    #[arg(long)]
    pub extcap_config: bool,
    /// Capture into the pipe
    #[arg(long)]
    pub capture: bool,
    /// The pipe
    #[arg(long, value_name = "PIPE")]
    pub fifo: Option<PathBuf>,
    /// The capture filter; checked if nothing else is asked for
    #[arg(long, value_name = "EXPR")]
    pub extcap_capture_filter: Option<String>,
    /// Keep this many bytes of each frame; 0 keeps all
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub snaplen: u32,
    /// After the plug-in was ended: there is nothing to do
    #[arg(long, hide = true)]
    pub extcap_cleanup_postkill: bool,
}
