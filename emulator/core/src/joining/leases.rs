//! Which machine has which address: the server's side of DHCP (RFC 2131 §4.3).
//!
//! Addresses come from whoever owns the network, one after the other, and stay here. A machine has the one that it had
//! before as long as nobody else needs it. What is offered is kept for a minute, what is given for an hour.
//! Left out: relays, shorter leases on demand.

use core::net::Ipv4Addr;
use core::time::Duration;

use switch::Time;

use super::message::{Kind, Message, Reply, option};
use super::segment::V4;

/// How long an address is a machine's.
pub const LEASE: Duration = Duration::from_secs(3_600);
/// How long one that is offered is kept.
pub const OFFER: Duration = Duration::from_secs(60);
/// How long one is left alone that somebody else was seen to have.
const DECLINED: Duration = LEASE;
/// Machines that may have one at a time.
pub const MACHINES: usize = 16;

/// Who has an address, and until when.
#[derive(Clone, Debug)]
struct Holder {
    /// Nobody, if it was declined.
    client: Option<Vec<u8>>,
    until: Time,
}

#[derive(Clone, Debug)]
struct Address {
    ip: Ipv4Addr,
    name: String,
    holder: Option<Holder>,
}

impl Address {
    fn is_of(&self, client: &[u8]) -> bool {
        let holder = self.holder.as_ref();
        holder.is_some_and(|holder| holder.client.as_deref() == Some(client))
    }

    fn is_free(&self, now: Time) -> bool {
        self.holder
            .as_ref()
            .is_none_or(|holder| holder.until <= now)
    }
}

/// What a message leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This.
    Reply(Reply),
    /// Nothing.
    Silence,
    /// An address is needed and none is left: [`Leases::add`] one and ask again.
    Wanting,
}

/// The addresses that are given out.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    addresses: Vec<Address>,
}

impl Leases {
    /// Adds an address, with the name that its machine has for others. False: there are [`MACHINES`] already.
    pub fn add(&mut self, ip: Ipv4Addr, name: &str) -> bool {
        let room = self.addresses.len() < MACHINES;
        if room {
            self.addresses.push(Address {
                ip,
                name: name.to_owned(),
                holder: None,
            });
        }
        room
    }

    /// Whether another address may be added.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.addresses.len() < MACHINES
    }

    /// The name that belongs to an address.
    #[must_use]
    pub fn name_of(&self, ip: Ipv4Addr) -> Option<&str> {
        let found = self.addresses.iter().find(|address| address.ip == ip);
        found.map(|address| address.name.as_str())
    }

    /// Answers a message of a machine on the network `net`.
    pub fn answer(&mut self, now: Time, net: &V4, mtu: u16, message: &Message) -> Answer {
        if message.giaddr != Ipv4Addr::UNSPECIFIED {
            return Answer::Silence;
        }
        let client = message.client();
        match message.kind {
            Kind::Discover => match self.choose(now, &client, message.address(option::ADDRESS)) {
                Some(at) => {
                    self.give(at, client, now, OFFER);
                    Answer::Reply(self.told(Kind::Offer, at, net, mtu, message))
                }
                None if self.has_room() => Answer::Wanting,
                None => Answer::Silence,
            },
            Kind::Request => self.requested(now, net, mtu, message, client),
            Kind::Decline => {
                self.declined(now, net, message, &client);
                Answer::Silence
            }
            Kind::Release => {
                let released =
                    |address: &Address| address.ip == message.ciaddr && address.is_of(&client);
                if let Some(address) = self.addresses.iter_mut().find(|it| released(it))
                    && let Some(holder) = &mut address.holder
                {
                    // It stays this machine's as long as nobody else needs it.
                    holder.until = now;
                }
                Answer::Silence
            }
            Kind::Inform => Answer::Reply(Reply {
                kind: Kind::Ack,
                yiaddr: Ipv4Addr::UNSPECIFIED,
                options: known(net, mtu, message, None),
            }),
            Kind::Offer | Kind::Ack | Kind::Nak => Answer::Silence,
        }
    }

    /// The address for a machine: the one it has or had, the one that it wants, one that nobody had, one that is
    /// free again, the oldest first.
    fn choose(&self, now: Time, client: &[u8], wanted: Option<Ipv4Addr>) -> Option<usize> {
        let find = |fits: &dyn Fn(&Address) -> bool| self.addresses.iter().position(fits);
        find(&|address| address.is_of(client))
            .or_else(|| find(&|address| Some(address.ip) == wanted && address.is_free(now)))
            .or_else(|| find(&|address| address.holder.is_none()))
            .or_else(|| {
                let free = self.addresses.iter().enumerate();
                free.filter(|(_, address)| address.is_free(now))
                    .min_by_key(|(_, address)| address.holder.as_ref().map(|it| it.until))
                    .map(|(at, _)| at)
            })
    }

    /// An address is a machine's for so long, or for as long as it is already.
    fn give(&mut self, at: usize, client: Vec<u8>, now: Time, span: Duration) {
        let address = &mut self.addresses[at];
        let held = address.holder.take();
        let held = held.filter(|holder| holder.client.as_ref() == Some(&client));
        let until = held.map_or(Time::ZERO, |holder| holder.until);
        let until = until.max(now + span);
        address.holder = Some(Holder {
            client: Some(client),
            until,
        });
    }

    /// RFC 2131 §4.3.2.
    fn requested(
        &mut self,
        now: Time,
        net: &V4,
        mtu: u16,
        message: &Message,
        client: Vec<u8>,
    ) -> Answer {
        let own = self.addresses.iter().position(|it| it.is_of(&client));
        let server = message.address(option::SERVER);
        if server.is_some_and(|server| server != net.server) {
            // It took the offer of another.
            if let Some(at) = own {
                self.addresses[at].holder = None;
            }
            return Answer::Silence;
        }
        let asked = message.address(option::ADDRESS);
        let is_new = server.is_some() || asked.is_some();
        let ip = if message.ciaddr == Ipv4Addr::UNSPECIFIED {
            asked
        } else {
            Some(message.ciaddr)
        };
        let Some(ip) = ip else {
            return Answer::Silence;
        };
        let nak = Answer::Reply(Reply {
            kind: Kind::Nak,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            options: vec![
                (option::SERVER, net.server.octets().to_vec()),
                (option::SENTENCE, b"this address is not yours here".to_vec()),
            ],
        });
        let at = match own {
            Some(at) => at,
            // One whose lease is older than this server goes on with it, if nobody else has it.
            None => match self.addresses.iter().position(|it| it.ip == ip) {
                Some(at) if self.addresses[at].is_free(now) => at,
                Some(_) => return nak,
                // Who has just started may be known to another server, unless it is in the wrong network.
                None if is_new && server.is_none() && net.net.contains(&ip) => {
                    return Answer::Silence;
                }
                None => return nak,
            },
        };
        if self.addresses[at].ip != ip {
            return nak;
        }
        self.give(at, client, now, LEASE);
        Answer::Reply(self.told(Kind::Ack, at, net, mtu, message))
    }

    fn declined(&mut self, now: Time, net: &V4, message: &Message, client: &[u8]) {
        let ours = message.address(option::SERVER) == Some(net.server);
        let ip = message.address(option::ADDRESS);
        let declined = |it: &Address| Some(it.ip) == ip && it.is_of(client);
        if let Some(address) = self.addresses.iter_mut().find(|it| ours && declined(it)) {
            address.holder = Some(Holder {
                client: None,
                until: now + DECLINED,
            });
        }
    }

    fn told(&self, kind: Kind, at: usize, net: &V4, mtu: u16, message: &Message) -> Reply {
        let address = &self.addresses[at];
        Reply {
            kind,
            yiaddr: address.ip,
            options: known(net, mtu, message, Some(&address.name)),
        }
    }
}

/// The options of an answer: what has to be there (RFC 2131, table 3), then what is asked for, in that order, or all of it.
fn known(net: &V4, mtu: u16, message: &Message, name: Option<&str>) -> Vec<(u8, Vec<u8>)> {
    let mut options = vec![(option::SERVER, net.server.octets().to_vec())];
    if name.is_some() {
        let seconds = |eighths: u32| {
            let span = LEASE.as_secs() as u32 / 8 * eighths;
            span.to_be_bytes().to_vec()
        };
        options.extend([
            (option::LEASE, seconds(8)),
            (option::RENEW, seconds(4)),
            (option::REBIND, seconds(7)),
        ]);
    }
    let all = [
        option::MASK,
        option::ROUTER,
        option::DNS,
        option::HOST_NAME,
        option::DOMAIN,
        option::MTU,
        option::BROADCAST,
    ];
    let wanted = message.option(option::WANTED).unwrap_or(&all);
    let mut seen = Vec::new();
    for number in wanted.iter().chain(&[option::MASK]) {
        if seen.contains(number) {
            continue;
        }
        seen.push(*number);
        let address = |ip: Option<Ipv4Addr>| ip.map(|ip| ip.octets().to_vec());
        let value = match *number {
            option::MASK => Some(net.net.netmask().octets().to_vec()),
            option::ROUTER => address(net.router),
            option::DNS => address(net.dns),
            option::HOST_NAME => name.map(|name| name.as_bytes().to_vec()),
            option::DOMAIN => Some(net.domain.as_bytes().to_vec()),
            option::MTU => Some(mtu.to_be_bytes().to_vec()),
            option::BROADCAST => address(Some(net.net.broadcast())),
            _ => None,
        };
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            options.push((*number, value));
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::message;
    use super::*;

    const IP: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 4);
    const OTHER: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 5);
    const SERVER: [u8; 4] = [172, 18, 0, 1];

    fn net() -> V4 {
        V4 {
            net: "172.18.0.0/16".parse().unwrap(),
            server: SERVER.into(),
            router: Some(SERVER.into()),
            dns: Some(SERVER.into()),
            domain: "shop_front".to_owned(),
        }
    }

    struct Server(Leases, Time);

    impl Server {
        fn new() -> Self {
            let mut leases = Leases::default();
            assert!(leases.add(IP, "shop-tap0"));
            Self(leases, Time::ZERO)
        }

        fn ask(&mut self, kind: Kind, mac: u8, options: &[(u8, &[u8])]) -> Answer {
            let read = Message::parse(&message(kind, mac, options)).unwrap();
            self.0.answer(self.1, &net(), 1500, &read)
        }

        /// A message that carries the client's address.
        fn ask_from(&mut self, kind: Kind, mac: u8, ciaddr: Ipv4Addr) -> Answer {
            let mut bytes = message(kind, mac, &[]);
            bytes[12..16].copy_from_slice(&ciaddr.octets());
            let read = Message::parse(&bytes).unwrap();
            self.0.answer(self.1, &net(), 1500, &read)
        }

        fn take(&mut self, mac: u8, ip: Ipv4Addr) -> Answer {
            let options: [(u8, &[u8]); 2] =
                [(option::SERVER, &SERVER), (option::ADDRESS, &ip.octets())];
            self.ask(Kind::Request, mac, &options)
        }
    }

    fn seen(answer: &Answer) -> Option<(Kind, Ipv4Addr)> {
        match answer {
            Answer::Reply(reply) => Some((reply.kind, reply.yiaddr)),
            Answer::Silence | Answer::Wanting => None,
        }
    }

    #[test]
    fn four_messages_make_a_lease() {
        let mut server = Server::new();
        let offer = server.ask(Kind::Discover, 1, &[]);
        assert_eq!(seen(&offer), Some((Kind::Offer, IP)));
        let Answer::Reply(ack) = server.take(1, IP) else {
            panic!("no answer");
        };
        assert_eq!((ack.kind, ack.yiaddr), (Kind::Ack, IP));
        let option = |number: u8| {
            let found = ack.options.iter().find(|(other, _)| *other == number);
            found.map(|(_, value)| value.as_slice())
        };
        assert_eq!(option(option::SERVER), Some(&SERVER[..]));
        assert_eq!(option(option::LEASE), Some(&3_600_u32.to_be_bytes()[..]));
        assert_eq!(option(option::RENEW), Some(&1_800_u32.to_be_bytes()[..]));
        assert_eq!(option(option::REBIND), Some(&3_150_u32.to_be_bytes()[..]));
        assert_eq!(option(option::MASK), Some(&[255, 255, 0, 0][..]));
        assert_eq!(option(option::ROUTER), Some(&SERVER[..]));
        assert_eq!(option(option::DNS), Some(&SERVER[..]));
        assert_eq!(option(option::MTU), Some(&[5, 220][..]));
        assert_eq!(option(option::DOMAIN), Some(&b"shop_front"[..]));
        assert_eq!(option(option::HOST_NAME), Some(&b"shop-tap0"[..]));
        assert_eq!(option(option::BROADCAST), Some(&[172, 18, 255, 255][..]));
    }

    #[test]
    fn what_is_asked_for_is_given_in_that_order() {
        let mut server = Server::new();
        let wanted: [(u8, &[u8]); 1] = [(option::WANTED, &[option::DNS, 99, option::ROUTER])];
        let Answer::Reply(offer) = server.ask(Kind::Discover, 1, &wanted) else {
            panic!("no answer");
        };
        let numbers: Vec<u8> = offer.options.iter().map(|(number, _)| *number).collect();
        assert_eq!(
            numbers,
            [54, 51, 58, 59, option::DNS, option::ROUTER, option::MASK]
        );
    }

    #[test]
    fn a_second_machine_wants_a_second_address() {
        let mut server = Server::new();
        server.ask(Kind::Discover, 1, &[]);
        server.take(1, IP);
        assert_eq!(server.ask(Kind::Discover, 2, &[]), Answer::Wanting);
        server.0.add(OTHER, "shop-tap0-2");
        assert_eq!(
            seen(&server.ask(Kind::Discover, 2, &[])),
            Some((Kind::Offer, OTHER))
        );
        // Each keeps its own.
        assert_eq!(
            seen(&server.ask(Kind::Discover, 1, &[])),
            Some((Kind::Offer, IP))
        );
        // The other's is refused.
        assert_eq!(seen(&server.take(2, IP)).unwrap().0, Kind::Nak);
        for count in 3..=MACHINES as u8 + 5 {
            if server.ask(Kind::Discover, count, &[]) == Answer::Wanting {
                assert!(server.0.add(Ipv4Addr::new(172, 18, 1, count), ""));
                assert!(seen(&server.ask(Kind::Discover, count, &[])).is_some());
            }
        }
        assert_eq!(server.ask(Kind::Discover, 99, &[]), Answer::Silence);
        assert!(!server.0.add(Ipv4Addr::new(172, 18, 2, 1), ""));
        // An offer that nobody took is free after a minute.
        server.1 = Time::ZERO + OFFER;
        assert!(seen(&server.ask(Kind::Discover, 99, &[])).is_some());
    }

    #[test]
    fn who_asks_again_keeps_its_lease() {
        let mut server = Server::new();
        server.ask(Kind::Discover, 1, &[]);
        server.take(1, IP);
        let again = server.ask(Kind::Discover, 1, &[]);
        assert_eq!(seen(&again), Some((Kind::Offer, IP)));
        // An offer would have ended.
        server.1 = Time::ZERO + 2 * OFFER;
        assert_eq!(seen(&server.take(2, IP)).unwrap().0, Kind::Nak);
        assert_eq!(server.ask(Kind::Discover, 2, &[]), Answer::Wanting);
    }

    #[test]
    fn a_lease_is_renewed_released_and_ends() {
        let mut server = Server::new();
        server.ask(Kind::Discover, 1, &[]);
        server.take(1, IP);
        server.1 = Time::ZERO + LEASE / 2;
        assert_eq!(
            seen(&server.ask_from(Kind::Request, 1, IP)),
            Some((Kind::Ack, IP))
        );
        server.1 = Time::ZERO + LEASE;
        assert_eq!(
            server.ask(Kind::Discover, 2, &[]),
            Answer::Wanting,
            "it was renewed"
        );
        // Another one cannot release it.
        server.ask_from(Kind::Release, 2, IP);
        assert_eq!(server.ask(Kind::Discover, 2, &[]), Answer::Wanting);
        server.ask_from(Kind::Release, 1, IP);
        assert_eq!(
            seen(&server.ask(Kind::Discover, 2, &[])),
            Some((Kind::Offer, IP))
        );
        server.take(2, IP);
        assert_eq!(
            seen(&server.ask_from(Kind::Request, 1, IP)).unwrap().0,
            Kind::Nak
        );
        server.1 += LEASE;
        assert_eq!(
            seen(&server.ask(Kind::Discover, 3, &[])),
            Some((Kind::Offer, IP))
        );
    }

    #[test]
    fn who_has_just_started_is_told_whether_its_address_is_right() {
        let mut server = Server::new();
        let reboot = |server: &mut Server, ip: Ipv4Addr| {
            server.ask(Kind::Request, 1, &[(option::ADDRESS, &ip.octets())])
        };
        // Unknown, but free: it was given before this server started.
        assert_eq!(seen(&reboot(&mut server, IP)), Some((Kind::Ack, IP)));
        // Known, and another address: wrong.
        assert_eq!(seen(&reboot(&mut server, OTHER)).unwrap().0, Kind::Nak);
        // Unknown, of another network: wrong; of this one: another server may know it.
        let mut server = Server::new();
        let far = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(seen(&reboot(&mut server, far)).unwrap().0, Kind::Nak);
        assert_eq!(reboot(&mut server, OTHER), Answer::Silence);
        // Renewing an address that was never ours to give: begin anew.
        let renewed = server.ask_from(Kind::Request, 1, OTHER);
        assert_eq!(seen(&renewed).unwrap().0, Kind::Nak);
    }

    #[test]
    fn another_server_a_decline_and_a_question_without_address() {
        let mut server = Server::new();
        server.ask(Kind::Discover, 1, &[]);
        let elsewhere: [(u8, &[u8]); 2] = [
            (option::SERVER, &[172, 18, 0, 9]),
            (option::ADDRESS, &[172, 18, 0, 77]),
        ];
        assert_eq!(server.ask(Kind::Request, 1, &elsewhere), Answer::Silence);
        assert_eq!(
            seen(&server.ask(Kind::Discover, 2, &[])),
            Some((Kind::Offer, IP))
        );
        server.take(2, IP);
        let declined: [(u8, &[u8]); 2] =
            [(option::SERVER, &SERVER), (option::ADDRESS, &IP.octets())];
        assert_eq!(server.ask(Kind::Decline, 2, &declined), Answer::Silence);
        assert_eq!(server.ask(Kind::Discover, 2, &[]), Answer::Wanting);
        let Answer::Reply(told) = server.ask_from(Kind::Inform, 3, Ipv4Addr::new(172, 18, 9, 9))
        else {
            panic!("no answer");
        };
        assert_eq!((told.kind, told.yiaddr), (Kind::Ack, Ipv4Addr::UNSPECIFIED));
        assert!(
            told.options
                .iter()
                .all(|(number, _)| *number != option::LEASE)
        );
        assert!(
            told.options
                .iter()
                .any(|(number, _)| *number == option::DNS)
        );
    }

    #[test]
    fn what_came_by_a_relay_is_left_to_others() {
        let mut server = Server::new();
        let mut bytes = message(Kind::Discover, 1, &[]);
        bytes[24..28].copy_from_slice(&[10, 0, 0, 1]);
        let read = Message::parse(&bytes).unwrap();
        assert_eq!(
            server.0.answer(Time::ZERO, &net(), 1500, &read),
            Answer::Silence
        );
    }
}
