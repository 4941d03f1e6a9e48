//! What a client says to a proxy: SOCKS5, HTTP, datagrams of SOCKS5.
//!
//! Promises: the same bytes mean the same; nothing is understood before it is whole, and what is understood does not
//! depend on what follows; no more bytes are taken than there are; a request that is passed on names its path.

use emulator_host::proxy::heard::{Heard, MOST, Way, datagram, hear};

/// Runs one input.
pub fn proxy(data: &[u8]) {
    let said = &data[..data.len().min(MOST)];
    for greeted in [false, true] {
        let heard = hear(said, greeted);
        assert_eq!(hear(said, greeted), heard);
        match &heard {
            Heard::More => assert!(said.len() < MOST || said[0] == 5, "nothing grows for ever"),
            Heard::Refuse(_) => {}
            Heard::Say(taken, _) | Heard::Wanted(taken, _) => {
                assert_eq!(hear(&said[..*taken], greeted), heard);
                assert_eq!(hear(&said[..*taken - 1], greeted), Heard::More);
            }
        }
        if let Heard::Wanted(_, wanted) = heard
            && let Way::Forward(head) = wanted.way
        {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            assert!(line.windows(2).any(|two| two == b" /"));
            assert!(head.ends_with(b"\r\nConnection: close\r\n\r\n"));
        }
    }
    if let Some((host, port, head)) = datagram(data) {
        assert_eq!(datagram(&data[..head]), Some((host, port, head)));
        assert_eq!(datagram(&data[..head - 1]), None);
    }
}
