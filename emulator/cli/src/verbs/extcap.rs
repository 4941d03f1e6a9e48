//! `vethlab extcap`: Wireshark's plug-in interface for capturing at projects that are up.
//!
//! After Wireshark's doc/extcap: it asks for the interfaces, for the link type and the options of one, has a capture
//! filter checked, and starts a capture into a pipe, which it ends by a signal or by reading no more.
//! An interface is `vethlab:PROJECT`, each frame once for each network that it crosses, or
//! `vethlab:PROJECT:PLACE`, where PLACE is what `vethlab capture -i` takes.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::json;
use vethlab::host::control::Answer;
use vethlab_cli::args::ExtcapArgs;

use super::capture::{ToPipe, interfaces, stream};
use super::desk::{ended, place};
use super::project::print;

/// What interfaces are called.
const PREFIX: &str = "vethlab:";
/// Interfaces that are listed of a project, at most.
const LISTED: usize = 400;
/// The line by which the plug-in is known.
const MARK: &str =
    "# Written by `vethlab extcap --install`; `vethlab extcap --uninstall` takes it away.";

/// Does what Wireshark, or who installs it, asks for.
pub(crate) fn run(args: &ExtcapArgs) -> ExitCode {
    let done = if args.install {
        install(args.folder.as_deref())
    } else if args.uninstall {
        uninstall(args.folder.as_deref())
    } else if args.extcap_cleanup_postkill {
        Ok(())
    } else if args.extcap_interfaces {
        print(&list())
    } else {
        at_interface(args)
    };
    ended(done.map(|()| 0))
}

fn at_interface(args: &ExtcapArgs) -> Result<(), String> {
    let Some(interface) = &args.extcap_interface else {
        return Err("--install, --uninstall, or what Wireshark asks its plug-ins for".to_owned());
    };
    let (project, place_name) = parsed(interface)
        .ok_or_else(|| format!("{interface}: not vethlab:PROJECT or vethlab:PROJECT:PLACE"))?;
    if args.extcap_dlts {
        return print("dlt {number=1}{name=EN10MB}{display=Ethernet}\n");
    }
    if args.extcap_config {
        return print(
            "arg {number=0}{call=--snaplen}{display=Bytes kept of each frame}\
             {tooltip=0 keeps all}{type=unsigned}{default=0}\n",
        );
    }
    let filter = args.extcap_capture_filter.as_deref().unwrap_or_default();
    if args.capture {
        let fifo = args.fifo.as_deref().ok_or("--capture needs --fifo")?;
        return capture(args, project, place_name, filter, fifo);
    }
    if args.extcap_capture_filter.is_some() {
        // A filter that is fine is one of which nothing is said.
        return print(&check(project, place_name, filter));
    }
    Err("nothing is asked of the interface".to_owned())
}

/// The project and, if one is named, the place.
fn parsed(interface: &str) -> Option<(&str, Option<&str>)> {
    let rest = interface.strip_prefix(PREFIX)?;
    Some(match rest.split_once(':') {
        Some((project, place)) => (project, Some(place)),
        None => (rest, None),
    })
}

fn list() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "extcap {{version={version}}}{{display=vethlab: Docker networks in one process}}\n"
    );
    let mut add = |name: String, what: &str| {
        text.push_str(&format!("interface {{value={name}}}{{display={what}}}\n"));
    };
    for project in place().projects() {
        add(
            format!("{PREFIX}{project}"),
            &format!("vethlab {project}, at each network"),
        );
        add(
            format!("{PREFIX}{project}:any"),
            &format!("vethlab {project}, everywhere"),
        );
        // A project that goes down meanwhile has none.
        let names = place()
            .connect(&project)
            .and_then(|mut client| interfaces(&mut client));
        for name in names.unwrap_or_default().into_iter().take(LISTED) {
            add(
                format!("{PREFIX}{project}:{name}"),
                &format!("vethlab {project}, {name}"),
            );
        }
    }
    text
}

/// What is wrong with a filter, in a line; nothing if it is fine.
fn check(project: &str, at: Option<&str>, filter: &str) -> String {
    let asked = place().connect(project).and_then(|mut client| {
        let request = json!({
            "verb": "capture",
            "interfaces": at.into_iter().collect::<Vec<_>>(),
            "filter": filter,
            "count": 0,
        });
        client.ask(&request).map_err(|error| error.to_string())?;
        loop {
            match client.next().map_err(|error| error.to_string())? {
                Answer::Error(sentence) => return Err(sentence),
                Answer::Exit(_) => return Ok(()),
                _ => {}
            }
        }
    });
    match asked {
        Ok(()) => String::new(),
        Err(sentence) => format!("{}\n", sentence.lines().next().unwrap_or_default()),
    }
}

fn capture(
    args: &ExtcapArgs,
    project: &str,
    at: Option<&str>,
    filter: &str,
    fifo: &Path,
) -> Result<(), String> {
    let client = place().connect(project)?;
    let request = json!({
        "verb": "capture",
        "interfaces": at.into_iter().collect::<Vec<_>>(),
        "filter": filter,
        "snaplen": args.snaplen,
    });
    let pipe = ToPipe::open(fifo)?;
    stream(client, project, &request, Box::new(pipe)).map(|_counted| ())
}

/// Wireshark's personal folder for plug-ins of this kind, and how it is known.
fn folder() -> Result<(PathBuf, String), String> {
    for tool in ["tshark", "wireshark"] {
        let Ok(output) = Command::new(tool).args(["-G", "folders"]).output() else {
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let named = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|path| PathBuf::from(path.trim()))
        };
        if let Some(path) = named("Personal Extcap path:") {
            return Ok((path, format!("as {tool} says")));
        }
        // Before 4.2 it is beside the preferences.
        if let Some(path) = named("Personal configuration:") {
            return Ok((
                path.join("extcap"),
                format!("as this version of {tool} has it"),
            ));
        }
    }
    let home = std::env::var_os("HOME").ok_or("HOME is not set; --folder says where to")?;
    let path = Path::new(&home).join(".local/lib/wireshark/extcap");
    Ok((
        path,
        "tshark is not here to be asked; Wireshark has it so since 4.2".to_owned(),
    ))
}

fn given(folder_given: Option<&Path>) -> Result<(PathBuf, String), String> {
    match folder_given {
        Some(path) => Ok((path.to_owned(), "as was asked".to_owned())),
        None => folder(),
    }
}

fn install(to: Option<&Path>) -> Result<(), String> {
    let (folder, why) = given(to)?;
    let words = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = program.to_str().ok_or("the path of vethlab is not UTF-8")?;
    let quoted = program.replace('\'', r"'\''");
    let path = folder.join("vethlab");
    if path.exists() && !is_ours(&path) {
        return Err(format!(
            "{}: something else is there already",
            path.display()
        ));
    }
    fs::create_dir_all(&folder).map_err(|error| words(&folder, error))?;
    fs::write(
        &path,
        format!("#!/bin/sh\n{MARK}\nexec '{quoted}' extcap \"$@\"\n"),
    )
    .map_err(|error| words(&path, error))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(|error| words(&path, error))?;
    print(&format!(
        "wrote {} ({why})\nit runs {program}; the projects that are up are among the interfaces of Wireshark and tshark now\n",
        path.display()
    ))
}

/// Whether Wireshark finds the plug-in, and where.
///
/// # Errors
/// Why it does not.
pub(crate) fn found() -> Result<String, String> {
    let (folder, why) = folder()?;
    let path = folder.join("vethlab");
    if is_ours(&path) {
        Ok(format!("{} ({why})", path.display()))
    } else {
        Err(format!(
            "not installed: `vethlab extcap --install` writes {} ({why})",
            path.display()
        ))
    }
}

fn uninstall(from: Option<&Path>) -> Result<(), String> {
    let (folder, _) = given(from)?;
    let path = folder.join("vethlab");
    if !path.exists() {
        return print(&format!("{} is not there\n", path.display()));
    }
    if !is_ours(&path) {
        return Err(format!("{}: not written by vethlab", path.display()));
    }
    fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    print(&format!("took {} away\n", path.display()))
}

fn is_ours(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line == MARK))
}
