//! The wire between the two networks.

use super::*;

impl World {
    /// A number below `most`, always the same ones.
    pub(super) fn chance(&mut self, most: u64) -> u64 {
        self.chance = self
            .chance
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(1);
        (self.chance >> 33) % most
    }

    pub(super) fn happens(&mut self, one_in: u8) -> bool {
        one_in > 0 && self.chance(one_in.into()) == 0
    }

    /// What came to the ends of the wire that concerns the address behind it goes on its way, and what has come
    /// arrives; whether something arrived.
    pub(super) fn carry(&mut self) -> bool {
        let ends = ENDS.map(|(name, _)| {
            let ns = self.lab.namespace(name).unwrap();
            self.eth0(ns).unwrap().0
        });
        let far = [Family::V4, Family::V6].map(|family| match self.far(family) {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        });
        for (side, end) in ends.into_iter().enumerate() {
            let mut frames = Vec::new();
            let (net, whole) = (self.lab.net_mut(), self.wire.whole);
            let mut look = |bytes: &[u8], offload: Offload| {
                let mut bytes = bytes.to_vec();
                if whole {
                    return frames.push((bytes, offload));
                }
                if offload.csum_partial {
                    fill_checksums(&mut bytes);
                }
                cut(&bytes, offload.gso_size, |piece| {
                    frames.push((piece.to_vec(), Offload::default()));
                });
            };
            while net.raw_recv_offload(end, &mut look).is_some() {}
            for (frame, offload) in frames {
                let head = &frame[..frame.len().min(100)];
                let concerns = |far: &Vec<u8>| head.windows(far.len()).any(|at| at == far);
                if far.iter().any(concerns) {
                    self.send_on(1 - side, frame, offload);
                }
            }
        }
        let now = self.lab.now();
        let mut arrived = false;
        while let Some(first) = self.under_way.first_entry().filter(|at| at.key().0 <= now) {
            let (side, frame, offload) = first.remove();
            let net = self.lab.net_mut();
            let sent = net.raw_send_offload(ends[side], &frame, offload);
            self.said.push(format!("{sent:?}"));
            arrived = true;
        }
        arrived
    }

    pub(super) fn send_on(&mut self, side: usize, mut frame: Vec<u8>, offload: Offload) {
        let wire = self.wire;
        if self.happens(wire.loses) {
            return;
        }
        if self.happens(wire.spoils) && !offload.csum_partial {
            let at = self.chance(frame.len() as u64) as usize;
            frame[at] ^= 1 << self.chance(8);
        }
        let mut at = self.lab.now() + Duration::from_millis(wire.millis.into());
        for _ in 0..1 + u8::from(self.happens(wire.repeats)) {
            if self.happens(wire.swaps) {
                let late = 1 + self.chance(20);
                at += Duration::from_millis(late);
            }
            self.carried += 1;
            self.under_way
                .insert((at, self.carried), (side, frame.clone(), offload));
        }
    }
}
