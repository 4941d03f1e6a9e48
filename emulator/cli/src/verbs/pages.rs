//! `vethlab completions` and `vethlab man`: what a shell and `man` know of the command line.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use vethlab_cli::args::{Cli, CompletionsArgs, ManArgs};

use super::{BAD_INPUT, project};

/// Prints a shell's script.
pub(crate) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vethlab", &mut script);
    told(project::print(&String::from_utf8_lossy(&script)))
}

/// Prints the page of `vethlab`, or writes the pages of all verbs.
pub(crate) fn man(args: &ManArgs) -> ExitCode {
    let mut command = Cli::command();
    command.build();
    told(match &args.folder {
        None => page(&command).and_then(|page| project::print(&page)),
        Some(folder) => write_all(folder, &command),
    })
}

/// A page, with what stands below the options under the headings that pages have.
fn page(command: &Command) -> Result<String, String> {
    let man = Man::new(command.clone())
        .source(concat!("vethlab ", env!("CARGO_PKG_VERSION")))
        .manual("vethlab");
    let mut page = Vec::new();
    let rendered = man.render(&mut page);
    rendered.map_err(|error| format!("vethlab: {error}"))?;
    let page = String::from_utf8_lossy(&page);
    Ok(page
        .replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n")
        .replace("\nExit codes:\n", "\n.SH EXIT STATUS\n"))
}

fn write_all(folder: &Path, command: &Command) -> Result<(), String> {
    let failed = |path: &Path, error| format!("vethlab: {}: {error}", path.display());
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let verbs = command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help");
    for command in core::iter::once(command).chain(verbs) {
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name());
        let path = folder.join(format!("{name}.1"));
        fs::write(&path, page(command)?).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

fn told(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(BAD_INPUT)
        }
    }
}
