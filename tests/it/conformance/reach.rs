//! Cases of who reaches whom: isolation, gateway modes, published ports, links.

/// Number, what it shows, and how.
pub(super) const CASES: &[(u32, &str, &str)] = &[
    (
        51,
        "two bridges: silence; two internal ones: no way",
        "
        net n1
        net n2
        net i1 internal
        net i2 internal
        run aa net=n1
        run bb net=n2
        run cc net=i1
        run dd net=i2
        serve bb 80
        ping aa bb@n2 = timeout
        tcp aa bb@n2:80 = timeout
        tcp aa bb@n2:81 = timeout
        ping cc dd@i2 = net-unreachable
        ping cc internet = net-unreachable
        ping cc gw@i1 = ok
        ping host cc@i1 = ok
        ",
    ),
    (
        52,
        "a routed network lets in pings and published ports, and gets nothing from a translated one",
        "
        net nat subnet=10.1.0.0/24
        net routed subnet=10.2.0.0/24 mode=routed
        run nn net=nat p=8080:80
        run rr net=routed p=80
        serve nn 80
        serve rr 80 81
        ping nn rr@routed = ok
        # What leaves the translated network's bridge is masqueraded, here too.
        tcp nn rr@routed:80 = open 10.2.0.1
        tcp nn rr@routed:81 = timeout
        ping rr nn@nat = timeout
        tcp rr nn@nat:80 = timeout
        tcp rr nn@nat:81 = timeout
        ",
    ),
    (
        53,
        "a remote machine with a route to the containers, by gateway mode",
        "
        net nat subnet=10.1.0.0/24
        net open subnet=10.2.0.0/24 mode=nat-unprotected
        net routed subnet=10.3.0.0/24 mode=routed
        run nn net=nat p=8080:80
        run uu net=open p=8081:80
        run rr net=routed p=80
        serve nn 80 81
        serve uu 80 81
        serve rr 80 81
        route lan 10.0.0.0/8 host
        ping lan nn@nat = timeout
        tcp lan nn@nat:80 = timeout
        tcp lan nn@nat:81 = timeout
        tcp lan host:8080 = open 192.0.2.9
        ping lan uu@open = ok
        tcp lan uu@open:80 = open 192.0.2.9
        tcp lan uu@open:81 = open 192.0.2.9
        tcp lan host:8081 = open 192.0.2.9
        ping lan rr@routed = ok
        tcp lan rr@routed:80 = open 192.0.2.9
        tcp lan rr@routed:81 = timeout
        ports rr = 0.0.0.0:0->80/tcp
        serve lan 99
        tcp nn lan:99 = open 192.0.2.2
        tcp uu lan:99 = open 192.0.2.2
        tcp rr lan:99 = open 10.3.0.2
        ",
    ),
    (
        54,
        "a container of another network and a published port, by any address of the host",
        "
        net n1
        net n2
        run server net=n1 p=5000:80
        run client net=n2
        serve server 80
        tcp client gw@n1:5000 = open 172.18.0.1
        tcp client gw@n2:5000 = open 172.18.0.1
        tcp client host:5000 = open 172.18.0.1
        tcp client server@n1:80 = timeout
        ",
    ),
    (
        55,
        "a container of the same network, and the server itself: through the proxy",
        "
        net n1
        run server net=n1 p=8080:80
        run client net=n1
        serve server 80
        tcp client host:8080 = open 172.18.0.1
        tcp client gw@n1:8080 = open 172.18.0.1
        tcp server host:8080 = open 172.18.0.1
        tcp host 127.0.0.1:8080 = open 172.18.0.1
        tcp host host:8080 = open 192.0.2.2
        tcp lan host:8080 = open 192.0.2.9
        ",
    ),
    (
        55,
        "the same without the proxy: over the bridge",
        "
        daemon proxy=off
        net n1
        net n2
        run server net=n1 p=8080:80
        run client net=n1
        run other net=n2
        serve server 80
        tcp client host:8080 = open 172.18.0.3
        tcp client gw@n1:8080 = open 172.18.0.3
        tcp server host:8080 = open 172.18.0.1
        tcp other host:8080 = open 172.18.0.1
        tcp host 127.0.0.1:8080 = open 172.18.0.1
        tcp host host:8080 = open 172.18.0.1
        tcp lan host:8080 = open 192.0.2.9
        ",
    ),
    (
        56,
        "a port published on a loopback address is the host's alone",
        "
        net n
        run server net=n p=127.0.0.2:8080:80
        serve server 80
        tcp host 127.0.0.2:8080 = open 172.18.0.1
        tcp host 127.0.0.1:8080 = refused
        tcp lan host:8080 = refused
        route lan 172.18.0.0/16 host
        tcp lan server@n:80 = timeout
        ",
    ),
    (
        65,
        "the IPv6 side of a port goes to the proxy, and to an IPv6 network while there is one",
        "
        net four subnet=10.1.0.0/24
        net six v6only subnet=fd00:6::/64
        run cc net=four p=8080:80
        serve cc 80
        ports cc = 0.0.0.0:8080->80/tcp :::8080->80/tcp
        tcp lan host:8080 = open 192.0.2.9
        tcp lan host/6:8080 = open 10.1.0.1
        connect six cc
        ports cc = 0.0.0.0:8080->80/tcp :::8080->80/tcp
        tcp lan host:8080 = open 192.0.2.9
        tcp lan host/6:8080 = open 2001:db8:0:1::9
        disconnect six cc
        tcp lan host/6:8080 = open 10.1.0.1
        ",
    ),
    (
        66,
        "published ports follow the way out",
        "
        net aaa subnet=10.1.0.0/24
        net ccc subnet=10.2.0.0/24
        run cc p=70 p=9000:90
        serve cc 70 90
        tcp lan host:9000 = open 192.0.2.9
        connect aaa cc
        tcp lan host:9000 = open 192.0.2.9
        tcp host 127.0.0.1:9000 = open 10.1.0.1
        let ports = ports cc
        connect ccc cc
        ports cc = $ports
        tcp host 127.0.0.1:9000 = open 10.1.0.1
        ",
    ),
    (
        67,
        "a port of an internal network is open once another network gives a way in",
        "
        net int internal subnet=10.1.0.0/24
        net foo-net subnet=10.2.0.0/24
        run cc net=int p=8080:80
        serve cc 80
        tcp lan host:8080 = refused
        tcp host 127.0.0.1:8080 = refused
        connect foo-net cc
        tcp lan host:8080 = open 192.0.2.9
        tcp host 127.0.0.1:8080 = open 10.2.0.1
        disconnect foo-net cc
        tcp lan host:8080 = refused
        ",
    ),
    (
        68,
        "without communication between containers a link opens the exposed ports, one way",
        "
        daemon icc=off
        run db expose=5432
        run web link=db:database
        run other
        serve db 5432 81
        serve web 80
        hosts web database = 172.17.0.2
        hosts web db = 172.17.0.2
        tcp web db@bridge:5432 = open 172.17.0.3
        tcp web db@bridge:81 = timeout
        ping web db@bridge = timeout
        tcp db web@bridge:80 = timeout
        tcp other db@bridge:5432 = timeout
        ping web internet = ok
        rm web
        run web
        tcp web db@bridge:5432 = timeout
        ",
    ),
    (
        69,
        "none and host keep to themselves",
        "
        net n
        run alone net=none
        run on net=host
        ! connect n alone alias=x => container cannot be connected to multiple networks with one of the networks in private (none) mode
        ! connect host alone => cannot connect container to host network - container must be created in host network mode
        ping alone 127.0.0.1 = ok
        ping alone internet = net-unreachable
        serve on 7000
        tcp lan host:7000 = open 192.0.2.9
        ",
    ),
    (
        70,
        "a joined container has its owner's network and nothing of its own",
        "
        net n
        run box1 net=n
        serve box1 80
        run box2 net=container:box1
        ifaces box2 = eth0=172.18.0.2
        tcp box2 127.0.0.1:80 = open 127.0.0.1
        resolve box2 box1 = 172.18.0.2
        ! run box3 net=container:box1 p=8080:80 => conflicting options: port publishing and the container type network mode
        ! run box3 net=container:box1 hostname=x => conflicting options: hostname and the network mode
        ! run box3 net=container:box1 dns=192.0.2.1 => conflicting options: dns and the network mode
        ! run box3 net=container:box1 host=a:10.0.0.1 => conflicting options: custom host-to-IP mapping and the network mode
        ! run box3 net=container:box1 expose=80 => conflicting options: port exposing and the container type network mode
        ",
    ),
];
