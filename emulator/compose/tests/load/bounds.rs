//! Bounds, and that the same text gives the same project.

use super::rig::*;

#[test]
fn bounds() {
    use emulator_compose::{MAX_CONTAINERS, MAX_FILE_BYTES};
    let too_large = |text: &str| {
        let seen = refused(text);
        assert_eq!(seen.0, ErrorKind::TooLarge, "{}", seen.3);
    };
    too_large(&" ".repeat(MAX_FILE_BYTES + 1));
    too_large(&format!("x-a: {}", "[".repeat(100_000)));
    too_large(&format!("x-a: [{}]", "1,".repeat(300_000)));
    too_large(&format!(
        "services: {{a: {{image: i, scale: {}}}}}",
        MAX_CONTAINERS + 1
    ));
    too_large("services: {a: {image: i, ports: ['1-65535', '1-65535/udp', '1-9:1-9']}}");
    let chain: String = (0..500)
        .map(|i| format!("  s{i}: {{extends: s{}}}\n", i + 1))
        .collect();
    too_large(&format!("services:\n{chain}  s500: {{image: i}}\n"));
    too_large(&"services: {a: {image: i}}\n---\n".repeat(1000));
    let keys: String = (0..2000).map(|i| format!("    k{i}: 1\n")).collect();
    let errors = load_str(&format!("services:\n  a:\n{keys}")).unwrap_err();
    assert_eq!(errors.0.len(), emulator_compose::MAX_ERRORS);
    let nest = "${A:-".repeat(1000);
    too_large(&format!(
        "services: {{a: {{image: '{nest}{}'}}}}",
        "}".repeat(1000)
    ));
}

#[test]
fn a_long_chain_of_dependencies_is_no_trouble() {
    let chain: String = (0..5000)
        .map(|i| format!("  s{i}: {{image: i, depends_on: [s{}]}}\n", i + 1))
        .collect();
    let project = project(&format!("services:\n{chain}  s5000: {{image: i}}\n"));
    assert_eq!(project.start_order()[0].0.name, "s5000");
}

#[test]
fn the_same_text_gives_the_same_project() {
    let text = "services: {b: {image: i}, a: {image: '$X', links: [b]}}\n";
    assert_eq!(load_str(text), load_str(text));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// Pieces that compose files are made of, to get further in than arbitrary text does.
    const PIECES: &[&str] = &[
        "services:\n",
        "  a:\n",
        "  b:\n",
        "    image: i\n",
        "    ports:\n",
        "      - ",
        "80:80",
        "${X",
        "}",
        ":-",
        "$",
        "networks:\n",
        "  n:\n",
        "    networks: [n]\n",
        "&x ",
        "*x",
        "<<: ",
        "    extends: a\n",
        "    depends_on: [a]\n",
        "include: [compose.yaml]\n",
        "!reset ",
        "!override ",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "    ",
        "- ",
        ": ",
        "'",
        "\"",
        "|\n",
        "#",
        "---\n",
        "\u{0}",
        "\u{feff}",
        "é",
        "\t",
        "null",
        "1-65535",
        "::1",
        "    env_file: compose.yaml\n",
        "    network_mode: service:a\n",
        "    ipam: {config: [{subnet: 10.0.0.0/8}]}\n",
        "%",
        "? ",
    ];

    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(PIECES).prop_map(str::to_owned);
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    /// Nothing panics; an error has a place inside the text and can be shown.
    fn survives(text: &str) {
        match load_str(text) {
            Ok(project) => {
                let _ = project.start_order();
            }
            Err(errors) => {
                assert!(!errors.0.is_empty());
                assert!(!errors.to_string().is_empty());
                let lines = text.split('\n').count();
                for error in &errors.0 {
                    assert!(error.line as usize <= lines + 1, "{error:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            survives(&text);
        }

        #[test]
        fn arbitrary_pieces_never_panic(text in pieces()) {
            survives(&text);
        }

        #[test]
        fn arbitrary_values_never_panic(
            key in "(ports|expose|networks|links|extra_hosts|dns|network_mode|scale|depends_on|env_file|sysctls|extends|healthcheck)",
            value in "[ -~]{0,40}",
        ) {
            survives(&format!("services:\n  a:\n    image: i\n    {key}: {value}\n"));
            survives(&format!("services:\n  a:\n    image: i\n    {key}: ['{value}']\n"));
        }
    }
}
