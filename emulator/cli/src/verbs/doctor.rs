//! `vethlab doctor`: which ways of attaching work on this machine, each tried in a process of its own.

use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vethlab::host::attach::{Opener, trial};
use vethlab::host::trials::{self, Found};
use vethlab_cli::args::{DoctorArgs, Format};
use vethlab_cli::format::table::align;

use super::{BAD_INPUT, extcap, project};

/// How long one trial may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Without these nothing comes up.
const NEEDED: [&str; 3] = ["real-time", "control-socket", "published-tcp"];

/// A way, how it is tried, and what works where it does not.
struct Way {
    name: &'static str,
    title: &'static str,
    attempt: fn() -> Found,
    instead: &'static str,
}

const fn way(
    name: &'static str,
    title: &'static str,
    attempt: fn() -> Found,
    instead: &'static str,
) -> Way {
    Way {
        name,
        title,
        attempt,
        instead,
    }
}

const VIRTUAL: &str = "check, test, matrix, why and play run in virtual time and need nothing";
const TOOLS: &str =
    "`vethlab exec` runs the lab's own tools, published ports and proxies let real programs in";
const NAMESPACE: &str = "vethlab attach takes another way by itself where one works";

/// Every way, in the order in which it is told.
static WAYS: [Way; 19] = [
    way("real-time", "vethlab up", trials::runtime, VIRTUAL),
    way(
        "control-socket",
        "control socket",
        trials::control,
        "XDG_RUNTIME_DIR may name a folder of yours",
    ),
    way(
        "published-tcp",
        "published ports, TCP",
        trials::published_streams,
        VIRTUAL,
    ),
    way(
        "published-udp",
        "published ports, UDP",
        trials::datagrams,
        "TCP ports",
    ),
    way(
        "upstream",
        "upstream: a real server as a service",
        trials::streams,
        VIRTUAL,
    ),
    way(
        "proxy",
        "proxies (SOCKS5, HTTP), dial",
        trials::streams,
        VIRTUAL,
    ),
    way(
        "egress-tcp",
        "egress, TCP",
        trials::way_out,
        "--egress localhost:PORT, upstream",
    ),
    way(
        "egress-udp",
        "egress, UDP",
        trials::way_out,
        "--egress localhost:PORT",
    ),
    way(
        "egress-ping",
        "egress, ping",
        trials::pings,
        "`sysctl net.ipv4.ping_group_range='0 2147483647'` opens them; TCP, UDP and names leave without",
    ),
    way(
        "egress-dns",
        "egress, names",
        trials::resolvers,
        "--egress-dns ADDRESS",
    ),
    way(
        "attach-root-tap",
        "attach, TAP as root",
        || trial::Way::RootTap.attempt(),
        NAMESPACE,
    ),
    way(
        "attach-user-tap",
        "attach, TAP in a user namespace",
        || trial::Way::UserTap.attempt(),
        NAMESPACE,
    ),
    way(
        "attach-user-veth",
        "attach, veth in a user namespace",
        || trial::Way::UserVeth.attempt(),
        TOOLS,
    ),
    way(
        "tap",
        "up --tap, a TAP of this machine",
        || trial::Way::BareTap(Opener::Own).attempt(),
        "vethlab attach, where a namespace can be made",
    ),
    way(
        "plain-tap",
        "up --tap --plain-tap, by tun-tap",
        || trial::Way::BareTap(Opener::Plain).attempt(),
        "--tap without --plain-tap, vethlab attach",
    ),
    way(
        "capture",
        "vethlab capture into files and pipes",
        capture,
        VIRTUAL,
    ),
    way(
        "tshark",
        "tshark",
        || analyser("tshark"),
        "vethlab capture writes files that Wireshark elsewhere reads",
    ),
    way(
        "wireshark",
        "Wireshark",
        || analyser("wireshark"),
        "vethlab capture writes files that Wireshark elsewhere reads",
    ),
    way(
        "extcap",
        "vethlab among Wireshark's interfaces",
        extcap::found,
        "`vethlab capture -w - | wireshark -k -i -`",
    ),
];

/// Runs the verb.
pub(crate) fn run(args: &DoctorArgs) -> ExitCode {
    if let Some(name) = &args.trial {
        return attempt(name);
    }
    let found: Vec<(&Way, Found)> = WAYS.iter().map(|way| (way, tried(way.name))).collect();
    let needed = |(way, found): &(&Way, Found)| found.is_ok() || !NEEDED.contains(&way.name);
    let works = found.iter().all(needed);
    let text = match args.format {
        Format::Text => table(&found),
        Format::Json => format!("{}\n", value(&found, works)),
    };
    match project::print(&text) {
        Ok(()) => ExitCode::from(u8::from(!works)),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// The process that tries a way.
fn attempt(name: &str) -> ExitCode {
    let Some(way) = WAYS.iter().find(|way| way.name == name) else {
        eprintln!("vethlab: doctor knows no way {name:?}");
        return ExitCode::from(BAD_INPUT);
    };
    let found = (way.attempt)();
    let value = match &found {
        Ok(sentence) => json!({"works": true, "why": sentence}),
        Err(sentence) => json!({"works": false, "why": sentence}),
    };
    // Whoever asked reads it, or is gone.
    let _gone = writeln!(std::io::stdout(), "{value}");
    ExitCode::SUCCESS
}

/// Has another process try a way.
fn tried(name: &str) -> Found {
    let words = |error: std::io::Error| format!("it could not be tried: {error}");
    let mut child = std::env::current_exe()
        .and_then(|program| {
            Command::new(program)
                .args(["doctor", "--try", name])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
        })
        .map_err(words)?;
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(words)? {
            break status;
        }
        if begin.elapsed() > PATIENCE {
            let _ended = child.kill();
            let _reaped = child.wait();
            return Err(format!("it did not end within {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut said = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut said).map_err(words)?;
    }
    let value: Value = serde_json::from_str(said.trim())
        .map_err(|_| format!("the process that tried it ended oddly ({status})"))?;
    let why = value["why"].as_str().unwrap_or_default().to_owned();
    if value["works"] == true {
        Ok(why)
    } else {
        Err(why)
    }
}

/// Whether captures can be kept.
fn capture() -> Found {
    Ok("needs nothing".to_owned())
}

/// Whether a program that shows captures is here.
fn analyser(program: &str) -> Found {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("{program} cannot be run ({error})"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    if first.is_empty() {
        return Err(format!("{program} does not say its version"));
    }
    Ok(format!(
        "{first}: `vethlab capture -w - | {program} -i -` shows a project as it runs"
    ))
}

fn table(found: &[(&Way, Found)]) -> String {
    let mut text = "WAY\tHERE\tWHY\n".to_owned();
    for (way, found) in found {
        let (here, why) = match found {
            Ok(why) => ("works", why.clone()),
            Err(why) => ("no", format!("{why}; instead: {}", way.instead)),
        };
        text.push_str(&format!("{}\t{here}\t{why}\n", way.title));
    }
    align(&text)
}

fn value(found: &[(&Way, Found)], works: bool) -> Value {
    let ways = found.iter().map(|(way, found)| {
        let (Ok(why) | Err(why)) = found;
        json!({
            "way": way.name,
            "title": way.title,
            "works": found.is_ok(),
            "why": why,
            "instead": found.is_err().then_some(way.instead),
        })
    });
    json!({"up": works, "ways": ways.collect::<Vec<_>>()})
}
