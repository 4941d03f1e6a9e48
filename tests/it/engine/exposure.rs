//! The matrix against the record: what it says of a published port is what the engine answered there.

use core::net::{IpAddr, SocketAddr};

use emulator_compose::Images;
use emulator_core::docker::spec::Engine;
use vethlab::matrix::{Depth, How, Matrix, fill, label};

use super::record::Record;
use super::replay::{Replayed, replay};

/// How the cells of a record compare.
#[derive(Debug, Default)]
struct Compared {
    equal: usize,
    /// Asked of a container that is not the first of its service, or answered by somebody else.
    left_out: usize,
    wrong: Vec<String>,
}

/// One recorded cell.
struct Recorded<'a> {
    from: &'a str,
    owner: &'a str,
    port: &'a str,
    at: SocketAddr,
    open: bool,
    source: Option<IpAddr>,
    /// Who answered, if it was not the owner.
    other: bool,
}

fn cells<'a>(record: &'a Record, replayed: &Replayed) -> Vec<Recorded<'a>> {
    let mut cells = Vec::new();
    let entries = |value: &'a serde_json::Value| value.as_object().into_iter().flatten();
    for (opening, askers) in entries(&record.json["published"]) {
        let (host, container) = opening.split_once("->").unwrap();
        let (owner, port) = container.rsplit_once(' ').unwrap();
        let host_port = replayed.host_port(owner, port, host);
        for (from, targets) in entries(askers) {
            for (target, recorded) in entries(targets) {
                let unstable = record.unstable(&format!("/published/{opening}/{from}/{target}/r"));
                let address = target
                    .rsplit_once(' ')
                    .map_or(target.as_str(), |(_, ip)| ip);
                let (Ok(address), Some(host_port), false) = (address.parse(), host_port, unstable)
                else {
                    continue;
                };
                cells.push(Recorded {
                    from,
                    owner,
                    port,
                    at: SocketAddr::new(address, host_port),
                    open: recorded["r"] == "open",
                    source: recorded["src"]
                        .as_str()
                        .and_then(|source| source.parse().ok()),
                    other: recorded["by"].as_str().is_some_and(|by| by != owner),
                });
            }
        }
    }
    cells
}

/// The service of a container, and whether it is the one that asks for it.
fn service(replayed: &Replayed, container: &str) -> Option<(String, bool)> {
    let all = &replayed.up.containers;
    let started = all.iter().find(|started| started.container == container)?;
    let first = replayed.up.running(&started.service).next()?;
    Some((label(&started.service), first.container == container))
}

fn compare(record: &Record, replayed: &Replayed, matrix: &Matrix, out: &mut Compared) {
    for cell in cells(record, replayed) {
        let from = match cell.from {
            "host" => Some(("host".to_owned(), true)),
            "outside" => Some(("lan".to_owned(), true)),
            container => service(replayed, container),
        };
        let (Some((from, true)), Some((to, _)), false) =
            (from, service(replayed, cell.owner), cell.other)
        else {
            out.left_out += 1;
            continue;
        };
        let (port, protocol) = cell.port.split_once('/').unwrap();
        let mut found = matrix.cells.iter().filter(|found| {
            found.from == from
                && found.to == to
                && found.port.map(|port| port.to_string()).as_deref() == Some(port)
                && found.protocol == protocol
        });
        let ways = found.next().map_or(&[][..], |found| &found.ways);
        let way = ways.iter().find(|way| {
            way.at == cell.at && matches!(way.how, How::Host | How::Gateway | How::Loopback)
        });
        let seen = way.map(|way| {
            let source = way.sees.as_ref().map(|seen| seen.address);
            (way.open, source)
        });
        let place = format!(
            "{} {from} -> {to}:{} at {}",
            record.name, cell.port, cell.at
        );
        match seen {
            Some((open, source)) if open == cell.open && (!open || source == cell.source) => {
                out.equal += 1;
            }
            // What the matrix does not try is not open.
            None if !cell.open => out.left_out += 1,
            _ => out.wrong.push(format!(
                "{place}: recorded {} {:?}, seen {seen:?}",
                cell.open, cell.source
            )),
        }
    }
}

/// Every recorded answer at a published port is in the matrix: open or not, with the source that the
/// server saw.
#[test]
fn the_matrix_finds_every_published_port_of_the_record() {
    let mut out = Compared::default();
    for record in super::handmade() {
        if record.json["published"]
            .as_object()
            .is_none_or(|all| all.is_empty())
        {
            continue;
        }
        let mut replayed = replay(&record, Engine::V20_10);
        let Ok(project) = replayed.project.clone() else {
            continue;
        };
        let images = Images::default();
        let up = replayed.up.clone();
        let matrix = fill(
            &mut replayed.lab,
            &project,
            &up,
            &images,
            Depth::Every,
            1,
            |_, _, _| Ok(()),
        )
        .unwrap();
        compare(&record, &replayed, &matrix, &mut out);
    }
    crate::rig::say(&format!(
        "published ports of the record in the matrix: {} equal, {} left out",
        out.equal, out.left_out
    ));
    assert!(out.equal > 350, "{out:?}");
    assert_eq!(out.wrong, Vec::<String>::new());
}
