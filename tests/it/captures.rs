//! Captures, read back: by tshark, where there is one, and byte by byte against the kept ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use emulator_core::net::CaptureAt;
use switch::DropReason;

use crate::rig::{root, say, skip};
use crate::scenes::{How, Left, SCENES, Scene};

/// Every checksum is looked at.
const STRICT: &[&str] = &[
    "-o",
    "ip.check_checksum:TRUE",
    "-o",
    "tcp.check_checksum:TRUE",
    "-o",
    "udp.check_checksum:TRUE",
];

/// Runs tshark on `pcap`; `None`, said aloud, where there is no tshark.
fn tshark(pcap: &[u8], arguments: &[&str]) -> Option<String> {
    let spawned = Command::new("tshark")
        .args(["-r", "-"])
        .args(STRICT)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        skip("tshark is not here: captures are not read back");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let bytes = pcap.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    let fed = feeder.join().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<_> = errors
        .lines()
        .filter(|line| !line.starts_with("Running as user"))
        .collect();
    assert!(output.status.success() && complaints.is_empty(), "{errors}");
    fed.unwrap();
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The named fields of every packet that `filter` lets through.
fn fields(pcap: &[u8], filter: &str, names: &[&str]) -> Option<Vec<Vec<String>>> {
    let mut arguments = vec!["-Y", filter, "-T", "fields", "-E", "separator=|"];
    for name in names {
        arguments.extend(["-e", name]);
    }
    let table = tshark(pcap, &arguments)?;
    let split = |line: &str| line.split('|').map(str::to_owned).collect();
    Some(table.lines().map(split).collect())
}

/// The lines of the listing of what `filter` lets through.
fn listing(pcap: &[u8], filter: &str) -> Option<Vec<String>> {
    let text = tshark(pcap, &["-n", "-Y", filter])?;
    Some(text.lines().map(str::to_owned).collect())
}

fn none(scene: &Scene, left: &Left, filter: &str) -> bool {
    let Some(lines) = listing(&left.pcap, filter) else {
        return false;
    };
    assert_eq!(
        lines,
        Vec::<String>::new(),
        "{}: {filter}\n{}\n{}",
        scene.name,
        left.printed,
        listing(&left.pcap, "frame").unwrap().join("\n")
    );
    true
}

#[test]
fn tshark_finds_nothing_wrong() {
    for scene in SCENES {
        let left = scene.run(How::default());
        let mut wrong = "_ws.malformed || _ws.short || _ws.expert.severity == error \
                         || ip.checksum.status == 0 || tcp.checksum.status == 0 \
                         || udp.checksum.status == 0 || icmp.checksum.status == 0 \
                         || icmpv6.checksum.status == 0 || arp.duplicate-address-detected"
            .to_owned();
        if scene.lossless {
            // What a flood brings to a station that it is not for dies there; nothing is lost by it.
            let lost = |&&(reason, _): &&(DropReason, u64)| reason != DropReason::NotForUs;
            let lost: Vec<_> = left.drops.iter().filter(lost).collect();
            assert!(lost.is_empty(), "{}: {lost:?} {}", scene.name, left.printed);
            wrong += " || tcp.analysis.flags";
        }
        if !none(scene, &left, &wrong) {
            return;
        }
    }
}

#[test]
fn tshark_reads_what_is_recorded_everywhere() {
    for scene in SCENES {
        let left = scene.run(How {
            capture: Some(CaptureAt::All),
            ..How::default()
        });
        if !none(
            scene,
            &left,
            "_ws.malformed || _ws.short || _ws.expert.severity == error",
        ) {
            return;
        }
    }
}
