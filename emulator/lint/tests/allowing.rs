//! What is allowed, where, and what of it allows nothing.

use super::{lines, loaded, look};
use crate::lint::finding::Level;
use crate::lint::format::{github, text};
use crate::lint::loaded::Loaded;
use crate::lint::run::{Options, lint};

const WEB: &str = "services:\n  web:\n    image: nginx\n";

#[test]
fn a_comment_beside_the_line_or_above_it() {
    for ports in [
        "    ports: ['80:80'] # vethlab: allow publish-all it is meant\n",
        "    # vethlab: allow publish-all it is meant\n    # by us\n    ports: ['80:80']\n",
        "    ports:\n      # vethlab: allow links,publish-all\n      - 80:80\n",
    ] {
        let report = look(&format!("{WEB}{ports}"));
        let others: Vec<String> = lines(&report)
            .into_iter()
            .filter(|line| !line.contains("unused-allow"))
            .collect();
        assert_eq!(others, Vec::<String>::new(), "{ports}");
        assert_eq!(report.allowed, 1, "{ports}");
    }
    // On another line it allows nothing, and says so.
    let report = look(&format!(
        "# vethlab: allow publish-all\n{WEB}    ports: ['80:80']\n"
    ));
    assert_eq!(
        lines(&report),
        ["1 unused-allow warning", "5 publish-all note"]
    );
}

#[test]
fn x_vethlab_allows_for_a_service_and_for_a_project() {
    let port = "    ports: ['80:80']\n";
    let service = format!("{WEB}{port}    x-vethlab: {{allow: [publish-all, links]}}\n");
    let report = look(&service);
    assert_eq!(lines(&report), ["5 unused-allow warning"]);
    assert!(report.findings[0].message.starts_with("links is allowed"));
    let other = format!("{service}  admin:\n    image: nginx\n    ports: ['81:80']\n");
    assert_eq!(lines(&look(&other))[1], "8 publish-all note");
    let all = format!("x-vethlab: {{allow: [publish-all]}}\n{other}");
    assert_eq!(lines(&look(&all)), ["6 unused-allow warning"]);
}

#[test]
fn a_name_that_is_no_rule_is_told_with_a_hint() {
    let report = look(&format!(
        "{WEB}    hostname: a # vethlab: allow publish-al\n"
    ));
    assert_eq!(
        report.findings[0].message,
        "\"publish-al\" is no rule of vethlab"
    );
    let fix = report.findings[0].fix.as_deref();
    assert_eq!(fix, Some("did you mean publish-all?"));
}

#[test]
fn an_allow_of_a_rule_that_is_off_is_not_told() {
    let text = format!("{WEB}    hostname: a # vethlab: allow links\n");
    let without = Options {
        without: vec!["links".to_owned()],
        ..Options::default()
    };
    assert_eq!(lint(&[loaded(&text)], &without).findings, []);
}

#[test]
fn a_file_of_two_projects_is_read_once() {
    let text = format!("{WEB}    ports: ['80:80'] # vethlab: allow publish-all\n");
    let mut quiet = loaded(&text);
    // The same file, but this project leaves the service out.
    quiet.project.services.clear();
    quiet.project.networks.clear();
    let report = lint(&[quiet, loaded(&text)], &Options::default());
    assert_eq!((report.findings, report.allowed), (vec![], 1));
}

#[test]
fn levels_and_choices() {
    let text = format!("{WEB}    ports: ['80:80', '5432:5432']\n    links: []\n");
    let project = [loaded(&text)];
    let with = |change: fn(&mut Options)| {
        let mut options = Options::default();
        change(&mut options);
        lines(&lint(&project, &options))
    };
    let all = with(|_| {});
    assert_eq!(all, ["4 publish-all note", "4 publish-data-store warning"]);
    let only = with(|options| options.only = vec!["publish-all".to_owned()]);
    assert_eq!(only, ["4 publish-all note"]);
    let least = with(|options| options.least = Some(Level::Warning));
    assert_eq!(least, ["4 publish-data-store warning"]);
    let raised = with(|options| {
        options
            .levels
            .insert("publish-all".to_owned(), Level::Error);
    });
    assert_eq!(raised[0], "4 publish-all error");
}

#[test]
fn fingerprints_outlive_lines_above() {
    let text = format!("{WEB}    ports: ['80:80', '81:81']\n");
    let prints = |text: &str| -> Vec<String> {
        let findings = look(text).findings.into_iter();
        findings.map(|finding| finding.fingerprint).collect()
    };
    let before = prints(&text);
    assert_eq!(before.len(), 2);
    assert_eq!(before[1], format!("{}-1", before[0]));
    assert_eq!(prints(&format!("# more\n\n{text}")), before);
    assert_ne!(prints(&text.replace("81:81", "82:81")), before);
}

#[test]
fn as_text_with_the_line_underlined() {
    let project = Loaded::from_texts(&[
        ("a.yaml", &format!("{WEB}    ports: ['8080:80']\n")),
        (
            "b.yaml",
            "services:\n  web:\n    ports:\n      - '127.0.0.1:8080:80'\n",
        ),
    ]);
    let options = Options {
        only: vec!["publish-duplicate".to_owned()],
        ..Options::default()
    };
    let report = lint(&[project.unwrap()], &options);
    let wanted = "\
error[publish-duplicate]: port 8080/tcp of the host is published twice by web
 --> b.yaml:4:9
  |
4 |       - '127.0.0.1:8080:80'
  |         ^^^^^^^^^^^^^^^^^^^
  = first published here:
 --> a.yaml:4:13
  |
4 |     ports: ['8080:80']
  |             ^^^^^^^^^
  = fix: a later file adds to `ports`; `ports: !override` in it takes the place of what is there

1 error
";
    assert_eq!(text(&report), wanted);
    let command = github(&report);
    assert!(
        command.starts_with(
            "::error file=b.yaml,line=4,col=9,endColumn=28,title=publish-duplicate::port 8080/tcp"
        ),
        "{command}"
    );
    assert!(command.contains("%0Afix: "), "{command}");
    assert_eq!(command.lines().count(), 1);
}
