//! The commands: their names, arguments and flags.
//!
//! Models the commands of docker/cli 20.10 and 29 that [`super`] lists. Flags that have nothing to do with
//! the network are all there, and marked.

use super::flags::{Flag, Kind};
use super::usage::{Count, Usage};

const fn usage(
    path: &'static str,
    line: &'static str,
    short: &'static str,
    count: Count,
    flags: &'static [Flag],
) -> Usage {
    Usage {
        path,
        line,
        short,
        count,
        interspersed: true,
        flags,
    }
}

const fn first_argument_ends_flags(mut usage: Usage) -> Usage {
    usage.interspersed = false;
    usage
}

const CONTAINERS: &str = "CONTAINER [CONTAINER...]";
const OPTIONS_CONTAINERS: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

/// Every command.
pub(super) const COMMANDS: &[Usage] = &[
    usage(
        "attach",
        "[OPTIONS] CONTAINER",
        "Attach local standard input, output, and error streams to a running container",
        Count::Exactly(1),
        ATTACH,
    ),
    first_argument_ends_flags(usage(
        "create",
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Create a new container",
        Count::AtLeast(1),
        RUN,
    )),
    first_argument_ends_flags(usage(
        "exec",
        "[OPTIONS] CONTAINER COMMAND [ARG...]",
        "Run a command in a running container",
        Count::AtLeast(2),
        EXEC,
    )),
    usage(
        "info",
        "[OPTIONS]",
        "Display system-wide information",
        Count::Zero,
        FORMAT,
    ),
    usage(
        "inspect",
        "[OPTIONS] NAME|ID [NAME|ID...]",
        "Return low-level information on Docker objects",
        Count::AtLeast(1),
        INSPECT,
    ),
    usage(
        "kill",
        OPTIONS_CONTAINERS,
        "Kill one or more running containers",
        Count::AtLeast(1),
        KILL,
    ),
    usage(
        "logs",
        "[OPTIONS] CONTAINER",
        "Fetch the logs of a container",
        Count::Exactly(1),
        LOGS,
    ),
    usage(
        "network connect",
        "[OPTIONS] NETWORK CONTAINER",
        "Connect a container to a network",
        Count::Exactly(2),
        NETWORK_CONNECT,
    ),
    usage(
        "network create",
        "[OPTIONS] NETWORK",
        "Create a network",
        Count::Exactly(1),
        NETWORK_CREATE,
    ),
    usage(
        "network disconnect",
        "[OPTIONS] NETWORK CONTAINER",
        "Disconnect a container from a network",
        Count::Exactly(2),
        NETWORK_DISCONNECT,
    ),
    usage(
        "network inspect",
        "[OPTIONS] NETWORK [NETWORK...]",
        "Display detailed information on one or more networks",
        Count::AtLeast(1),
        NETWORK_INSPECT,
    ),
    usage(
        "network ls",
        "[OPTIONS]",
        "List networks",
        Count::Zero,
        NETWORK_LS,
    ),
    usage(
        "network prune",
        "[OPTIONS]",
        "Remove all unused networks",
        Count::Zero,
        PRUNE,
    ),
    usage(
        "network rm",
        "NETWORK [NETWORK...]",
        "Remove one or more networks",
        Count::AtLeast(1),
        NETWORK_RM,
    ),
    usage(
        "pause",
        CONTAINERS,
        "Pause all processes within one or more containers",
        Count::AtLeast(1),
        &[],
    ),
    usage(
        "port",
        "CONTAINER [PRIVATE_PORT[/PROTO]]",
        "List port mappings or a specific mapping for the container",
        Count::Between(1, 2),
        &[],
    ),
    usage("ps", "[OPTIONS]", "List containers", Count::Zero, PS),
    usage(
        "pull",
        "[OPTIONS] NAME[:TAG|@DIGEST]",
        "Pull an image or a repository from a registry",
        Count::Exactly(1),
        PULL,
    ),
    usage(
        "rename",
        "CONTAINER NEW_NAME",
        "Rename a container",
        Count::Exactly(2),
        &[],
    ),
    usage(
        "restart",
        OPTIONS_CONTAINERS,
        "Restart one or more containers",
        Count::AtLeast(1),
        STOP,
    ),
    usage(
        "rm",
        OPTIONS_CONTAINERS,
        "Remove one or more containers",
        Count::AtLeast(1),
        RM,
    ),
    first_argument_ends_flags(usage(
        "run",
        "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Run a command in a new container",
        Count::AtLeast(1),
        RUN,
    )),
    usage(
        "start",
        OPTIONS_CONTAINERS,
        "Start one or more stopped containers",
        Count::AtLeast(1),
        START,
    ),
    usage(
        "stop",
        OPTIONS_CONTAINERS,
        "Stop one or more running containers",
        Count::AtLeast(1),
        STOP,
    ),
    usage(
        "unpause",
        CONTAINERS,
        "Unpause all processes within one or more containers",
        Count::AtLeast(1),
        &[],
    ),
    usage(
        "version",
        "[OPTIONS]",
        "Show the Docker version information",
        Count::Zero,
        FORMAT,
    ),
    usage(
        "wait",
        CONTAINERS,
        "Block until one or more containers stop, then print their exit codes",
        Count::AtLeast(1),
        &[],
    ),
];

const ATTACH: &[Flag] = &[
    Flag::new("detach-keys", Kind::Text),
    Flag::new("no-stdin", Kind::Bool),
    Flag::new("sig-proxy", Kind::Bool),
];
const EXEC: &[Flag] = &[
    Flag::new("detach", Kind::Bool).short('d'),
    Flag::new("detach-keys", Kind::Text),
    Flag::new("env", Kind::Env).short('e').ignored(),
    Flag::new("env-file", Kind::List).ignored(),
    Flag::new("interactive", Kind::Bool).short('i'),
    Flag::new("privileged", Kind::Bool).ignored(),
    Flag::new("tty", Kind::Bool).short('t'),
    Flag::new("user", Kind::Text).short('u').ignored(),
    Flag::new("workdir", Kind::Text).short('w').ignored(),
];
const FORMAT: &[Flag] = &[Flag::new("format", Kind::Text).short('f')];
const INSPECT: &[Flag] = &[
    Flag::new("format", Kind::Text).short('f'),
    Flag::new("size", Kind::Bool).short('s').ignored(),
    Flag::new("type", Kind::Text),
];
const KILL: &[Flag] = &[Flag::new("signal", Kind::Text).short('s')];
const LOGS: &[Flag] = &[
    Flag::new("details", Kind::Bool).ignored(),
    Flag::new("follow", Kind::Bool).short('f').ignored(),
    Flag::new("since", Kind::Text).ignored(),
    Flag::new("tail", Kind::Text).short('n'),
    Flag::new("timestamps", Kind::Bool).short('t').ignored(),
    Flag::new("until", Kind::Text).ignored(),
];
const NETWORK_CONNECT: &[Flag] = &[
    Flag::new("alias", Kind::Slice),
    Flag::new("driver-opt", Kind::Slice),
    Flag::new("gw-priority", Kind::Int).newer(),
    Flag::new("ip", Kind::Ip),
    Flag::new("ip6", Kind::Ip),
    Flag::new("link", Kind::Link),
    Flag::new("link-local-ip", Kind::IpSlice),
];
const NETWORK_CREATE: &[Flag] = &[
    Flag::new("attachable", Kind::Bool),
    Flag::new("aux-address", Kind::Map),
    Flag::new("config-from", Kind::Text),
    Flag::new("config-only", Kind::Bool),
    Flag::new("driver", Kind::Text).short('d'),
    Flag::new("gateway", Kind::IpSlice),
    Flag::new("ingress", Kind::Bool),
    Flag::new("internal", Kind::Bool),
    Flag::new("ip-range", Kind::NetSlice),
    Flag::new("ipam-driver", Kind::Text),
    Flag::new("ipam-opt", Kind::Map),
    Flag::new("ipv4", Kind::Bool).newer(),
    Flag::new("ipv6", Kind::Bool),
    Flag::new("label", Kind::Label),
    Flag::new("opt", Kind::Map).short('o'),
    Flag::new("scope", Kind::Text),
    Flag::new("subnet", Kind::Slice),
];
const NETWORK_DISCONNECT: &[Flag] = &[Flag::new("force", Kind::Bool).short('f')];
const NETWORK_INSPECT: &[Flag] = &[
    Flag::new("format", Kind::Text).short('f'),
    Flag::new("verbose", Kind::Bool).short('v'),
];
const NETWORK_LS: &[Flag] = &[
    Flag::new("filter", Kind::Filter).short('f'),
    Flag::new("format", Kind::Text),
    Flag::new("no-trunc", Kind::Bool),
    Flag::new("quiet", Kind::Bool).short('q'),
];
const NETWORK_RM: &[Flag] = &[Flag::new("force", Kind::Bool).short('f').newer()];
const PRUNE: &[Flag] = &[
    Flag::new("filter", Kind::Filter),
    Flag::new("force", Kind::Bool).short('f'),
];
const PS: &[Flag] = &[
    Flag::new("all", Kind::Bool).short('a'),
    Flag::new("filter", Kind::Filter).short('f'),
    Flag::new("format", Kind::Text),
    Flag::new("last", Kind::Int).short('n'),
    Flag::new("latest", Kind::Bool).short('l'),
    Flag::new("no-trunc", Kind::Bool),
    Flag::new("quiet", Kind::Bool).short('q'),
    Flag::new("size", Kind::Bool).short('s').ignored(),
];
const PULL: &[Flag] = &[
    Flag::new("all-tags", Kind::Bool).short('a').ignored(),
    Flag::new("platform", Kind::Text).ignored(),
    Flag::new("quiet", Kind::Bool).short('q').ignored(),
];
const RM: &[Flag] = &[
    Flag::new("force", Kind::Bool).short('f'),
    Flag::new("link", Kind::Bool).short('l').ignored(),
    Flag::new("volumes", Kind::Bool).short('v').ignored(),
];
const START: &[Flag] = &[
    Flag::new("attach", Kind::Bool).short('a'),
    Flag::new("detach-keys", Kind::Text),
    Flag::new("interactive", Kind::Bool).short('i'),
];
const STOP: &[Flag] = &[
    Flag::new("signal", Kind::Text).short('s').newer().ignored(),
    Flag::new("time", Kind::Int).short('t'),
    Flag::new("timeout", Kind::Int).means("time").newer(),
];

const fn ignored(long: &'static str, kind: Kind) -> Flag {
    Flag::new(long, kind).ignored()
}

/// `run` and `create`.
const RUN: &[Flag] = &[
    Flag::new("add-host", Kind::ExtraHost),
    ignored("annotation", Kind::Map).newer(),
    Flag::new("attach", Kind::Stream).short('a'),
    ignored("blkio-weight", Kind::Text),
    ignored("blkio-weight-device", Kind::List),
    ignored("cap-add", Kind::List),
    ignored("cap-drop", Kind::List),
    ignored("cgroup-parent", Kind::Text),
    ignored("cgroupns", Kind::Text),
    ignored("cidfile", Kind::Text),
    ignored("cpu-count", Kind::Int),
    ignored("cpu-percent", Kind::Int),
    ignored("cpu-period", Kind::Int),
    ignored("cpu-quota", Kind::Int),
    ignored("cpu-rt-period", Kind::Int),
    ignored("cpu-rt-runtime", Kind::Int),
    ignored("cpu-shares", Kind::Int).short('c'),
    ignored("cpus", Kind::Text),
    ignored("cpuset-cpus", Kind::Text),
    ignored("cpuset-mems", Kind::Text),
    Flag::new("detach", Kind::Bool).short('d'),
    Flag::new("detach-keys", Kind::Text),
    ignored("device", Kind::List),
    ignored("device-cgroup-rule", Kind::List),
    ignored("device-read-bps", Kind::List),
    ignored("device-read-iops", Kind::List),
    ignored("device-write-bps", Kind::List),
    ignored("device-write-iops", Kind::List),
    ignored("disable-content-trust", Kind::Bool),
    Flag::new("dns", Kind::DnsAddress),
    Flag::new("dns-opt", Kind::List).means("dns-option"),
    Flag::new("dns-option", Kind::List),
    Flag::new("dns-search", Kind::DnsSearch),
    Flag::new("domainname", Kind::Text),
    Flag::new("entrypoint", Kind::Text),
    Flag::new("env", Kind::Env).short('e'),
    ignored("env-file", Kind::List),
    Flag::new("expose", Kind::List),
    ignored("gpus", Kind::List),
    ignored("group-add", Kind::List),
    ignored("health-cmd", Kind::Text),
    ignored("health-interval", Kind::Text),
    ignored("health-retries", Kind::Int),
    ignored("health-start-interval", Kind::Text).newer(),
    ignored("health-start-period", Kind::Text),
    ignored("health-timeout", Kind::Text),
    Flag::new("hostname", Kind::Text).short('h'),
    ignored("init", Kind::Bool),
    Flag::new("interactive", Kind::Bool).short('i'),
    Flag::new("ip", Kind::Ip),
    Flag::new("ip6", Kind::Ip),
    ignored("ipc", Kind::Text),
    ignored("isolation", Kind::Text),
    ignored("kernel-memory", Kind::Text),
    Flag::new("label", Kind::Label).short('l'),
    ignored("label-file", Kind::List),
    Flag::new("link", Kind::Link),
    Flag::new("link-local-ip", Kind::List),
    ignored("log-driver", Kind::Text),
    ignored("log-opt", Kind::List),
    Flag::new("mac-address", Kind::Text),
    ignored("memory", Kind::Text).short('m'),
    ignored("memory-reservation", Kind::Text),
    ignored("memory-swap", Kind::Text),
    ignored("memory-swappiness", Kind::Int),
    ignored("mount", Kind::List),
    Flag::new("name", Kind::Text),
    Flag::new("net", Kind::Network).means("network"),
    Flag::new("net-alias", Kind::List).means("network-alias"),
    Flag::new("network", Kind::Network),
    Flag::new("network-alias", Kind::List),
    ignored("no-healthcheck", Kind::Bool),
    ignored("oom-kill-disable", Kind::Bool),
    ignored("oom-score-adj", Kind::Int),
    ignored("pid", Kind::Text),
    ignored("pids-limit", Kind::Int),
    ignored("platform", Kind::Text),
    ignored("privileged", Kind::Bool),
    Flag::new("publish", Kind::List).short('p'),
    Flag::new("publish-all", Kind::Bool).short('P'),
    ignored("pull", Kind::Text),
    ignored("quiet", Kind::Bool).short('q').newer(),
    ignored("read-only", Kind::Bool),
    ignored("restart", Kind::Text),
    Flag::new("rm", Kind::Bool),
    ignored("runtime", Kind::Text),
    ignored("security-opt", Kind::List),
    ignored("shm-size", Kind::Text),
    Flag::new("sig-proxy", Kind::Bool),
    ignored("stop-signal", Kind::Text),
    ignored("stop-timeout", Kind::Int),
    ignored("storage-opt", Kind::List),
    Flag::new("sysctl", Kind::Sysctl),
    ignored("tmpfs", Kind::List),
    Flag::new("tty", Kind::Bool).short('t'),
    ignored("ulimit", Kind::List),
    ignored("user", Kind::Text).short('u'),
    ignored("userns", Kind::Text),
    ignored("uts", Kind::Text),
    ignored("volume", Kind::List).short('v'),
    ignored("volume-driver", Kind::Text),
    ignored("volumes-from", Kind::List),
    ignored("workdir", Kind::Text).short('w'),
];
