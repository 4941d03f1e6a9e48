//! `docker run` and `create`: from flags to what the engine is asked for.
//!
//! Models the client's `parse`: what the first `--network` takes from the older flags, what may not be
//! combined, and the long form of `-p`.

use vethlab::core::docker::spec::{ContainerSpec, EndpointSpec, Engine};

use super::command::{Failure, Run};
use super::daemon::{Daemon, Process};
use super::flags::Values;
use super::network::pairs;
use super::validate;

/// A failure of `run` or `create` in the client.
pub(super) fn failure(verb: &str, message: &str, engine: Engine) -> Failure {
    let message = if engine == Engine::V20_10 {
        let message = message.strip_suffix('.').unwrap_or(message);
        format!("docker: {message}.\nSee 'docker {verb} --help'.")
    } else {
        format!("docker: {message}\n\nRun 'docker {verb} --help' for more information")
    };
    Failure { message, code: 125 }
}

/// What the flags and arguments ask for.
pub(super) fn read(
    verb: &'static str,
    values: &Values,
    arguments: &[String],
    engine: Engine,
) -> Result<Run, Failure> {
    if values.is("detach") && values.last("attach").is_some() {
        return Err(Failure::new(if engine == Engine::V20_10 {
            "Conflicting options: -a and -d"
        } else {
            "conflicting options: cannot specify both --attach and --detach"
        }));
    }
    fill(verb, values, arguments, engine).map_err(|message| failure(verb, &message, engine))
}

fn fill(
    verb: &'static str,
    values: &Values,
    arguments: &[String],
    engine: Engine,
) -> Result<Run, String> {
    let given = |flag: &str| {
        values
            .last(flag)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let mac_address = given("mac-address");
    if let Some(mac) = &mac_address
        && !validate::is_mac(mac.trim())
    {
        return Err(format!("{mac} is not a valid mac address"));
    }
    let publish: Result<_, _> = values
        .all("publish")
        .iter()
        .map(|text| short_form(text))
        .collect();
    let publish = publish?;
    let restarts = !matches!(values.last("restart"), None | Some("" | "no"));
    if values.is("rm") && restarts {
        return Err(if engine == Engine::V20_10 {
            "Conflicting options: --restart and --rm".to_owned()
        } else {
            "conflicting options: cannot specify both --restart and --rm".to_owned()
        });
    }
    let (network_mode, endpoints) = networks(values, engine)?;
    let first_is_user_defined = is_user_defined(&network_mode);
    let (image, command) = arguments.split_first().ok_or("no image")?;
    let spec = ContainerSpec {
        name: given("name"),
        image: image.clone(),
        command: command.to_vec(),
        listens: None,
        hostname: given("hostname"),
        domainname: given("domainname"),
        network_mode,
        endpoints,
        ports: Vec::new(),
        publish_all: values.is("publish-all"),
        expose: Vec::new(),
        // On a user-defined network a link belongs to the endpoint.
        links: if first_is_user_defined {
            Vec::new()
        } else {
            values.all("link")
        },
        extra_hosts: values.all("add-host"),
        dns: values.all("dns"),
        dns_search: values.all("dns-search"),
        dns_options: values.all("dns-option"),
        mac_address,
        labels: pairs(&values.all("label")),
        env: values.all("env"),
        sysctls: pairs(&values.all("sysctl")),
        auto_remove: values.is("rm"),
    };
    Ok(Run {
        verb,
        spec,
        process: Process {
            entrypoint: values.last("entrypoint").map(str::to_owned),
            interactive: values.is("interactive"),
            tty: values.is("tty"),
        },
        detach: values.is("detach"),
        publish,
        expose: values.all("expose"),
    })
}

/// Reads the ports, which the engine's part knows how to.
pub(super) fn ports(run: &mut Run, daemon: &dyn Daemon) -> Result<(), Failure> {
    let engine = daemon.engine();
    let failed = |verb: &str, message: &str| failure(verb, message, engine);
    for text in &run.publish {
        let bindings = daemon
            .publish_spec(text)
            .map_err(|e| failed(run.verb, &e.message))?;
        run.spec.ports.extend(bindings);
    }
    for text in &run.expose {
        let ports = daemon
            .expose_spec(text)
            .map_err(|e| failed(run.verb, &e.message))?;
        run.spec.expose.extend(ports);
    }
    Ok(())
}

/// Whether a `--network` names a network that somebody made.
#[must_use]
pub(super) fn is_user_defined(network: &str) -> bool {
    let container = network == "container" || network.starts_with("container:");
    !container && !matches!(network, "" | "bridge" | "default" | "host" | "none")
}

/// `-p published=8080,target=80,protocol=tcp` as `8080:80/tcp`.
fn short_form(text: &str) -> Result<String, String> {
    if !text.contains('=') {
        return Ok(text.to_owned());
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            Some((key, _)) if !key.is_empty() => {}
            _ => {
                return Err(format!(
                    "invalid publish opts format (should be name=value but got '{part}')"
                ));
            }
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

type Networks = (String, Vec<(String, EndpointSpec)>);

/// The first network, and the options of each.
fn networks(values: &Values, engine: Engine) -> Result<Networks, String> {
    let given = values.all("network");
    if given.is_empty() {
        // The older client says nothing of the default network's endpoint.
        let mut endpoint = EndpointSpec::default();
        if engine != Engine::V20_10 {
            apply(&mut endpoint, "default", values, engine)?;
            check("default", &endpoint)?;
        }
        let plain = endpoint == EndpointSpec::default();
        let endpoints = if plain {
            Vec::new()
        } else {
            vec![("default".to_owned(), endpoint)]
        };
        return Ok((String::new(), endpoints));
    }
    let mut endpoints: Vec<(String, EndpointSpec)> = Vec::new();
    let (mut user_defined, mut predefined) = (false, false);
    let mut mode = String::new();
    for (i, text) in given.iter().enumerate() {
        let (target, mut endpoint) = validate::attachment(text, engine)?;
        if is_user_defined(&target) {
            user_defined = true;
        } else {
            predefined = true;
        }
        if i == 0 {
            apply(&mut endpoint, &target, values, engine)?;
            mode.clone_from(&target);
        }
        check(&target, &endpoint)?;
        if endpoints.iter().any(|(name, _)| *name == target) {
            return Err(format!("network \"{target}\" is specified multiple times"));
        }
        if given.len() == 1 && endpoint == EndpointSpec::default() {
            continue;
        }
        endpoints.push((target, endpoint));
    }
    if user_defined && predefined {
        return Err("conflicting options: cannot attach both user-defined and non-user-defined network-modes".to_owned());
    }
    Ok((mode, endpoints))
}

/// Moves `--ip`, `--network-alias` and their kind to the first network.
fn apply(
    endpoint: &mut EndpointSpec,
    target: &str,
    values: &Values,
    engine: Engine,
) -> Result<(), String> {
    let conflict = |flag: &str, what: &str| {
        Err(format!(
            "conflicting options: cannot specify both --{flag} and per-network {what}"
        ))
    };
    let aliases = values.all("network-alias");
    let links = values.all("link");
    let locals = values.all("link-local-ip");
    if !endpoint.aliases.is_empty() && !aliases.is_empty() {
        return conflict("network-alias", "alias");
    }
    if !endpoint.ipv4.is_empty() && !values.text("ip").is_empty() {
        return conflict("ip", "IPv4 address");
    }
    if !endpoint.ipv6.is_empty() && !values.text("ip6").is_empty() {
        return conflict("ip6", "IPv6 address");
    }
    if !endpoint.mac_address.is_empty() && !values.text("mac-address").is_empty() {
        return conflict("mac-address", "MAC address");
    }
    if !endpoint.link_local_ips.is_empty() && !locals.is_empty() {
        return conflict("link-local-ip", "link-local IP addresses");
    }
    if !aliases.is_empty() {
        endpoint.aliases = aliases;
    }
    // The older client gives the link to the endpoint whatever the network is, and refuses it there.
    if !links.is_empty() && (is_user_defined(target) || engine == Engine::V20_10) {
        endpoint.links = links;
    }
    if !values.text("ip").is_empty() {
        endpoint.ipv4 = values.text("ip");
    }
    if !values.text("ip6").is_empty() {
        endpoint.ipv6 = values.text("ip6");
    }
    if !locals.is_empty() {
        endpoint.link_local_ips = locals;
    }
    Ok(())
}

fn check(target: &str, endpoint: &EndpointSpec) -> Result<(), String> {
    if target.trim().is_empty() {
        return Err("no name set for network".to_owned());
    }
    if !is_user_defined(target) && !endpoint.aliases.is_empty() {
        return Err(
            "network-scoped aliases are only supported for user-defined networks".to_owned(),
        );
    }
    if !is_user_defined(target) && !endpoint.links.is_empty() {
        return Err("links are only supported for user-defined networks".to_owned());
    }
    let mac = endpoint.mac_address.trim();
    if !mac.is_empty() && !validate::is_mac(mac) {
        return Err(format!(
            "{} is not a valid mac address",
            endpoint.mac_address
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::command::{Command, parse};
    use super::*;

    fn run(line: &str, engine: Engine) -> Result<Run, Failure> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&words, engine).map(|parsed| match parsed.command {
            Command::Run(run) | Command::Create(run) => *run,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn every_network_flag() {
        let run = run(
            "docker run -dit --name c -h host --domainname ex.lab --network web --ip 10.0.0.5 --ip6 fd00::5 \
             --network-alias a --net-alias b --link x:y --link-local-ip 169.254.1.1 \
             --mac-address 02:00:00:00:00:05 -p 8080:80 --publish published=9090,target=90,protocol=udp -P \
             --expose 70 --dns 192.0.2.1 --dns-search ex.lab --dns-opt ndots:1 --dns-option rotate \
             --add-host h=1.2.3.4 -e A=1 -l k=v --sysctl net.ipv4.ip_forward=1 --entrypoint /bin/x --rm \
             -v /a:/b --privileged alpine ping -c 1 b",
            Engine::V29,
        )
        .unwrap();
        let spec = run.spec;
        assert_eq!(spec.name.as_deref(), Some("c"));
        assert_eq!(spec.network_mode, "web");
        let (name, endpoint) = &spec.endpoints[0];
        assert_eq!(name, "web");
        assert_eq!(
            (endpoint.ipv4.as_str(), endpoint.ipv6.as_str()),
            ("10.0.0.5", "fd00::5")
        );
        assert_eq!(endpoint.aliases, ["a", "b"]);
        assert_eq!(endpoint.links, ["x:y"]);
        assert!(spec.links.is_empty());
        assert_eq!(spec.mac_address.as_deref(), Some("02:00:00:00:00:05"));
        assert_eq!(run.publish, ["8080:80", "9090:90/udp"]);
        assert_eq!(run.expose, ["70"]);
        assert_eq!(spec.dns_options, ["ndots:1", "rotate"]);
        assert_eq!(spec.extra_hosts, ["h:1.2.3.4"]);
        assert_eq!(spec.command, ["ping", "-c", "1", "b"]);
        assert!(run.detach && run.process.tty && run.process.interactive && spec.auto_remove);
        assert_eq!(run.process.entrypoint.as_deref(), Some("/bin/x"));
    }

    #[test]
    fn several_networks() {
        let spec = run(
            "docker run --network name=a,ip=10.0.0.2 --network b x",
            Engine::V29,
        )
        .unwrap()
        .spec;
        assert_eq!(spec.network_mode, "a");
        let names: Vec<_> = spec
            .endpoints
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["a", "b"]);
        let spec = run("docker run --link db:d x", Engine::V29).unwrap().spec;
        assert_eq!((spec.links.len(), spec.endpoints.len()), (1, 0));
    }

    #[test]
    fn what_the_client_refuses() {
        for (flags, message) in [
            (
                "--network a --network a",
                "network \"a\" is specified multiple times",
            ),
            (
                "--network a --network host",
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            ),
            (
                "--network name=a,ip=10.0.0.2 --ip 10.0.0.3",
                "conflicting options: cannot specify both --ip and per-network IPv4 address",
            ),
            (
                "--network name=a,alias=x --network-alias y",
                "conflicting options: cannot specify both --network-alias and per-network alias",
            ),
            (
                "--network-alias y",
                "network-scoped aliases are only supported for user-defined networks",
            ),
            ("--mac-address nope", "nope is not a valid mac address"),
            (
                "-p published=1,target",
                "invalid publish opts format (should be name=value but got 'target')",
            ),
            (
                "--rm --restart always",
                "conflicting options: cannot specify both --restart and --rm",
            ),
        ] {
            let line = format!("docker run {flags} x");
            let failure = run(&line, Engine::V29).unwrap_err();
            let expected =
                format!("docker: {message}\n\nRun 'docker run --help' for more information");
            assert_eq!((failure.message, failure.code), (expected, 125), "{line}");
        }
        let failure = run("docker run --network host --link a:b x", Engine::V20_10).unwrap_err();
        assert_eq!(
            failure.message,
            "docker: links are only supported for user-defined networks.\nSee 'docker run --help'."
        );
        // The newer client leaves that to the engine.
        assert!(run("docker run --network host --link a:b x", Engine::V29).is_ok());
    }
}
