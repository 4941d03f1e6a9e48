//! The control socket against clients of every kind: random bytes, too much, half-closed, gone, a hundred at once.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use emulator_core::lab::{Lab, LabConfig};
use emulator_core::switch::Rng;
use emulator_host::control::{
    Answer, CLIENTS, Claimed, Client, ClientId, Clients, Part, Place, REQUEST, Server, Service,
};
use emulator_host::runtime::{Cx, Runtime, Stop};
use serde_json::{Value, json};

/// A folder of its own, gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vethlab-control-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _left = fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn place(&self) -> Place {
        Place::new(self.0.clone())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// Echoes, says a lot, never answers, ends.
#[derive(Debug, Default)]
struct Desk {
    held: Vec<ClientId>,
    gone: usize,
    flood: Vec<(ClientId, usize)>,
    waiting: Vec<ClientId>,
}

/// Pieces of a flood.
const PIECES: usize = 1000;

impl Desk {
    fn pour(&mut self, cx: &mut Cx<'_>, clients: &mut Clients) {
        self.flood.retain_mut(|(client, left)| {
            while *left > 0 && clients.has_room(*client) {
                clients.part(cx, *client, Part::Data, &[7; 4096]);
                *left -= 1;
            }
            if *left == 0 {
                clients.exit(cx, *client, 0);
            }
            *left > 0
        });
    }
}

impl Service for Desk {
    fn request(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, from: ClientId, request: &Value) {
        match request["verb"].as_str().unwrap() {
            "echo" => {
                clients.part(
                    cx,
                    from,
                    Part::Out,
                    request["text"].as_str().unwrap_or("").as_bytes(),
                );
                clients.value(cx, from, &json!(from.key()));
                clients.exit(cx, from, 3);
            }
            "hold" => {
                self.held.push(from);
                clients.value(cx, from, &json!("held"));
            }
            "flood" => {
                self.flood.push((from, PIECES));
                self.pour(cx, clients);
            }
            "gone" => {
                clients.value(cx, from, &json!(self.gone));
                clients.exit(cx, from, 0);
            }
            "down" => {
                self.waiting.push(from);
                cx.stop(Stop::Asked);
            }
            _ => clients.error(cx, from, "what?"),
        }
    }

    fn gone(&mut self, _: &mut Cx<'_>, client: ClientId) {
        self.held.retain(|held| *held != client);
        self.flood.retain(|(other, _)| *other != client);
        self.gone += 1;
    }

    fn drained(&mut self, cx: &mut Cx<'_>, clients: &mut Clients, _: ClientId) {
        self.pour(cx, clients);
    }

    fn end(&mut self, cx: &mut Cx<'_>, clients: &mut Clients) {
        for client in std::mem::take(&mut self.waiting) {
            clients.exit(cx, client, 0);
        }
    }
}

/// A server in a thread; `down` ends it.
fn serve(place: &Place, project: &str) -> JoinHandle<Stop> {
    let claim = place.claim(project).unwrap();
    std::thread::spawn(move || {
        let lab = Lab::new(LabConfig::default()).unwrap();
        let mut runtime = Runtime::new(lab).unwrap();
        runtime
            .attach(|cx| Server::new(cx, claim, Desk::default()))
            .unwrap();
        runtime.run().unwrap()
    })
}

fn raw(place: &Place, project: &str) -> UnixStream {
    let stream = UnixStream::connect(place.folder().join(format!("{project}.sock"))).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

fn ask(client: &mut Client, request: &Value) -> Vec<Answer> {
    client.ask(request).unwrap();
    let mut all = Vec::new();
    loop {
        all.push(client.next().unwrap());
        if matches!(all.last(), Some(Answer::Exit(_) | Answer::Error(_))) {
            return all;
        }
    }
}

fn echoes(place: &Place) {
    let mut client = place.connect("shop").unwrap();
    let answers = ask(&mut client, &json!({"verb": "echo", "text": "héllo\n"}));
    assert_eq!(
        answers[0],
        Answer::Part(Part::Out, "héllo\n".as_bytes().to_vec())
    );
    assert_eq!(answers[2], Answer::Exit(3));
}

fn down(place: &Place, server: JoinHandle<Stop>) {
    let mut client = place.connect("shop").unwrap();
    assert_eq!(
        ask(&mut client, &json!({"verb": "down"})),
        [Answer::Exit(0)]
    );
    assert_eq!(server.join().unwrap(), Stop::Asked);
    let left: Vec<_> = fs::read_dir(place.folder()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn requests_follow_each_other_on_a_connection() {
    let scratch = Scratch::new();
    let place = scratch.place();
    let server = serve(&place, "shop");
    let mut client = place.connect("shop").unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&mut client, &json!({"verb": "echo"})).len(), 2);
    }
    assert_eq!(
        ask(&mut client, &json!({"verb": "dance"})),
        [Answer::Error("what?".to_owned())]
    );
    // Two at once are answered one after the other, and a half-closed client gets both.
    let mut stream = raw(&place, "shop");
    stream
        .write_all(b"{\"verb\":\"echo\"}\n{\"verb\":\"dance\"}\n")
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1..], ["{\"exit\":3}", "{\"error\":\"what?\"}"]);
    down(&place, server);
}

#[test]
fn odd_clients_are_told_or_sent_away_and_harm_nobody() {
    let scratch = Scratch::new();
    let place = scratch.place();
    let server = serve(&place, "shop");
    let mut rng = Rng::new(1);
    for round in 0..300 {
        let mut stream = raw(&place, "shop");
        let mut bytes = vec![0; (rng.next_u64() % 300) as usize];
        rng.fill(&mut bytes);
        if round % 3 == 0 {
            bytes.push(b'\n');
        }
        // It may be sent away in the middle of it.
        let _closed = stream.write_all(&bytes);
        if round % 2 == 0 {
            let _closed = stream.shutdown(Shutdown::Write);
            let mut text = Vec::new();
            let _reset = stream.read_to_end(&mut text);
            let lines = String::from_utf8(text).unwrap();
            assert!(
                lines.lines().all(|line| line.contains("\"error\"")),
                "{lines}"
            );
        }
    }
    for odd in [
        "",
        "{}",
        "[]",
        "3",
        "{\"verb\":3}",
        "{\"verb\":\"dance\"}",
        "\u{0}",
    ] {
        let mut stream = raw(&place, "shop");
        stream.write_all(format!("{odd}\n").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"error\":"), "{odd}: {line}");
    }
    echoes(&place);
    down(&place, server);
}

#[test]
fn a_request_that_has_no_end_is_refused() {
    let scratch = Scratch::new();
    let place = scratch.place();
    let server = serve(&place, "shop");
    let mut stream = raw(&place, "shop");
    let _refused = stream.write_all(&vec![b'x'; 4 * REQUEST]);
    let mut line = String::new();
    // It is told if it listens before the rest is thrown away.
    let told = BufReader::new(&stream).read_line(&mut line);
    assert!(
        told.is_err() || line.is_empty() || line.contains("bytes long"),
        "{line}"
    );
    // One that just fits is not.
    let mut client = place.connect("shop").unwrap();
    let long = "x".repeat(REQUEST - 100);
    let answers = ask(&mut client, &json!({"verb": "echo", "text": long}));
    assert_eq!(answers[0], Answer::Part(Part::Out, long.into_bytes()));
    down(&place, server);
}

#[test]
fn a_hundred_clients_of_which_some_are_too_many() {
    let scratch = Scratch::new();
    let place = scratch.place();
    let server = serve(&place, "shop");
    let mut streams: Vec<UnixStream> = (0..100).map(|_| raw(&place, "shop")).collect();
    let (mut held, mut refused) = (0, 0);
    for stream in &mut streams {
        // Who is refused may be closed already.
        let _closed = stream.write_all(b"{\"verb\":\"echo\"}\n");
        let mut line = String::new();
        let read = BufReader::new(&*stream).read_line(&mut line);
        match read {
            Ok(_) if line.starts_with("{\"value\"") => held += 1,
            _ => {
                assert!(
                    line.is_empty() || line.contains("clients are served already"),
                    "{line}"
                );
                refused += 1;
            }
        }
    }
    assert_eq!((held, refused), (CLIENTS, 100 - CLIENTS));
    drop(streams);
    // There is room again once the server has seen them go.
    let mut client = loop {
        let mut client = place.connect("shop").unwrap();
        if client.ask(&json!({"verb": "echo"})).is_ok()
            && matches!(client.next(), Ok(Answer::Value(_)))
        {
            break client;
        }
    };
    assert_eq!(client.next().unwrap(), Answer::Exit(3));
    down(&place, server);
}

#[test]
fn a_client_that_goes_takes_its_request_back_and_a_slow_one_waits_alone() {
    let scratch = Scratch::new();
    let place = scratch.place();
    let server = serve(&place, "shop");
    for _ in 0..10 {
        let mut stream = raw(&place, "shop");
        stream.write_all(b"{\"verb\":\"hold\"}\n").unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert_eq!(line, "{\"value\":\"held\"}\n");
    }
    let mut slow = place.connect("shop").unwrap();
    slow.ask(&json!({"verb": "flood"})).unwrap();
    let mut quitter = raw(&place, "shop");
    quitter.write_all(b"{\"verb\":\"flood\"}\n").unwrap();
    quitter.read_exact(&mut [0; 1000]).unwrap();
    drop(quitter);
    // Others are answered meanwhile; in the end all eleven have been missed.
    let mut client = place.connect("shop").unwrap();
    loop {
        let answers = ask(&mut client, &json!({"verb": "gone"}));
        if answers[0] == Answer::Value(json!(11)) {
            break;
        }
        std::thread::yield_now();
    }
    let mut bytes = 0;
    loop {
        match slow.next().unwrap() {
            Answer::Part(Part::Data, piece) => {
                assert!(piece.iter().all(|byte| *byte == 7));
                bytes += piece.len();
            }
            end => {
                assert_eq!(end, Answer::Exit(0));
                break;
            }
        }
    }
    assert_eq!(bytes, PIECES * 4096);
    down(&place, server);
}

#[test]
fn a_name_is_claimed_once_and_a_stale_socket_is_replaced() {
    let scratch = Scratch::new();
    let place = scratch.place();
    let claim = place.claim("shop").unwrap();
    let mode = fs::metadata(place.folder()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let error = place.claim("shop").unwrap_err();
    assert_eq!(error, Claimed::Up(Some(std::process::id())));
    assert_eq!(place.projects(), ["shop"]);
    drop(place.claim("blog").unwrap());
    drop(claim);
    assert!(fs::read_dir(place.folder()).unwrap().next().is_none());
    // What a crash leaves: a socket on which nobody answers, a lock that nobody holds.
    let stale = place.folder().join("shop.sock");
    drop(UnixListener::bind(&stale).unwrap());
    fs::write(place.folder().join("shop.lock"), "1").unwrap();
    assert!(stale.exists() && place.projects().is_empty());
    let sentence = place.connect("shop").unwrap_err();
    assert_eq!(sentence, "no project is up under the name shop; none is");
    let server = serve(&place, "shop");
    echoes(&place);
    down(&place, server);
}

#[test]
fn names_and_folders_that_will_not_do_are_refused_in_words() {
    let scratch = Scratch::new();
    let place = scratch.place();
    for name in ["", "..", "a/b", "A", "-a", "a b", "é"] {
        let sentence = place.connect(name).unwrap_err();
        assert!(sentence.contains("is no name of a project"), "{sentence}");
        assert!(matches!(place.claim(name), Err(Claimed::Error(_))));
    }
    assert!(!place.folder().exists());
    let says = |place: &Place, what: &str| {
        let Err(Claimed::Error(sentence)) = place.claim("shop") else {
            panic!("{what}");
        };
        assert!(sentence.contains(what), "{sentence}");
    };
    fs::create_dir(place.folder()).unwrap();
    fs::set_permissions(place.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    says(&place, "is open to others");
    assert!(
        place
            .connect("shop")
            .unwrap_err()
            .contains("is open to others")
    );
    fs::set_permissions(place.folder(), fs::Permissions::from_mode(0o700)).unwrap();
    says(
        &Place::new(place.folder().join("x".repeat(100))),
        "is longer than the 107 bytes",
    );
    let file = place.folder().join("file");
    fs::write(&file, "").unwrap();
    says(&Place::new(file), "is not a folder");
    says(
        &Place::new(Path::new("/proc/nowhere").to_owned()),
        "/proc/nowhere",
    );
}
