//! Runs socket calls on the kernel's sockets: one line in, one line out.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
};

/// The kernel's errno numbers (`asm-generic/errno.h`) by name.
const ERRNOS: &[(i32, &str)] = &[
    (11, "EAGAIN"),
    (13, "EACCES"),
    (22, "EINVAL"),
    (32, "EPIPE"),
    (90, "EMSGSIZE"),
    (98, "EADDRINUSE"),
    (99, "EADDRNOTAVAIL"),
    (101, "ENETUNREACH"),
    (104, "ECONNRESET"),
    (107, "ENOTCONN"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (113, "EHOSTUNREACH"),
];

enum Sock {
    Listener(TcpListener),
    Stream(TcpStream),
    Udp(UdpSocket),
}

fn word(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => ERRNOS
            .iter()
            .find(|(number, _)| *number == code)
            .map_or_else(|| format!("errno {code}"), |(_, name)| (*name).to_owned()),
        // `connect_timeout` gives up without an errno.
        None if error.kind() == io::ErrorKind::TimedOut => "timeout".to_owned(),
        None => error.to_string(),
    }
}

fn outcome<T>(result: io::Result<T>) -> (String, Option<T>) {
    match result {
        Ok(value) => ("ok".to_owned(), Some(value)),
        Err(error) => (word(&error), None),
    }
}

/// A listener with the backlog that was asked for: std has no such call, so the shell's `listen` of 128
/// is what it gets unless the scenario says 1, which is made by a second `listen` on the same socket.
fn listen(addr: &str, backlog: u32) -> io::Result<TcpListener> {
    use std::os::fd::AsFd;
    let listener = TcpListener::bind(addr)?;
    rustix::net::listen(listener.as_fd(), backlog as i32)?;
    Ok(listener)
}

fn recv(sock: &mut Sock, buffer: &mut [u8]) -> String {
    let wait = Some(Duration::from_secs(1));
    let got = match sock {
        Sock::Stream(stream) => stream
            .set_read_timeout(wait)
            .and_then(|()| stream.read(buffer)),
        Sock::Udp(udp) => udp.set_read_timeout(wait).and_then(|()| udp.recv(buffer)),
        Sock::Listener(_) => return "a listener".to_owned(),
    };
    match got {
        Ok(0) if matches!(sock, Sock::Stream(_)) => "eof".to_owned(),
        Ok(count) => format!("{count} bytes"),
        Err(error) if error.raw_os_error() == Some(11) => "nothing".to_owned(),
        Err(error) => word(&error),
    }
}

fn recv_all(sock: &mut Sock, count: usize) -> String {
    let mut buffer = vec![0; 65_536];
    let (mut got, start) = (0, Instant::now());
    while got < count && start.elapsed() < Duration::from_secs(60) {
        let Sock::Stream(stream) = sock else {
            return "no stream".to_owned();
        };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
        match stream.read(&mut buffer) {
            Ok(0) => return format!("eof after {got}"),
            Ok(more) => got += more,
            Err(error) if error.raw_os_error() == Some(11) => {}
            Err(error) => return format!("{} after {got}", word(&error)),
        }
    }
    format!("{got} bytes")
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let start = Instant::now();
    loop {
        match listener.accept() {
            Err(error)
                if error.raw_os_error() == Some(11)
                    && start.elapsed() < Duration::from_secs(60) =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) => return Err(error),
        }
    }
}

fn run(socks: &mut BTreeMap<String, Sock>, words: &[&str]) -> String {
    let mut keep = |name: &str, made: (String, Option<Sock>)| {
        if let Some(sock) = made.1 {
            socks.insert(name.to_owned(), sock);
        }
        made.0
    };
    match *words {
        ["listen", name, addr, backlog] => {
            let (word, sock) = outcome(listen(addr, backlog.parse().unwrap_or(8)));
            keep(name, (word, sock.map(Sock::Listener)))
        }
        ["connect", name, addr] => {
            let target = addr.parse().unwrap();
            let (word, sock) = outcome(TcpStream::connect_timeout(&target, Duration::from_secs(2)));
            keep(name, (word, sock.map(Sock::Stream)))
        }
        ["udp", name, addr] => {
            let (word, sock) = outcome(UdpSocket::bind(addr));
            keep(name, (word, sock.map(Sock::Udp)))
        }
        ["accept", listener, name] => {
            let Some(Sock::Listener(of)) = socks.get(listener) else {
                return "no listener".to_owned();
            };
            let (word, sock) = outcome(accept(of));
            if let Some(sock) = sock {
                socks.insert(name.to_owned(), Sock::Stream(sock));
            }
            word
        }
        ["close", name] => match socks.remove(name) {
            Some(_) => "ok".to_owned(),
            None => "no socket".to_owned(),
        },
        ["wait", millis] => {
            std::thread::sleep(Duration::from_millis(millis.parse().unwrap()));
            "ok".to_owned()
        }
        [verb, name, ..] => match socks.get_mut(name) {
            Some(sock) => on_socket(sock, verb, &words[2..]),
            None => "no socket".to_owned(),
        },
        _ => "not a call".to_owned(),
    }
}

fn on_socket(sock: &mut Sock, verb: &str, rest: &[&str]) -> String {
    let mut buffer = vec![0; 70_000];
    match (verb, sock, rest) {
        ("recv", sock, []) => recv(sock, &mut buffer),
        ("recvall", sock, [count]) => recv_all(sock, count.parse().unwrap()),
        ("send", Sock::Stream(stream), [count]) => {
            let count: usize = count.parse().unwrap();
            outcome(stream.write_all(&buffer[..count])).0
        }
        ("send", Sock::Udp(udp), [count]) => {
            let count: usize = count.parse().unwrap();
            outcome(udp.send(&buffer[..count])).0
        }
        ("sendto", Sock::Udp(udp), [addr, count]) => {
            let count: usize = count.parse().unwrap();
            outcome(udp.send_to(&buffer[..count], addr)).0
        }
        ("peer", Sock::Udp(udp), [addr]) => outcome(udp.connect(addr)).0,
        ("shutdown", Sock::Stream(stream), []) => {
            outcome(stream.shutdown(std::net::Shutdown::Write)).0
        }
        ("keepalive", Sock::Stream(stream), [idle, interval, count]) => {
            let seconds = |word: &str| Duration::from_secs(word.parse().unwrap());
            let set = set_socket_keepalive(&*stream, true)
                .and_then(|()| set_tcp_keepidle(&*stream, seconds(idle)))
                .and_then(|()| set_tcp_keepintvl(&*stream, seconds(interval)))
                .and_then(|()| set_tcp_keepcnt(&*stream, count.parse().unwrap()));
            outcome(set.map_err(io::Error::from)).0
        }
        _ => "not a call on this socket".to_owned(),
    }
}

/// Reads calls from standard input until it ends.
pub(crate) fn serve() {
    let mut socks = BTreeMap::new();
    println!("agent ready");
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let words: Vec<&str> = line.split_whitespace().collect();
        println!("= {}", run(&mut socks, &words));
        let _ = io::stdout().flush();
    }
}
