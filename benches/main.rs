//! The benches: a file a question. `cargo bench -p vethlab -- [--smoke] [QUESTION…]` runs those named, or all,
//! and `-- instructions` counts instructions instead; `-- table REPORT.json …` prints what was measured as a table.
//!
//! One binary, because each further one is optimised and linked anew.

#[cfg(target_os = "linux")]
mod attach;
mod bare;
mod calls;
mod capture;
mod common;
mod dns;
#[cfg(target_os = "linux")]
mod egress;
mod forward;
mod idle;
mod instructions;
mod kernel;
mod labs;
mod memory;
mod peers;
mod projects;
#[cfg(target_os = "linux")]
mod published;
#[cfg(target_os = "linux")]
mod realtime;
mod start;
mod tcp;
mod udp;

use std::process::ExitCode;

use common::Report;

/// Measures its rows.
type Run = fn(&mut Report);

fn main() -> ExitCode {
    if let Ok(work) = std::env::var(kernel::AGENT) {
        kernel::agent(&work);
        return ExitCode::SUCCESS;
    }
    #[cfg(target_os = "linux")]
    if let Ok(work) = std::env::var(egress::CLIENT) {
        egress::client(&work);
        return ExitCode::SUCCESS;
    }
    let questions: &[(&'static str, Run)] = &[
        ("forward", forward::run),
        ("tcp", tcp::run),
        ("udp", udp::run),
        ("start", start::run),
        ("memory", memory::run),
        ("labs", labs::run),
        ("idle", idle::run),
        ("dns", dns::run),
        ("capture", capture::run),
        ("kernel", kernel::run),
        #[cfg(target_os = "linux")]
        ("attach", attach::run),
        ("peers", peers::run),
        ("projects", projects::run),
        #[cfg(target_os = "linux")]
        ("realtime", realtime::run),
        #[cfg(target_os = "linux")]
        ("published", published::run),
        #[cfg(target_os = "linux")]
        ("egress", egress::run),
    ];
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    match named.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["callgrind", kernel, turns] => {
            instructions::work(kernel, turns);
            return ExitCode::SUCCESS;
        }
        ["instructions"] => return instructions::check(),
        ["table", ref files @ ..] => return common::table::print(files),
        _ => {}
    }
    for name in &named {
        assert!(
            questions.iter().any(|(known, _)| known == name),
            "no bench is called {name}"
        );
    }
    let mut report = Report::new(!named.is_empty());
    for &(name, run) in questions {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            report.ask(name);
            run(&mut report);
            println!();
        }
    }
    if common::smoke() {
        // The figures mean nothing, but the files can be made.
        assert!(
            report
                .files()
                .iter()
                .all(|(_, content)| !content.is_empty())
        );
    } else {
        report.write().expect("target/bench can be written");
    }
    ExitCode::SUCCESS
}
