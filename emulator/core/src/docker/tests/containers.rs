//! Containers: create, start, stop, names, links, joining.

use crate::docker::config::DaemonConfig;
use crate::docker::container::State;
use crate::docker::spec::Engine;
use crate::docker::testing::{HOST, Host, text};

const V29: Engine = Engine::V29;
const OLD: Engine = Engine::V20_10;

#[test]
fn addresses_come_back_at_once() {
    for engine in [V29, OLD] {
        let mut host = Host::new(engine);
        host.net("n", "").unwrap();
        for (name, ip) in [
            ("aa", "172.18.0.2"),
            ("cc", "172.18.0.3"),
            ("bb", "172.18.0.4"),
        ] {
            host.run(name, "net=n").unwrap();
            assert_eq!(host.ip(name, "n"), ip);
        }
        host.stop("aa");
        assert_eq!(host.ip("aa", "n"), "");
        host.act(|d, w| d.restart(w, "cc", 137)).unwrap();
        assert_eq!(host.ip("cc", "n"), "172.18.0.2", "record h46");
        host.run("late", "net=n").unwrap();
        assert_eq!(host.ip("late", "n"), "172.18.0.3", "record h46");
        host.start("aa").unwrap();
        assert_eq!(host.ip("aa", "n"), "172.18.0.5", "record h46");
    }
}

#[test]
fn static_addresses() {
    let mut host = Host::new(V29);
    host.net("n", "ipv6 subnet=10.1.0.0/24 subnet=fd00:1::/64")
        .unwrap();
    host.run("cc", "net=n,ip=10.1.0.77,ip6=fd00:1::77").unwrap();
    host.stop("cc");
    host.run("other", "net=n").unwrap();
    host.start("cc").unwrap();
    let seen = host.docker.inspect("cc").unwrap();
    let place = &seen.network_settings.networks["n"];
    assert_eq!(
        (
            place.ip_address.as_str(),
            place.global_ipv6_address.as_str()
        ),
        ("10.1.0.77", "fd00:1::77"),
        "case 21"
    );
    host.make("same", "net=n,ip=10.1.0.77").unwrap();
    assert_eq!(
        host.start("same").unwrap_err(),
        "failed to set up container networking: Address already in use"
    );
    let seen = host.docker.inspect("same").unwrap();
    assert_eq!((seen.state, seen.exit_code), (State::Created, 128));
    host.stop("cc");
    host.start("same").unwrap();

    host.net("auto", "").unwrap();
    host.run("ss", "net=auto,ip=172.18.0.99").unwrap();
    assert_eq!(host.ip("ss", "auto"), "172.18.0.99", "case 18");
    for net in ["bridge", "host", "none"] {
        let text = host
            .make("bad", &format!("net={net},ip=172.17.0.9"))
            .unwrap_err();
        let head = format!("invalid config for network {net}: invalid endpoint settings:\n");
        let why = "user-specified IP address is supported on user-defined networks only";
        assert!(
            text.starts_with(&head) && text.contains(why),
            "case 19: {text}"
        );
    }
    host.net("m", "subnet=172.28.0.0/16").unwrap();
    assert_eq!(
        host.make("bad", "net=m,ip=172.28.99.88").map(|_| ()),
        Ok(())
    );
    assert_eq!(
        host.make("worse", "net=n,ip=172.28.99.88").unwrap_err(),
        "invalid config for network n: invalid endpoint settings:\nno configured subnet contains IP address 172.28.99.88",
        "case 20"
    );
}

#[test]
fn macs() {
    let mut host = Host::new(V29);
    let mac = |host: &Host, name: &str| {
        let seen = host.docker.inspect(name).unwrap();
        seen.network_settings.networks["bridge"].mac_address.clone()
    };
    host.run("c1", "").unwrap();
    let first = mac(&host, "c1");
    host.stop("c1");
    host.run("c2", "").unwrap();
    host.start("c1").unwrap();
    assert_ne!(mac(&host, "c1"), first, "case 22");
    assert_ne!(mac(&host, "c1"), mac(&host, "c2"), "case 22");
    host.run("own", "mac=02:00:00:00:00:07").unwrap();
    host.act(|d, w| d.restart(w, "own", 0)).unwrap();
    assert_eq!(mac(&host, "own"), "02:00:00:00:00:07", "case 23");
    host.net("n", "").unwrap();
    host.connect("n", "own", "mac=02:00:00:00:00:08").unwrap();
    let seen = host.docker.inspect("own").unwrap();
    assert_eq!(
        seen.network_settings.networks["n"].mac_address, "02:00:00:00:00:08",
        "case 23"
    );
    assert_eq!(host.ifaces("own"), "eth0=bridge eth1=n", "case 23");

    let mut old = Host::new(OLD);
    old.run("c1", "").unwrap();
    assert_eq!(mac(&old, "c1"), "02:42:ac:11:00:02");
}

#[test]
fn options_that_exclude_each_other_case_70() {
    let rows: &[(&str, &str)] = &[
        (
            "net=container:c h=x",
            "conflicting options: hostname and the network mode",
        ),
        (
            "net=container:c dns=1.1.1.1",
            "conflicting options: dns and the network mode",
        ),
        (
            "net=container:c host=a:1.1.1.1",
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            "net=container:c p=80",
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            "net=container:c P",
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            "net=container:c expose=80",
            "conflicting options: port exposing and the container type network mode",
        ),
        (
            "net=container:c link=c",
            "conflicting options: container type network can't be used with links. This would result in undefined behavior",
        ),
        (
            "net=host link=c",
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ),
        (
            "net=container",
            "invalid network mode: invalid container format container:<name|id>",
        ),
        (
            "link=nosuch",
            "could not get container for nosuch: No such container: nosuch",
        ),
    ];
    for (flags, expected) in rows {
        let mut host = Host::new(V29);
        host.run("c0", "").unwrap();
        assert_eq!(host.make("x1", flags).unwrap_err(), *expected, "{flags}");
    }
    let mut host = Host::new(V29);
    let id = host.make("c1", "").unwrap();
    assert_eq!(
        host.make("c1", "").unwrap_err(),
        format!(
            "Conflict. The container name \"/c1\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
        )
    );
}

#[test]
fn joined_containers() {
    for engine in [V29, OLD] {
        let old = engine == OLD;
        let mut host = Host::new(engine);
        host.net("n", "").unwrap();
        let box1 = host.run("box1", "net=n h=boxy").unwrap();
        host.run("box2", "net=container:box1").unwrap();
        assert_eq!(
            host.docker.namespace_of("box1"),
            host.docker.namespace_of("box2")
        );
        assert_eq!(
            host.docker.hosts_file("box1"),
            host.docker.hosts_file("box2")
        );
        assert_eq!(host.docker.hostname("box2").unwrap(), "boxy");
        assert_eq!(
            host.docker.sandbox_key("box2"),
            host.docker.sandbox_key("box1")
        );
        let seen = host.docker.inspect("box2").unwrap();
        assert_eq!(seen.network_mode, format!("container:{box1}"));
        assert!(seen.network_settings.networks.is_empty());
        // Whoever joined keeps the namespace when its owner goes; the interface goes with the owner.
        let ns = host.docker.namespace_of("box1").unwrap();
        host.stop("box1");
        assert!(host.kernel.spaces[&ns.0].is_empty());
        host.make("box3", "net=container:box1").unwrap();
        let expected = if old {
            format!("cannot join network of a non running container: {box1}")
        } else {
            "cannot join network namespace of a non running container: container box1 is exited"
                .to_owned()
        };
        assert_eq!(host.start("box3").unwrap_err(), expected);
        host.start("box1").unwrap();
        assert_ne!(host.docker.namespace_of("box1").unwrap(), ns);
        assert_eq!(
            host.docker.namespace_of("box2").unwrap(),
            ns,
            "left in the dead namespace"
        );
        host.stop("box2");
        assert!(!host.kernel.spaces.contains_key(&ns.0));
        host.make("self", "net=container:self").unwrap();
        let own = if old {
            "cannot join own network"
        } else {
            "cannot join own network namespace"
        };
        assert_eq!(host.start("self").unwrap_err(), own);
        host.make("lost", "net=container:nosuch").unwrap();
        let lost = if old {
            "No such container: nosuch"
        } else {
            "joining network namespace of container: No such container: nosuch"
        };
        assert_eq!(host.start("lost").unwrap_err(), lost);
    }
}

#[test]
fn host_mode_and_none() {
    let mut host = Host::new(V29);
    let spec = crate::docker::testing::container("h1", "net=host p=8080:80");
    let made = host.act(|d, w| d.create(w, spec)).unwrap();
    assert_eq!(
        made.warnings,
        ["Published ports are discarded when using host network mode"]
    );
    host.start("h1").unwrap();
    assert_eq!(host.docker.namespace_of("h1").unwrap(), HOST);
    assert_eq!(
        host.docker.hosts_file("h1").unwrap(),
        host.docker.config().hosts
    );
    assert_eq!(host.docker.hostname("h1").unwrap(), "host");
    assert_eq!(host.ports("h1"), "");
    host.run("h2", "net=host host=a:1.2.3.4").unwrap();
    assert!(
        host.docker
            .hosts_file("h2")
            .unwrap()
            .ends_with("1.2.3.4\ta\n")
    );
    host.run("n1", "net=none").unwrap();
    let ns = host.docker.namespace_of("n1").unwrap();
    assert!(host.kernel.spaces[&ns.0].is_empty());
    assert_eq!(
        host.docker
            .network_inspect("none")
            .unwrap()
            .containers
            .len(),
        1
    );
    host.rm("h1");
    host.rm("n1");
    assert!(!host.kernel.spaces.contains_key(&ns.0));
}

#[test]
fn names_in_the_dns() {
    for engine in [V29, OLD] {
        let mut host = Host::new(engine);
        host.net("n", "").unwrap();
        let id = host
            .run("web", "net=n,alias=www,alias=web h=whost")
            .unwrap();
        let names = |host: &Host| {
            host.zones
                .endpoints
                .values()
                .map(|(names, ..)| names.join(" "))
                .collect::<Vec<_>>()
                .join("; ")
        };
        let short = &id[..12];
        assert_eq!(names(&host), format!("web www {short} whost"));
        host.act(|d, w| d.rename(w, "web", "renamed")).unwrap();
        assert_eq!(
            names(&host),
            format!("renamed www web {short} whost"),
            "record h46"
        );
        assert_eq!(*host.docker.container("renamed").unwrap().id, id);
        assert!(host.docker.container("web").is_err());
        host.stop("renamed");
        assert_eq!(names(&host), "", "case 48");
        assert!(host.zones.views.is_empty());
        // The default bridge has no names.
        host.run("plain", "").unwrap();
        assert_eq!(names(&host), "");
    }
    let mut old = Host::new(OLD);
    old.net("n", "").unwrap();
    let spec = crate::docker::testing::container("", "net=n");
    let id = old.act(|d, w| d.create(w, spec)).unwrap().id;
    old.start(&id).unwrap();
    let (names, ..) = old.zones.endpoints.values().next().unwrap();
    assert_eq!(
        *names,
        [&id[..12]],
        "a name that nobody gave is not in the DNS of 20.10"
    );
}

#[test]
fn links_of_user_defined_networks() {
    let mut host = Host::new(V29);
    host.net("n", "").unwrap();
    host.run("first", "net=n").unwrap();
    host.run("second", "net=n,link=first:FirstInFoo1,link=third:bar")
        .unwrap();
    let key = host.docker.container_key("second").unwrap();
    let view = &host.zones.views[&crate::docker::names::SandboxKey(key)];
    let links: Vec<String> = view.networks[0]
        .1
        .iter()
        .map(|(a, n)| format!("{a}>{n}"))
        .collect();
    assert_eq!(links, ["FirstInFoo1>first", "bar>third"], "case 47");
}

#[test]
fn legacy_links_case_68() {
    let mut config = DaemonConfig::new(OLD, HOST);
    config.icc = false;
    let mut host = Host::with(config);
    let db = host.run("proj_db_1", "expose=5432").unwrap();
    host.run("web", "link=proj_db_1:db link=proj_db_1").unwrap();
    host.run("other", "p=8080:80").unwrap();
    let rules = |host: &Host| {
        host.kernel
            .links
            .iter()
            .map(|r| format!("{}>{}:{}", r.client, r.server, r.port))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(rules(&host), "172.17.0.3>172.17.0.2:5432/tcp");
    let tail = |host: &Host| {
        let text = host.docker.hosts_file("web").unwrap();
        text.lines().skip(6).collect::<Vec<_>>().join("|")
    };
    let web = host.docker.container("web").unwrap().hostname.clone();
    let short = &db[..12];
    assert_eq!(
        tail(&host),
        format!("172.17.0.2\tdb {short} proj_db_1|172.17.0.2\tproj_db_1 {short}|172.17.0.3\t{web}"),
        "record h17"
    );
    let seen = host.docker.inspect("web").unwrap();
    assert_eq!(
        seen.links,
        ["/proj_db_1:/web/db", "/proj_db_1:/web/proj_db_1"]
    );
    // A restarted server with another address is followed.
    host.stop("proj_db_1");
    assert_eq!(rules(&host), "");
    host.run("taker", "").unwrap();
    host.start("proj_db_1").unwrap();
    assert_eq!(rules(&host), "172.17.0.3>172.17.0.5:5432/tcp");
    assert!(tail(&host).starts_with(&format!("172.17.0.5\tdb {short}")));
    host.act(|d, w| d.link_remove(w, "/web/db")).unwrap();
    assert_eq!(
        rules(&host),
        "172.17.0.3>172.17.0.5:5432/tcp",
        "the other link is there"
    );
    host.act(|d, w| d.link_remove(w, "web/proj_db_1")).unwrap();
    assert_eq!(rules(&host), "", "case 68");

    host.make("late", "link=taker").unwrap();
    host.stop("taker");
    assert_eq!(
        host.start("late").unwrap_err(),
        "Cannot link to a non running container: /taker AS /late/taker"
    );
    host.net("n", "").unwrap();
    host.run("away", "net=n").unwrap();
    host.make("lost", "link=away").unwrap();
    assert_eq!(
        host.start("lost").unwrap_err(),
        "Cannot link to /away, as it does not belong to the default network"
    );
}

#[test]
fn life() {
    let mut host = Host::new(V29);
    let id = host.run("c1", "").unwrap();
    assert_eq!(
        text(host.act(|d, w| d.remove(w, "c1", false))).unwrap_err(),
        "cannot remove container \"c1\": container is running: stop the container before removing or force remove"
    );
    text(host.docker.pause("c1")).unwrap();
    assert_eq!(
        text(host.docker.pause("c1")).unwrap_err(),
        format!("Container {id} is already paused")
    );
    assert_eq!(
        host.start("c1").unwrap_err(),
        "cannot start a paused container, try unpause instead"
    );
    assert_eq!(host.ip("c1", "bridge"), "172.17.0.2");
    text(host.docker.unpause("c1")).unwrap();
    host.stop("c1");
    assert_eq!(
        text(host.act(|d, w| d.kill(w, "c1"))).unwrap_err(),
        format!("cannot kill container: c1: container {id} is not running")
    );
    assert!(host.docker.namespace_of("c1").is_err());
    host.rm("c1");
    assert_eq!(host.start("c1").unwrap_err(), "No such container: c1");
    host.run("gone", "rm").unwrap();
    host.stop("gone");
    assert!(host.docker.container("gone").is_err());
    assert!(host.kernel.spaces.is_empty());
    host.run("twin", "rm").unwrap();
    host.act(|d, w| d.restart(w, "twin", 0)).unwrap();
    assert_eq!(host.docker.container("twin").unwrap().state, State::Running);
    assert_ne!(*host.docker.container("twin").unwrap().id, id);
}
