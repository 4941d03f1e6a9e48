//! Several captures of one lab, each with its own places, filter and bounds; none changes what happens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emulator_core::docker::spec::ContainerSpec;
use emulator_core::id::CaptureId;
use emulator_core::lab::{Lab, LabConfig, Output};
use emulator_core::net::{CAPTURES, CaptureAt, CaptureSink, CaptureSpec, Place, Places};
use emulator_core::tools;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use switch::capture::Limits;
use switch::pcap_filter::PcapFilter;

use crate::scenes::{How, SCENES, Scene};

/// What a packet of a capture is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    interface: String,
    at: Duration,
    data: Vec<u8>,
    length: u32,
    /// Flags, number, what was lost before it, comment.
    said: Vec<String>,
}

/// The packets of a capture, and what its statistics say of packets lost.
fn packets(pcap: &[u8]) -> (Vec<Packet>, u64) {
    let mut reader = PcapNgReader::new(pcap).expect("a section");
    let (mut interfaces, mut packets, mut lost) = (Vec::new(), Vec::new(), 0);
    while let Some(block) = reader.next_block() {
        match block.expect("a block").0 {
            Block::InterfaceDescription(block) => {
                let name = block.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                });
                interfaces.push(name.expect("a name"));
            }
            Block::EnhancedPacket(block) => packets.push(Packet {
                interface: interfaces[block.interface_id as usize].clone(),
                at: block.timestamp,
                data: block.data.to_vec(),
                length: block.original_len,
                said: block
                    .options
                    .iter()
                    .map(|option: &EnhancedPacketOption<'_>| format!("{option:?}"))
                    .collect(),
            }),
            Block::InterfaceStatistics(block) => {
                let text = format!("{block:?}");
                let (_, after) = text.split_once("IsbOsDrop(").expect("what was lost");
                lost += after[..after.find(')').unwrap()].parse::<u64>().unwrap();
            }
            _ => {}
        }
    }
    (packets, lost)
}

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl CaptureSink for Kept {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }
}

fn filter(text: &str) -> PcapFilter {
    PcapFilter::compile(text, &()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn open(lab: &mut Lab, spec: CaptureSpec) -> Kept {
    let kept = Kept::default();
    lab.net_mut().capture_open(spec).expect("one more");
    lab.net_mut().capture_to(Box::new(kept.clone()));
    kept
}

const FILTERS: &[&str] = &[
    "arp",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "udp port 53 or icmp",
    "len > 500 and not ip6",
    "tcp[tcpflags] & tcp-push != 0 and greater 200",
    "ip[6:2] & 0x3fff != 0",
    "ip[10:2] != 0 and tcp[16:2] & 1 = 0",
    "net 172.17.0.0/16 and not port 80",
];

/// What a filter lets pass of a run stands in its capture, in super-segments' pieces as well, as it stands in a
/// capture without one.
#[test]
fn a_filtered_capture_is_the_part_that_passes() {
    let (mut some, mut cut) = (0, 0);
    for scene in SCENES {
        let how = How {
            capture: Some(CaptureAt::All),
            ..How::default()
        };
        let (left, kept) = scene.run_with(how, |lab| {
            let spec = |text: &&str| CaptureSpec {
                places: Places::At(CaptureAt::All),
                filter: Some(filter(text)),
                ..CaptureSpec::default()
            };
            let specs = FILTERS.iter().map(spec);
            specs.map(|spec| open(lab, spec)).collect::<Vec<_>>()
        });
        let (all, _) = packets(&left.pcap);
        for (text, kept) in FILTERS.iter().zip(kept) {
            let filter = filter(text);
            // What was rewritten is said once, beside the next packet of the capture.
            let without = |packet: &Packet| Packet {
                said: Vec::new(),
                ..packet.clone()
            };
            let expected: Vec<Packet> = all
                .iter()
                .filter(|packet| filter.passes(&packet.data, packet.length))
                .map(without)
                .collect();
            let (found, lost) = packets(&kept.0.lock().unwrap());
            let found: Vec<Packet> = found.iter().map(without).collect();
            assert_eq!(lost, 0);
            assert!(found == expected, "{}: {text}", scene.name);
            some += usize::from(!found.is_empty() && found.len() < all.len());
            cut += usize::from(text.contains("tcp-push") && found.len() > 10);
        }
    }
    assert!(some > 40 && cut > 0, "{some}, {cut}");
}

/// Events, counters and the end are those of a run that nobody captures.
#[test]
fn captures_change_nothing() {
    for name in [
        "page",
        "published-port",
        "download",
        "isolated",
        "fragments",
    ] {
        let scene = Scene::named(name);
        let how = || How {
            capture: None,
            ..How::default()
        };
        let bare = scene.run(how());
        let (watched, kept) = scene.run_with(how(), |lab| {
            let small = CaptureSpec {
                filter: Some(filter("ip")),
                snaplen: 60,
                limits: Limits {
                    packets: 10,
                    ..Limits::default()
                },
                ..CaptureSpec::default()
            };
            let all = CaptureSpec {
                places: Places::At(CaptureAt::All),
                ..CaptureSpec::default()
            };
            [open(lab, small), open(lab, all)]
        });
        assert_eq!(bare.events, watched.events, "{name}");
        assert_eq!(bare.drops, watched.drops, "{name}");
        assert_eq!(bare.end, watched.end, "{name}");
        assert!(bare.printed == watched.printed, "{name}");
        let (few, _) = packets(&kept[0].0.lock().unwrap());
        assert!(few.len() <= 10 && few.iter().all(|packet| packet.data.len() <= 60));
        assert!(few.iter().any(|packet| packet.length > 60), "{name}");
        let (all, _) = packets(&kept[1].0.lock().unwrap());
        assert!(all.len() > few.len(), "{name}");
    }
}

fn lab() -> Lab {
    let mut lab = Lab::new(LabConfig::default()).unwrap();
    for name in ["web", "db"] {
        let spec = ContainerSpec {
            name: Some(name.to_owned()),
            image: "busybox".to_owned(),
            ..ContainerSpec::default()
        };
        lab.create(spec).unwrap();
        lab.start(name).unwrap();
    }
    lab
}

fn ping(lab: &mut Lab, count: u32) {
    let ns = lab.namespace("web").unwrap();
    let argv = ["ping", "-c", &count.to_string(), "172.17.0.3"].map(str::to_owned);
    let app = tools::spawn(&argv).unwrap();
    let app = lab.spawn(ns, app);
    assert_eq!(lab.run_app_for(app, Duration::from_secs(60)), Some(0));
}

fn place(namespace: Option<&str>, name: &str) -> Place {
    Place {
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

#[test]
fn a_capture_looks_at_its_places_alone() {
    let mut lab = lab();
    let only = |places: &[Place]| CaptureSpec {
        places: Places::Only(places.to_vec()),
        ..CaptureSpec::default()
    };
    let all = CaptureSpec {
        places: Places::At(CaptureAt::All),
        ..CaptureSpec::default()
    };
    let whole = open(&mut lab, all);
    let asked = [
        only(&[place(Some("db"), "eth0")]),
        only(&[place(Some("db"), Place::ANY)]),
        only(&[place(None, "docker0")]),
        only(&[place(None, "bridge")]),
        only(&[place(Some("host"), "docker0")]),
        only(&[place(Some("web"), "eth0"), place(None, "bridge")]),
        only(&[place(Some("db"), "eth1"), place(None, "eth0")]),
    ];
    let kept: Vec<Kept> = asked.into_iter().map(|spec| open(&mut lab, spec)).collect();
    ping(&mut lab, 3);
    lab.net_mut().capture_close_all();
    let by_interface = |kept: &Kept| {
        let mut by_interface: BTreeMap<String, Vec<Packet>> = BTreeMap::new();
        for packet in packets(&kept.0.lock().unwrap()).0 {
            let of = by_interface.entry(packet.interface.clone()).or_default();
            of.push(packet);
        }
        by_interface
    };
    let whole = by_interface(&whole);
    let expected: [&[&str]; 7] = [
        &["db:eth0"],
        &["db:eth0"],
        &["docker0"],
        &["docker0"],
        &["docker0"],
        &["docker0", "web:eth0"],
        &[],
    ];
    for (kept, expected) in kept.iter().zip(expected) {
        let found = by_interface(kept);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected);
        for (interface, packets) in found {
            assert!(packets.len() >= 6 && packets == whole[&interface]);
        }
    }
    let watchable = lab.net().watchable();
    let shown: Vec<String> = watchable.iter().map(|it| it.place.to_string()).collect();
    for name in ["docker0", "web:eth0", "db:eth0"] {
        assert!(shown.iter().any(|shown| shown == name), "{shown:?}");
    }
}

/// A capture that nobody empties loses packets, counts those that pass its filter, and says so; another loses nothing.
/// Whichever way its frames are taken, a raw interface is captured in both directions, as a stack's is.
#[test]
fn a_raw_interface_is_captured_both_ways() {
    let mut lab = lab();
    lab.run_for(Duration::from_secs(10));
    let eth0 = |lab: &Lab, name| {
        let netns = lab.net().ns(lab.namespace(name).unwrap()).unwrap();
        netns.iface_named("eth0").unwrap().id
    };
    let (web, db) = (eth0(&lab, "web"), eth0(&lab, "db"));
    lab.net_mut().raw(web, true);
    lab.net_mut().raw(db, true);
    let spec = CaptureSpec {
        places: Places::Only(vec![place(Some("db"), "eth0")]),
        ..CaptureSpec::default()
    };
    let kept = open(&mut lab, spec);
    let frame = |number: u8| {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5, number]);
        frame.resize(60, 0);
        frame
    };
    let mut heard = Vec::new();
    for (number, way) in (0..).zip(["one by one", "in a burst", "with offload"]) {
        for number in [2 * number, 2 * number + 1] {
            lab.net_mut().raw_send(web, &frame(number)).unwrap();
        }
        lab.run_for(Duration::from_secs(1));
        let net = lab.net_mut();
        let mut look = |bytes: &[u8]| heard.push(bytes.to_vec());
        match way {
            "one by one" => while net.raw_recv(db, &mut look).is_some() {},
            "in a burst" => assert_eq!(net.raw_recv_burst(db, 64, look), 2),
            _ => while net.raw_recv_offload(db, |bytes, _| look(bytes)).is_some() {},
        }
    }
    lab.net_mut().raw_send(db, &frame(6)).unwrap();
    lab.run_for(Duration::from_secs(1));
    lab.net_mut().capture_close_all();
    let (captured, lost) = packets(&kept.0.lock().unwrap());
    let captured: Vec<Vec<u8>> = captured.into_iter().map(|packet| packet.data).collect();
    assert_eq!((heard.len(), lost), (6, 0));
    heard.push(frame(6));
    assert_eq!(captured, heard);
}

#[test]
fn who_reads_slowly_loses_packets_and_hears_of_it() {
    let mut lab = lab();
    let slow = CaptureSpec {
        filter: Some(filter("icmp[icmptype] == icmp-echo")),
        limits: Limits {
            buffer: 1200,
            ..Limits::default()
        },
        ..CaptureSpec::default()
    };
    let slow = lab.net_mut().capture_open(slow).unwrap();
    let fast = open(&mut lab, CaptureSpec::default());
    lab.net_mut().capture_tell(slow, true);
    assert_eq!(told(&mut lab, slow), 1, "the section header waits");
    let mut pcap = Vec::new();
    lab.net_mut().capture_drain(slow, &mut pcap);
    ping(&mut lab, 20);
    assert_eq!(told(&mut lab, slow), 1, "told once");
    let capture = lab.net().capture(slow).unwrap();
    let (captured, lost) = (capture.captured(), capture.lost());
    assert!(captured > 0 && lost > 0 && captured + lost == 20);
    let mut bytes = Vec::new();
    lab.net_mut().capture_drain(slow, &mut bytes);
    pcap.extend(&bytes);
    ping(&mut lab, 1);
    assert_eq!(told(&mut lab, slow), 1, "told again");
    pcap.extend(lab.net_mut().capture_close(slow));
    lab.net_mut().capture_close_all();
    let (found, said) = packets(&pcap);
    assert_eq!(said, lost);
    let last = found.last().unwrap();
    let dropped = format!("DropCount({lost})");
    assert!(last.said.contains(&dropped), "{last:?}");
    let (all, none) = packets(&fast.0.lock().unwrap());
    assert!(all.len() >= 42 && none == 0);
}

/// How often it is told that bytes of a capture wait.
fn told(lab: &mut Lab, of: CaptureId) -> usize {
    let mut told = 0;
    loop {
        match lab.poll() {
            Output::Captured(id) => told += usize::from(id == of),
            Output::Idle(_) => return told,
            _ => {}
        }
    }
}

#[test]
fn there_are_so_many_captures_and_no_more() {
    let mut lab = lab();
    let mut ids = Vec::new();
    for _ in 0..CAPTURES {
        ids.push(lab.net_mut().capture_open(CaptureSpec::default()).unwrap());
    }
    let refused = lab.net_mut().capture_open(CaptureSpec::default());
    assert_eq!(refused.unwrap_err().to_string(), "16 captures run already");
    lab.net_mut().capture_close(ids[3]);
    let again = lab.net_mut().capture_open(CaptureSpec::default()).unwrap();
    assert!(!ids.contains(&again), "a number names one capture");
    assert!(lab.net_mut().capture_close(ids[3]).is_empty());
}
