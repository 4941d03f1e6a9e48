//! What a namespace costs while nothing happens.

use switch::{IfId, Rng};

use crate::id::NsId;
use crate::netns::fib::Route;
use crate::netns::*;

/// A namespace with one veth, its own size and what its tables hold on the heap.
#[test]
fn an_idle_namespace_stays_small_and_has_no_timer() {
    let mut netns = Netns::new(NsId(0), "web", Rng::new(1));
    let config = IfaceConfig {
        id: IfId(2),
        name: "eth0".to_owned(),
        mac: [2; 6],
        mtu: 1500,
        kind: IfaceKind::Veth,
        peer: None,
        master: None,
        ipv6: false,
    };
    netns.iface_add(config).unwrap();
    netns
        .addr_add(IfId(2), "172.17.0.2/16".parse().unwrap())
        .unwrap();
    let routes = netns.routes(false).len()
        + netns.local_routes(false).count()
        + netns.local_routes(true).count();
    let interfaces = netns.ifaces().count() * size_of::<Iface>();
    let estimate = size_of::<Netns>() + interfaces + routes * (size_of::<Route>() + 32);
    assert!(
        estimate <= 2048,
        "{estimate} bytes, {} of them the namespace",
        size_of::<Netns>()
    );
    assert_eq!(netns.deadline(), None);
}
