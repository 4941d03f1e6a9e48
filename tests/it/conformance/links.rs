//! Cases of interfaces, MACs, announcements and of the way out.

/// Number, what it shows, and how.
pub(super) const CASES: &[(u32, &str, &str)] = &[
    (
        16,
        "two containers share a /31 whose bridge has no address",
        "
        net pair subnet=10.9.0.0/31 internal mode=isolated
        run aa net=pair
        run bb net=pair
        ifaces aa = eth0=10.9.0.0
        ifaces bb = eth0=10.9.0.1
        ping aa bb@pair = ok
        ping bb aa@pair = ok
        ping aa internet = net-unreachable
        ",
    ),
    (
        17,
        "IPv6 without a subnet: a /64 of the engine's own, and it carries",
        "
        net six ipv6
        run aa net=six
        run bb net=six
        ping aa bb@six/6 = ok
        ping aa gw@six/6 = ok
        let bb = ip bb@six/6
        resolve aa bb = 172.18.0.3 $bb
        ",
    ),
    (
        22,
        "MACs are drawn anew at each start",
        "
        run c1
        let first = mac c1 eth0
        stop c1
        run c2
        start c1
        ifaces c2 = eth0=172.17.0.2
        mac c1 eth0 != $first
        mac c2 eth0 != $first
        ping c1 c2@bridge = ok
        ",
    ),
    (
        23,
        "a configured MAC stays, and a connect may bring one",
        "
        net n
        run cc net=bridge mac=02:00:00:00:00:07
        connect n cc mac=02:00:00:00:00:08
        mac cc eth0 = 02:00:00:00:00:07
        mac cc eth1 = 02:00:00:00:00:08
        restart cc
        mac cc eth0 = 02:00:00:00:00:07
        mac cc eth1 = 02:00:00:00:00:08
        run dd net=n
        ping dd cc@n = ok
        neigh dd cc@n = 02:00:00:00:00:08
        ",
    ),
    (
        24,
        "who comes with an old address tells the neighbours: three times, a second apart",
        "
        net n
        run other net=n
        run cc net=n,ip=172.18.0.9
        wait 5
        ping other 172.18.0.9 = ok
        let old = mac cc eth0
        neigh other 172.18.0.9 = $old
        rm cc
        let all = heard other eth0
        run cc net=n,ip=172.18.0.9
        let new = mac cc eth0
        neigh other 172.18.0.9 = $new
        heard other eth0 = 1
        wait 1.1
        heard other eth0 = 1
        wait 1
        heard other eth0 = 1
        wait 5
        heard other eth0 = 0
        ping other 172.18.0.9 = ok
        ",
    ),
    (
        25,
        "the way out is the network of the higher priority, in both families",
        "
        net n1 ipv6 subnet=10.1.0.0/24 subnet=fd00:1::/64
        net n2 ipv6 subnet=10.2.0.0/24 subnet=fd00:2::/64
        run cc net=n1,prio=10 net=n2,prio=100
        gw cc = 10.2.0.1 eth0
        gw6 cc = fd00:2::1 eth0
        ping cc internet = ok
        ",
    ),
    (
        26,
        "a connect with a priority takes the way out, a lower one does not",
        "
        net n1 subnet=10.1.0.0/24
        net n2 subnet=10.2.0.0/24
        net n3 subnet=10.3.0.0/24
        net n4 subnet=10.4.0.0/24
        run cc net=n1
        gw cc = 10.1.0.1 eth0
        connect n2 cc prio=-100
        gw cc = 10.1.0.1 eth0
        connect n3 cc prio=100
        gw cc = 10.3.0.1 eth2
        ping cc internet = ok
        connect n4 cc prio=100
        gw cc = 10.3.0.1 eth2
        disconnect n3 cc
        gw cc = 10.4.0.1 eth3
        ping cc internet = ok
        disconnect n4 cc
        gw cc = 10.1.0.1 eth0
        disconnect n1 cc
        gw cc = 10.2.0.1 eth1
        disconnect n2 cc
        gw cc = -
        ping cc internet = net-unreachable
        ",
    ),
    (
        27,
        "each family has its own way out",
        "
        net dual ipv6 subnet=10.1.0.0/24 subnet=fd00:1::/64
        net four subnet=10.2.0.0/24
        run cc net=dual net=four,prio=1000
        ifaces cc = eth0=10.2.0.2 eth1=10.1.0.2
        gw cc = 10.2.0.1 eth0
        gw6 cc = fd00:1::1 eth1
        ping cc internet = ok
        ping cc 2001:db8:ffff::7 = ok
        ",
    ),
    (
        28,
        "equal priorities: both families before one, then the name, internal ones last",
        "
        net zz-dual ipv6 subnet=10.1.0.0/24 subnet=fd00:1::/64
        net nw0 subnet=10.2.0.0/24
        net nw1 subnet=10.3.0.0/24
        net a-internal internal subnet=10.4.0.0/24
        run cc net=a-internal net=nw1 net=nw0 net=zz-dual
        gw cc = 10.1.0.1 eth0
        disconnect zz-dual cc
        gw cc = 10.2.0.1 eth1
        disconnect nw0 cc
        gw cc = 10.3.0.1 eth2
        disconnect nw1 cc
        gw cc = -
        ",
    ),
    (
        29,
        "an asked for interface name leaves its number out of the count",
        "
        net testnet0 subnet=10.1.0.0/24
        net testnet1 subnet=10.2.0.0/24
        net testnet2 subnet=10.3.0.0/24
        run cc net=testnet0,ifname=eth1 net=testnet1
        ifaces cc = eth0=10.2.0.2 eth1=10.1.0.2
        connect testnet2 cc
        ifaces cc = eth0=10.2.0.2 eth1=10.1.0.2 eth2=10.3.0.2
        disconnect testnet1 cc
        disconnect testnet2 cc
        connect testnet2 cc
        ifaces cc = eth0=10.3.0.2 eth1=10.1.0.2
        ping cc gw@testnet2 = ok
        ",
    ),
    (
        30,
        "an interface name that is taken",
        "
        net n1 subnet=10.1.0.0/24
        net n2 subnet=10.2.0.0/24
        run cc net=n1
        ! connect n2 cc ifname=eth0 => error renaming interface
        ! connect n2 cc ifname=eth0 => file exists
        ifaces cc = eth0=10.1.0.2
        ping cc gw@n1 = ok
        ",
    ),
    (
        31,
        "a default route that is there already: the connect fails and leaves no trace",
        "
        net i internal subnet=10.1.0.0/24
        net n subnet=10.2.0.0/24
        run cc net=i
        route cc default gw@i
        ! connect n cc => failed to set gateway: file exists
        ifaces cc = eth0=10.1.0.2
        gw cc = 10.1.0.1 eth0
        run dd net=n
        ifaces dd = eth0=10.2.0.2
        ",
    ),
    (
        74,
        "a network's MTU is that of its bridge and of both ends of each link",
        "
        net n com.docker.network.driver.mtu=1234
        run cc net=n
        mtu cc eth0 = 1234
        mtu host br-n = 1234
        ",
    ),
];
