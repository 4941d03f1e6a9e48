//! The arguments of `vethlab up` and of the verbs that ask a project that is up.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::{ComposeArgs, EngineArg, Format};

const UP_EXAMPLES: &str = "\
Examples:
  vethlab up compose.yaml
      keep the project running in real time, here, with the lines of its programs; Ctrl-C ends it
  vethlab up -d
      the project of this folder, in the background; `vethlab down` ends it
  vethlab up -d -p blue compose.yaml && vethlab up -d -p green compose.yaml
      the same project twice, side by side: each has a lab of its own; ports that both publish
      under the same number are bound once, so one of them needs --no-publish or `ports: ['80']`
  vethlab up -d --on server vethlab.yaml
      the projects that run together on a host, in one lab: services are PROJECT/SERVICE, and they
      are up under the host's name, as in `vethlab exec -p server edge/proxy -- ping ghost`
  vethlab up --publish-on 0.0.0.0 --publish-on ::
      let other machines in: without this, published ports are bound on loopback, whatever the
      file says
  vethlab up --proxy web:127.0.0.1:1080
      then `curl --proxy socks5h://127.0.0.1:1080 http://db:8000` is asked by web, and so is
      --proxy http://…
  vethlab up --tap front:tap0
      whatever joins tap0 is on the network front: a namespace that it is moved to, or a VM behind a
      bridge with it; its address comes by DHCP and router advertisements, and the network's gateway
      answers DNS
  vethlab up --egress api.example.com:443 --egress 10.0.0.0/8 --egress localhost:5432
      let containers out to these and nobody else; this machine's loopback is host.docker.internal
      for them. Loopback, link-local, metadata and own addresses have to be named, --egress all
      leaves them out

A real client of a published port is a process of the lab's host: docker-proxy or DNAT carry its
connection as Docker's rules say. A port refuses while nothing in the container listens on it.

It needs Linux 5.11 or later and nothing else: no root, no namespace. Services run stand-ins, or
the servers and tools that the lab has (nginx's page, httpd, nc, ping); no image is pulled and
nothing of the project's is executed. A stand-in listens on the ports that its service is known
to listen on and never speaks first: an HTTP request is answered with a page that says which
container and port it reached, anything else and each datagram is sent back.

Exit codes:
  0  it ran, and was ended by Ctrl-C, SIGTERM or `vethlab down`; with -d: it is up
  2  bad input; or it is up already";

const DOWN_EXAMPLES: &str = "\
Examples:
  vethlab down
      end the project of this folder; returns when everything of it is gone
  vethlab down -p shop
      end the project that is up under this name, and no other

Exit codes:
  0  it is down
  2  no such project is up";

const PS_EXAMPLES: &str = "\
Examples:
  vethlab ps
      the containers of this folder's project, their addresses and published ports
  vethlab ps -p shop --format json
      the same for machines
  vethlab ps --all
      every project that is up, by name

Exit codes:
  0  it is up
  2  no such project is up";

const LOGS_EXAMPLES: &str = "\
Examples:
  vethlab logs
      what the programs of this folder's project wrote: the last 10,000 lines at most
  vethlab logs -f --tail 10 web
      the last ten lines of web, and those that come; Ctrl-C ends the reading only
  vethlab logs -p shop --format json
      a line of JSON for each, with the time in the lab

Exit codes:
  0  it was printed
  2  no such project is up";

const EXEC_EXAMPLES: &str = "\
Examples:
  vethlab exec web -- ping -c 3 db
      a tool of the lab in a container of web; what it prints comes as it is printed, Ctrl-C ends it
  vethlab exec -p shop lan -- curl http://192.0.2.2:8080
      the same on another machine of the host's network; host and internet are there too
  echo hello | vethlab exec -i web -- nc db 5432
      with standard input, read to its end first
  vethlab exec host -- iptables -t nat -nvL
      the rules of the host, as iptables and ip6tables list them (-L, -S) and save them

Tools: arp, cat, curl, dig, echo, getent, hostname, httpd, ifconfig, ip, nc, netstat, nslookup,
ping, probe, route, sink, sleep, ss, traceroute, wget; on host iptables, iptables-save, ip6tables,
ip6tables-save, conntrack too. There is no shell.

Exit codes:
  the program's; 127 if there is no such tool
  2  no such project is up, no such service";

/// Which project.
#[derive(Args, Clone, Debug)]
pub struct WhichArgs {
    /// The project's name; that of this folder's compose file if not given
    #[arg(short = 'p', long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// The compose files, or the vethlab.yaml, by which the project's name is found
    #[arg(short = 'f', long = "file", value_name = "COMPOSE")]
    pub files: Vec<PathBuf>,
    /// Of a vethlab.yaml: the host whose projects are up, or a project that runs by itself
    #[arg(long, value_name = "NAME")]
    pub on: Option<String>,
}

/// `vethlab up`.
#[derive(Args, Clone, Debug)]
#[command(after_help = UP_EXAMPLES)]
pub struct UpArgs {
    /// The files.
    #[command(flatten)]
    pub compose: ComposeArgs,
    /// Of a vethlab.yaml: the host whose projects are meant, or a project that runs by itself
    #[arg(long, value_name = "NAME")]
    pub on: Option<String>,
    /// The project's name; the file's own name or its directory's if not given
    #[arg(short = 'p', long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Run in the background
    #[arg(short, long)]
    pub detach: bool,
    /// How it is told what is up
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Draw ids, MACs and shuffles from this seed
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// The Docker engine that is modelled; what the file says if not given, else 29
    #[arg(long, value_enum)]
    pub engine: Option<EngineArg>,
    /// The machine: its daemon.json, routes, addresses, uplink MTU
    #[arg(long, value_name = "FILE")]
    pub host: Option<PathBuf>,
    /// Bind published ports on this address rather than on loopback; once for each family. Ports that the file
    /// publishes on loopback stay there
    #[arg(long, value_name = "ADDRESS")]
    pub publish_on: Vec<IpAddr>,
    /// Publish no ports on this machine
    #[arg(long, conflicts_with = "publish_on")]
    pub no_publish: bool,
    /// A SOCKS5 and HTTP proxy at this address into the network of BOX: a service, a container, or host, lan,
    /// internet; names are looked up there
    #[arg(long, value_name = "BOX:ADDRESS:PORT", value_parser = proxy)]
    pub proxy: Vec<ProxyAt>,
    /// Put a TAP of this machine on a network: whatever joins it gets an address by DHCP, and on IPv6 networks by
    /// router advertisements. As root it is made, if it is not there; else one of yours (`ip tuntap add dev TAP mode
    /// tap user YOU`)
    #[arg(long, value_name = "NETWORK:TAP", value_parser = tap)]
    pub tap: Vec<TapOn>,
    /// Open TAPs by the tun-tap crate: frames as wires carry them, without super-segments and partial checksums
    #[arg(long, requires = "tap")]
    pub plain_tap: bool,
    /// Let containers reach this outside: ADDRESS, CIDR, NAME, *.NAME, localhost or all, with :PORTS and /tcp, /udp or /ping
    /// if not everything is meant; once for each. Nothing leaves without it
    #[arg(long, value_name = "RULE")]
    pub egress: Vec<String>,
    /// Ask this resolver for names that leave, rather than those of /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = resolver, requires = "egress")]
    pub egress_dns: Vec<SocketAddr>,
    /// The process in the background: standard input is a socket on which it says that it is up
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// A resolver, on port 53 if none is said.
fn resolver(text: &str) -> Result<SocketAddr, String> {
    let alone = text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53));
    text.parse().or(alone).map_err(|_| {
        format!("{text:?} is no address: write 192.0.2.53, 127.0.0.1:5353 or [2001:db8::53]:53")
    })
}

/// A proxy: into whose network, and where.
#[derive(Clone, Debug)]
pub struct ProxyAt {
    /// A service, a container, or host, lan, internet.
    pub place: String,
    /// Where it is bound.
    pub at: SocketAddr,
}

/// `BOX:ADDRESS:PORT`, the address on loopback.
fn proxy(text: &str) -> Result<ProxyAt, String> {
    let (place, at) = text
        .split_once(':')
        .ok_or("write BOX:127.0.0.1:1080, or port 0 for any")?;
    let at: SocketAddr = at
        .parse()
        .map_err(|_| format!("{at:?} is no address and port, as in 127.0.0.1:1080"))?;
    if !at.ip().is_loopback() {
        return Err("a proxy asks for no password: it is bound on loopback only".to_owned());
    }
    Ok(ProxyAt {
        place: place.to_owned(),
        at,
    })
}

/// A TAP: on which network, and its name.
#[derive(Clone, Debug)]
pub struct TapOn {
    /// A network of the project.
    pub network: String,
    /// The TAP.
    pub tap: String,
}

/// `NETWORK:TAP`.
fn tap(text: &str) -> Result<TapOn, String> {
    let (network, tap) = text
        .rsplit_once(':')
        .ok_or("write NETWORK:TAP, as in front:tap0")?;
    Ok(TapOn {
        network: network.to_owned(),
        tap: tap.to_owned(),
    })
}

/// `vethlab down`.
#[derive(Args, Clone, Debug)]
#[command(after_help = DOWN_EXAMPLES)]
pub struct DownArgs {
    /// Which project.
    #[command(flatten)]
    pub which: WhichArgs,
}

/// `vethlab ps`.
#[derive(Args, Clone, Debug)]
#[command(after_help = PS_EXAMPLES)]
pub struct PsArgs {
    /// Which project.
    #[command(flatten)]
    pub which: WhichArgs,
    /// The names of all projects that are up instead
    #[arg(short, long, conflicts_with_all = ["project_name", "files", "on"])]
    pub all: bool,
    /// How they are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `vethlab logs`.
#[derive(Args, Clone, Debug)]
#[command(after_help = LOGS_EXAMPLES)]
pub struct LogsArgs {
    /// Services or containers; all if none
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Which project.
    #[command(flatten)]
    pub which: FollowArgs,
    /// Go on with the lines that come
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many of the last lines
    #[arg(short = 'n', long, value_name = "N")]
    pub tail: Option<u64>,
    /// Leave the container's name out
    #[arg(long)]
    pub no_log_prefix: bool,
    /// How they are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Which project, where `-f` is something else.
#[derive(Args, Clone, Debug)]
pub struct FollowArgs {
    /// The project's name; that of this folder's compose file if not given
    #[arg(short = 'p', long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// The compose files, or the vethlab.yaml, by which the project's name is found
    #[arg(long = "file", value_name = "COMPOSE")]
    pub files: Vec<PathBuf>,
    /// Of a vethlab.yaml: the host whose projects are up, or a project that runs by itself
    #[arg(long, value_name = "NAME")]
    pub on: Option<String>,
}

/// `vethlab exec`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXEC_EXAMPLES)]
pub struct ExecArgs {
    /// Which project.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Give the program this standard input
    #[arg(short, long)]
    pub interactive: bool,
    /// A service (its first container that runs), a container, or host, lan, internet
    #[arg(value_name = "BOX")]
    pub target: String,
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    pub argv: Vec<String>,
}
