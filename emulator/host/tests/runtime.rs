//! The runtime with real descriptors and threads: who is called when, and what is left when somebody ends.
#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use emulator_core::app::{Family, SockKind, Sys};
use emulator_core::docker::spec::ContainerSpec;
use emulator_core::id::{AppId, NsId, SockId};
use emulator_core::lab::{Lab, LabConfig};
use emulator_core::tools;
use emulator_host::reactor::{Events, Interest, Watch};
use emulator_host::runtime::{Attachment, AttachmentId, Cx, Runtime, Stop};

type Diary = Rc<RefCell<Vec<String>>>;

fn runtime() -> Runtime {
    let mut lab = Lab::new(LabConfig::default()).unwrap();
    for name in ["web", "db"] {
        lab.create(ContainerSpec {
            name: Some(name.to_owned()),
            image: "busybox".to_owned(),
            network_mode: "bridge".to_owned(),
            ..ContainerSpec::default()
        })
        .unwrap();
        lab.start(name).unwrap();
    }
    Runtime::new(lab).unwrap()
}

/// Reads from a stream, says what it heard, and ends itself at a `.`; `!` stops the runtime.
#[derive(Debug)]
struct Ear {
    name: &'static str,
    stream: UnixStream,
    watch: Watch,
    diary: Diary,
}

impl Ear {
    fn attach(
        runtime: &mut Runtime,
        name: &'static str,
        diary: &Diary,
    ) -> (AttachmentId, UnixStream) {
        let (stream, theirs) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        let diary = Rc::clone(diary);
        let id = runtime.attach(|cx| {
            let watch = cx.watch(&stream, 7, Interest::READ)?;
            std::io::Result::Ok(Self {
                name,
                stream,
                watch,
                diary,
            })
        });
        (id.unwrap(), theirs)
    }
}

impl Attachment for Ear {
    fn ready(&mut self, cx: &mut Cx<'_>, key: u64, events: Events) {
        assert!(key == 7 && events.read);
        let mut bytes = [0; 64];
        let count = self.stream.read(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        self.diary
            .borrow_mut()
            .push(format!("{} {text}", self.name));
        if text.contains('.') {
            cx.end(cx.me());
        }
        if text.contains('!') {
            cx.stop(Stop::Asked);
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>) {
        cx.unwatch(self.watch, &self.stream);
        self.diary.borrow_mut().push(format!("{} ends", self.name));
    }
}

#[test]
fn attachments_are_called_and_end_in_reverse_order() {
    let mut runtime = runtime();
    let diary = Diary::default();
    let (_, mut one) = Ear::attach(&mut runtime, "one", &diary);
    let (_, mut two) = Ear::attach(&mut runtime, "two", &diary);
    let (_, three) = Ear::attach(&mut runtime, "three", &diary);
    two.write_all(b"bye.").unwrap();
    while diary.borrow().len() < 2 {
        runtime.turn().unwrap();
    }
    one.write_all(b"stop!").unwrap();
    assert_eq!(runtime.run().unwrap(), Stop::Asked);
    assert_eq!(
        *diary.borrow(),
        [
            "two bye.",
            "two ends",
            "one stop!",
            "three ends",
            "one ends"
        ]
    );
    for mut stream in [one, two, three] {
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "closed");
    }
}

/// Ends another when it is called.
#[derive(Debug)]
struct Killer {
    whom: AttachmentId,
    stream: UnixStream,
}

impl Attachment for Killer {
    fn ready(&mut self, cx: &mut Cx<'_>, _: u64, _: Events) {
        let _count = self.stream.read(&mut [0; 8]).unwrap();
        cx.end(self.whom);
    }
}

/// Both are ready in one round: the second is not called any more.
#[test]
fn who_was_ended_in_the_same_round_hears_nothing() {
    let mut runtime = runtime();
    let diary = Diary::default();
    let (whom, mut two) = Ear::attach(&mut runtime, "victim", &diary);
    let (stream, mut mine) = UnixStream::pair().unwrap();
    runtime
        .attach(|cx| {
            cx.watch(&stream, 0, Interest::READ)?;
            std::io::Result::Ok(Killer { whom, stream })
        })
        .unwrap();
    // Epoll tells in the order in which they became ready.
    mine.write_all(b"x").unwrap();
    two.write_all(b"x").unwrap();
    runtime.turn().unwrap();
    runtime.turn().unwrap();
    assert_eq!(*diary.borrow(), ["victim ends"]);
}

#[test]
fn what_could_not_be_attached_leaves_nothing() {
    let mut runtime = runtime();
    let host = runtime.lab().places().host;
    let before = runtime.lab().net().ns(host).unwrap().sockets();
    let (stream, mut theirs) = UnixStream::pair().unwrap();
    let kept = stream.try_clone().unwrap();
    let failed = runtime.attach(|cx| {
        cx.watch(&stream, 0, Interest::READ).unwrap();
        let sock = listen(cx, host, 8080);
        cx.own(sock, 0);
        drop(stream);
        Err::<Killer, &str>("no")
    });
    assert_eq!(failed, Err("no"));
    theirs.write_all(b"x").unwrap();
    runtime.turn().unwrap();
    assert_eq!(runtime.lab().net().ns(host).unwrap().sockets(), before);
    drop(kept);
}

fn listen(cx: &mut Cx<'_>, ns: NsId, port: u16) -> SockId {
    let mut sys = cx.lab.sys(ns);
    let sock = sys.socket(SockKind::Tcp, Family::V4).unwrap();
    sys.bind(sock, (Ipv4Addr::UNSPECIFIED, port).into())
        .unwrap();
    sys.listen(sock, 16).unwrap();
    sock
}

/// More than a stall after two pings: time that a starved machine lost beyond one is swallowed, and the order stays.
const ALARM: Duration = Duration::from_millis(2500);

/// Everything that can call an attachment but a descriptor.
#[derive(Debug)]
struct Busy {
    listener: SockId,
    client: SockId,
    app: AppId,
    began: Instant,
    told: Diary,
}

impl Attachment for Busy {
    fn lab_ready(&mut self, cx: &mut Cx<'_>, key: u64, sock: SockId) {
        if key == 1 && cx.lab.sys(sock.ns).accept(sock).is_ok() {
            self.told.borrow_mut().push("accepted".to_owned());
        }
        if key == 2 && cx.lab.sys(sock.ns).ready(sock).writable {
            cx.close(self.client);
            self.told.borrow_mut().push("connected".to_owned());
        }
        let _ = self.listener;
    }

    fn printed(&mut self, cx: &mut Cx<'_>, key: u64, app: AppId) {
        assert!(key == 3 && app == self.app && !cx.lab.take_output(app).is_empty());
        self.told.borrow_mut().push("printed".to_owned());
    }

    fn exited(&mut self, _: &mut Cx<'_>, key: u64, app: AppId, code: u8) {
        assert!(key == 3 && app == self.app && code == 0);
        self.told.borrow_mut().push("exited".to_owned());
    }

    fn alarm(&mut self, cx: &mut Cx<'_>) {
        assert!(self.began.elapsed() >= ALARM, "early");
        self.told.borrow_mut().push("alarm".to_owned());
        let waker = cx.waker();
        std::thread::spawn(move || {
            waker.wake();
            waker.wake();
        });
    }

    fn woken(&mut self, cx: &mut Cx<'_>) {
        self.told.borrow_mut().push("woken".to_owned());
        cx.stop(Stop::Asked);
    }
}

#[test]
fn lab_sockets_programs_alarms_and_threads_call_their_attachment_in_real_time() {
    // Before the lab's clock begins, of which the alarm is told.
    let began = Instant::now();
    let mut runtime = runtime();
    let told = Diary::default();
    let (a, b) = (
        runtime.lab().namespace("web").unwrap(),
        runtime.lab().namespace("db").unwrap(),
    );
    let attached = runtime.attach(|cx| {
        let listener = listen(cx, b, 80);
        cx.own(listener, 1);
        let client = cx.lab.sys(a).socket(SockKind::Tcp, Family::V4).unwrap();
        cx.own(client, 2);
        let to = SocketAddr::from(([172, 17, 0, 3], 80));
        let _in_progress = cx.lab.sys(a).connect(client, to);
        let ping = ["ping", "-c", "2", "172.17.0.3"].map(str::to_owned);
        let app = cx.lab.spawn(a, tools::spawn(&ping)?);
        cx.own_app(app, 3);
        cx.wake_at(cx.now() + ALARM);
        let told = Rc::clone(&told);
        Ok::<_, String>(Busy {
            listener,
            client,
            app,
            began,
            told,
        })
    });
    attached.unwrap();
    assert_eq!(runtime.run().unwrap(), Stop::Asked);
    let told = told.borrow();
    let at = |what: &str| {
        let found = told.iter().position(|line| line == what);
        found.unwrap_or_else(|| panic!("no {what} in {told:?}"))
    };
    assert!(at("connected") < at("exited") && at("accepted") < at("exited"));
    assert!(at("exited") < at("alarm") && at("alarm") < at("woken"));
    let times = |what: &str| told.iter().filter(|line| *line == what).count();
    assert_eq!((times("alarm"), times("exited")), (1, 1));
    assert!(times("printed") >= 2, "as it is printed: {told:?}");
}

/// What is not due is waited for: a turn of an idle runtime sleeps.
#[test]
fn an_idle_runtime_has_nothing_to_wake_up_for() {
    let mut runtime = runtime();
    // Addresses are announced for a while.
    runtime.lab_mut().run_for(Duration::from_secs(10));
    assert_eq!(runtime.lab().deadline(), None);
}
