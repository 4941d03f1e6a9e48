//! `ss`: columns as wide as what stands in them.

use core::fmt::Write as _;
use core::net::{IpAddr, SocketAddr};

use super::NetstatFlags;
use crate::app::SockKind;
use crate::netns::Netns;
use crate::netns::socket::{SockState, SocketInfo};

/// `ss` with `-n` and these flags.
#[must_use]
pub fn ss(netns: &Netns, flags: NetstatFlags) -> String {
    let mut sockets = flags.select(netns);
    // ss lists UDP before TCP, and in the order of its tables otherwise.
    sockets.sort_by_key(|socket| socket.kind == SockKind::Tcp);
    let both = flags.tcp == flags.udp;
    let mut rows = vec![
        [
            "Netid",
            "State",
            "Recv-Q",
            "Send-Q",
            "Local Address",
            "Port",
            "Peer Address",
            "Port",
        ]
        .map(str::to_owned),
    ];
    rows.extend(sockets.iter().map(row));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        let [id, state, recv, send, local, port, peer, peer_port] = row;
        let [w0, w1, w2, w3, w4, w5, w6, w7] = widths;
        if both {
            let _ = write!(out, "{id:<w0$} ");
        }
        let process = if i == 0 { "Process" } else { "" };
        let _ = writeln!(
            out,
            "{state:<w1$} {recv:<w2$} {send:<w3$} {local:>w4$}:{port:<w5$} \
             {peer:>w6$}:{peer_port:<w7$}{process:<7}"
        );
    }
    out
}

fn row(socket: &SocketInfo) -> [String; 8] {
    let id = match socket.kind {
        SockKind::Tcp => "tcp",
        SockKind::Ping | SockKind::Udp => "udp",
    };
    let state = match socket.state {
        SockState::Connected => "ESTAB",
        SockState::Tcp(state) => state.ss(),
        SockState::Unconnected => "UNCONN",
    };
    let local = host(socket.local.ip(), socket.v6_only);
    let (peer, peer_port) = match socket.peer {
        Some(peer) => (host(peer.ip(), true), peer.port().to_string()),
        None => (nobody(socket.local, socket.v6_only), "*".to_owned()),
    };
    [
        id.to_owned(),
        state.to_owned(),
        socket.recv_queue.to_string(),
        socket.send_queue.to_string(),
        local,
        socket.local.port().to_string(),
        peer,
        peer_port,
    ]
}

/// An address; `*` stands for both families.
fn host(addr: IpAddr, v6_only: bool) -> String {
    match addr {
        IpAddr::V6(v6) if v6.is_unspecified() && !v6_only => "*".to_owned(),
        IpAddr::V6(v6) => format!("[{v6}]"),
        IpAddr::V4(v4) => v4.to_string(),
    }
}

fn nobody(local: SocketAddr, v6_only: bool) -> String {
    match local {
        SocketAddr::V4(_) => "0.0.0.0".to_owned(),
        SocketAddr::V6(_) if v6_only || !local.ip().is_unspecified() => "[::]".to_owned(),
        SocketAddr::V6(_) => "*".to_owned(),
    }
}
