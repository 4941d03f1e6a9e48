//! Captures of a project that is up, each for the client that asked for it.
//!
//! What a capture records waits in its own bounded buffer until the client's connection has room. A client that reads
//! too slowly loses packets, never the lab its time: what does not fit is counted, said in the capture itself, and at its
//! end. A capture ends when its client goes, when another one asks for its end (so that its last blocks still reach
//! the first), when it has its packets, or with the project.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use emulator_core::id::CaptureId;
use emulator_core::net::CaptureAt;
use emulator_host::control::{ClientId, Clients, Part};
use emulator_host::runtime::Cx;
use serde_json::{Value, json};

use crate::capture::{Known, Wish};

/// Bytes that a capture holds for its client.
const BUFFER: usize = 4 << 20;

/// The captures of a project that is up.
#[derive(Debug, Default)]
pub(super) struct Tapes {
    by_client: BTreeMap<ClientId, CaptureId>,
    bytes: Vec<u8>,
}

impl Tapes {
    /// Begins a capture for a client; its number is the first thing that the client hears.
    pub(super) fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        clients: &mut Clients,
        from: ClientId,
        request: &Value,
        known: &Known,
    ) {
        let mut spec = match wish(request).spec(Some(known)) {
            Ok(spec) => spec,
            Err(sentence) => return clients.error(cx, from, &sentence),
        };
        spec.limits.buffer = BUFFER;
        spec.limits.epoch = epoch(cx);
        match cx.lab.net_mut().capture_open(spec) {
            Ok(capture) => {
                self.by_client.insert(from, capture);
                clients.value(cx, from, &json!({"capture": capture.0}));
                cx.own_capture(capture, from.key());
            }
            Err(error) => clients.error(cx, from, &error.to_string()),
        }
    }

    /// Hands on what waits, while the client takes it.
    pub(super) fn drained(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, to: ClientId) {
        let Some(&capture) = self.by_client.get(&to) else {
            return;
        };
        if clients.has_room(to) {
            cx.lab.net_mut().capture_drain(capture, &mut self.bytes);
            clients.part(cx, to, Part::Data, &self.bytes);
        }
        if cx
            .lab
            .net()
            .capture(capture)
            .is_none_or(|capture| capture.has_ended())
        {
            self.end(cx, clients, to);
        }
    }

    /// Ends a client's capture, and its request.
    fn end(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, of: ClientId) {
        let Some(capture) = self.by_client.remove(&of) else {
            return;
        };
        let counts = cx.lab.net().capture(capture);
        let counts = counts.map_or((0, 0), |capture| (capture.captured(), capture.lost()));
        let rest = cx.end_capture(capture);
        clients.part(cx, of, Part::Data, &rest);
        clients.value(cx, of, &json!({"captured": counts.0, "lost": counts.1}));
        clients.exit(cx, of, 0);
    }

    /// A client asks for the end of a capture by its number.
    pub(super) fn end_one(
        &mut self,
        cx: &mut Cx<'_>,
        clients: &mut Clients,
        from: ClientId,
        request: &Value,
    ) {
        let number = request["capture"].as_u64();
        let of = self.by_client.iter().find_map(|(client, capture)| {
            (Some(u64::from(capture.0)) == number).then_some(*client)
        });
        match of {
            Some(of) => {
                self.end(cx, clients, of);
                clients.exit(cx, from, 0);
            }
            None => clients.error(cx, from, "no such capture runs"),
        }
    }

    /// A client is gone, and its capture with it.
    pub(super) fn gone(&mut self, cx: &mut Cx<'_>, client: ClientId) {
        if let Some(capture) = self.by_client.remove(&client) {
            // Nobody is there who would take the rest.
            let _rest = cx.end_capture(capture);
        }
    }

    /// The end of the project: every client has what was captured until now.
    pub(super) fn end_all(&mut self, cx: &mut Cx<'_>, clients: &mut Clients) {
        while let Some((&client, _)) = self.by_client.first_key_value() {
            self.end(cx, clients, client);
        }
    }
}

/// What a request asks for; what is not there is not asked for.
fn wish(request: &Value) -> Wish {
    let interfaces = request["interfaces"].as_array();
    let interfaces = interfaces.map_or(&[][..], Vec::as_slice).iter();
    let snaplen = request["snaplen"].as_u64().unwrap_or_default();
    Wish {
        interfaces: interfaces
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect(),
        at: CaptureAt::Crossing,
        filter: request["filter"].as_str().unwrap_or_default().to_owned(),
        snaplen: u32::try_from(snaplen).unwrap_or(u32::MAX),
        packets: request["count"].as_u64(),
    }
}

/// The wall clock at the lab's zero.
fn epoch(cx: &Cx<'_>) -> Duration {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    wall.saturating_sub(Duration::from_nanos(cx.now().as_nanos()))
}

/// What can be captured at, for machines: `name` is what `-i` takes.
pub(super) fn interfaces(known: &Known) -> Value {
    let shown = known.shown().map(|it| {
        let name = known.short(it);
        json!({
            "name": name,
            "interface": it.place.name,
            "namespace": it.place.namespace,
            "network": it.network,
            "description": it.description,
        })
    });
    shown.collect()
}
