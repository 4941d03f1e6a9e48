//! The programs that containers run: busybox 1.36 as Alpine and the busybox image carry it, and the
//! `curl` and `dig` of netshoot; at the Docker host `iptables` and `conntrack` too.
//!
//! Each is an [`App`] that sees only [`crate::app::Sys`] and prints what the real one prints. There is no
//! disk: what a program would save is counted and forgotten. There is no wall clock either, so dates are left
//! out. [`spawn`] finds a program by its argument vector.

mod args;
mod by_stream;
mod curl;
mod dig;
mod firewall;
pub mod getent;
mod http;
mod listing;
mod nc;
mod nslookup;
mod ping;
pub mod probe;
mod resolve;
pub mod show;
mod simple;
pub mod stand_in;
mod traceroute;
pub mod web;
mod wget;

#[cfg(test)]
mod fake;

use crate::app::App;
use crate::netns::Errno;

pub use probe::{Probe, Sink};
pub use stand_in::StandIn;
pub use web::Web;

/// The C library of an image: the texts of errors and the search rules of names come from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Libc {
    /// glibc: the `busybox` and `ubuntu` images.
    Glibc,
    /// musl: the `alpine` and `netshoot` images.
    #[default]
    Musl,
}

impl Libc {
    /// What `strerror` says.
    #[must_use]
    pub const fn text(self, errno: Errno) -> &'static str {
        match (self, errno) {
            (Self::Glibc, _) => errno.text(),
            (Self::Musl, Errno::AddrInUse) => "Address in use",
            (Self::Musl, Errno::AddrNotAvail) => "Address not available",
            (Self::Musl, Errno::HostUnreach) => "Host is unreachable",
            (Self::Musl, Errno::MsgSize) => "Message too large",
            (Self::Musl, Errno::NetUnreach) => "Network unreachable",
            (Self::Musl, Errno::NotConn) => "Socket not connected",
            (Self::Musl, Errno::TimedOut) => "Operation timed out",
            (Self::Musl, _) => errno.text(),
        }
    }

    const fn flavour(self) -> dns::Flavour {
        match self {
            Self::Glibc => dns::Flavour::Glibc,
            Self::Musl => dns::Flavour::Musl,
        }
    }
}

/// What a program starts with besides its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The image's C library.
    pub libc: Libc,
    /// The image has iproute2 beside or instead of busybox's `ip`.
    pub iproute2: bool,
    /// The place is the Docker host, whose rules and connections `iptables` and `conntrack` show.
    pub firewall: bool,
    /// Standard input, whole; it ends after this.
    pub stdin: Vec<u8>,
}

impl Context {
    /// What a program of an image starts with: `alpine` and `netshoot` are built on musl, `ubuntu` and `netshoot`
    /// have iproute2.
    #[must_use]
    pub fn of_image(image: &str, stdin: Vec<u8>) -> Self {
        let last = image.rsplit('/').next().unwrap_or(image);
        let name = last.split([':', '@']).next().unwrap_or(last);
        Self {
            libc: if matches!(name, "alpine" | "netshoot") {
                Libc::Musl
            } else {
                Libc::Glibc
            },
            iproute2: matches!(name, "ubuntu" | "netshoot"),
            firewall: false,
            stdin,
        }
    }
}

/// Starts a program in an Alpine image without standard input.
///
/// # Errors
/// `sh: foo: not found`, for which a shell exits with 127.
pub fn spawn(argv: &[String]) -> Result<Box<dyn App>, String> {
    spawn_in(argv, &Context::default())
}

/// Starts a program.
///
/// # Errors
/// `sh: foo: not found`, for which a shell exits with 127. Wrong arguments are not an error here: the program
/// prints its usage and exits.
pub fn spawn_in(argv: &[String], context: &Context) -> Result<Box<dyn App>, String> {
    let program = program_of(argv);
    let start = starter(program);
    let start = start.or_else(|| firewall::starter(program).filter(|_| context.firewall));
    let start = start.ok_or_else(|| format!("sh: {program}: not found"))?;
    Ok(start(argv.get(1..).unwrap_or_default(), context).unwrap_or_else(simple::failed))
}

/// The program goes on in the background after its start, as a daemon does.
#[must_use]
pub fn detaches(argv: &[String]) -> bool {
    program_of(argv) == "httpd" && web::detaches(argv.get(1..).unwrap_or_default())
}

/// The program's own name: `/bin/ping` and `busybox ping` are `ping`.
fn program_of(argv: &[String]) -> &str {
    let first = argv.first().map_or("", String::as_str);
    first.rsplit('/').next().unwrap_or(first)
}

/// Makes a program from its arguments (its name left out), or says what it prints and exits with.
type Start = fn(&[String], &Context) -> Result<Box<dyn App>, args::Failure>;

fn starter(program: &str) -> Option<Start> {
    Some(match program {
        "arp" | "ifconfig" | "ip" | "netstat" | "route" | "ss" => return listing::starter(program),
        "cat" => simple::cat,
        "curl" => curl::start,
        "dig" => dig::start,
        "echo" => simple::echo,
        "false" => simple::falsehood,
        "getent" => getent::start,
        "hostname" => simple::hostname,
        "http" | "web" => web::start_web,
        "httpd" => web::start_httpd,
        "nc" => nc::start,
        "nslookup" => nslookup::start,
        "ping" => ping::start,
        "ping6" => ping::start_v6,
        "probe" => probe::start_probe,
        "sink" => probe::start_sink,
        "sleep" => simple::sleep,
        "traceroute" => traceroute::start,
        "traceroute6" => traceroute::start_v6,
        "true" | ":" => simple::truth,
        "wget" => wget::start,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(spawn(&argv("ping db")).is_ok());
        assert!(spawn(&argv("/bin/ping db")).is_ok());
        let error = spawn(&argv("foo --bar")).expect_err("no such program");
        assert_eq!(error, "sh: foo: not found");
        assert!(spawn(&[]).is_err());
    }

    #[test]
    fn only_httpd_without_f_detaches() {
        assert!(detaches(&argv("httpd -p 80")));
        assert!(detaches(&argv("/usr/sbin/httpd")));
        assert!(!detaches(&argv("httpd -fp 80")));
        assert!(!detaches(&argv("nc -l -p 80")));
    }

    #[test]
    fn errors_read_as_each_library_says_them() {
        assert_eq!(Libc::Musl.text(Errno::NetUnreach), "Network unreachable");
        assert_eq!(
            Libc::Glibc.text(Errno::NetUnreach),
            "Network is unreachable"
        );
        assert_eq!(Libc::Musl.text(Errno::ConnRefused), "Connection refused");
    }
}
