//! Case 75: what a compose file asks of its services' endpoints.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use emulator_compose::Options;
use emulator_core::lab::probe::{Answer, Question};
use emulator_core::lab::{Lab, LabConfig};
use vethlab::project::up;

const FILE: &str = "
services:
  web:
    image: busybox
    networks:
      front:
        aliases: [www, shop]
        ipv4_address: 10.75.0.9
        mac_address: 02:00:00:00:75:09
        interface_name: lan7
  asker:
    image: busybox
    networks: [front]
  db:
    image: busybox
    network_mode: bridge
  app:
    image: busybox
    network_mode: bridge
    links: ['db:database']
networks:
  front:
    ipam:
      config: [{subnet: SUBNET}]
";

/// The file with this subnet, up in a lab of its own.
fn lab(subnet: &str, address: &str) -> Lab {
    let text = FILE.replace("SUBNET", subnet).replace("10.75.0.9", address);
    let mut files = BTreeMap::from([("compose.yaml".to_owned(), text)]);
    let options = Options {
        files: vec!["compose.yaml".to_owned()],
        project_name: Some("p".to_owned()),
        ..Options::default()
    };
    let project = emulator_compose::load(&mut files, &options).unwrap();
    let mut lab = Lab::new(LabConfig::default()).unwrap();
    let up = up(&mut lab, &project);
    assert!(up.is_complete(), "{up:?}");
    lab
}

fn resolve(lab: &mut Lab, from: &str, name: &str) -> Vec<IpAddr> {
    let ns = lab.namespace(from).unwrap();
    lab.lookup(ns, name)
}

/// case 75; a changed subnet is a network made anew.
#[test]
fn endpoints_of_services() {
    for (subnet, address) in [("10.75.0.0/24", "10.75.0.9"), ("10.76.0.0/24", "10.76.0.9")] {
        let mut lab = lab(subnet, address);
        let web: IpAddr = address.parse().unwrap();
        for name in ["web", "www", "shop", "p-web-1"] {
            assert_eq!(resolve(&mut lab, "p-asker-1", name), [web], "{name}");
        }
        let ns = lab.namespace("p-web-1").unwrap();
        let iface = lab.net().ns(ns).unwrap().iface_named("lan7").unwrap();
        assert_eq!(iface.mac, [2, 0, 0, 0, 0x75, 9]);
        assert!(iface.has(web));
        let asker = lab.namespace("p-asker-1").unwrap();
        let answer = lab.probe(asker, &Question::Ping(web), Duration::from_secs(1));
        assert!(matches!(answer, Answer::Open(_)), "{answer:?}");

        let db = ["172.17.0.2".parse::<IpAddr>().unwrap()];
        for name in ["database", "db-1", "p-db-1"] {
            assert_eq!(resolve(&mut lab, "p-app-1", name), db, "{name}");
        }
        assert!(resolve(&mut lab, "p-db-1", "p-app-1").is_empty(), "one way");
    }
}
