//! The scenarios: TCP, UDP and addressing, each a list of calls.

use super::Call::{
    Accept, Close, Connect, KeepAlive, Listen, Peer, Recv, RecvAll, Send, SendTo, Shutdown, Udp,
    Wait,
};
use super::Host::{A, B};
use super::Step;

pub(crate) fn all() -> Vec<(&'static str, Vec<Step>)> {
    let mut all = vec![
        (
            "a port where nobody listens",
            vec![
                (A, Connect("c", "10.9.0.2:81")),
                (A, Connect("c6", "[fd09::2]:81")),
            ],
        ),
        (
            "an address where nobody is",
            vec![
                (A, Connect("c", "10.9.0.77:80")),
                (A, Udp("u", "0.0.0.0:0")),
                (A, SendTo("u", "10.9.0.78:9", 3)),
                (A, Wait(3500)),
                (A, SendTo("u", "10.9.0.78:9", 3)),
            ],
        ),
        (
            "a network without a route",
            vec![
                (A, Connect("c", "10.77.0.1:80")),
                (A, Connect("c6", "[fd77::1]:80")),
                (A, Udp("u", "0.0.0.0:0")),
                (A, SendTo("u", "10.77.0.1:9", 3)),
            ],
        ),
        (
            "binding",
            vec![
                (A, Listen("l", "0.0.0.0:80", 8)),
                (A, Listen("twice", "0.0.0.0:80", 8)),
                (A, Listen("specific", "10.9.0.1:80", 8)),
                (A, Listen("foreign", "10.9.0.2:81", 8)),
                (A, Listen("lo", "127.0.0.1:82", 8)),
                (A, Udp("u", "0.0.0.0:53")),
                (A, Udp("u2", "0.0.0.0:53")),
                (A, Udp("u3", "127.0.0.1:53")),
                (B, Connect("c", "10.9.0.1:82")),
            ],
        ),
        (
            "an echo of a few bytes",
            vec![
                (B, Listen("l", "0.0.0.0:80", 8)),
                (A, Connect("c", "10.9.0.2:80")),
                (B, Accept("l", "s")),
                (A, Send("c", 5)),
                (B, Recv("s")),
                (B, Send("s", 7)),
                (A, Recv("c")),
                (A, Recv("c")),
                (A, Close("c")),
                (B, Recv("s")),
                (B, Close("s")),
            ],
        ),
        (
            "half-close, both ways",
            vec![
                (B, Listen("l", "0.0.0.0:80", 8)),
                (A, Connect("c", "10.9.0.2:80")),
                (B, Accept("l", "s")),
                (A, Send("c", 4)),
                (A, Shutdown("c")),
                (A, Send("c", 4)),
                (B, Recv("s")),
                (B, Recv("s")),
                (B, Send("s", 9)),
                (A, Recv("c")),
                (B, Shutdown("s")),
                (A, Recv("c")),
            ],
        ),
        (
            "closing with unread data resets",
            vec![
                (B, Listen("l", "0.0.0.0:80", 8)),
                (A, Connect("c", "10.9.0.2:80")),
                (B, Accept("l", "s")),
                (A, Send("c", 100)),
                (B, Wait(500)),
                (B, Close("s")),
                (A, Wait(500)),
                (A, Recv("c")),
                (A, Send("c", 1)),
            ],
        ),
        (
            "writing to a peer that closed",
            vec![
                (B, Listen("l", "0.0.0.0:80", 8)),
                (A, Connect("c", "10.9.0.2:80")),
                (B, Accept("l", "s")),
                (B, Close("s")),
                (A, Wait(500)),
                (A, Recv("c")),
                (A, Send("c", 1)),
                (A, Wait(500)),
                (A, Send("c", 1)),
            ],
        ),
        (
            "a closed listener",
            vec![
                (B, Listen("l", "0.0.0.0:80", 8)),
                (A, Connect("c", "10.9.0.2:80")),
                (B, Close("l")),
                (A, Wait(500)),
                (A, Recv("c")),
                (A, Connect("d", "10.9.0.2:80")),
            ],
        ),
        (
            "the same port again at once",
            vec![
                (B, Listen("l", "0.0.0.0:80", 8)),
                (A, Connect("c", "10.9.0.2:80")),
                (B, Accept("l", "s")),
                (A, Close("c")),
                (B, Recv("s")),
                (B, Close("s")),
                (B, Close("l")),
                (B, Listen("m", "0.0.0.0:80", 8)),
                (A, Connect("d", "10.9.0.2:80")),
            ],
        ),
        (
            "keepalive of a connection that has long been idle",
            vec![
                (B, Listen("l", "0.0.0.0:80", 8)),
                (A, Connect("c", "10.9.0.2:80")),
                (B, Accept("l", "s")),
                (A, Wait(4500)),
                (A, KeepAlive("c", 1, 1, 2)),
                (A, Recv("c")),
                (B, Send("s", 3)),
                (A, Recv("c")),
            ],
        ),
        (
            "a megabyte",
            vec![
                (B, Listen("l", "0.0.0.0:80", 8)),
                (A, Connect("c", "10.9.0.2:80")),
                (B, Accept("l", "s")),
                (A, Send("c", 10_000)),
                (B, RecvAll("s", 10_000)),
                (B, Send("s", 10_000)),
                (A, RecvAll("c", 10_000)),
            ],
        ),
        (
            "the same over IPv6",
            vec![
                (B, Listen("l", "[::]:80", 8)),
                (A, Connect("c", "[fd09::2]:80")),
                (B, Accept("l", "s")),
                (A, Send("c", 10_000)),
                (B, RecvAll("s", 10_000)),
                (A, Close("c")),
                (B, Recv("s")),
            ],
        ),
        (
            "loopback",
            vec![
                (A, Listen("l", "127.0.0.1:80", 8)),
                (A, Connect("c", "127.0.0.1:80")),
                (A, Accept("l", "s")),
                (A, Send("c", 3)),
                (A, Recv("s")),
                (A, Connect("d", "127.0.0.1:81")),
                (A, Connect("e", "10.9.0.1:80")),
                (A, Connect("f", "[::1]:80")),
                (A, Connect("g", "127.5.6.7:81")),
            ],
        ),
        (
            "UDP to and fro",
            vec![
                (B, Udp("s", "0.0.0.0:53")),
                (A, Udp("c", "0.0.0.0:0")),
                (A, Peer("c", "10.9.0.2:53")),
                (A, Send("c", 12)),
                (B, Recv("s")),
                (A, Recv("c")),
            ],
        ),
        (
            "UDP where nobody listens",
            vec![
                (A, Udp("c", "0.0.0.0:0")),
                (A, Peer("c", "10.9.0.2:54")),
                (A, Send("c", 12)),
                (A, Wait(500)),
                (A, Send("c", 12)),
                (A, Wait(500)),
                (A, Recv("c")),
                (A, Recv("c")),
            ],
        ),
        (
            "UDP where nobody listens, IPv6",
            vec![
                (A, Udp("c", "[::]:0")),
                (A, Peer("c", "[fd09::2]:54")),
                (A, Send("c", 12)),
                (A, Wait(500)),
                (A, Recv("c")),
            ],
        ),
        (
            "UDP unconnected hears no refusal",
            vec![
                (A, Udp("c", "0.0.0.0:0")),
                (A, SendTo("c", "10.9.0.2:54", 12)),
                (A, Wait(500)),
                (A, Recv("c")),
                (A, SendTo("c", "10.9.0.2:54", 12)),
            ],
        ),
        (
            "UDP that has to be cut",
            vec![
                (B, Udp("s", "0.0.0.0:53")),
                (A, Udp("c", "0.0.0.0:0")),
                (A, SendTo("c", "10.9.0.2:53", 5000)),
                (B, Recv("s")),
                (A, SendTo("c", "10.9.0.2:53", 60_000)),
                (B, Recv("s")),
                (A, SendTo("c", "10.9.0.2:53", 65_507)),
                (B, Recv("s")),
                (A, SendTo("c", "10.9.0.2:53", 65_508)),
            ],
        ),
        (
            "UDP broadcast without the option",
            vec![
                (A, Udp("c", "0.0.0.0:0")),
                (A, SendTo("c", "10.9.0.255:53", 3)),
                (A, SendTo("c", "255.255.255.255:53", 3)),
            ],
        ),
        (
            "UDP of nothing",
            vec![
                (B, Udp("s", "0.0.0.0:53")),
                (A, Udp("c", "0.0.0.0:0")),
                (A, SendTo("c", "10.9.0.2:53", 0)),
                (B, Recv("s")),
            ],
        ),
        (
            "a connected UDP socket hears its peer only",
            vec![
                (A, Udp("c", "10.9.0.1:700")),
                (A, Peer("c", "10.9.0.2:53")),
                (B, Udp("other", "10.9.0.2:54")),
                (B, SendTo("other", "10.9.0.1:700", 3)),
                (A, Recv("c")),
                (B, Udp("s", "10.9.0.2:53")),
                (B, SendTo("s", "10.9.0.1:700", 4)),
                (A, Recv("c")),
            ],
        ),
    ];
    // A queue of one takes two connections; the third waits for its SYN to be heard.
    all.push((
        "a full queue",
        vec![
            (B, Listen("l", "0.0.0.0:80", 1)),
            (A, Connect("c1", "10.9.0.2:80")),
            (A, Connect("c2", "10.9.0.2:80")),
            (A, Wait(500)),
            (A, Connect("c3", "10.9.0.2:80")),
        ],
    ));
    all
}
