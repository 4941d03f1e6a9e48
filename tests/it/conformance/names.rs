//! Cases of names: the embedded server as containers ask it, and the hosts file.

/// Number, what it shows, and how.
pub(super) const CASES: &[(u32, &str, &str)] = &[
    (
        37,
        "names in any case and with the root's dot; known names have no MX",
        "
        net n
        run name1 net=n
        run cc net=n
        dig cc name1. A = NOERROR 172.18.0.2
        dig cc NaMe1. A = NOERROR 172.18.0.2
        dig cc name1 AAAA = NOERROR
        dig cc name1 MX = NOERROR
        ",
    ),
    (
        42,
        "outside names: with a network that leads out only",
        "
        net ext
        net int internal
        run cc net=ext
        dig cc nx.example A = NXDOMAIN
        connect int cc
        dig cc nx.example A = NXDOMAIN
        disconnect ext cc
        dig cc nx.example A = SERVFAIL
        connect ext cc
        dig cc nx.example A = NXDOMAIN
        ",
    ),
    (
        43,
        "a server of an internal network is asked there",
        "
        net int internal subnet=10.1.0.0/24
        run server net=int
        run client net=int dns=10.1.0.2
        dig client up.example A = SERVFAIL
        names server
        dig client up.example A = NOERROR 198.51.100.7
        dig client nx.example A = NXDOMAIN
        dig server up.example A = SERVFAIL
        ",
    ),
    (
        44,
        "127.0.0.11 is no upstream of itself",
        "
        net n
        run one net=n dns=127.0.0.11
        dig one nx.example A = SERVFAIL
        run two net=n dns=127.0.0.11 dns=192.0.2.1
        dig two nx.example A = NXDOMAIN
        ",
    ),
    (
        45,
        "a name with its network's name behind",
        "
        net br.net1
        run c1.net1 net=br.net1
        run c2.net1 net=br.net1
        dig c2.net1 c1.net1 A = NOERROR 172.18.0.2
        dig c2.net1 c1.net1.br.net1 A = NOERROR 172.18.0.2
        dig c2.net1 c1.net1.nx.example A != NOERROR 172.18.0.2
        resolve c2.net1 c1.net1.br.net1 = 172.18.0.2
        ping c2.net1 c1.net1@br.net1 = ok
        ",
    ),
    (
        46,
        "an alias is one network's, and goes with it; the short id is a name",
        "
        net net1 subnet=10.1.0.0/24
        net net2 subnet=10.2.0.0/24
        run c1 net=net1,alias=foo
        run c2 net=net1,alias=bar
        connect net2 c1
        connect net2 c2
        resolve c2 foo = 10.1.0.2
        resolve c1 bar = 10.1.0.3
        let id = id c1
        resolve c2 $id = 10.1.0.2
        disconnect net1 c1
        resolve c2 foo = -
        resolve c2 c1 = 10.2.0.2
        resolve c2 $id = 10.2.0.2
        disconnect net2 c1
        resolve c2 c1 = -
        ",
    ),
    (
        47,
        "links of a user-defined network are names of one container's own",
        "
        net foo1 subnet=10.1.0.0/24
        net foo2 subnet=10.2.0.0/24
        run first net=foo1
        run second net=foo1,link=first:FirstInFoo1,link=third:bar
        run other net=foo1
        resolve second FirstInFoo1 = 10.1.0.2
        resolve other FirstInFoo1 = -
        resolve second bar = -
        disconnect foo1 first
        resolve second FirstInFoo1 = -
        connect foo1 first
        resolve second FirstInFoo1 = 10.1.0.2
        run third net=foo1
        resolve second bar = 10.1.0.5
        ",
    ),
    (
        48,
        "who has stopped has no name",
        "
        net n
        run c1 net=n
        run c2 net=n
        resolve c2 c1 = 172.18.0.2
        stop c1
        resolve c2 c1 = -
        start c1
        resolve c2 c1 = 172.18.0.2
        ",
    ),
    (
        49,
        "what is no message is ignored, and the server goes on",
        "
        net n
        run cc net=n
        dig cc cc garbage = timeout
        dig cc cc A = NOERROR 172.18.0.2
        ",
    ),
    (
        50,
        "host-gateway is docker0, in both families",
        "
        daemon ipv6
        net n
        run cc net=n host=hg:host-gateway
        hosts cc hg = 172.17.0.1 fd00:17::1
        serve host 7777
        tcp cc 172.17.0.1:7777 = open 172.18.0.2
        ",
    ),
];
