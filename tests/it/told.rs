//! What the lab tells whoever drives it in real time: once, when it happens, and only those who asked. And its work
//! in bounded pieces, which comes to the same as all of it at once.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use emulator_core::app::{App, Family, SockKind, Step, Sys};
use emulator_core::docker::spec::ContainerSpec;
use emulator_core::id::{AppId, IfId, NsId, SockId};
use emulator_core::lab::{Input, Lab, Output};
use emulator_core::netns::Errno;
use emulator_core::tools::{self, Context};
use switch::Time;

use crate::scenes::{Drink, How, Pour, Stage};

const SECOND: Duration = Duration::from_secs(1);

fn stage() -> Stage {
    let mut stage = Stage::new(How {
        seed: 1,
        mode: switch::link::Mode::Copy,
        capture: None,
        listen: false,
    });
    for name in ["box1", "box2"] {
        stage.start(ContainerSpec {
            name: Some(name.to_owned()),
            image: "busybox".to_owned(),
            network_mode: "bridge".to_owned(),
            ..ContainerSpec::default()
        });
    }
    // Addresses are announced for a while.
    stage.lab.run_for(SECOND * 10);
    stage
}

/// What is told without time going on.
fn now(lab: &mut Lab) -> Vec<Output> {
    let mut told = Vec::new();
    loop {
        match lab.poll() {
            Output::Idle(_) => return told,
            output => told.push(output),
        }
    }
}

fn socket(lab: &mut Lab, ns: NsId, port: u16) -> SockId {
    let mut sys = lab.sys(ns);
    let sock = sys.socket(SockKind::Tcp, Family::V4).unwrap();
    sys.bind(sock, (Ipv4Addr::UNSPECIFIED, port).into())
        .unwrap();
    sock
}

/// Accepts, and writes down which of its sockets call.
#[derive(Debug)]
struct Listener {
    listener: Option<SockId>,
    told: Arc<Mutex<Vec<SockId>>>,
    accepted: Arc<Mutex<Vec<SockId>>>,
}

impl App for Listener {
    fn run(&mut self, sys: &mut dyn Sys) -> Step {
        let listener = *self.listener.get_or_insert_with(|| {
            let sock = sys.socket(SockKind::Tcp, Family::V4).unwrap();
            sys.bind(sock, (Ipv4Addr::UNSPECIFIED, 80).into()).unwrap();
            sys.listen(sock, 128).unwrap();
            sock
        });
        while let Ok((sock, _)) = sys.accept(listener) {
            self.accepted.lock().unwrap().push(sock);
        }
        while let Some(sock) = sys.next_ready() {
            if sock != listener {
                self.told.lock().unwrap().push(sock);
            }
        }
        Step::Wait
    }

    fn name(&self) -> &str {
        "listener"
    }
}

#[test]
fn an_application_that_asks_hears_which_of_its_sockets_call() {
    let mut stage = stage();
    let (server, client) = (stage.ns("box1"), stage.ns("box2"));
    let (told, accepted) = (Arc::default(), Arc::default());
    let app = Listener {
        listener: None,
        told: Arc::clone(&told),
        accepted: Arc::clone(&accepted),
    };
    let lab = &mut stage.lab;
    lab.spawn(server, Box::new(app));
    lab.run_for(SECOND);
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut sys = lab.sys(client);
        let sock = sys.socket(SockKind::Tcp, Family::V4).unwrap();
        let begun = sys.connect(sock, SocketAddr::from(([172, 17, 0, 2], 80)));
        assert_eq!(begun, Err(Errno::InProgress));
        clients.push(sock);
        lab.run_for(SECOND);
    }
    let accepted: Vec<SockId> = accepted.lock().unwrap().clone();
    assert_eq!(accepted.len(), clients.len());
    let heard = || {
        let mut heard = core::mem::take(&mut *told.lock().unwrap());
        heard.dedup();
        heard
    };
    heard();
    for at in [7, 93] {
        assert_eq!(lab.sys(client).send(clients[at], b"x"), Ok(1));
        lab.run_for(SECOND);
        assert_eq!(heard(), [accepted[at]], "and none of the others");
    }
    lab.sys(client).close(clients[50]);
    lab.run_for(SECOND);
    assert_eq!(heard(), [accepted[50]]);
}

#[test]
fn whoever_watches_is_told_when_somebody_begins_and_ceases_to_listen() {
    let mut stage = stage();
    let ns = stage.ns("box1");
    let lab = &mut stage.lab;
    let at = SocketAddr::from(([172, 17, 0, 2], 80));
    let listens = |lab: &Lab| lab.net().ns(ns).is_some_and(|netns| netns.listens(at));
    let watch = lab.sys(ns).listen_watch().unwrap();
    let second = lab.sys(ns).listen_watch().unwrap();
    let both = |told: &[Output]| {
        told.contains(&Output::Ready(watch)) && told.contains(&Output::Ready(second))
    };
    assert!(!listens(lab));
    assert_eq!(now(lab), []);
    let sock = socket(lab, ns, 80);
    assert_eq!(now(lab), [], "a name alone is nothing");
    lab.sys(ns).listen(sock, 5).unwrap();
    assert!(both(&now(lab)) && listens(lab));
    // Other addresses of the namespace are found by the same wildcard, another port is not.
    let netns = lab.net().ns(ns).unwrap();
    assert!(netns.listens("127.0.0.1:80".parse().unwrap()));
    assert!(!netns.listens("172.17.0.2:81".parse().unwrap()));
    lab.sys(ns).close(second);
    lab.sys(ns).close(sock);
    assert_eq!(now(lab), [Output::Ready(watch)]);
    assert!(!listens(lab));
    // A program that is killed, and the namespace that goes.
    let app = lab.spawn(
        ns,
        tools::spawn(&["nc", "-l", "-p", "80"].map(str::to_owned)).unwrap(),
    );
    assert!(now(lab).contains(&Output::Ready(watch)) && listens(lab));
    lab.end_app(app);
    assert!(now(lab).contains(&Output::Ready(watch)) && !listens(lab));
    lab.remove("box1", true).unwrap();
    assert!(now(lab).contains(&Output::Ready(watch)));
}

#[test]
fn a_watch_is_no_socket_that_anybody_sees() {
    let mut stage = stage();
    let ns = stage.ns("box1");
    let before = stage.lab.net().ns(ns).unwrap().sockets();
    stage.lab.sys(ns).listen_watch().unwrap();
    assert_eq!(stage.lab.net().ns(ns).unwrap().sockets(), before);
}

fn eth0(lab: &Lab, ns: NsId) -> IfId {
    lab.net().ns(ns).unwrap().iface_named("eth0").unwrap().id
}

#[test]
fn frames_for_a_raw_interface_are_told_once_until_all_are_taken() {
    let mut stage = stage();
    let (from, to) = (stage.ns("box1"), stage.ns("box2"));
    let lab = &mut stage.lab;
    let (from, to) = (eth0(lab, from), eth0(lab, to));
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    frame.resize(60, 7);
    let send = |lab: &mut Lab, count: usize| {
        for _ in 0..count {
            lab.net_mut().raw_send(from, &frame).unwrap();
        }
        now(lab)
    };
    lab.net_mut().raw(to, true);
    assert_eq!(send(lab, 1), [], "nobody asked");
    lab.net_mut().raw_tell(to, true);
    assert_eq!(now(lab), [Output::Frames(to)], "one waits already");
    assert_eq!(send(lab, 3), [], "it was told");
    let mut seen = 0;
    assert_eq!(lab.net_mut().raw_recv_burst(to, 2, |_| seen += 1), 2);
    assert_eq!(send(lab, 1), [], "not all have been taken");
    while lab.net_mut().raw_recv(to, |_| ()).is_some() {
        seen += 1;
    }
    assert_eq!(seen, 5);
    assert_eq!(send(lab, 1), [Output::Frames(to)]);
    assert_eq!(lab.net_mut().raw_recv_burst(to, 64, |_| ()), 1);
    assert_eq!(send(lab, 2), [Output::Frames(to)]);
    // One was taken, and nobody looked whether there are more.
    assert_eq!(lab.net_mut().raw_recv_each([from, to], 1, |_, _| ()), 1);
    assert_eq!(send(lab, 1), []);
    let nowhere = IfId(u32::MAX);
    let count = (lab.net_mut()).raw_recv_each([nowhere, to, to], 64, |at, _| assert_eq!(at, to));
    assert_eq!(count, 2);
    assert_eq!(send(lab, 2), [Output::Frames(to)]);
    lab.net_mut().raw_tell(to, false);
    while lab.net_mut().raw_recv(to, |_| ()).is_some() {}
    assert_eq!(send(lab, 1), []);
    // Given back to its stack, it is told of no more.
    lab.net_mut().raw_tell(to, true);
    lab.net_mut().raw(to, false);
    now(lab);
    assert_eq!(send(lab, 1), []);
}

#[test]
fn what_a_program_prints_is_told_once_until_it_is_taken_and_before_its_end() {
    let mut stage = stage();
    let ns = stage.ns("box1");
    let lab = &mut stage.lab;
    let ping = tools::spawn(&["ping", "-c", "3", "172.17.0.3"].map(str::to_owned)).unwrap();
    let app = lab.spawn(ns, ping);
    lab.tell_output(app, true);
    let mut told = lab.run_for(SECOND * 10);
    assert_eq!(told, [Output::Printed(app), Output::Exited(app, 0)]);
    assert!(!lab.take_output(app).is_empty());
    lab.end_app(app);

    // Taken each time, each line is told.
    let ping = tools::spawn(&["ping", "-c", "3", "172.17.0.3"].map(str::to_owned)).unwrap();
    let app = lab.spawn(ns, ping);
    lab.tell_output(app, true);
    told.clear();
    let mut texts = Vec::new();
    while !matches!(told.last(), Some(Output::Exited(..))) {
        let until = lab.now() + SECOND * 10;
        told.extend(lab.run_while(until, |_, _| false));
        texts.extend(lab.take_output(app).into_iter().map(|(_, text)| text));
    }
    let printed = told
        .iter()
        .filter(|output| **output == Output::Printed(app));
    assert_eq!(printed.count(), 4, "{texts:?}");
    assert!(
        texts[1].starts_with("64 bytes from 172.17.0.3: seq=0"),
        "{texts:?}"
    );
    assert!(
        texts[2].starts_with("64 bytes from 172.17.0.3: seq=1"),
        "{texts:?}"
    );
}

/// `nc` in both boxes, over TCP or UDP: what box1 hands over, and what box2 prints.
fn carried(bytes: &[u8], udp: bool) -> (Stage, AppId) {
    let mut stage = stage();
    let (from, to) = (stage.ns("box1"), stage.ns("box2"));
    let flags = if udp { "-nu" } else { "-n" };
    let context = |stdin: &[u8]| Context::of_image("busybox", stdin.to_vec());
    let listens = ["nc", flags, "-lp", "7"].map(str::to_owned);
    let sends = ["nc", flags, "-w", "1", "172.17.0.3", "7"].map(str::to_owned);
    let lab = &mut stage.lab;
    let heard = lab.spawn(to, tools::spawn_in(&listens, &context(b"")).unwrap());
    lab.settle();
    lab.spawn(from, tools::spawn_in(&sends, &context(bytes)).unwrap());
    lab.run_for(SECOND * 10);
    (stage, heard)
}

#[test]
fn what_a_program_prints_need_not_be_text() {
    const LIMIT: usize = 4 << 20;
    // A character that ends in the next segment, and bytes that are never part of one. No more than a send buffer
    // takes: who listens has nothing to say and closes its half at once, and then the other end sends no more.
    let mut sent: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    sent.extend("é".repeat(5_000).bytes());
    let (mut stage, heard) = carried(&sent, false);
    let out = stage.lab.take_bytes(heard);
    assert!(out == [(false, sent.clone())]);
    let datagram = &sent[..1000];
    let (mut stage, heard) = carried(datagram, true);
    let out = stage.lab.take_bytes(heard);
    assert!(out == [(false, datagram.to_vec())]);
    // As text it is one: only what is none is replaced.
    let (mut stage, heard) = carried(&sent, false);
    let out = stage.lab.take_output(heard);
    assert!(out == [(false, String::from_utf8_lossy(&sent).into_owned())]);

    // What is more than 4 MiB is cut between characters.
    let long = "€".repeat(LIMIT / 3 + 10);
    let cat = ["cat".to_owned()];
    let context = Context::of_image("busybox", long.into_bytes());
    let ns = stage.ns("box1");
    let cat = tools::spawn_in(&cat, &context).unwrap();
    let app = stage.lab.spawn(ns, cat);
    stage.lab.settle();
    let out = stage.lab.take_output(app);
    let (text, cut) = out[0].1.split_at(LIMIT / 3 * 3);
    assert!(text.chars().all(|c| c == '€'));
    assert_eq!(cut, "\n[output cut]\n");
}

#[test]
fn output_that_is_taken_has_no_end() {
    let mut stage = stage();
    let ns = stage.ns("box1");
    let lab = &mut stage.lab;
    let argv = ["ping", "-c", "100000", "-i", "1", "172.17.0.3"].map(str::to_owned);
    let app = lab.spawn(ns, tools::spawn(&argv).unwrap());
    lab.tell_output(app, true);
    let mut bytes = 0;
    while lab.net().ns(ns).is_some() {
        let until = lab.now() + SECOND * 1000;
        let told = lab.run_until(until);
        let taken = lab.take_output(app);
        assert!(taken.iter().all(|(_, text)| !text.contains("[output cut]")));
        bytes += taken.iter().map(|(_, text)| text.len()).sum::<usize>();
        if told
            .iter()
            .any(|output| matches!(output, Output::Exited(..)))
        {
            break;
        }
    }
    assert!(bytes > emulator_core::lab::apps::OUTPUT_LIMIT, "{bytes}");
}

/// A transfer, driven by pieces of `marks` marks, or all at once.
fn transfer(marks: Option<u32>) -> (Time, Vec<(Time, Output)>, String) {
    let mut stage = stage();
    let (from, to) = (stage.ns("box1"), stage.ns("box2"));
    let lab = &mut stage.lab;
    lab.spawn(to, Box::new(Pour::new(80, 3 << 20)));
    lab.settle();
    let app = lab.spawn(
        from,
        Box::new(Drink::new(SocketAddr::from(([172, 17, 0, 3], 80)))),
    );
    let end = lab.now() + SECOND * 60;
    let mut told = Vec::new();
    loop {
        let output = match marks {
            None => Some(lab.poll()),
            Some(marks) => lab.poll_within(marks),
        };
        match output {
            None => {}
            Some(Output::Idle(next)) => match next.filter(|at| *at < end) {
                Some(next) => lab.handle(next, Input::Tick),
                None => break,
            },
            Some(output) => told.push((lab.now(), output)),
        }
    }
    let text: String = lab
        .take_output(app)
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    (lab.now(), told, text)
}

#[test]
fn in_pieces_it_comes_to_the_same() {
    let whole = transfer(None);
    assert!(
        matches!(whole.1.last(), Some((_, Output::Exited(_, 0)))),
        "{whole:?}"
    );
    for marks in [1, 2, 7, 32, 1000] {
        assert_eq!(transfer(Some(marks)), whole, "{marks} marks");
    }
}

#[test]
fn in_pieces_frames_are_told_of_before_it_is_idle() {
    for marks in [1, 1000] {
        let mut stage = stage();
        let (from, to) = (stage.ns("box1"), stage.ns("box2"));
        let lab = &mut stage.lab;
        let netns = lab.net().ns(to).unwrap();
        let iface = netns.iface_named("eth0").unwrap().id;
        lab.net_mut().raw(iface, true);
        lab.net_mut().raw_tell(iface, true);
        while !matches!(lab.poll(), Output::Idle(_)) {}
        while lab.net_mut().raw_recv(iface, |_| ()).is_some() {}
        let mut sys = lab.sys(from);
        let sock = sys.socket(SockKind::Udp, Family::V4).unwrap();
        let to = SocketAddr::from(([172, 17, 0, 3], 9));
        assert_eq!(sys.send_to(sock, b"hello", to), Ok(5));
        let told = (0..1000).find_map(|_| match lab.poll_within(marks) {
            Some(Output::Ready(_)) | None => None,
            told => told,
        });
        assert_eq!(told, Some(Output::Frames(iface)), "{marks} marks");
    }
}

#[test]
fn a_piece_ends_in_the_middle_of_an_endless_transfer_and_due_timers_fire() {
    let mut stage = stage();
    let (a, b) = (stage.ns("box1"), stage.ns("box2"));
    let lab = &mut stage.lab;
    lab.spawn(b, Box::new(Pour::new(80, usize::MAX)));
    lab.settle();
    lab.spawn(
        a,
        Box::new(Drink::new(SocketAddr::from(([172, 17, 0, 3], 80)))),
    );
    for _ in 0..1000 {
        assert_eq!(lab.poll_within(16), None, "it is busy");
    }
    // A sleep of a second ends although the transfer never does.
    let app = lab.spawn(a, tools::spawn(&["sleep", "1"].map(str::to_owned)).unwrap());
    for _ in 0..100 {
        assert_eq!(lab.poll_within(16), None);
    }
    lab.handle(lab.now() + SECOND, Input::Tick);
    let told: Vec<_> = (0..1000).filter_map(|_| lab.poll_within(16)).collect();
    assert_eq!(told, [Output::Exited(app, 0)]);
}
