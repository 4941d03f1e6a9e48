//! Expressions: those that people write, those that are wrong, and drawn ones.

use switch::Rng;

use super::frames::Frame;

/// What people write, and every primitive.
pub(super) const LISTED: &[&str] = &[
    "",
    "ip",
    "ip6",
    "arp",
    "rarp",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "igmp",
    "igrp",
    "pim",
    "vrrp",
    "carp",
    "ah",
    "esp",
    "not tcp",
    "! udp",
    "not not icmp",
    "host 172.17.0.2",
    "src host 172.17.0.2",
    "dst host 172.17.0.3",
    "src 172.17.0.2",
    "dst 172.17.0.3",
    "src or dst 172.17.0.3",
    "dst or src host 172.17.0.3",
    "src and dst net 172.17.0.0/16",
    "dst and src net 172.17",
    "host 172.17.0.2 or 172.17.0.3",
    "host 172.17.0.2 and 172.17.0.3",
    "host (172.17.0.2 and not 172.17.0.3)",
    "host not 172.17.0.2",
    "not host 172.17.0.2 and port 80",
    "host 172.17.0.2 and not (port 80 or 53)",
    "ip host 172.17.0.2",
    "arp host 172.17.0.2",
    "rarp host 172.17.0.3",
    "arp src 172.17.0.2",
    "arp dst host 172.17.0.3",
    "ip src net 172.16.0.0/12",
    "net 172.17.0.0/16",
    "net 172.17.0.0 mask 255.255.0.0",
    "net 172.17",
    "net 172",
    "net 0",
    "net 0.0.0.0/0",
    "dst net 224.0.0.0/4",
    "src net 172.18.0.0/16 or 172.17.0.0/16",
    "net 10",
    "net 172.17.0",
    "host 2886795266",
    "host fd00::2",
    "ip6 host fd00::2",
    "src host fd00::2",
    "net fd00::/64",
    "dst net ff00::/8",
    "net ff02::/16 or fd00::/8",
    "net ::/0",
    "host ::ffff:1.2.3.4",
    "ip6 net fd00::/8",
    "port 80",
    "port 53",
    "port 80 or 53",
    "port (80 or 53)",
    "port ((80) or (53))",
    "tcp port 80",
    "udp port 53",
    "sctp port 80",
    "src port 80",
    "dst port 80",
    "src or dst port 80",
    "src and dst port 80",
    "tcp src port 40000",
    "tcp dst port 80 or 443",
    "port http",
    "port domain",
    "tcp port domain",
    "tcp port domain or http-alt",
    "not port 53",
    "portrange 50-90",
    "portrange 90-50",
    "tcp portrange 0-65535",
    "src portrange 32768-60999",
    "udp dst portrange 53-53",
    "portrange 80",
    "portrange ssh-http",
    "tcp portrange 22-http",
    "portrange 1-2-3",
    "proto 6",
    "ip proto 17",
    "ip6 proto 58",
    "ip proto \\tcp",
    "ip6 proto \\udp",
    "proto \\icmp",
    "ip proto ipv6-icmp",
    "proto 6 or 17",
    "ip proto (1 or 2)",
    "ip proto gre",
    "ip proto 300",
    "ether proto 0x0800",
    "ether proto \\arp",
    "ether proto \\ip6",
    "ether proto 0x88cc",
    "ether proto 2054",
    "ether proto 0x42",
    "ether proto \\stp",
    "ether proto \\iso",
    "ether proto \\ipx",
    "ether proto \\netbeui",
    "ether proto \\atalk",
    "ether proto \\aarp",
    "ether proto \\decnet",
    "ether proto \\lat",
    "ether proto loopback",
    "ether proto 6",
    "ether proto 1500",
    "ether proto 1501",
    "ether host 02:42:ac:11:00:02",
    "ether src 02:42:ac:11:00:02",
    "ether dst 2:42:ac:11:0:3",
    "ether src or dst 02-42-ac-11-00-03",
    "ether host 0242.ac11.0002",
    "ether host 0242ac110003",
    "ether src 02.42.ac.11.00.02",
    "ether src and dst host 02:42:ac:11:00:02",
    "ether host ff:ff:ff:ff:ff:ff or 02:42:ac:11:00:03",
    "link host 02:42:ac:11:00:02",
    "ether broadcast",
    "broadcast",
    "ether multicast",
    "multicast",
    "ip broadcast",
    "ip multicast",
    "ip6 multicast",
    "not broadcast and not multicast",
    "less 60",
    "greater 100",
    "len > 100",
    "len <= 60",
    "length = 74",
    "len - 14 > 60",
    "greater 0x50 and less 0200",
    "vlan",
    "vlan 100",
    "vlan 7",
    "vlan (100)",
    "vlan 100 and tcp",
    "vlan and vlan",
    "vlan and vlan 4095",
    "vlan 7 and vlan 4095 and ip",
    "vlan and host 172.17.0.2",
    "vlan and port 80",
    "vlan or ip",
    "ip or vlan",
    "ip or vlan and ip",
    "not vlan",
    "vlan and ether host 02:42:ac:11:00:02",
    "vlan and arp",
    "vlan and ip6",
    "vlan and tcp[13] & 2 != 0",
    "vlan and ip[8] = 64",
    "vlan and ether[16:2] = 0x0800",
    "vlan and ether proto 0x42",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "tcp[tcpflags] & tcp-syn != 0",
    "tcp[tcpflags] == tcp-syn",
    "tcp[tcpflags] & (tcp-syn | tcp-ack) == (tcp-syn | tcp-ack)",
    "tcp[tcpflags] & tcp-rst != 0",
    "tcp[13] & 0x12 = 0x12",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and not src and dst net 172.17.0.0/16",
    "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
    "icmp[icmptype] == icmp-echo",
    "icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply",
    "icmp[icmptype] = icmp-unreach and icmp[icmpcode] = 1",
    "icmp[0] = 3 or icmp[0] = 11",
    "icmp6[icmp6type] = icmp6-echo",
    "icmp6[icmp6type] = icmp6-neighborsolicit or icmp6[0] = icmp6-neighboradvert",
    "icmp6[0] >= 133 and icmp6[0] <= 137",
    "ip6[6] = 58 and ip6[40] = 135",
    "ip[0] & 0xf != 5",
    "ip[6:2] & 0x1fff != 0",
    "ip[6] & 0x20 != 0 or ip[6:2] & 0x1fff != 0",
    "ip[8] < 64",
    "ip[8] <= 64 and ip[9] = 6",
    "ip[2:2] > 100",
    "ip[12:4] = 0xac110002",
    "ip[16] >= 224",
    "udp[2:2] = 53",
    "udp[8] & 0x80 = 0",
    "udp[4:2] > 20",
    "sctp[0:2] = 40000",
    "arp[6:2] = 1",
    "arp[7] = 2",
    "rarp[6:2] = 3",
    "ether[0] & 1 = 0",
    "ether[12:2] = 0x0806",
    "ether[0:4] = 0x0242ac11 and ether[4:2] = 3",
    "link[6] = 2",
    "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "tcp[20:4] = 0x47455420",
    "tcp[-4:4] = 0xac110003",
    "ip[ip[0] & 0xf] > 0",
    "ip[1000000] = 0",
    "ether[0xffffffff] = 0",
    "not ether[70] = 0",
    "tcp[0:2] + tcp[2:2] > 40000",
    "1 + tcp[0] = 5",
    "1 + 1 = 2",
    "2 * 3 + 1 = 7",
    "1 + 2 * 3 = 7",
    "10 - 2 - 3 = 5",
    "100 / 10 / 5 = 2",
    "1 << 2 + 1 = 8",
    "12 & 10 | 1 = 9",
    "1 | 12 & 10 = 9",
    "7 % 4 = 3",
    "7 % 4 + 1 = 2",
    "1 + 7 % 4 = 4",
    "2 * 7 % 4 = 6",
    "5 ^ 3 = 6",
    "5 ^ 3 | 8 = 14",
    "1 | 5 ^ 3 = 7",
    "-1 = 0xffffffff",
    "- 6 % 4 = 0xfffffffe",
    "5 - -3 = 8",
    "(5 - 3) * 2 = 4",
    "((ip[8])) = 64",
    "(ip[8] = 64)",
    "(80 = 80)",
    "((80) = 80)",
    "len / (ip[8] - 64) = 1",
    "len % (ip[8] - 64) = 1",
    "not len / (ip[8] - 64) = 1",
    "1 << ip[8] = 0",
    "ip[8] >> ip[9] = 0",
    "ip and not tcp and not udp",
    "tcp or udp and port 53",
    "(tcp or udp) and port 53",
    "tcp or (udp and port 53)",
    "tcp && port 80",
    "tcp || arp",
    "!(tcp || arp)",
    "not (host 172.17.0.2 or arp) and not ip6",
    "icmp or arp or host 203.0.113.9 or 172.17.0.3",
    "host 172.17.0.2 and (port 80 or icmp)",
    "host 172.17.0.2 and (host 172.17.0.3) or 203.0.113.9",
    "src 172.17.0.2 and (172.17.0.3 or 203.0.113.9)",
    "host 172.17.0.2 and not 172.17.0.3",
    "dst port 80 or not 53",
    "tcp dst port (80 or 443) and not (src net 10.0.0.0/8 or 192.168.0.0/16)",
];

/// What is no expression.
pub(super) const WRONG: &[&str] = &[
    "host",
    "host and",
    "port",
    "port 80 or",
    "and tcp",
    "tcp and",
    "tcp udp",
    "foo",
    "80",
    "(80)",
    "1.2.3.4",
    "()",
    "(tcp",
    "tcp)",
    "not",
    "!",
    "host a",
    "host nobody.invalid",
    "host 1.2.3.4 5",
    "src 300.1.1.1",
    "host 1.2.3.4/24",
    "net 10.0.0.1/8",
    "net 10.0.0.0/33",
    "net 10.1.0.0 mask 255.0.0.0",
    "net 10.0.0.0 mask 300.0.0.0",
    "net fd00::1/64",
    "net fd00::/129",
    "host fd00::/64",
    "net nowhere",
    "port 65536",
    "port nosuch",
    "portrange 1-65536",
    "portrange nosuch",
    "udp port http",
    "tcp port snmp-trap or nosuch",
    "icmp port 5",
    "ip port 80",
    "ether port 80",
    "icmp portrange 5-6",
    "tcp host 1.2.3.4",
    "udp src 1.2.3.4",
    "icmp6 net 10.0.0.0/8",
    "ether host 1.2.3.4",
    "ether net 10.0.0.0/8",
    "ether host nobody",
    "ip host fd00::1",
    "arp host fd00::1",
    "tcp host fd00::1",
    "ether host fd00::1",
    "ip6 host 1.2.3.4",
    "port 1.2.3.4",
    "portrange 1.2.3.4",
    "proto 1.2.3.4",
    "port fd00::1",
    "host 1:2:3:4:5:6",
    "src 1:2:3:4:5:6",
    "host 1:2:3",
    "ip proto nosuch",
    "ip proto tcp",
    "ether proto nosuch",
    "arp proto 5",
    "tcp proto 5",
    "icmp6 proto 5",
    "src proto 6",
    "tcp 80",
    "tcp or 80",
    "port 80 or udp or 53",
    "(host 1.2.3.4) or 1.2.3.5",
    "arp broadcast",
    "tcp multicast",
    "ip6 broadcast",
    "vlan 4096",
    "less",
    "less x",
    "greater (5)",
    "len",
    "len 5",
    "ip[0]",
    "ip[0",
    "ip[0] =",
    "ip[] = 1",
    "tcp[1:3] = 1",
    "tcp[1:x] = 1",
    "tcp[1:] = 1",
    "ah[0] = 1",
    "tcp[tcpflags & 1",
    "1 / 0 = 1",
    "1 % 0 = 1",
    "1 << 32 = 1",
    "1 = 1 = 1",
    "ip[0] = 1 2",
    "4294967296 = 0",
    "port 089",
    "host 0x1ffffffff",
    "@",
    "host 1.2.3.4 # here",
    "ether",
    "ether 1",
    "link and tcp",
    "src",
    "src or tcp",
    "src tcp",
    "net 10/8",
    "host [1]",
    "ip broadcast 1",
    "not and",
    "tcp not udp",
    "mask 255.0.0.0",
    "\\",
];

/// Draws expressions; addresses and ports are mostly those of frames.
pub(super) struct Draw<'a> {
    rng: &'a mut Rng,
    frames: &'a [Frame],
}

impl<'a> Draw<'a> {
    pub(super) fn new(rng: &'a mut Rng, frames: &'a [Frame]) -> Self {
        Self { rng, frames }
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.rng.below(bound)
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len() as u32) as usize]
    }

    /// An expression of at most `depth` levels.
    pub(super) fn expression(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.primitive();
        }
        match self.below(6) {
            0 => format!("not {}", self.expression(depth - 1)),
            1 => format!("({})", self.expression(depth - 1)),
            2..=4 => {
                let joint = self.one(&["and", "or", "&&", "||", "and not", "or not"]);
                let (left, right) = (self.expression(depth - 1), self.expression(depth - 1));
                format!("{left} {joint} {right}")
            }
            _ => self.primitive(),
        }
    }

    fn primitive(&mut self) -> String {
        match self.below(12) {
            0 => self
                .one(&[
                    "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp",
                    "esp", "ah", "pim", "vrrp", "igrp",
                ])
                .to_owned(),
            1 | 2 => self.host(),
            3 | 4 => self.ports(),
            5 => {
                let under = self.one(&["", "ip ", "ip6 ", "ether "]);
                let number = match self.below(4) {
                    0 => self.below(70_000),
                    _ => [1, 2, 6, 17, 58, 44, 132, 0x800, 0x806, 0x86dd][self.below(10) as usize],
                };
                format!("{under}proto {number}")
            }
            6 => self
                .one(&[
                    "broadcast",
                    "multicast",
                    "ip broadcast",
                    "ip multicast",
                    "ip6 multicast",
                    "ether broadcast",
                ])
                .to_owned(),
            7 => match self.below(4) {
                0 => "vlan".to_owned(),
                1 => "vlan 100".to_owned(),
                2 => format!("less {}", self.below(120)),
                _ => format!("greater {}", self.below(120)),
            },
            8 => {
                let direction = self.one(&["host", "src", "dst", "src or dst", "src and dst host"]);
                let mac = self.bytes(6, 0, 12);
                let parts: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("ether {direction} {}", parts.join(":"))
            }
            _ => self.relation(),
        }
    }

    /// Bytes of some frame, between two offsets.
    fn bytes(&mut self, count: usize, from: usize, to: usize) -> Vec<u8> {
        let frame = self.below(self.frames.len() as u32) as usize;
        let at = from + self.below((to - from) as u32 / 2) as usize * 2;
        let bytes = &self.frames[frame].bytes;
        (at..at + count)
            .map(|at| bytes.get(at).copied().unwrap_or(7))
            .collect()
    }

    fn direction(&mut self) -> &'static str {
        self.one(&[
            "",
            "src ",
            "dst ",
            "src or dst ",
            "dst or src ",
            "src and dst ",
            "dst and src ",
        ])
    }

    fn host(&mut self) -> String {
        let direction = self.direction();
        if self.below(4) == 0 {
            let words: Vec<String> = self
                .bytes(16, 22, 40)
                .chunks(2)
                .map(|pair| format!("{:02x}{:02x}", pair[0], pair[1]))
                .collect();
            let length = [0, 8, 16, 64, 100, 112][self.below(6) as usize];
            if self.below(2) == 0 {
                let under = self.one(&["", "ip6 "]);
                return format!("{under}{direction}host {}", words.join(":"));
            }
            let kept = length / 16;
            let mut prefix = words[..kept].join(":");
            prefix.push_str("::");
            return format!("{direction}net {prefix}/{}", length.max(1).min(kept * 16));
        }
        let bytes = self.bytes(4, 26, 34);
        let text: Vec<String> = bytes.iter().map(ToString::to_string).collect();
        let under = self.one(&["", "", "ip ", "arp ", "rarp "]);
        match self.below(4) {
            0 => {
                let kept = 2 + self.below(3) as usize;
                format!("{under}{direction}net {}", text[..kept].join("."))
            }
            1 => {
                let length = self.below(33);
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                let address = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) & mask;
                let address = core::net::Ipv4Addr::from_bits(address);
                format!("{under}{direction}net {address}/{length}")
            }
            2 => format!("{under}{direction}host {} or 172.17.0.3", text.join(".")),
            _ => format!("{under}{direction}host {}", text.join(".")),
        }
    }

    fn ports(&mut self) -> String {
        let under = self.one(&["", "tcp ", "udp ", "sctp "]);
        let direction = self.direction();
        let port = match self.below(3) {
            0 => self.below(65_536),
            1 => [53, 80, 443, 5353, 40_000][self.below(5) as usize],
            _ => {
                let bytes = self.bytes(2, 34, 38);
                u32::from(bytes[0]) << 8 | u32::from(bytes[1])
            }
        };
        match self.below(3) {
            0 => format!("{under}{direction}portrange {port}-{}", self.below(65_536)),
            1 => format!("{under}{direction}port {port} or 53"),
            _ => format!("{under}{direction}port {port}"),
        }
    }

    fn relation(&mut self) -> String {
        let compare = self.one(&["=", "!=", "<", ">", "<=", ">=", "=="]);
        let left = self.arithmetic(2);
        let right = self.arithmetic(1);
        format!("{left} {compare} {right}")
    }

    fn arithmetic(&mut self, depth: u32) -> String {
        match self.below(if depth == 0 { 3 } else { 7 }) {
            0 => self
                .one(&[
                    "tcp-syn",
                    "icmp-echo",
                    "0x1f",
                    "1",
                    "64",
                    "17",
                    "2048",
                    "255",
                    "0",
                ])
                .to_owned(),
            1 if self.below(3) == 0 => "len".to_owned(),
            1 | 2 => self.field(depth),
            3 => format!("({})", self.arithmetic(depth - 1)),
            4 => {
                let by = self.one(&["/ 3", "% 5", "<< 4", ">> 2", "* 7", "& 0xf0", "^ 5"]);
                format!("{} {by}", self.arithmetic(depth - 1))
            }
            _ => {
                let operator = self.one(&["+", "-", "*", "&", "|", "^", "<<", ">>"]);
                // A number alone behind a shift may be refused for its size.
                let right = if operator.len() == 2 {
                    self.field(0)
                } else {
                    self.arithmetic(depth - 1)
                };
                format!("{} {operator} {right}", self.arithmetic(depth - 1))
            }
        }
    }

    fn field(&mut self, depth: u32) -> String {
        let protocol = self.one(&[
            "ether", "ip", "ip", "ip6", "arp", "tcp", "tcp", "udp", "icmp", "icmp6", "sctp", "igmp",
        ]);
        let index = if depth > 1 && self.below(4) == 0 {
            self.arithmetic(1)
        } else {
            self.below(24).to_string()
        };
        let size = self.one(&["", ":1", ":2", ":4"]);
        format!("{protocol}[{index}{size}]")
    }

    /// Words in any order.
    pub(super) fn soup(&mut self) -> String {
        let words: Vec<&str> = (0..2 + self.below(7))
            .map(|_| {
                self.one(&[
                    "tcp",
                    "udp",
                    "ip",
                    "arp",
                    "ether",
                    "host",
                    "net",
                    "port",
                    "src",
                    "dst",
                    "or",
                    "and",
                    "not",
                    "(",
                    ")",
                    "80",
                    "53",
                    "172.17.0.2",
                    "172.17",
                    "portrange",
                    "1-90",
                    "proto",
                    "6",
                    "len",
                    ">",
                    "=",
                    "&",
                    "ip[8]",
                    "vlan",
                    "less",
                    "broadcast",
                    "02:42:ac:11:00:02",
                    "-",
                    "+",
                    "fd00::2",
                    "/",
                    "mask",
                    "[",
                    "]",
                    ":",
                ])
            })
            .collect();
        words.join(" ")
    }
}
