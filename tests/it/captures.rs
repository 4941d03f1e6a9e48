//! Captures, read back: by tshark, where there is one, and byte by byte against the kept ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emulator_core::app::Family;
use emulator_core::docker::spec::{ContainerSpec, NetworkSpec};
use emulator_core::lab::{Lab, LabConfig};
use emulator_core::net::{CaptureAt, CaptureSink};
use switch::DropReason;
use switch::capture::Limits;

use crate::rig::{root, skip};
use crate::scenes::{Drink, How, Left, Pour, SCENES, Scene, Stage};

/// Every checksum is looked at.
const STRICT: &[&str] = &[
    "-o",
    "ip.check_checksum:TRUE",
    "-o",
    "tcp.check_checksum:TRUE",
    "-o",
    "udp.check_checksum:TRUE",
];

/// What no capture may show. tshark sums the part of a segment that "fragmentation needed" quotes as if it
/// were all of it.
pub(crate) const WRONG: &str = "_ws.malformed || _ws.short || (_ws.expert.severity == error && !icmp.mtu) \
                     || ip.checksum.status == 0 || (tcp.checksum.status == 0 && !icmp.mtu) \
                     || udp.checksum.status == 0 || icmp.checksum.status == 0 \
                     || icmpv6.checksum.status == 0 || arp.duplicate-address-detected";

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
pub(crate) fn fields(pcap: &[u8], filter: &str, names: &[&str]) -> Option<Vec<Vec<String>>> {
    let mut arguments = vec!["-Y", filter, "-T", "fields", "-E", "separator=|"];
    for name in names {
        arguments.extend(["-e", name]);
    }
    let table = tshark(pcap, &arguments)?;
    let split = |line: &str| line.split('|').map(str::to_owned).collect();
    Some(table.lines().map(split).collect())
}

/// A scene's capture at `at`.
fn captured(name: &str, at: CaptureAt) -> Vec<u8> {
    let how = How {
        capture: Some(at),
        ..How::default()
    };
    Scene::named(name).run(how).pcap
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
        let mut wrong = WRONG.to_owned();
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
        if !none(scene, &left, WRONG) {
            return;
        }
    }
}

/// One frame from stack to stack: five points, one number.
#[test]
fn everywhere_a_frame_keeps_its_number() {
    let pcap = captured("ping-by-name", CaptureAt::All);
    let names = [
        "frame.packet_id",
        "frame.interface_name",
        "frame.packet_flags_direction",
    ];
    let Some(rows) = fields(&pcap, "icmp.type == 8 && icmp.seq == 0", &names) else {
        return;
    };
    let ids: BTreeSet<_> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(ids.len(), 1, "{rows:?}");
    let way: Vec<_> = rows
        .iter()
        .map(|row| {
            let direction = match row[2].as_str() {
                "0x00000001" => "in",
                "0x00000002" => "out",
                other => other,
            };
            // Names of bridges and of the host's ends are drawn.
            let place = match row[1].as_str() {
                drawn if drawn.starts_with("br-") => "bridge",
                drawn if drawn.starts_with("host:veth") => "port",
                fixed => fixed,
            };
            format!("{place} {direction}")
        })
        .collect();
    assert_eq!(
        way,
        [
            "web:eth0 out",
            "port in",
            "bridge in",
            "port out",
            "db:eth0 in"
        ]
    );
}

/// What stands at the crossings is a part of what stands everywhere, in the same order.
#[test]
fn the_crossings_are_a_part_of_everywhere() {
    for name in ["ping-by-name", "published-port", "fragments"] {
        let read = |at| {
            fields(
                &captured(name, at),
                "frame",
                &["frame.interface_name", "frame.packet_id", "frame.len"],
            )
        };
        let (Some(crossings), Some(all)) = (read(CaptureAt::Crossing), read(CaptureAt::All)) else {
            return;
        };
        let interfaces: BTreeSet<_> = crossings.iter().map(|row| row[0].clone()).collect();
        let there: Vec<_> = all
            .into_iter()
            .filter(|row| interfaces.contains(&row[0]))
            .collect();
        assert_eq!(crossings, there, "{name}");
        // Once per bridge.
        let once: BTreeSet<_> = crossings.iter().map(|row| (&row[0], &row[1])).collect();
        assert_eq!(once.len(), crossings.len(), "{name}");
    }
}

#[test]
fn interfaces_hosts_and_rewrites_are_named() {
    let pcap = captured("published-port", CaptureAt::Crossing);
    let Some(text) = tshark(
        &pcap,
        &[
            "-N",
            "n",
            "-Y",
            "tcp.flags.syn == 1",
            "-T",
            "fields",
            "-E",
            "separator=|",
            "-e",
            "frame.interface_name",
            "-e",
            "frame.interface_description",
            "-e",
            "ip.src_host",
            "-e",
            "ip.dst_host",
            "-e",
            "frame.comment",
        ],
    ) else {
        return;
    };
    let lines: Vec<_> = text.lines().collect();
    let uplink = "uplink|outside the host";
    let docker0 = "docker0|network bridge";
    let there = "rewritten: destination 192.0.2.2:8080 → 172.17.0.2:80";
    let back = "rewritten: source 172.17.0.2:80 → 192.0.2.2:8080";
    let rows = [
        format!("{uplink}|lan|host|"),
        format!("{docker0}|lan|web|{there}"),
        format!("{docker0}|web|lan|"),
        format!("{uplink}|host|lan|{back}"),
    ];
    assert_eq!(lines, rows);
}

#[test]
fn a_frame_that_dies_says_why() {
    let cases = [
        ("isolated", "dropped: port is not published", 2),
        ("nobody-there", "dropped: no other bridge port is up", 3),
        ("nobody-there", "dropped: neighbour does not answer", 1),
    ];
    for (name, words, count) in cases {
        let pcap = captured(name, CaptureAt::Crossing);
        let Some(rows) = fields(&pcap, "frame.comment", &["frame.comment"]) else {
            return;
        };
        let seen = rows.iter().filter(|row| row[0] == words).count();
        assert_eq!(seen, count, "{name}: {words}: {rows:?}");
    }
}

/// A connection refused is answered by a reset; nothing has to be said about the segment that died.
#[test]
fn a_refusal_is_a_reset() {
    let pcap = captured("refused", CaptureAt::Crossing);
    for (filter, count) in [
        ("tcp", 2),
        ("tcp.flags.syn == 1 && tcp.flags.ack == 0", 1),
        ("tcp.flags.reset == 1", 1),
        ("tcp && frame.comment", 0),
    ] {
        let Some(lines) = listing(&pcap, filter) else {
            return;
        };
        assert_eq!(lines.len(), count, "{filter}: {lines:?}");
    }
}

/// Every interface that was seen has one block of statistics.
/// A sink that keeps everything.
#[derive(Clone, Debug, Default)]
struct Keep(Arc<Mutex<(usize, Vec<u8>)>>);

impl CaptureSink for Keep {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        let mut kept = self.0.lock().unwrap();
        kept.0 += 1;
        kept.1.extend_from_slice(bytes);
    }
}

/// A megabyte over one or the other family, captured with `limits`; what was captured and in how many
/// parts it came, and how many packets were lost.
fn megabyte(family: Family, limits: Limits, sink: bool) -> (Vec<u8>, usize, u64) {
    let mut stage = Stage::new(How {
        capture: None,
        listen: false,
        ..How::default()
    });
    stage
        .lab
        .net_mut()
        .capture_start(CaptureAt::Crossing, limits);
    let kept = Keep::default();
    if sink {
        stage.lab.capture_to(Box::new(kept.clone()));
    }
    stage.network(NetworkSpec {
        name: "six".to_owned(),
        ipv6: Some(true),
        ..NetworkSpec::default()
    });
    for name in ["web", "db"] {
        stage.start(ContainerSpec {
            name: Some(name.to_owned()),
            image: "busybox".to_owned(),
            network_mode: "six".to_owned(),
            ..ContainerSpec::default()
        });
    }
    let (server, client) = (stage.ns("db"), stage.ns("web"));
    let of_family = |address: &IpAddr| match address {
        IpAddr::V4(_) => family == Family::V4,
        IpAddr::V6(v6) => family == Family::V6 && !v6.is_unicast_link_local(),
    };
    let netns = stage.lab.net().ns(server).unwrap();
    let eth0 = netns.iface_named("eth0").unwrap();
    let mut own = eth0.addrs.iter().map(|address| address.net.addr());
    let to = own.find(of_family).unwrap();
    stage.lab.spawn(server, Box::new(Pour::new(9000, 1 << 20)));
    let drink = Drink::new((to, 9000).into());
    let app = stage.lab.spawn(client, Box::new(drink));
    let code = stage.lab.run_app_for(app, Duration::from_secs(60));
    assert_eq!(code, Some(0));
    let waiting = if sink {
        Vec::new()
    } else {
        stage.lab.capture_take()
    };
    stage.lab.capture_finish();
    let lost = stage.lab.net().trace.captures[0].lost();
    let (parts, mut bytes) = kept.0.lock().unwrap().clone();
    if !sink {
        bytes = [waiting, stage.lab.capture_take()].concat();
    }
    (bytes, parts, lost)
}

/// However small its buffer, nothing is lost of a capture that has a sink.
#[test]
fn a_sink_gets_everything() {
    let small = Limits {
        buffer: 512 << 10,
        ..Limits::default()
    };
    let (all, _, lost) = megabyte(Family::V4, Limits::default(), false);
    assert!(lost == 0 && all.len() > 1 << 20);
    let (cut, _, lost) = megabyte(Family::V4, small, false);
    assert!(lost > 0 && cut.len() < all.len());
    let (kept, parts, lost) = megabyte(Family::V4, small, true);
    assert_eq!(lost, 0);
    assert!(parts > 3, "{parts} parts");
    assert!(kept.len() > 1 << 20);
}

/// Super-segments cross the bridge, and a capture shows the frames that they stand for, unless it was
/// asked for them whole.
#[test]
fn super_segments_are_cut_unless_asked_for_whole() {
    for family in [Family::V4, Family::V6] {
        let whole = Limits {
            whole: true,
            ..Limits::default()
        };
        let (plain, ..) = megabyte(family, Limits::default(), false);
        let (whole, ..) = megabyte(family, whole, false);
        assert!(whole.len() < plain.len());
        let filter = "frame.len > 1514";
        let (Some(long), Some(super_segments)) = (listing(&plain, filter), listing(&whole, filter))
        else {
            return;
        };
        assert_eq!(long, Vec::<String>::new());
        assert!(super_segments.len() > 10, "{family:?}: {super_segments:?}");
        assert_eq!(listing(&plain, WRONG), Some(Vec::new()));
    }
}

#[test]
fn statistics_end_a_capture() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("statistics.pcapng");
    fs::write(&file, captured("published-port", CaptureAt::Crossing)).unwrap();
    let Ok(output) = Command::new("capinfos").arg(&file).output() else {
        return skip("capinfos is not here: statistics are not read back");
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text.matches("Number of stat entries = 1").count(),
        2,
        "{text}"
    );
    assert!(text.contains("Strict time order:   True"), "{text}");
}

/// The questions of `check` on the examples, most of which are answered and some of which are lost.
#[test]
fn tshark_finds_nothing_wrong_with_the_examples() {
    let mut retransmitted = BTreeMap::new();
    for name in ["voting-app", "shop", "turn-server"] {
        let file = root().join("examples").join(name).join("compose.yaml");
        let files = [file.to_str().unwrap().to_owned()];
        let project = vethlab::files::load(&files, None, BTreeMap::new()).unwrap();
        let mut lab = Lab::new(LabConfig::default()).unwrap();
        lab.capture_start(CaptureAt::Crossing);
        let up = vethlab::project::up(&mut lab, &project);
        let images = vethlab::compose::Images::default();
        let rows = vethlab::matrix::fill(
            &mut lab,
            &project,
            &up,
            &images,
            vethlab::matrix::Depth::Every,
            0,
            |_, _, _| Ok(()),
        );
        assert!(!rows.unwrap().cells.is_empty());
        lab.capture_finish();
        let pcap = lab.capture_take();
        let Some(wrong) = listing(&pcap, WRONG) else {
            return;
        };
        assert_eq!(wrong, Vec::<String>::new(), "{name}");
        let lost = fields(
            &pcap,
            "frame.comment contains \"dropped\"",
            &["frame.number"],
        );
        let flagged = fields(&pcap, "tcp.analysis.flags", &["frame.number"]);
        retransmitted.insert(name, (lost.unwrap().len(), flagged.unwrap().len()));
    }
    // Where nothing is lost, nothing looks lost.
    assert!(
        retransmitted
            .values()
            .all(|&(lost, flagged)| lost > 0 || flagged == 0),
        "{retransmitted:?}"
    );
}

fn golden(name: &str) -> std::path::PathBuf {
    root().join("pcaps/golden").join(format!("{name}.pcapng"))
}

/// The kept captures are what the scenes give today. `VETHLAB_BLESS=1` keeps today's.
#[test]
fn golden_captures_are_equal_byte_for_byte() {
    let bless = std::env::var_os("VETHLAB_BLESS").is_some();
    let readme = fs::read_to_string(root().join("pcaps/README.md")).unwrap();
    let mut kept = BTreeSet::new();
    for scene in SCENES.iter().filter(|scene| scene.golden) {
        let pcap = scene.run(How::default()).pcap;
        assert!(pcap.len() < 50 << 10, "{} is too large to keep", scene.name);
        let file = golden(scene.name);
        if bless {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &pcap).unwrap();
        }
        let before = fs::read(&file).unwrap_or_default();
        assert!(
            pcap == before,
            "{} differs from the capture of this run; VETHLAB_BLESS=1 replaces it",
            file.display()
        );
        let line = format!("| `golden/{}.pcapng` |", scene.name);
        assert!(readme.contains(&line), "pcaps/README.md: {line}");
        kept.insert(file);
    }
    let there: BTreeSet<_> = fs::read_dir(root().join("pcaps/golden"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(there, kept, "captures of no scene");
}

/// The frames that a lesson shows are those of its capture. A lesson names the capture in a line
/// `Capture: [..](../golden/NAME.pcapng)`; its tables have a row per frame: number, place, protocol,
/// from, to, comment.
#[test]
fn lessons_tell_what_the_captures_hold() {
    for entry in fs::read_dir(root().join("pcaps/lessons")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = text
            .split_once("](../golden/")
            .and_then(|(_, rest)| rest.split_once(".pcapng)"))
            .map(|(name, _)| name)
            .unwrap_or_else(|| panic!("{} names no capture", path.display()));
        let pcap = fs::read(golden(name)).unwrap();
        let Some(rows) = fields(
            &pcap,
            "frame",
            &[
                "frame.number",
                "frame.interface_description",
                "_ws.col.Protocol",
                "_ws.col.Source",
                "_ws.col.Destination",
                "frame.comment",
            ],
        ) else {
            return;
        };
        let there: BTreeMap<_, _> = rows
            .iter()
            .map(|row| (row[0].as_str(), row.join(" | ")))
            .collect();
        let mut shown = 0;
        for line in text.lines() {
            let Some(row) = line.strip_prefix("| ") else {
                continue;
            };
            let number = row.split(' ').next().unwrap();
            if number.parse::<u32>().is_err() {
                continue;
            }
            shown += 1;
            let row = row.trim_end_matches('|').trim_end();
            let known = there
                .get(number)
                .map(|row| row.trim_end())
                .unwrap_or("none");
            assert_eq!(row, known, "{}", path.display());
        }
        assert!(shown > 2, "{} shows no frames", path.display());
    }
}

/// Super-segments are cut in a capture: no frame is longer than the MTUs that it has to fit, and the data is
/// there whole.
#[test]
fn no_frame_is_longer_than_the_narrowest_link() {
    let cases = [
        ("download", 1514, 200 << 10),
        ("download-v6", 1514, 200 << 10),
        ("published-download", 1514, 200 << 10),
        ("narrow-receivers", 1294, 300 << 10),
    ];
    for (name, limit, bytes) in cases {
        let left = Scene::named(name).run(How::default());
        let exits = left.printed.matches("[0]").count();
        assert!(
            exits > 0 && !left.printed.contains("[1]"),
            "{}",
            left.printed
        );
        let Some(rows) = fields(&left.pcap, "tcp", &["frame.len", "tcp.len"]) else {
            return;
        };
        let longest = rows
            .iter()
            .map(|row| row[0].parse::<usize>().unwrap())
            .max();
        assert_eq!(longest, Some(limit), "{name}");
        let crossings = if name == "published-download" { 2 } else { 1 };
        let sum: usize = rows
            .iter()
            .map(|row| row[1].parse::<usize>().unwrap())
            .sum();
        assert_eq!(sum, bytes * crossings, "{name}");
    }
    let left = Scene::named("narrow-uplink").run(How::default());
    assert!(
        left.printed.contains(&format!("{} bytes\n[0]", 200 << 10)),
        "{}",
        left.printed
    );
    let Some(rows) = fields(
        &left.pcap,
        "tcp && frame.interface_name == uplink",
        &["frame.len"],
    ) else {
        return;
    };
    let longest = rows
        .iter()
        .map(|row| row[0].parse::<usize>().unwrap())
        .max();
    assert_eq!(longest, Some(1014));
    let asked = listing(
        &left.pcap,
        "icmp.type == 3 && icmp.code == 4 && icmp.mtu == 1000",
    );
    assert!(asked.is_some_and(|lines| !lines.is_empty()));
}
