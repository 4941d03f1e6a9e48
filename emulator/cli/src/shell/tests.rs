use super::regex::{Regex, Syntax};
use super::*;
use crate::output::Output;

/// Programs that answer with their arguments.
#[derive(Default)]
struct Echo {
    calls: Vec<Vec<String>>,
    spawned: Vec<Vec<String>>,
}

impl Programs for Echo {
    fn run(&mut self, argv: &[String], stdin: &str) -> Output {
        self.calls.push(argv.to_vec());
        match argv[0].as_str() {
            "docker" => Output::out("id1\nid2\n"),
            "fail" => Output::err("failed\n", 3),
            "cat" if argv.get(1).is_some_and(|f| f == "/etc/hosts") => {
                Output::out("127.0.0.1\tlocalhost\n172.18.0.2\tweb\n")
            }
            "cat" => Output::err("cat: no\n", 1),
            "stdin" => Output::out(stdin),
            _ => Output::out(format!("{}\n", argv.join("|"))),
        }
    }

    fn spawn(&mut self, argv: &[String]) -> Output {
        self.spawned.push(argv.to_vec());
        Output::default()
    }
}

fn run(text: &str) -> Output {
    let script = parse(text).unwrap_or_else(|message| panic!("{text}: {message}"));
    Shell::default().run(&script, &mut Echo::default(), "")
}

#[test]
fn words_quotes_and_variables() {
    for (text, expected) in [
        ("p 'a b' \"c d\" e\\ f", "p|a b|c d|e f\n"),
        ("p '' \"\"", "p||\n"),
        ("p a\"b\"'c'd", "p|abcd\n"),
        ("p \"a\\\"b\\\\c\\d\"", "p|a\"b\\c\\d\n"),
        ("A=1; p $A ${A}x \"$A\" '$A'", "p|1|1x|1|$A\n"),
        ("A=\"a b\"; p $A \"$A\" x${A}y", "p|a|b|a b|xa|by\n"),
        ("p $NONE \"$NONE\"", "p|\n"),
        ("p $ a$", "p|$|a$\n"),
        ("p a # comment", "p|a\n"),
        ("p a#b", "p|a#b\n"),
        ("p \\\n  a", "p|a\n"),
        ("p $(docker ps -q)", "p|id1|id2\n"),
        ("p \"$(docker ps -q)\"", "p|id1\nid2\n"),
        ("p `docker ps`", "p|id1|id2\n"),
        ("I=$(docker ps -q | head -1); p $I", "p|id1\n"),
        ("p $(echo $(echo x))", "p|x\n"),
        (
            "p --format '{{.Name}} {{json .X}}'",
            "p|--format|{{.Name}} {{json .X}}\n",
        ),
        ("VAR=x p a", "p|a\n"),
        ("echo -n a; echo b", "ab\n"),
        ("echo -e 'a\\nb'", "a\nb\n"),
    ] {
        assert_eq!(run(text).text(), expected, "{text}");
    }
}

#[test]
fn lists_pipes_and_redirections() {
    for (text, expected, code) in [
        ("true && p a || p b", "p|a\n", 0),
        ("false && p a || p b", "p|b\n", 0),
        ("fail; p $?", "failed\np|3\n", 0),
        ("! fail", "failed\n", 0),
        ("fail 2>/dev/null", "", 3),
        ("fail 2>&1 | grep ail", "failed\n", 0),
        ("fail | grep ail", "failed\n", 1),
        ("p a > /dev/null", "", 0),
        ("p a >/dev/null 2>&1", "", 0),
        ("p a &>/dev/null", "", 0),
        ("echo a | stdin", "a\n", 0),
        ("echo a | stdin </dev/null", "", 0),
        ("docker | xargs p x", "p|x|id1|id2\n", 0),
        ("docker | xargs -n1 p", "p|id1\np|id2\n", 0),
        ("A=$(fail); p $?", "failed\np|3\n", 0),
        ("p a; exit 4; p b", "p|a\n", 4),
    ] {
        let output = run(text);
        assert_eq!(
            (output.text().as_str(), output.code),
            (expected, code),
            "{text}"
        );
    }
}

#[test]
fn background_programs_are_left_running() {
    let mut echo = Echo::default();
    let script = parse("httpd -p 80 & p a").unwrap();
    let output = Shell::default().run(&script, &mut echo, "");
    assert_eq!(output.text(), "p|a\n");
    assert_eq!(echo.spawned, [["httpd", "-p", "80"]]);
}

#[test]
fn what_is_refused() {
    for (text, message) in [
        (
            "for i in 1 2; do p; done",
            "sh: `for` is not supported in transcripts",
        ),
        ("p 'a", "sh: syntax error: unterminated quoted string"),
        ("p |", "sh: syntax error: unexpected end of file"),
        ("| p", "sh: syntax error: unexpected \"|\""),
        (
            "p > file",
            "sh: redirection `>file` is not supported in transcripts",
        ),
        ("p $((1+1))", "sh: `$((…))` is not supported in transcripts"),
        ("p $(a", "sh: syntax error: unterminated $("),
        ("(p)", "sh: `(` is not supported in transcripts"),
        ("p ${A:-b}", "sh: `${A:-b}` is not supported in transcripts"),
        ("p &&", "sh: syntax error: unexpected end of file"),
    ] {
        assert_eq!(parse(text), Err(message.to_owned()), "{text}");
    }
    assert!(parse(&"$(".repeat(50)).is_err());
    assert!(parse(&"x".repeat(MAX_SCRIPT + 1)).is_err());
}

#[test]
fn plain_words() {
    let words = |text: &str| parse(text).ok().and_then(|script| script.plain_words());
    assert_eq!(words("docker 'a b'").unwrap(), ["docker", "a b"]);
    assert_eq!(words("docker $A"), None);
    assert_eq!(words("a | b"), None);
}

#[test]
fn text_tools() {
    const TEXT: &str = "printf-like 10 a:b\nbeta 9 c:d\nalpha 10 e:f\n";
    let pipe = |filter: &str| {
        let script = parse(&format!("stdin | {filter}")).unwrap();
        Shell::default().run(&script, &mut Echo::default(), TEXT)
    };
    for (filter, expected) in [
        ("head -1", "printf-like 10 a:b\n"),
        ("head -n 1", "printf-like 10 a:b\n"),
        ("head -n -2", "printf-like 10 a:b\n"),
        ("tail -1", "alpha 10 e:f\n"),
        ("tail -n +3", "alpha 10 e:f\n"),
        ("wc -l", "3\n"),
        ("wc -w", "9\n"),
        ("grep beta", "beta 9 c:d\n"),
        ("grep -v 10", "beta 9 c:d\n"),
        ("grep -c 10", "2\n"),
        ("grep -i BETA", "beta 9 c:d\n"),
        ("grep -E 'alpha|beta' | wc -l", "2\n"),
        ("grep 'alpha\\|beta' | wc -l", "2\n"),
        ("grep -o '[a-z]:[a-z]'", "a:b\nc:d\ne:f\n"),
        ("grep -n beta", "2:beta 9 c:d\n"),
        ("grep -w 9", "beta 9 c:d\n"),
        ("grep -A1 beta", "beta 9 c:d\nalpha 10 e:f\n"),
        ("grep -F 'a:b'", "printf-like 10 a:b\n"),
        ("sed 's/ .*//'", "printf-like\nbeta\nalpha\n"),
        ("sed -n 2p", "beta 9 c:d\n"),
        ("sed '/alpha/d;1d'", "beta 9 c:d\n"),
        ("sed '$d' | wc -l", "2\n"),
        (
            "sed -E 's/([a-z]):([a-z])/\\2-\\1/' | tail -1",
            "alpha 10 f-e\n",
        ),
        ("sed 's/[0-9]/#/g' | head -1", "printf-like ## a:b\n"),
        ("sed 's/a/X/2' | tail -1", "alphX 10 e:f\n"),
        ("sed -e 's|a|b|' -e 's/e/E&/' | tail -1", "blpha 10 Ee:f\n"),
        ("sort", "alpha 10 e:f\nbeta 9 c:d\nprintf-like 10 a:b\n"),
        ("sort -k2n | head -1", "beta 9 c:d\n"),
        ("sort -r | head -1", "printf-like 10 a:b\n"),
        ("cut -d: -f2", "b\nd\nf\n"),
        ("cut -d' ' -f1,3", "printf-like a:b\nbeta c:d\nalpha e:f\n"),
        ("cut -c1-3", "pri\nbet\nalp\n"),
        ("awk '{print $2}'", "10\n9\n10\n"),
        ("awk '{print $NF, NR}'", "a:b 1\nc:d 2\ne:f 3\n"),
        ("awk -F: '{print $2}'", "b\nd\nf\n"),
        ("awk '/beta/ {print $1 \"!\" $3}'", "beta!c:d\n"),
        ("awk 'NR>1{print $1}'", "beta\nalpha\n"),
        ("awk '$1==\"beta\"{print}'", "beta 9 c:d\n"),
        ("tr a-z A-Z | head -1", "PRINTF-LIKE 10 A:B\n"),
        ("tr -d '\\n'", "printf-like 10 a:bbeta 9 c:dalpha 10 e:f"),
        (
            "awk '{print $2}' | sort | uniq -c",
            "      2 10\n      1 9\n",
        ),
        ("awk '{print $2}' | sort -u", "10\n9\n"),
    ] {
        assert_eq!(pipe(filter).text(), expected, "{filter}");
    }
    assert_eq!(pipe("grep nosuch").code, 1);
    assert_eq!(
        run("grep web /etc/hosts | awk '{print $1}'").text(),
        "172.18.0.2\n"
    );
    assert_eq!(
        run("grep web /nosuch").text(),
        "grep: /nosuch: No such file or directory\n"
    );
    assert_eq!(
        pipe("sort -z").text(),
        "sort: option -z is not supported in transcripts\n"
    );
}

#[test]
fn regular_expressions() {
    use Syntax::{Basic, Extended};
    for (pattern, syntax, text, expected) in [
        ("a*b", Basic, "aaab", true),
        ("^a.c$", Basic, "abc", true),
        ("^a.c$", Basic, "abcd", false),
        ("a+", Basic, "a+", true),
        ("a\\+$", Basic, "baa", true),
        ("a{2,3}$", Extended, "caa", true),
        ("^a{2,3}$", Extended, "aaaa", false),
        ("a\\{2\\}", Basic, "baab", true),
        ("(ab|cd)+e", Extended, "abcde", true),
        ("[^0-9]", Basic, "123", false),
        ("[[:digit:]]+\\.[[:digit:]]", Extended, "172.18", true),
        ("[]x]", Basic, "]", true),
        ("\\bweb\\b", Basic, "a web b", true),
        ("\\bweb\\b", Basic, "webs", false),
        ("x?y", Extended, "y", true),
        ("", Extended, "anything", true),
        ("a|", Extended, "b", true),
        ("^$", Basic, "", true),
        ("a$b", Basic, "a$b", true),
        ("a^b", Basic, "a^b", true),
        ("*a", Basic, "*a", true),
    ] {
        let regex = Regex::new(pattern, syntax, false).unwrap();
        assert_eq!(regex.is_match(text), expected, "{pattern} {text}");
    }
    for pattern in [
        "(a",
        "[a",
        "a{3,1}",
        "+a",
        "a)",
        "a\\",
        "[z-a]",
        "[[:nosuch:]]",
    ] {
        assert!(Regex::new(pattern, Extended, false).is_err(), "{pattern}");
    }
    // Patterns that make a naive matcher run for ages, or programs that grow without end.
    let slow = Regex::new("(a*)*b", Extended, false).unwrap();
    assert!(!slow.is_match(&"a".repeat(2000)));
    assert!(Regex::new("((a{255}){255}){255}", Extended, false).is_err());
    assert!(Regex::new(&"(".repeat(900), Extended, false).is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z '\"\\\\$(){}|&;<>#=\n`2-]{0,60}") {
        if let Ok(script) = parse(&text) {
            Shell::default().run(&script, &mut Echo::default(), "");
        }
    }

    #[test]
    fn any_pattern_is_read_or_refused(pattern in "[ab.*+?^$\\[\\](){}|,0-9\\\\-]{0,20}", text in "[ab0]{0,20}") {
        for syntax in [Syntax::Basic, Syntax::Extended] {
            if let Ok(regex) = Regex::new(&pattern, syntax, true) {
                let _ = regex.is_match(&text);
            }
        }
    }
}
