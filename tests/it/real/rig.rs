//! A lab that runs on a thread of its own, with one container, and servers in it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use emulator_core::app::{App, Family, SockKind, SockOpt, Step, Sys};
use emulator_core::docker::spec::{ContainerSpec, NetworkSpec};
use emulator_core::id::{NsId, SockId};
use emulator_core::lab::{Lab, LabConfig};
use emulator_core::netns::Errno;
use vethlab::host::limits::raise_descriptors;
use vethlab::host::means::Means;
use vethlab::host::publish::{Gate, Target, TcpPort, UdpPort, UdpSocket};
use vethlab::host::reactor::Waker;
use vethlab::host::runtime::{Attachment, Cx, Runtime, Stop};

/// How long a test waits for what must come.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// The container's port.
pub(super) const PORT: u16 = 80;

type Order = Box<dyn FnOnce(&mut Cx<'_>) + Send>;

/// Does in the lab's thread what the test orders.
#[derive(Debug)]
struct Orders(Receiver<Order>);

impl core::fmt::Debug for Rig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Rig").finish_non_exhaustive()
    }
}

impl Attachment for Orders {
    fn woken(&mut self, cx: &mut Cx<'_>) {
        while let Ok(order) = self.0.try_recv() {
            order(cx);
        }
    }
}

/// A lab in real time, one of whose ports is published.
pub(super) struct Rig {
    /// Where real clients of TCP go.
    pub(super) tcp: SocketAddr,
    /// Where those of UDP go.
    pub(super) udp: SocketAddr,
    /// The container.
    pub(super) container: NsId,
    /// The lab's host.
    pub(super) host: NsId,
    said: Arc<Mutex<Vec<String>>>,
    orders: Sender<Order>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// How the port is published.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// The real address.
    pub(super) real: IpAddr,
    /// Descriptors that the process is said to have.
    pub(super) descriptors: u64,
    /// The port that clients are connected to in the lab.
    pub(super) to: u16,
    /// How long a client of UDP is remembered.
    pub(super) idle: Duration,
}

impl Default for How {
    fn default() -> Self {
        Self {
            real: Ipv4Addr::LOCALHOST.into(),
            descriptors: 10_000,
            to: PORT,
            idle: Duration::from_secs(90),
        }
    }
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(How::default())
    }

    pub(super) fn with(how: How) -> Self {
        // Thousands of clients are this process's as well.
        raise_descriptors();
        let (sender, receiver) = channel();
        let (up, told) = channel();
        let said = Arc::new(Mutex::new(Vec::new()));
        let voice = Arc::clone(&said);
        let thread = std::thread::spawn(move || {
            let mut lab = Lab::new(LabConfig::default()).unwrap();
            lab.network_create(NetworkSpec {
                name: "front".into(),
                ..NetworkSpec::default()
            })
            .unwrap();
            lab.create(ContainerSpec {
                name: Some("web".into()),
                image: "none".into(),
                listens: Some(Vec::new()),
                network_mode: "front".into(),
                ..ContainerSpec::default()
            })
            .unwrap();
            lab.start("web").unwrap();
            let container = lab.namespace("web").unwrap();
            let host = lab.places().host;
            let own = lab.docker().container("web").unwrap();
            let address = own
                .endpoints()
                .flat_map(|endpoint| endpoint.addresses())
                .next()
                .unwrap()
                .addr();
            let target = Target {
                host,
                to: SocketAddr::new(address, how.to),
                container,
                port: SocketAddr::new(address, PORT),
            };
            let means = Means::new(Some(how.descriptors), move |sentence| {
                voice.lock().unwrap().push(sentence.to_owned());
            });
            let mut runtime = Runtime::new(lab).unwrap();
            let gate = Gate::bind(SocketAddr::new(how.real, 0)).unwrap();
            let socket = UdpSocket::bind(SocketAddr::new(how.real, 0)).unwrap();
            let addrs = (gate.addr(), socket.addr());
            runtime
                .attach(|cx| TcpPort::new(cx, gate, target, means.clone()))
                .unwrap();
            runtime
                .attach(|cx| {
                    UdpPort::new(cx, socket, target, means).map(|port| port.forgetting(how.idle))
                })
                .unwrap();
            let mut waker = None;
            runtime
                .attach(|cx| {
                    waker = Some(cx.waker());
                    Ok::<_, ()>(Orders(receiver))
                })
                .unwrap();
            up.send((addrs, container, host, waker.unwrap())).unwrap();
            runtime.run().unwrap();
        });
        let ((tcp, udp), container, host, waker) = told.recv_timeout(LIMIT).unwrap();
        Self {
            tcp,
            udp,
            container,
            host,
            said,
            orders: sender,
            waker,
            thread: Some(thread),
        }
    }

    /// Does something in the lab's thread, and waits for what comes of it.
    pub(super) fn order<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Cx<'_>) -> T + Send + 'static,
    ) -> T {
        let (sender, receiver) = channel();
        let order = move |cx: &mut Cx<'_>| sender.send(act(cx)).unwrap();
        self.orders.send(Box::new(order)).unwrap();
        self.waker.wake();
        receiver.recv_timeout(LIMIT).unwrap()
    }

    /// Runs a program in the container.
    pub(super) fn run(&self, app: impl App + 'static) -> emulator_core::id::AppId {
        let ns = self.container;
        let app: Box<dyn App> = Box::new(app);
        self.order(move |cx| cx.lab.spawn(ns, app))
    }

    /// A real client.
    pub(super) fn client(&self) -> TcpStream {
        // A port that has just begun to listen may not be told of yet.
        let client = until(|| TcpStream::connect(self.tcp).ok());
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.set_write_timeout(Some(LIMIT)).unwrap();
        client
    }

    /// Streams of the lab's host, listeners included.
    pub(super) fn streams(&self) -> usize {
        let host = self.host;
        self.order(move |cx| {
            let sockets = cx.lab.net().ns(host).unwrap().sockets();
            sockets
                .iter()
                .filter(|socket| socket.kind == SockKind::Tcp)
                .filter(|socket| format!("{:?}", socket.state) != "Tcp(TimeWait)")
                .count()
        })
    }

    pub(super) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _gone = self.orders.send(Box::new(|cx| cx.stop(Stop::Asked)));
        self.waker.wake();
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

/// Waits until `done` says something.
pub(super) fn until<T>(mut done: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(result) = done() {
            return result;
        }
        assert!(Instant::now() < end, "nothing came of it");
        std::thread::yield_now();
    }
}

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// Says everything again, and ends when the client has ended.
    Echo,
    /// Reads nothing.
    Deaf,
    /// Says so many bytes, counted in fours, and ends.
    Says(usize),
    /// Resets as soon as it has heard something.
    Resets,
}

/// What happened to the connections of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(pub(super) Arc<Mutex<Saw>>);

#[derive(Clone, Debug, Default)]
pub(super) struct Saw {
    pub(super) accepted: usize,
    /// Bytes that were taken of it.
    pub(super) sent: usize,
    pub(super) errors: Vec<Errno>,
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    serves: Serves,
    seen: Seen,
    listener: Option<SockId>,
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    sock: SockId,
    back: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Server {
    pub(super) fn new(serves: Serves) -> (Self, Seen) {
        let seen = Seen::default();
        let server = Self {
            serves,
            seen: seen.clone(),
            listener: None,
            open: Vec::new(),
        };
        (server, seen)
    }

    /// Whether the connection goes on.
    fn serve(serves: Serves, seen: &mut Saw, sys: &mut dyn Sys, open: &mut Open) -> bool {
        let mut buffer = [0; 4096];
        match serves {
            Serves::Deaf => {
                if let Some(errno) = sys.take_error(open.sock) {
                    seen.errors.push(errno);
                    return false;
                }
                true
            }
            Serves::Resets => match sys.recv(open.sock, &mut buffer) {
                Err(Errno::WouldBlock) => true,
                _ => {
                    sys.set(open.sock, SockOpt::LingerZero(true)).unwrap();
                    false
                }
            },
            Serves::Says(total) => {
                while open.at < total {
                    let end = (open.at + 4096).min(total);
                    let bytes: Vec<u8> = (open.at..end).map(byte).collect();
                    match sys.send(open.sock, &bytes) {
                        Ok(count) => {
                            open.at += count;
                            seen.sent += count;
                        }
                        Err(Errno::WouldBlock) => return true,
                        Err(errno) => {
                            seen.errors.push(errno);
                            return false;
                        }
                    }
                }
                false
            }
            Serves::Echo => loop {
                while !open.back.is_empty() {
                    match sys.send(open.sock, &open.back) {
                        Ok(count) => drop(open.back.drain(..count)),
                        Err(Errno::WouldBlock) => return true,
                        Err(errno) => {
                            seen.errors.push(errno);
                            return false;
                        }
                    }
                }
                if open.ended {
                    return false;
                }
                match sys.recv(open.sock, &mut buffer) {
                    Ok(0) => open.ended = true,
                    Ok(count) => open.back.extend_from_slice(&buffer[..count]),
                    Err(Errno::WouldBlock) => return true,
                    Err(errno) => {
                        seen.errors.push(errno);
                        return false;
                    }
                }
            },
        }
    }
}

/// A byte of a known stream.
pub(super) const fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

impl App for Server {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let listener = *self.listener.get_or_insert_with(|| {
            let sock = sys.socket(SockKind::Tcp, Family::V4).unwrap();
            sys.set(sock, SockOpt::ReuseAddr(true)).unwrap();
            sys.bind(sock, (Ipv4Addr::UNSPECIFIED, PORT).into())
                .unwrap();
            sys.listen(sock, 4096).unwrap();
            sock
        });
        let mut seen = self.seen.0.lock().unwrap();
        while let Ok((sock, _)) = sys.accept(listener) {
            seen.accepted += 1;
            self.open.push(Open {
                sock,
                back: Vec::new(),
                at: 0,
                ended: false,
            });
        }
        let serves = self.serves;
        self.open.retain_mut(|open| {
            let on = Self::serve(serves, &mut seen, sys, open);
            if !on {
                sys.close(open.sock);
            }
            on
        });
        Step::Wait
    }

    fn name(&self) -> &str {
        "server"
    }
}

/// A UDP server that says everything again, the client's address before it.
#[derive(Debug, Default)]
pub(super) struct UdpEcho(Option<SockId>);

impl App for UdpEcho {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let sock = *self.0.get_or_insert_with(|| {
            let sock = sys.socket(SockKind::Udp, Family::V4).unwrap();
            sys.bind(sock, (Ipv4Addr::UNSPECIFIED, PORT).into())
                .unwrap();
            sock
        });
        let mut buffer = vec![0; 65_536];
        while let Ok(got) = sys.recv_from(sock, &mut buffer) {
            sys.send_to(sock, &buffer[..got.len], got.from).unwrap();
        }
        Step::Wait
    }

    fn name(&self) -> &str {
        "udp-echo"
    }
}
