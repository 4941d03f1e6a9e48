//! `vethlab init`: what a project's files dial, as the expectations of a first `vethlab.yaml`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vethlab::compose::{Images, Project, proposal, proposal_of_host, proposal_together};
use vethlab_cli::args::init::InitArgs;

use super::{BAD_INPUT, project};

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
    let text = text(args)?;
    match &args.output {
        Some(path) => write(path, &text, args.force),
        None => project::print(&text),
    }
}

fn text(args: &InitArgs) -> Result<String, String> {
    let images = Images::builtin();
    let on = args.on.as_deref();
    if args.together {
        return together(args, &images);
    }
    let files = project::files(&args.compose.files(), on)?;
    if let [file] = files.as_slice()
        && project::is_config(file)
    {
        return configured(args, &images, file);
    }
    let asked = project::quietly(&files, &args.compose.load, None, on)?;
    let names = names(args, &files)?;
    Ok(proposal(&asked.projects[0].1, &images, &names))
}

/// Files as they are called from where the vethlab.yaml will be.
fn names(args: &InitArgs, files: &[PathBuf]) -> Result<Vec<String>, String> {
    let folder = args.output.as_deref().and_then(Path::parent);
    let seen = |file: &PathBuf| match folder {
        Some(folder) if !folder.as_os_str().is_empty() => from(folder, file),
        _ => file.clone(),
    };
    let files: Vec<PathBuf> = files.iter().map(seen).collect();
    project::texts(&files)
}

/// The way from a folder to a file.
fn from(folder: &Path, file: &Path) -> PathBuf {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (folder, file) = (absolute(folder), absolute(file));
    let mut above = PathBuf::new();
    for ancestor in folder.ancestors() {
        if let Ok(below) = file.strip_prefix(ancestor) {
            return above.join(below);
        }
        above.push("..");
    }
    file
}

/// Each file a project of its own, all of them on one host.
fn together(args: &InitArgs, images: &Images) -> Result<String, String> {
    let mut projects: Vec<(Project, Vec<String>)> = Vec::new();
    for given in &args.compose.named {
        let files = project::files(std::slice::from_ref(given), None)?;
        let asked = project::quietly(&files, &args.compose.load, None, None)?;
        let name = asked.name;
        if projects.iter().any(|(other, _)| other.name == name) {
            return Err(format!(
                "vethlab: {}: two projects are named {name} on one host\nhint: `name: …` in one of the files tells them apart",
                given.display()
            ));
        }
        let own = asked.projects.into_iter().map(|(_, own)| own);
        projects.extend(own.zip([names(args, &files)?]));
    }
    let members: Vec<(&str, &Project, &[String])> = projects
        .iter()
        .map(|(own, files)| (own.name.as_str(), own, files.as_slice()))
        .collect();
    Ok(proposal_together("server", &members, images))
}

/// Of a vethlab.yaml: what the projects of a host dial of each other, or a project that runs by itself.
fn configured(args: &InitArgs, images: &Images, file: &Path) -> Result<String, String> {
    if args.output.as_deref() == Some(file) {
        return Err(format!(
            "vethlab: {}: is what is read; without --output it is printed what to put there",
            file.display()
        ));
    }
    let files = [file.to_owned()];
    let asked = project::quietly(&files, &args.compose.load, None, args.on.as_deref())?;
    let members = asked.projects.iter();
    let members = members.map(|(key, own)| Some((key.as_deref()?, own)));
    let members: Option<Vec<(&str, &Project)>> = members.collect();
    Ok(match members {
        Some(members) => proposal_of_host(&asked.name, &members, images),
        None => {
            let own = &asked.projects[0].1;
            proposal(own, images, &own.files)
        }
    })
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
