//! The few Docker commands that the records run before and after, until the command line does it.
use emulator_core::docker::spec::{ContainerSpec, EndpointSpec, NetworkSpec};
use emulator_core::lab::Lab;

pub(crate) fn run(lab: &mut Lab, line: &str) -> (i32, String, String) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let result = match *words {
        ["docker", "network", "create", name] => lab
            .network_create(NetworkSpec {
                name: name.into(),
                ..NetworkSpec::default()
            })
            .map(|made| made.id),
        ["docker", "network", "connect", network, container] => lab
            .network_connect(network, container, EndpointSpec::default())
            .map(|()| String::new()),
        [
            "docker",
            "network",
            "connect",
            "--alias",
            alias,
            network,
            container,
        ] => {
            let spec = EndpointSpec {
                aliases: vec![alias.into()],
                ..EndpointSpec::default()
            };
            lab.network_connect(network, container, spec)
                .map(|()| String::new())
        }
        [
            "docker",
            "network",
            "connect",
            "--ip",
            ip,
            network,
            container,
        ] => {
            let spec = EndpointSpec {
                ipv4: ip.into(),
                ..EndpointSpec::default()
            };
            lab.network_connect(network, container, spec)
                .map(|()| String::new())
        }
        ["docker", "network", "disconnect", network, container] => lab
            .network_disconnect(network, container, false)
            .map(|()| String::new()),
        ["docker", "stop", "-t", "0", name] => lab.stop(name).map(|()| name.to_owned()),
        ["docker", "restart", "-t", "0", name] => lab.restart(name).map(|()| name.to_owned()),
        ["docker", "start", name] => lab.start(name).map(|()| name.to_owned()),
        ["docker", "pause", name] => lab.pause(name).map(|()| name.to_owned()),
        ["docker", "rename", name, new] => lab.rename(name, new).map(|()| String::new()),
        [
            "docker",
            "run",
            "-d",
            "--name",
            name,
            "--network",
            network,
            ..,
        ] => lab
            .create(ContainerSpec {
                name: Some(name.into()),
                image: "bb:1".into(),
                network_mode: network.into(),
                ..ContainerSpec::default()
            })
            .and_then(|made| lab.start(name).map(|()| made.id)),
        _ => panic!("a recorded command that nobody runs: {line}"),
    };
    match result {
        Ok(out) => (0, out, String::new()),
        Err(error) => (
            1,
            String::new(),
            format!("Error response from daemon: {error}"),
        ),
    }
}
