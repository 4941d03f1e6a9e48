//! One end of ours, whose other side is made up.

use super::*;

/// The header of a packet of IPv4 to our end with a segment of so many bytes, and that of one of IPv6.
fn header_v4(segment: usize) -> Vec<u8> {
    let [high, low] = ((20 + segment) as u16).to_be_bytes();
    let mut bytes = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, 6, 0, 0];
    bytes.extend_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
    wire::fill_header_checksum(&mut bytes);
    bytes
}

fn header_v6(segment: usize) -> Vec<u8> {
    let [high, low] = (segment as u16).to_be_bytes();
    let mut bytes = vec![0x60, 0, 0, 0, high, low, 6, 64];
    for end in [V6[1], V6[0]].map(address) {
        let core::net::IpAddr::V6(v6) = end.ip() else {
            unreachable!("it is one of IPv6");
        };
        bytes.extend_from_slice(&v6.octets());
    }
    bytes
}

/// One end of ours, and what is known at the other.
pub(super) struct Play {
    pub(super) rig: Rig,
    pub(super) id: TcpId,
    express: bool,
    v6: bool,
    shift: u8,
    /// The next number of the other side, what ours believes that it has acknowledged, and the window field that it told
    /// last.
    next: u32,
    una: u32,
    field: u16,
    mute: bool,
}

/// What the end was seen to do.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) log: Vec<Sent>,
    pub(super) calls: Vec<Result<usize, Errno>>,
    pub(super) listed: Vec<Vec<TcpSocket>>,
    pub(super) got: Vec<u8>,
}

impl Play {
    /// A connection that has sent more than one does without an engine.
    pub(super) fn new(kind: &Kind, long: bool) -> Self {
        let mut rig = Rig::new();
        rig.mtu = kind.mtu;
        rig.wire = Box::new(nothing);
        let tcp = rig.tcp(A);
        tcp.takes_long_way = long;
        tcp.set_offload(kind.offload);
        tcp.set_partial_checksums(kind.offload);
        // As smoltcp, which sees IPv4, has it.
        let (mtu, most) = match kind.v6 {
            false => (kind.mtu, 65_535),
            true => (kind.mtu.max(1280) - 20, 65_536),
        };
        let burst = u64::from(kind.offload && kind.mtu < most);
        tcp.shared = Shared::new(kind.seed ^ ((mtu as u64) << 1) ^ burst);
        let options = TcpOptions {
            send_buffer: kind.send_buffer,
            ..TcpOptions::default()
        };
        let [local, remote] = if kind.v6 { V6 } else { V4 };
        let id = rig.connect_with(local, remote, &options).unwrap();
        rig.flush();
        let una = rig.log[0].segment.end();
        let mut play = Self {
            rig,
            id,
            express: kind.express,
            v6: kind.v6,
            shift: kind.shift.unwrap_or(0).min(14),
            next: 77_000,
            una,
            field: u16::MAX,
            mute: false,
        };
        let [high, low] = kind.mss.to_be_bytes();
        let mut offer = vec![2, 4, high, low, 4, 2, 1, 1];
        if let Some(shift) = kind.shift {
            offer.extend_from_slice(&[3, 3, shift, 0]);
        }
        play.give(SYN | ACK, 0, una, &offer, 0);
        play.next += 1;
        play.rig.flush();
        for _ in 0..12 {
            let _ = play.rig.send(A, id, &pattern(1500));
            play.rig.flush();
            play.una = play.sent();
            play.give(ACK, 0, play.una, &[], 0);
            play.rig.flush();
        }
        play
    }

    /// What follows the last byte that was sent.
    pub(super) fn sent(&self) -> u32 {
        let conn = self.rig.ends[A].tcp.slots.conn(self.id);
        conn.map_or(self.una, |conn| conn.marks.sent)
    }

    fn field(&mut self, field: Field) {
        self.field = match field {
            Field::Same => self.field,
            Field::Is(field) => field,
            Field::Bytes(count) => (count >> self.shift).min(65_535) as u16,
        };
    }

    /// The acknowledgement there.
    fn point(&self, point: Point) -> u32 {
        let flight = self.sent().wrapping_sub(self.una) as i32;
        let flight = u32::try_from(flight).unwrap_or(0);
        let by = match point {
            Point::Share(share) => (u64::from(flight) * u64::from(share) / 1000) as u32,
            Point::First(by) => by.min(flight),
            Point::Last(by) => flight.saturating_sub(by),
            Point::Future(by) => flight + by,
            Point::Old(by) => by.wrapping_neg(),
        };
        let is_new = (by as i32) > 0;
        if self.mute && is_new {
            return self.una;
        }
        self.una.wrapping_add(by)
    }

    /// The other side's segment.
    pub(super) fn give(&mut self, flags: u8, seq: i32, ack: u32, options: &[u8], len: usize) {
        self.make(flags, seq, ack, options, len);
        let conn = self.rig.ends[A].tcp.slots.conn(self.id);
        self.una = conn.map_or(self.una, |conn| conn.marks.acked);
    }

    fn make(&mut self, flags: u8, seq: i32, ack: u32, options: &[u8], len: usize) {
        let segment = 20 + options.len() + len;
        let mut bytes = if self.v6 {
            header_v6(segment)
        } else {
            header_v4(segment)
        };
        let at = bytes.len();
        bytes.extend_from_slice(&[0, 80, 40_000_u16.to_be_bytes()[0], 40_000_u16 as u8]);
        let seq = self.next.wrapping_add_signed(seq);
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(&ack.to_be_bytes());
        bytes.extend_from_slice(&[((20 + options.len()) << 2) as u8, flags]);
        bytes.extend_from_slice(&self.field.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(options);
        bytes.resize(at + segment, 0x55);
        write_checksum(&mut bytes, at, false);
        if !self.express {
            let frame = self.rig.pool.from_bytes(&bytes).unwrap();
            return self.rig.deliver(A, frame);
        }
        match self.v6 {
            false => self.give_early::<Ends>(&bytes),
            true => self.give_early::<EndsV6>(&bytes),
        }
    }

    /// The packet comes before it is routed.
    fn give_early<E: Between>(&mut self, packet: &[u8]) {
        let mut whole = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        whole.extend_from_slice(&E::TYPE);
        whole.extend_from_slice(packet);
        let plain = E::read(&whole, [2, 0, 0, 0, 0, 1]).unwrap();
        let frame = self.rig.pool.from_bytes(&whole).unwrap();
        let taken = self
            .rig
            .with(A, |tcp, cx| tcp.input_plain(cx, frame, &plain));
        match taken {
            Ok(()) => {}
            Err(Refusal::Dropped(frame, _)) => self.rig.pool.free(frame),
            Err(Refusal::Unread(frame)) => {
                self.rig.pool.pull(&frame, 14);
                self.rig.deliver(A, frame);
            }
        }
    }

    pub(super) fn step(&mut self, step: Step, seen: &mut Seen) {
        let id = self.id;
        match step {
            Step::Send { len, times } => {
                for time in 0..times {
                    seen.calls.push(self.rig.send(A, id, &pattern(len + time)));
                }
            }
            Step::Flush => self.rig.flush(),
            Step::Ack(point, field) => {
                self.field(field);
                let ack = self.point(point);
                self.give(ACK, 0, ack, &[], 0);
            }
            Step::Again(times) => {
                for _ in 0..times {
                    self.give(ACK, 0, self.una, &[], 0);
                }
            }
            Step::Creep(times, by) => {
                for _ in 0..times {
                    let ack = self.point(Point::First(by));
                    self.give(ACK, 0, ack, &[], 0);
                }
            }
            Step::Data {
                len,
                point,
                field,
                gap,
            } => {
                self.field(field);
                let ack = self.point(point);
                self.give(ACK | PSH, gap, ack, &[], len);
                self.next = self.heard();
            }
            Step::Odd(flags, options) => {
                let stamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0];
                let options = if options { &stamps[..] } else { &[] };
                let ack = self.point(Point::Share(500));
                self.give(flags & !(SYN | RST | FIN) | ACK, 0, ack, options, 0);
            }
            Step::Event {
                flags,
                len,
                point,
                gap,
            } => {
                let ack = self.point(point);
                self.give(flags, gap, ack, &[], len);
                self.next = self.heard();
            }
            Step::Read(len) => {
                let mut buffer = vec![0; len];
                let count = self
                    .rig
                    .with(A, |tcp, cx| tcp.recv(cx.pool, id, &mut buffer));
                seen.calls.push(count);
                seen.got.extend_from_slice(&buffer[..count.unwrap_or(0)]);
            }
            Step::Wait(span) => self.rig.run_for(Duration::from_micros(span)),
            Step::Mute(span) => {
                self.mute = true;
                self.rig.run_for(Duration::from_micros(span));
            }
            Step::NoDelay(on) => self.set(SockOpt::NoDelay(on)),
            Step::Hops(hops) => self.set(SockOpt::HopLimit(hops)),
            Step::KeepAlive => {
                let idle = self.rig.now.since(Time::ZERO) + Duration::from_secs(1);
                let option = SockOpt::KeepAlive(Some((idle, Duration::from_secs(1), 3)));
                self.set(option);
            }
            Step::Offload(on) => self.rig.tcp(A).set_offload(on),
            Step::Narrow(mtu) => self.complain(IcmpKind::FragmentationNeeded { mtu }),
            Step::Complain => self.complain(IcmpKind::Soft(Errno::HostUnreach)),
            Step::Shut => {
                let _ = self.rig.shut(A, id);
            }
            Step::Close => self.rig.close(A, id),
        }
    }

    fn set(&mut self, option: SockOpt) {
        let id = self.id;
        let _ = self.rig.set_option(A, id, option);
    }

    /// The next number that is awaited of the other side.
    fn heard(&self) -> u32 {
        let conn = self.rig.ends[A].tcp.slots.conn(self.id);
        conn.map_or(self.next, |conn| conn.recv_next())
    }

    pub(super) fn engine(&self) -> &Smol {
        let conn = self.rig.ends[A].tcp.slots.conn(self.id).unwrap();
        match &conn.engine {
            Some(Machine::Engine(engine)) => engine,
            _ => panic!("no engine"),
        }
    }

    fn complain(&mut self, kind: IcmpKind) {
        let [local, remote] = if self.v6 { V6 } else { V4 }.map(address);
        let seq = self.una;
        self.rig
            .with(A, |tcp, cx| tcp.icmp_error(cx, local, remote, seq, kind));
    }
}

/// What was seen, and after how many steps frames were queued.
pub(super) fn played(kind: &Kind, steps: &[Step], long: bool) -> (Seen, usize) {
    let mut play = Play::new(kind, long);
    let mut seen = Seen::default();
    let mut queued = 0;
    for step in steps {
        play.step(*step, &mut seen);
        queued += usize::from(play.rig.tcp(A).queues_frames(play.id));
        seen.listed.push(play.rig.tcp(A).sockets());
    }
    play.rig.run_for(Duration::from_secs(20));
    if steps.iter().any(|step| matches!(step, Step::Close)) {
        // Nobody waits for what the other side has not acknowledged.
        play.give(RST, 0, play.una, &[], 0);
    }
    let id = play.id;
    play.rig.with(A, |tcp, cx| tcp.abort(cx, id));
    play.rig.with(A, |tcp, cx| tcp.close(cx, id));
    play.rig.flush();
    assert_eq!(play.rig.pool.in_use(), 0, "frames were lost");
    assert_eq!(play.rig.tcp(A).counters().engine_panics, 0);
    seen.log = play.rig.log;
    (seen, queued)
}
