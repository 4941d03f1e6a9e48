//! `vethlab init`: what a project's files dial, as the expectations of a first `vethlab.yaml`.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use vethlab::compose::{Images, Options, proposal};
use vethlab::files;
use vethlab_cli::args::init::InitArgs;

use super::{BAD_INPUT, outside};

/// Prints or writes the file.
pub(crate) fn run(args: &InitArgs) -> ExitCode {
    match propose(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn propose(args: &InitArgs) -> Result<(), String> {
    let names = args.files.iter().map(|file| {
        let name = file.to_str().map(str::to_owned);
        name.ok_or_else(|| format!("vethlab: {}: not UTF-8", file.display()))
    });
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let project = files::load_with(Options {
        files: names.clone(),
        env: environment,
        allow_outside: outside::allowed(),
        ..Options::default()
    });
    let project = project.map_err(|errors| errors.to_string())?;
    let text = proposal(&project, &Images::builtin(), &names);
    match &args.output {
        Some(path) => write(path, &text, args.force),
        None => match io::stdout().lock().write_all(text.as_bytes()) {
            // A reader that has seen enough is none of our troubles.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("vethlab: {error}")),
            _ => Ok(()),
        },
    }
}

/// Writes a file that is not there yet, or may be overwritten.
fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            format!(
                "vethlab: {}: is there already; --force overwrites it",
                path.display()
            )
        }
        _ => format!("vethlab: {}: {error}", path.display()),
    })
}
