use super::*;

fn network() -> Value {
    Value::object([
        ("Name", Value::from("web")),
        ("Id", "0123456789abcdef".into()),
        ("Internal", false.into()),
        (
            "IPAM",
            Value::object([
                ("Driver", Value::from("default")),
                ("Options", Value::Null),
                (
                    "Config",
                    Value::Array(vec![Value::object([
                        ("Subnet", Value::from("172.18.0.0/16")),
                        ("Gateway", "172.18.0.1".into()),
                    ])]),
                ),
            ]),
        ),
        (
            "Containers",
            Value::object([
                (
                    "b2",
                    Value::object([
                        ("Name", Value::from("w2")),
                        ("IPv4Address", "172.18.0.3/16".into()),
                    ]),
                ),
                (
                    "a1",
                    Value::object([
                        ("Name", Value::from("w1")),
                        ("IPv4Address", "172.18.0.2/16".into()),
                    ]),
                ),
            ]),
        ),
        ("Labels", Value::object([("tier", Value::from("back"))])),
        ("Nil", Value::Null),
        ("Aliases", Value::list(["www", "web"])),
    ])
}

fn run(template: &str) -> Result<String, String> {
    let value = network();
    Template::parse(template)
        .and_then(|t| t.execute(Data::Inspected(&value)))
        .map_err(|e| e.0)
}

#[test]
fn what_users_write() {
    for (template, expected) in [
        ("{{.Name}} {{.Internal}}", "web false"),
        ("{{ .IPAM.Driver }}", "default"),
        (
            "{{json .IPAM.Config}}",
            r#"[{"Subnet":"172.18.0.0/16","Gateway":"172.18.0.1"}]"#,
        ),
        ("{{.Name | json}}", r#""web""#),
        ("{{.IPAM.Config}}", "[{172.18.0.0/16  172.18.0.1 map[]}]"),
        (
            "{{range .Containers}}{{.Name}} {{.IPv4Address}};{{end}}",
            "w1 172.18.0.2/16;w2 172.18.0.3/16;",
        ),
        (
            "{{range $id, $c := .Containers}}{{$id}}={{$c.Name}}{{println}}{{end}}",
            "a1=w1\nb2=w2\n",
        ),
        (
            "{{range $i, $a := .Aliases}}{{if $i}},{{end}}{{$a}}{{end}}",
            "www,web",
        ),
        ("{{range .Nil}}x{{else}}none{{end}}", "none"),
        (
            "{{with index .IPAM.Config 0}}{{.Gateway}}{{end}}",
            "172.18.0.1",
        ),
        ("{{(index .IPAM.Config 0).Subnet}}", "172.18.0.0/16"),
        ("{{index .Labels \"tier\"}}", "back"),
        (
            "{{index .Labels \"x\"}}{{index .Containers \"x\"}}",
            "<no value>",
        ),
        ("{{.Labels.tier}} {{.Labels.nosuch}}", "back <no value>"),
        ("{{.ID}}", "0123456789abcdef"),
        ("{{slice .Id 0 4}} {{truncate .Id 6}}", "0123 012345"),
        ("{{len .Containers}} {{len .Aliases}}", "2 2"),
        ("{{join .Aliases \", \"}}", "www, web"),
        (
            "{{upper .Name}} {{lower \"ABC\"}} {{title \"a b\"}}",
            "WEB abc A B",
        ),
        ("{{if eq .Name \"web\"}}yes{{else}}no{{end}}", "yes"),
        ("{{if .Internal}}a{{else if .Name}}b{{else}}c{{end}}", "b"),
        ("{{if and .Name (not .Internal)}}ok{{end}}", "ok"),
        ("{{or .Nil .Name}}", "web"),
        ("{{printf \"%-6s|%d\" .Name (len .Name)}}", "web   |3"),
        ("{{split \"a:b\" \":\"}}", "[a b]"),
        ("{{pad .Name 1 2}}|", " web  |"),
        ("a {{- .Name -}} b", "awebb"),
        ("a {{- /* note */ -}} b", "ab"),
        ("{{/* note */}}x", "x"),
        ("{{$x := .Name}}{{$x}}{{$x = \"y\"}}{{$x}}", "weby"),
        (
            "{{range .Aliases}}{{$.Name}}/{{.}} {{end}}",
            "web/www web/web ",
        ),
        (
            "{{range .Aliases}}{{if eq . \"web\"}}{{break}}{{end}}{{.}}{{end}}",
            "www",
        ),
        (
            "{{`raw`}}{{\"q\\t\"}}{{'a'}}{{12}}{{true}}",
            "rawq\t9712true",
        ),
        ("{{print 1 2 \"a\" 3}}", "1 2a3"),
        ("{{lt 1 2}}{{ge \"b\" \"a\"}}{{ne 1 2}}", "truetruetrue"),
        ("", ""),
    ] {
        assert_eq!(run(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn errors_in_gos_words() {
    for (template, expected) in [
        ("{{.Name", "template: :1: unclosed action"),
        (
            "{{nosuch .Name}}",
            "template: :1: function \"nosuch\" not defined",
        ),
        ("{{if .Name}}", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{}}", "template: :1: missing value for command"),
        ("a\n{{$x}}", "template: :2: undefined variable \"$x\""),
        ("{{(.Name}}", "template: :1: unclosed left paren"),
        ("{{\"a}}", "template: :1: unterminated quoted string"),
        (
            "{{.NoSuch}}",
            "template: :1:2: executing \"\" at <.NoSuch>: map has no entry for key \"NoSuch\"",
        ),
        (
            "{{.IPAM.NoSuch}}",
            "template: :1:7: executing \"\" at <.IPAM.NoSuch>: map has no entry for key \"NoSuch\"",
        ),
        (
            "{{.Nil.X}}",
            "template: :1:6: executing \"\" at <.Nil.X>: nil pointer evaluating interface {}.X",
        ),
        (
            "{{.Name.X}}",
            "template: :1:7: executing \"\" at <.Name.X>: can't evaluate field X in type interface {}",
        ),
        (
            "{{(index (index .Containers \"x\") 0).Name}}",
            "template: :1:3: executing \"\" at <index (index .Containers \"x\") 0>: \
             error calling index: index of untyped nil",
        ),
        (
            "\n{{index .Aliases 7}}",
            "template: :2:2: executing \"\" at <index .Aliases 7>: error calling index: index out of range: 7",
        ),
        (
            "{{range .Name}}{{end}}",
            "template: :1:8: executing \"\" at <.Name>: range can't iterate over web",
        ),
    ] {
        assert_eq!(run(template), Err(expected.to_owned()), "{template}");
    }
}

#[test]
fn rows_and_heads() {
    let columns = Value::object([("ID", Value::from("0123")), ("Name", "web".into())]);
    let labels = Value::object([("tier", Value::from("back"))]);
    let row = Data::Row {
        go_type: "*network.networkContext",
        columns: &columns,
        labels: &labels,
    };
    let run = |template: &str, data| Template::parse(template).and_then(|t| t.execute(data));
    assert_eq!(
        run("{{.ID}} {{.Label \"tier\"}}|{{.Label \"x\"}}", row).unwrap(),
        "0123 back|"
    );
    assert_eq!(
        run("{{.Foo}}", row).unwrap_err().0,
        "template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *network.networkContext"
    );
    let heads = Value::object([("ID", Value::from("NETWORK ID"))]);
    let head = Data::Header(&heads);
    assert_eq!(
        run("{{lower .ID}}\t{{json .ID}}", head).unwrap(),
        "NETWORK ID\tNETWORK ID"
    );
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = "{{if .Name}}".repeat(500);
    assert!(run(&deep).is_err());
    let parens = format!("{{{{{}1{}}}}}", "(".repeat(500), ")".repeat(500));
    assert!(run(&parens).is_err());
    assert!(run(&"x".repeat(MAX_TEMPLATE + 1)).is_err());
    assert!(run("{{range 4000000}}{{range 4000000}}x{{end}}{{end}}").is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\{\\{|\\}\\}|[ .$|()\"`,=:a-z0-9-]|range|end|if|else|index){0,40}") {
        if let Ok(template) = Template::parse(&text) {
            let _ = template.execute(Data::Inspected(&network()));
        }
    }
}
