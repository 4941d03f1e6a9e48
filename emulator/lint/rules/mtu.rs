//! `mtu-over-uplink`: a network does not inherit the uplink's MTU. Behind a tunnel or a VPN its packets
//! are too large, and where the answers that say so are lost, so are the packets.

use crate::lint::view::{Draft, View};

/// What a network has without an option.
const DEFAULT: u32 = 1500;
const OPTION: &str = "com.docker.network.driver.mtu";

pub(in crate::lint) fn check(view: &View<'_>, out: &mut Vec<Draft>) {
    let Some(uplink) = view.machine.uplink_mtu() else {
        return;
    };
    let bridge = view.machine.daemon.default_network_opts.get("bridge");
    let usual = bridge.and_then(|options| options.get(OPTION)?.parse().ok());
    let usual: u32 = usual.unwrap_or(DEFAULT);
    let networks = view.project.networks.iter();
    let networks =
        networks.filter(|network| network.used && !network.external && !network.internal);
    for network in networks {
        let driver = network.driver.as_ref().map(|driver| driver.value.as_str());
        if !matches!(driver, None | Some("bridge" | "default")) {
            continue;
        }
        let option = network.driver_opts.get(OPTION);
        let mtu = option
            .and_then(|option| option.parse().ok())
            .unwrap_or(usual);
        if mtu <= uplink {
            continue;
        }
        let at = option.map_or(network.at, |option| option.at);
        let message = format!(
            "the MTU of {} is {mtu}, the uplink's is {uplink}: large packets to the outside may vanish",
            network.key
        );
        out.push(
            view.network(network, at, message)
                .fix(format!("set `driver_opts: {{{OPTION}: \"{uplink}\"}}`")),
        );
    }
}
