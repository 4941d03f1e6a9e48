//! `docker ps` and `docker network ls`: tables, ids only, or a template a line.
//!
//! Models the client's formatter: the columns and their heads, `table {{…}}`, `raw`, `json`, and how
//! ports are put together.

use core::net::IpAddr;

use vethlab::core::docker::spec::Engine;

use super::daemon::{Daemon, Filters, PortRow, State, Summary};
use super::exec::{daemon_error, status};
use crate::format::text::{ellipsis, go_quote, human_duration, natural, short_id};
use crate::format::{Data, Error, Template, Value, table};
use crate::output::{Output, Stream};

/// A line: its columns in the order of their names, and its labels.
struct Row {
    columns: Value,
    labels: Value,
}

/// What a list prints.
struct Format<'a> {
    go_type: &'static str,
    /// The heads of the columns, in the order of their names.
    heads: &'static [(&'static str, &'static str)],
    template: &'a str,
}

const NETWORK_TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";
const NETWORK_RAW: &str =
    "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n";
const NETWORK_HEADS: &[(&str, &str)] = &[
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ID", "NETWORK ID"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
];

/// `docker network ls`.
pub(super) fn networks(
    daemon: &mut dyn Daemon,
    filters: &Filters,
    format: &str,
    quiet: bool,
    no_trunc: bool,
) -> Output {
    let engine = daemon.engine();
    let mut networks = match daemon.network_list(filters) {
        Ok(networks) => networks,
        Err(error) => return Output::err(daemon_error(&error) + "\n", 1),
    };
    networks.sort_by(|a, b| natural(a.text_at(&["Name"]), b.text_at(&["Name"])));
    let template = match format {
        "" | "table" if quiet => "{{.ID}}",
        "" | "table" => NETWORK_TABLE,
        "raw" if quiet => "network_id: {{.ID}}",
        "raw" => NETWORK_RAW,
        other => other,
    };
    let format = Format {
        go_type: "*network.networkContext",
        heads: NETWORK_HEADS,
        template,
    };
    let rows: Vec<Row> = networks
        .iter()
        .map(|network| network_row(network, no_trunc, engine))
        .collect();
    print(&format, &rows, engine)
}

fn network_row(network: &Value, no_trunc: bool, engine: Engine) -> Row {
    let text = |name: &str| Value::from(network.text_at(&[name]));
    let yes = |name: &str| Value::from(network.at(&[name]).is_some_and(Value::truth).to_string());
    let id = network.text_at(&["Id"]);
    let labels = network.at(&["Labels"]).cloned().unwrap_or_default();
    let mut columns = vec![
        ("CreatedAt", text("Created")),
        ("Driver", text("Driver")),
        ("ID", Value::from(if no_trunc { id } else { short_id(id) })),
    ];
    if engine != Engine::V20_10 {
        columns.push(("IPv4", yes("EnableIPv4")));
    }
    columns.extend([
        ("IPv6", yes("EnableIPv6")),
        ("Internal", yes("Internal")),
        ("Labels", Value::from(label_list(&labels))),
        ("Name", text("Name")),
        ("Scope", text("Scope")),
    ]);
    Row {
        columns: Value::object(columns),
        labels,
    }
}

fn label_list(labels: &Value) -> String {
    let Value::Object(fields) = labels else {
        return String::new();
    };
    let mut labels: Vec<String> = fields
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    labels.sort();
    labels.join(",")
}

const CONTAINER_TABLE: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const CONTAINER_RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\n\
    created_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\n\
    names: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n";
const CONTAINER_HEADS: &[(&str, &str)] = &[
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];

/// What `docker ps` was asked for.
pub(super) struct List<'a> {
    pub(super) all: bool,
    pub(super) format: &'a str,
    pub(super) quiet: bool,
    pub(super) no_trunc: bool,
    pub(super) last: Option<usize>,
}

/// `docker ps`.
pub(super) fn containers(daemon: &mut dyn Daemon, filters: &Filters, list: &List<'_>) -> Output {
    let engine = daemon.engine();
    let mut containers = match daemon.list(list.all, filters) {
        Ok(containers) => containers,
        Err(error) => return Output::err(daemon_error(&error) + "\n", 1),
    };
    containers.truncate(list.last.unwrap_or(usize::MAX));
    let mut output = Output::default();
    if list.quiet && !list.format.is_empty() && engine != Engine::V20_10 {
        let warning =
            "WARNING: Ignoring custom format, because both --format and --quiet are set.\n";
        output.push(Stream::Err, warning);
    }
    let template = match list.format {
        "raw" if list.quiet => "container_id: {{.ID}}",
        _ if list.quiet => "{{.ID}}",
        "" | "table" => CONTAINER_TABLE,
        "raw" => CONTAINER_RAW,
        other => other,
    };
    let format = Format {
        go_type: "*formatter.ContainerContext",
        heads: CONTAINER_HEADS,
        template,
    };
    let rows: Vec<Row> = containers
        .iter()
        .map(|c| container_row(c, list.no_trunc, engine))
        .collect();
    output.append(print(&format, &rows, engine));
    output
}

fn container_row(container: &Summary, no_trunc: bool, engine: Engine) -> Row {
    let command = match no_trunc {
        true => container.command.clone(),
        false => ellipsis(&container.command, 20),
    };
    let id = if no_trunc {
        &container.id
    } else {
        short_id(&container.id)
    };
    let state = match container.state {
        State::Created => "created",
        State::Exited(_) => "exited",
        State::Paused => "paused",
        State::Running => "running",
    };
    let labels = container
        .labels
        .iter()
        .map(|(k, v)| (k.clone(), Value::from(v.as_str())));
    let labels = Value::object(labels);
    let columns = [
        ("Command", go_quote(&command)),
        ("CreatedAt", container.created_at.clone()),
        ("ID", id.to_owned()),
        ("Image", container.image.clone()),
        ("Labels", label_list(&labels)),
        ("LocalVolumes", "0".to_owned()),
        ("Mounts", String::new()),
        ("Names", container.name.clone()),
        ("Networks", container.networks.join(",")),
        ("Ports", ports(&container.ports, engine)),
        (
            "RunningFor",
            format!("{} ago", human_duration(container.age)),
        ),
        ("Size", "0B".to_owned()),
        ("State", state.to_owned()),
        ("Status", status(container.state, container.since)),
    ];
    Row {
        columns: Value::object(columns.map(|(name, text)| (name, Value::from(text)))),
        labels,
    }
}

fn print(format: &Format<'_>, rows: &[Row], engine: Engine) -> Output {
    match render(format, rows, engine) {
        Ok(text) => Output::out(text),
        Err(error) => Output::err(format!("template parsing error: {error}\n"), 1),
    }
}

fn render(format: &Format<'_>, rows: &[Row], engine: Engine) -> Result<String, Error> {
    let body = format.template.strip_prefix("table");
    let source = body.unwrap_or(format.template).trim_matches(' ');
    let source = source.replace("\\t", "\t").replace("\\n", "\n");
    let source = match source.as_str() {
        "json" if engine != Engine::V20_10 => "{{json .}}",
        other => other,
    };
    let template = Template::parse(source)?;
    let mut lines = String::new();
    for row in rows {
        let data = Data::Row {
            go_type: format.go_type,
            columns: &row.columns,
            labels: &row.labels,
        };
        lines.push_str(&template.execute(data)?);
        lines.push('\n');
    }
    if body.is_none() {
        return Ok(lines);
    }
    let heads = Value::object(
        format
            .heads
            .iter()
            .map(|(name, head)| (*name, Value::from(*head))),
    );
    let head = template.execute(Data::Header(&heads)).unwrap_or_default();
    Ok(table::align(&format!("{head}\n{lines}")))
}

/// Ports as `docker ps` shows them: neighbours that are published on their own number are put together.
pub(super) fn ports(rows: &[PortRow], engine: Engine) -> String {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| {
        // Unpublished first, then IPv4, then IPv6.
        let host = row.host.map(|(ip, port)| (ip.is_ipv6(), ip, port));
        (row.port.number, host, row.port.proto)
    });
    let mut done: Vec<String> = Vec::new();
    let mut mapped: Vec<String> = Vec::new();
    let mut groups: Vec<(Option<IpAddr>, PortRow, u16)> = Vec::new();
    for row in rows {
        if let Some((ip, port)) = row.host
            && port != row.port.number
        {
            mapped.push(format!(
                "{}->{}",
                join(ip, &port.to_string(), engine),
                row.port
            ));
            continue;
        }
        let ip = row.host.map(|(ip, _)| ip);
        let same =
            |g: &&mut (Option<IpAddr>, PortRow, u16)| g.0 == ip && g.1.port.proto == row.port.proto;
        let last = row.port.number;
        match groups.iter_mut().find(same) {
            Some(group) if group.2.checked_add(1) == Some(last) => group.2 = last,
            Some(group) => {
                done.push(show(&*group, engine));
                *group = (ip, row, last);
            }
            None => groups.push((ip, row, last)),
        }
    }
    done.extend(groups.iter().map(|group| show(group, engine)));
    done.extend(mapped);
    done.join(", ")
}

fn show((ip, first, last): &(Option<IpAddr>, PortRow, u16), engine: Engine) -> String {
    let mut range = first.port.number.to_string();
    if *last != first.port.number {
        range = format!("{range}-{last}");
    }
    if let Some(ip) = ip {
        range = format!("{}->{range}", join(*ip, &range, engine));
    }
    format!("{range}/{}", first.port.proto)
}

/// Address and port; the older client puts no brackets around IPv6.
pub(super) fn join(ip: IpAddr, port: &str, engine: Engine) -> String {
    match ip {
        IpAddr::V6(ip) if engine != Engine::V20_10 => format!("[{ip}]:{port}"),
        ip => format!("{ip}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use vethlab::core::docker::spec::{Port, Proto};

    use super::*;

    #[test]
    fn ports_of_ps() {
        let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let row = |host: Option<(IpAddr, u16)>, number, proto| PortRow {
            host,
            port: Port { number, proto },
        };
        let tcp = |host, number| row(host, number, Proto::Tcp);
        let published = [tcp(Some((v4, 8080)), 80), tcp(Some((v6, 8080)), 80)];
        assert_eq!(
            ports(&published, Engine::V29),
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
        );
        assert_eq!(
            ports(&published, Engine::V20_10),
            "0.0.0.0:8080->80/tcp, :::8080->80/tcp"
        );
        let exposed = [
            tcp(None, 81),
            tcp(None, 80),
            tcp(None, 90),
            row(None, 80, Proto::Udp),
        ];
        assert_eq!(ports(&exposed, Engine::V29), "80-81/tcp, 90/tcp, 80/udp");
        let own = [
            tcp(Some((v4, 80)), 80),
            tcp(Some((v4, 81)), 81),
            tcp(Some((v4, 8090)), 90),
        ];
        assert_eq!(
            ports(&own, Engine::V29),
            "0.0.0.0:80-81->80-81/tcp, 0.0.0.0:8090->90/tcp"
        );
    }
}
