//! Whole plays over an engine that only remembers.

use vethlab::core::docker::error::{Error, Kind};
use vethlab::core::docker::spec::Engine;
use vethlab_cli::docker::State;
use vethlab_cli::output::Output;
use vethlab_cli::play::{Outcome, Played, bless, parse, play};

use crate::fake::Fake;

fn run(fake: &mut Fake, page: &str) -> Vec<Played> {
    let transcript = parse(page).unwrap_or_else(|error| panic!("{error}"));
    play(&transcript, fake, &mut |_| {})
}

fn console(lines: &str) -> String {
    format!("```console\n{lines}```\n")
}

#[test]
fn shells_open_and_close() {
    let mut fake = Fake::new(Engine::V29);
    fake.answers = [
        Output::out("1: lo\n"),
        Output::out("a\nb\n"),
        Output::out("in exec\n"),
        Output::out("again\n"),
    ]
    .into();
    let page = console(
        "$ docker run -it --name c1 --rm alpine\n\
         / # ip addr\n1: lo\n\
         / # X=$(cat /etc/hosts | tail -1); echo got $X\ngot b\n\
         $ docker exec -it c1 sh\n\
         / # hostname\nin exec\n\
         / # exit\n\
         / # hostname\nagain\n\
         / # exit\n\
         $ docker ps -aq\n",
    );
    let played = run(&mut fake, &page);
    for step in &played {
        assert_eq!(
            step.outcome,
            Outcome::Same,
            "{}: {:?}",
            step.step.command,
            step.seen
        );
    }
    assert_eq!(
        fake.asked,
        [
            "create alpine ",
            "exec c1 ip addr",
            "exec c1 cat /etc/hosts",
            "exec c1 hostname",
            "exec c1 hostname",
            "exit 0"
        ]
    );
    assert!(fake.containers.is_empty());
}

#[test]
fn detach_leaves_the_shell_running() {
    let mut fake = Fake::new(Engine::V29);
    let page = console(
        "$ docker run -dit --name a1 alpine ash\n[..]\n\
         $ docker attach a1\n\
         # ping -c 2 a2\n\
         # ^P^Q\nread escape sequence\n\
         $ docker attach a1\n\
         # exit 3\n\
         $ docker attach a1\ncannot attach to a stopped container, start it first\n",
    );
    let played = run(&mut fake, &page);
    for step in &played {
        assert_eq!(
            step.outcome,
            Outcome::Same,
            "{}: {:?}",
            step.step.command,
            step.seen
        );
    }
    let container = fake.containers.values().next().unwrap();
    assert_eq!(container.state, State::Exited(3));
}

#[test]
fn foreground_background_and_scripts() {
    let mut fake = Fake::new(Engine::V29);
    fake.answers = [
        Output::out("pong\n"),
        Output::err("no\n", 1),
        Output::out("x\n"),
    ]
    .into();
    let page = console(
        "$ docker run --rm alpine ping -c1 b\npong\n\
         $ docker run --name s alpine sh -c 'ping -c1 b || echo failed'\nno\nfailed\n\
         $ docker run -d --name w alpine sh -c 'httpd -p 80 && sleep 1000'\n[..]\n\
         $ docker exec w sh -c 'cat /etc/hostname | wc -l'\n1\n\
         $ docker exec -d w httpd -p 81\n",
    );
    let played = run(&mut fake, &page);
    for step in &played {
        assert_eq!(
            step.outcome,
            Outcome::Same,
            "{}: {:?}",
            step.step.command,
            step.seen
        );
    }
    assert_eq!(
        fake.asked[1..],
        [
            "create alpine sh -c ping -c1 b || echo failed",
            "exec s ping -c1 b",
            "exit 0",
            "create alpine sh -c httpd -p 80 && sleep 1000",
            "spawn w httpd -p 80",
            "exec w cat /etc/hostname",
            "spawn w httpd -p 81",
        ]
    );
}

#[test]
fn machines_time_and_variables() {
    let mut fake = Fake::new(Engine::V29);
    fake.answers = [Output::out("a\n"), Output::out("b\n"), Output::out("c\n")].into();
    let page = console(
        "$ NET=$(docker network create web)\n\
         $ docker network rm $NET\n\
         lan$ curl http://192.0.2.2/\na\n\
         internet$ ping -c1 192.0.2.2\nb\n\
         $ ip route && sleep 1.5\nc\n\
         $ nc -l -p 80 &\n\
         $ docker network ls --format '{{.Name}}' | sort -r | head -1\nnone\n",
    );
    fake.next_id = Some("web".to_owned());
    let played = run(&mut fake, &page);
    // The fake gives the network the id by which it is removed.
    assert!(
        played
            .iter()
            .all(|step| step.outcome != Outcome::Different || step.step.line == 3)
    );
    assert_eq!(
        fake.asked,
        [
            "Lan curl http://192.0.2.2/",
            "Internet ping -c1 192.0.2.2",
            "Host ip route",
            "Host nc -l -p 80 &"
        ]
    );
    assert_eq!(fake.passed.as_millis(), 1500);
}

#[test]
fn errors_codes_and_notes() {
    let mut fake = Fake::new(Engine::V29);
    fake.fails = Some(Error::new(
        Kind::Conflict,
        "network with name web already exists",
    ));
    let page = "```console exit=1\n$ docker network create web\n\
        Error response from daemon: network with name web already exists\n```\n\
        ```console exit=0\n$ docker network rm nosuch\n\
        Error response from daemon: network nosuch not found\nexit status 1\n```\n\
        ```console ignore\n$ docker create -v /a:/b alpine\nwhatever\n```\n\
        ```console engine=20.10\n$ docker ps\nold\n```\n\
        ```console\n$ docker inspect nosuch\n[]\nerror: no such object: nosuch\n\
        $ docker frob\ndocker: unknown command: docker frob\n\nRun 'docker --help' for more information\n\
        $ docker network create\ndocker: 'docker network create' requires 1 argument\n\n\
        Usage:  docker network create [OPTIONS] NETWORK\n\n\
        Run 'docker network create --help' for more information\n\
        $ docker exec -it nosuch sh\nError response from daemon: No such container: nosuch\n```\n";
    let outcomes: Vec<_> = run(&mut fake, page)
        .into_iter()
        .map(|p| (p.outcome, p.notes))
        .collect();
    assert_eq!(
        outcomes,
        [
            (Outcome::Same, vec![]),
            (Outcome::Code(0), vec![]),
            (Outcome::Ignored, vec!["--volume".to_owned()]),
            (Outcome::Skipped, vec![]),
            (Outcome::Same, vec![]),
            (Outcome::Same, vec![]),
            (Outcome::Same, vec![]),
            (Outcome::Same, vec![]),
        ]
    );
}

#[test]
fn a_refused_start_prints_the_id_first() {
    for (engine, text) in [
        (
            Engine::V20_10,
            "docker: Error response from daemon: port is already allocated.\n",
        ),
        (
            Engine::V29,
            "docker: Error response from daemon: port is already allocated\n\nRun 'docker run --help' for more information\n",
        ),
    ] {
        let mut fake = Fake::new(engine);
        let words: Vec<String> = ["docker", "run", "-d", "--name", "c", "nginx"]
            .map(str::to_owned)
            .into();
        let parsed = vethlab_cli::docker::parse(&words, engine).unwrap();
        fake.start_fails = Some(Error::new(Kind::System, "port is already allocated"));
        let done = vethlab_cli::docker::execute(&mut fake, parsed.command, "");
        assert_eq!(done.output.stderr(), text);
        assert_eq!(done.output.stdout().trim().len(), 64);
        assert_eq!(done.output.code, 125);
    }
}

#[test]
fn blessed_pages_play_without_a_difference() {
    let page =
        console("$ docker network ls\nold\n$ docker network rm nosuch\n[..]nosuch[..]\nold\n");
    let played = run(&mut Fake::new(Engine::V29), &page);
    let blessed = bless(&page, &played);
    assert_ne!(blessed, page);
    assert!(blessed.contains("[..]nosuch[..]\nexit status 1\n"));
    let again = run(&mut Fake::new(Engine::V29), &blessed);
    assert!(again.iter().all(|step| !step.failed()));
}
