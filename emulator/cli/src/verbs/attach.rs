//! `vethlab attach`: a real program on a network of a project that is up.

use std::net::IpAddr;
use std::process::{Command, ExitCode};

use ipnet::IpNet;
use serde_json::{Value, json};
use vethlab::host::attach::{Eth0, Files, Space, inside, run as run_first};
use vethlab::host::control::Answer;
use vethlab_cli::args::AttachArgs;

use super::desk::{ended, which};

/// A program that cannot be started: the exit code of a shell that says so.
const NOT_FOUND: u8 = 127;

/// Runs the verb.
pub(crate) fn run(args: &AttachArgs) -> ExitCode {
    if args.inside {
        return ended(program(&args.argv));
    }
    ended(attach(args))
}

/// The first process of the namespace: starts the program.
fn program(argv: &[String]) -> Result<u8, String> {
    let (program, rest) = argv.split_first().ok_or("attach needs a program")?;
    let mut command = Command::new(program);
    command.args(rest);
    inside(command).or_else(|error| {
        eprintln!("vethlab: {program}: {error}");
        Ok(NOT_FOUND)
    })
}

fn attach(args: &AttachArgs) -> Result<u8, String> {
    let mut client = which(&args.which)?;
    let space = Space::enter(args.root)?;
    let request = json!({"verb": "attach", "network": args.network, "name": args.name});
    client
        .ask_with(&request, &space.descriptors())
        .map_err(|error| error.to_string())?;
    let value = match client.next().map_err(|error| error.to_string())? {
        Answer::Value(value) => value,
        Answer::Error(sentence) => return Err(sentence),
        Answer::Part(..) | Answer::Exit(_) => return Err("not an answer to attach".to_owned()),
    };
    let (eth0, files) = read(&value).ok_or("not an answer to attach")?;
    for file in space.configure(&eth0, &files)? {
        eprintln!("vethlab: {file} is this machine's: nothing can be mounted over it");
    }
    let mut first = Command::new("/proc/self/exe");
    first.args(["attach", "--inside", &args.network, "--"]);
    first.args(&args.argv);
    run_first(first, &client).map_err(|error| format!("no first process: {error}"))
}

/// What the project says of the container.
fn read(value: &Value) -> Option<(Eth0, Files)> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let list = |key: &str| value[key].as_array();
    let mut mac = [0; 6];
    for (byte, told) in mac.iter_mut().zip(list("mac")?) {
        *byte = u8::try_from(told.as_u64()?).ok()?;
    }
    let addresses: Option<Vec<IpNet>> = list("addresses")?
        .iter()
        .map(|told| told.as_str()?.parse().ok())
        .collect();
    let gateways: Option<Vec<IpAddr>> = list("gateways")?
        .iter()
        .map(|told| told.as_str()?.parse().ok())
        .collect();
    let eth0 = Eth0 {
        mac,
        mtu: u32::try_from(value["mtu"].as_u64()?).ok()?,
        addresses: addresses?,
        gateways: gateways?,
    };
    let files = Files {
        hostname: text("hostname")?,
        hosts: text("hosts")?,
        resolv_conf: text("resolv_conf")?,
    };
    Some((eth0, files))
}
