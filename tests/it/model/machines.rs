//! Machines of `--host FILE`: model and packets agree on every question around each of them, and the machine's own
//! addresses are those that are asked.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use emulator_compose::MachineFile;
use emulator_core::docker::spec::Engine;
use emulator_core::lab::{Lab, LabConfig};
use emulator_core::net::{CaptureAt, CaptureSink};
use vethlab::assigned::assigned;
use vethlab::project::up_with;
use vethlab::world::Options;

use super::mutations::{EVERYTHING, listens};
use super::scene::Scene;
use crate::scenes::{Drink, Pour};

/// A card with two addresses a family, a VPN, what the engine itself made, and a router known by IPv6's
/// link-local address.
const OFFICE: &str = r#"{
  "daemon": {"default-network-opts": {"bridge": {"com.docker.network.bridge.enable_icc": "false"}}},
  "routes": [
    {"dst": "default", "gateway": "10.20.30.254", "dev": "ens3", "metric": 100},
    {"dst": "10.20.30.0/24", "dev": "ens3", "prefsrc": "10.20.30.40"},
    {"dst": "10.99.0.0/16", "dev": "tun0", "prefsrc": "10.99.1.2"},
    {"dst": "172.17.0.0/16", "dev": "docker0", "prefsrc": "172.17.0.1"},
    {"dst": "2001:db8:5::/64", "dev": "ens3"},
    {"dst": "default", "gateway": "fe80::1", "dev": "ens3"}
  ],
  "addresses": [
    {"ifname": "lo", "mtu": 65536, "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}, {"local": "10.255.0.1", "prefixlen": 32}]},
    {"ifname": "ens3", "mtu": 1400, "addr_info": [
      {"local": "10.7.0.3", "prefixlen": 24}, {"local": "10.20.30.40", "prefixlen": 24},
      {"local": "2001:db8:5::40", "prefixlen": 64}, {"local": "fd12::40", "prefixlen": 64},
      {"local": "fe80::5054:ff:fe12:3456", "prefixlen": 64}]},
    {"ifname": "tun0", "mtu": 1420, "addr_info": [{"local": "10.99.1.2", "prefixlen": 16}]},
    {"ifname": "docker0", "addr_info": [{"local": "172.17.0.1", "prefixlen": 16}]}
  ]}"#;

/// A cloud's: the host alone in its prefix, the router beside it.
const CLOUD: &str = r#"{
  "routes": [
    {"dst": "default", "gateway": "10.128.0.1", "dev": "ens4"},
    {"dst": "10.128.0.1", "dev": "ens4", "scope": "link"}
  ],
  "addresses": [{"ifname": "ens4", "mtu": 1460, "addr_info": [{"local": "10.128.0.2", "prefixlen": 32}]}]}"#;

/// No default route, too small an MTU for IPv6, and a second card that the file says is on the same segment.
const LONELY: &str = r#"{
  "mtu": 600,
  "routes": [{"dst": "192.168.77.0/29", "dev": "eth1", "prefsrc": "192.168.77.6"}, {"dst": "fe80::/64", "dev": "eth1"}],
  "addresses": [{"ifname": "eth1", "addr_info": [{"local": "192.168.77.6", "prefixlen": 29}, {"local": "2001:db8:9::6", "prefixlen": 64}]},
    {"ifname": "wlan0", "addr_info": [{"local": "192.168.77.5", "prefixlen": 29}]}]}"#;

fn scene(machine: &str, engine: Engine) -> Scene {
    let file =
        MachineFile::parse("machine.json", machine).unwrap_or_else(|errors| panic!("{errors}"));
    let mut options = Options::new(1, engine);
    options.machine(&file);
    let config = LabConfig {
        seed: 1,
        daemon: options.daemon,
        outside: options.outside,
        ..LabConfig::default()
    };
    let project = emulator_compose::load_str(EVERYTHING).unwrap();
    let mut lab = Lab::new(config).unwrap();
    let up = up_with(&mut lab, &project, listens);
    assert!(up.networks.is_empty(), "{:?}", up.networks);
    let assigned = assigned(&lab);
    Scene::new(project, lab, assigned)
}

fn agree(machine: &str, engine: Engine) {
    let mut scene = scene(machine, engine);
    let (asked, wrong) = scene.differences(usize::MAX);
    assert!(asked > 4_000, "only {asked} questions");
    assert!(
        wrong.is_empty(),
        "{engine:?} {:?}: {} of {asked}:\n{}",
        scene.machine,
        wrong.len(),
        wrong[..wrong.len().min(60)].join("\n")
    );
}

#[test]
fn the_two_agree_at_the_office() {
    agree(OFFICE, Engine::V29);
}

#[test]
fn the_two_agree_in_a_cloud() {
    agree(CLOUD, Engine::V20_10);
}

#[test]
fn the_two_agree_without_a_default_route() {
    agree(LONELY, Engine::V29);
}

/// Bytes of a capture.
#[derive(Clone, Debug, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl CaptureSink for Tape {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        self.0.lock().unwrap().append(bytes);
    }
}

/// A container's link takes 1500 bytes, the machine's uplink 1400: the host says so, and the sender cuts smaller.
#[test]
fn packets_are_cut_for_the_machines_uplink() {
    let narrow = |machine: &str| {
        let mut scene = scene(machine, Engine::V29);
        let lab = &mut scene.lab;
        let tape = Tape::default();
        lab.capture_start(CaptureAt::Crossing);
        lab.capture_to(Box::new(tape.clone()));
        let (server, client) = (lab.namespace("p-a-1").unwrap(), lab.places().internet);
        lab.spawn(server, Box::new(Pour::new(104, 100 << 10)));
        let host = lab.host_addresses()[0];
        let app = lab.spawn(client, Box::new(Drink::new(SocketAddr::new(host, 8004))));
        assert_eq!(lab.run_app_for(app, Duration::from_secs(60)), Some(0));
        lab.capture_finish();
        let said = |mtu: u16| {
            let [high, low] = mtu.to_be_bytes();
            let bytes = tape.0.lock().unwrap();
            let mut icmp = bytes.windows(8);
            icmp.any(|icmp| icmp[..2] == [3, 4] && icmp[4..] == [0, 0, high, low])
        };
        [1500, 1460, 1400].map(said)
    };
    assert_eq!(narrow(OFFICE), [false, false, true]);
    assert_eq!(narrow("{}"), [false; 3]);
}

#[test]
fn the_addresses_are_the_machines_own() {
    let addresses = |machine: &str| -> Vec<String> {
        let scene = scene(machine, Engine::V29);
        let own = scene.lab.host_addresses();
        let all = own
            .iter()
            .chain(&scene.machine.lan)
            .chain(&scene.machine.router);
        all.map(IpAddr::to_string).collect()
    };
    assert_eq!(
        addresses(OFFICE),
        [
            "10.20.30.40",
            "10.7.0.3",
            "2001:db8:5::40",
            "fd12::40",
            "10.255.0.1",
            "10.99.1.2",
            "10.20.30.9",
            "2001:db8:5::9",
            "10.20.30.254",
            "fe80::1",
            "2001:db8:5::1"
        ]
    );
    assert_eq!(addresses(CLOUD), ["10.128.0.2", "10.128.0.9", "10.128.0.1"]);
    assert_eq!(
        addresses(LONELY),
        [
            "192.168.77.6",
            "192.168.77.5",
            "192.168.77.2",
            "192.168.77.1"
        ]
    );
}
