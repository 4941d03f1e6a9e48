//! `vethlab up`: a project in real time.

use std::env;
use std::process::{Command, ExitCode};

use vethlab::host::attach::Opener;
use vethlab::host::detach::{self, Started};
use vethlab::host::egress::Rule;
use vethlab::live::control::{Place, folder};
use vethlab::live::{
    EgressWish, Live, ProxyWish, Publishing, Row, Screen, TapWish, Trouble, Wishes,
};
use vethlab_cli::args::{Format, UpArgs};
use vethlab_cli::format::table::align;

use super::{BAD_INPUT, project};

/// Runs the verb.
pub(crate) fn run(args: &UpArgs) -> ExitCode {
    let done = if args.detach && !args.detached {
        start(args)
    } else {
        up(args)
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// Starts this program again in the background, with the same arguments.
fn start(args: &UpArgs) -> Result<u8, String> {
    let words = |error: std::io::Error| format!("vethlab: {error}");
    let program = env::current_exe().map_err(words)?;
    let mut command = Command::new(program);
    command.args(env::args_os().skip(1)).arg("--detached");
    let started = Started::start(command).map_err(words)?;
    let process = started.process();
    let ended = started.wait().map_err(words)?;
    if ended.is_none() && args.format == Format::Text {
        project::print(&format!("it runs in the background as process {process}\n"))?;
    }
    Ok(ended.unwrap_or(0))
}

fn up(args: &UpArgs) -> Result<u8, String> {
    let words = |error: std::io::Error| format!("vethlab: {error}");
    if args.detached {
        detach::leave_session().map_err(words)?;
    }
    let rules = egress(args)?;
    let on = args.on.as_deref();
    let project = args.project_name.as_deref();
    let together = project::together(&args.compose.files(), &args.compose.load, project, on)?;
    let options = project::options(&together, args.seed, args.engine, args.host.as_deref())?;
    let screen = (!args.detached && args.format == Format::Text).then(Screen::stdout);
    let name = together.name.clone();
    let proxies = args.proxy.iter().map(|proxy| ProxyWish {
        place: proxy.place.clone(),
        at: proxy.at,
    });
    let opener = if args.plain_tap {
        Opener::Plain
    } else {
        Opener::Own
    };
    let taps = args.tap.iter().map(|tap| TapWish {
        network: tap.network.clone(),
        tap: tap.tap.clone(),
        opener,
    });
    let wishes = Wishes {
        publishing: publishing(args)?,
        taps: taps.collect(),
        proxies: proxies.collect(),
        egress: EgressWish {
            rules,
            resolvers: args.egress_dns.clone(),
        },
        screen,
        notices: Some(Screen::stderr()),
    };
    let mut live = Live::start(together, &options, &Place::new(folder()), wishes)
        .map_err(|trouble| sentence(&name, trouble))?;
    project::print(&told(args, &mut live))?;
    for sentence in live.unbound() {
        eprintln!("{sentence}");
    }
    for started in &live.up().containers {
        if let Some(error) = &started.error {
            eprintln!("{} does not start: {error}", started.container);
        }
    }
    if args.detached {
        detach::tell_up().map_err(words)?;
    }
    live.run().map_err(words)?;
    Ok(0)
}

fn publishing(args: &UpArgs) -> Result<Publishing, String> {
    let on = &args.publish_on;
    for v6 in [false, true] {
        if on.iter().filter(|on| on.is_ipv6() == v6).count() > 1 {
            let family = if v6 { "IPv6" } else { "IPv4" };
            return Err(format!(
                "vethlab: --publish-on: one {family} address at most"
            ));
        }
    }
    Ok(Publishing {
        off: args.no_publish,
        on: on.clone(),
    })
}

/// What may leave the lab.
fn egress(args: &UpArgs) -> Result<Vec<Rule>, String> {
    let rules = args.egress.iter().map(|rule| rule.parse());
    let rules: Result<_, String> = rules.collect();
    rules.map_err(|sentence| format!("vethlab: --egress: {sentence}"))
}

fn sentence(name: &str, trouble: Trouble) -> String {
    match trouble {
        Trouble::Up(process) => {
            let process = process.map_or_else(String::new, |it| format!(" (process {it})"));
            format!(
                "vethlab: project {name} is up already{process}; `vethlab down -p {name}` ends it"
            )
        }
        Trouble::Network {
            place,
            key,
            sentence,
        } => format!("{place}: networks.{key}: {sentence}"),
        Trouble::Port {
            place,
            service,
            sentence,
        } => format!("{place}: services.{service}: {sentence}"),
        Trouble::Other(sentence) => format!("vethlab: {sentence}"),
    }
}

/// What is said when a project is up.
fn told(args: &UpArgs, live: &mut Live) -> String {
    let rows = live.rows();
    let descriptors = live.descriptors().now;
    if args.format == Format::Json {
        let value = serde_json::json!({
            "project": live.project().name,
            "process": std::process::id(),
            "seed": args.seed,
            "descriptors": descriptors,
            "containers": rows,
            "published": live.bound(),
            "doors": live.doors(),
            "taps": live.taps(),
        });
        return format!("{value}\n");
    }
    let descriptors = descriptors.map_or_else(|| "any number of".to_owned(), |it| it.to_string());
    let mut text = format!(
        "project {} is up, seed {}, with {descriptors} descriptors\n\n{}\n",
        live.project().name,
        args.seed,
        table(&rows)
    );
    for bound in live.bound() {
        text.push_str(&format!("published {bound}\n"));
    }
    for door in live.doors() {
        text.push_str(&format!("{door}\n"));
    }
    for tap in live.taps() {
        text.push_str(&format!("{tap}\n"));
    }
    if !live.bound().is_empty() || !live.doors().is_empty() || !live.taps().is_empty() {
        text.push('\n');
    }
    text
}

/// Containers, a line each.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = "NAME\tSERVICE\tSTATUS\tADDRESSES\tPORTS\n".to_owned();
    for row in rows {
        let addresses: Vec<String> = row
            .addresses
            .iter()
            .map(|address| format!("{} ({})", address.address, address.network))
            .collect();
        let ports: Vec<String> = row
            .ports
            .iter()
            .map(|port| {
                let real = port.real.map(|at| format!(" at {at}"));
                format!("{}->{}{}", port.host, port.port, real.unwrap_or_default())
            })
            .collect();
        let status = match row.exit {
            Some(code) => format!("{} ({code})", row.state),
            None => row.state.clone(),
        };
        let cells = [
            row.name.clone(),
            row.service.clone(),
            status,
            addresses.join(", "),
            ports.join(", "),
        ];
        text.push_str(&(cells.join("\t") + "\n"));
    }
    align(&text)
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}
