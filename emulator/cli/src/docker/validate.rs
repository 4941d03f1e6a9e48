//! The values that flags take, checked as the client checks them before it asks the engine.
//!
//! Models the validators of docker/cli's `opts` package and of pflag, in their words.

use core::net::IpAddr;

use vethlab::core::docker::spec::{EndpointSpec, Engine};

use crate::format::text::go_quote;

/// Go's `strconv.ParseBool`.
pub fn go_bool(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!(
            "strconv.ParseBool: parsing {}: invalid syntax",
            go_quote(other)
        )),
    }
}

/// Go's `strconv.ParseInt` with base 10.
#[must_use]
pub fn go_int(value: &str) -> Option<i64> {
    value.parse().ok()
}

/// One line of comma-separated values, with double quotes around those that hold commas.
pub fn csv(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    if line.is_empty() {
        return Ok(fields);
    }
    let mut chars = line.chars().peekable();
    loop {
        let mut field = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next() {
                    Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(c) => field.push(c),
                    None => return Err(
                        "parse error on line 1, column 1: extraneous or missing \" in quoted-field"
                            .to_owned(),
                    ),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                if c == '"' {
                    return Err(
                        "parse error on line 1, column 1: bare \" in non-quoted-field".to_owned(),
                    );
                }
                field.push(c);
            }
        }
        fields.push(field);
        match chars.next() {
            Some(',') => {}
            Some(_) => {
                return Err(
                    "parse error on line 1, column 1: extraneous or missing \" in quoted-field"
                        .to_owned(),
                );
            }
            None => return Ok(fields),
        }
    }
}

/// `--ip` of the newer client.
pub fn pflag_ip(value: &str) -> Result<String, String> {
    match value.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(format!("failed to parse IP: {}", go_quote(value))),
    }
}

/// One of several addresses of the newer client.
pub fn pflag_ip_item(value: &str) -> Result<String, String> {
    match value.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(format!(
            "invalid string being converted to IP address: {value}"
        )),
    }
}

/// One of several subnets of the newer client; its host bits are cleared.
pub fn pflag_net_item(value: &str) -> Result<String, String> {
    match value.trim().parse::<ipnet::IpNet>() {
        Ok(net) => Ok(net.trunc().to_string()),
        Err(_) => Err(format!("invalid string being converted to CIDR: {value}")),
    }
}

/// `--filter name=value`: the name in lower case; an empty one says nothing.
pub fn filter(value: &str) -> Result<Option<String>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    match value.split_once('=') {
        Some((name, value)) => Ok(Some(format!(
            "{}={}",
            name.trim().to_lowercase(),
            value.trim()
        ))),
        None => Err("bad format of filter (expected name=value)".to_owned()),
    }
}

/// `--dns`.
pub fn dns_address(value: &str, engine: Engine) -> Result<String, String> {
    match value.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) if engine == Engine::V20_10 => Err(format!("{value} is not an ip address")),
        Err(_) => Err(format!("IP address is not correctly formatted: {value}")),
    }
}

/// `--dns-search`.
pub fn dns_search(value: &str) -> Result<String, String> {
    let value = value.trim_matches(' ');
    if value == "." {
        return Ok(value.to_owned());
    }
    let name = value.trim_end();
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let has_letter = value.chars().any(|c| c.is_ascii_alphabetic());
    if has_letter && name.len() < 255 && name.split('.').all(label) {
        Ok(name.to_owned())
    } else {
        Err(format!("{value} is not a valid domain"))
    }
}

/// `--env`.
pub fn env(value: &str) -> Result<String, String> {
    if value.is_empty() || value.starts_with('=') {
        return Err(format!("invalid environment variable: {value}"));
    }
    Ok(value.to_owned())
}

/// `--add-host`, written with a colon and without brackets, as the engine takes it.
pub fn extra_host(value: &str, engine: Engine) -> Result<String, String> {
    let bad = || Err(format!("bad format for add-host: {}", go_quote(value)));
    let old = engine == Engine::V20_10;
    let pair = if old { None } else { value.split_once('=') };
    let Some((host, address)) = pair.or_else(|| value.split_once(':')) else {
        return bad();
    };
    if host.is_empty() || host.contains(':') {
        return bad();
    }
    if address == "host-gateway" {
        return Ok(format!("{host}:{address}"));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = if old {
        address
    } else {
        bare.unwrap_or(address)
    };
    if address.trim().parse::<IpAddr>().is_err() {
        return Err(format!(
            "invalid IP address in add-host: {}",
            go_quote(address)
        ));
    }
    Ok(format!("{host}:{address}"))
}

/// `--label`.
pub fn label(value: &str) -> Result<String, String> {
    let blank = [' ', '\t'];
    let key = value
        .split('=')
        .next()
        .unwrap_or_default()
        .trim_start_matches(blank);
    if key.is_empty() {
        return Err(format!("invalid label '{value}': empty name"));
    }
    if key.contains(blank) {
        return Err(format!("label '{key}' contains whitespaces"));
    }
    Ok(value.to_owned())
}

/// `--link`.
pub fn link(value: &str) -> Result<String, String> {
    if value.is_empty() {
        return Err("empty string specified for links".to_owned());
    }
    if value.matches(':').count() > 1 {
        return Err(format!("bad format for links: {value}"));
    }
    Ok(value.to_owned())
}

/// `--sysctl`.
pub fn sysctl(value: &str, engine: Engine) -> Result<String, String> {
    const KERNEL: &[&str] = &[
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    if let Some((key, _)) = value.split_once('=')
        && (KERNEL.contains(&key) || key.starts_with("net.") || key.starts_with("fs.mqueue."))
    {
        return Ok(value.to_owned());
    }
    let word = if engine == Engine::V20_10 {
        "whitelisted"
    } else {
        "allowed"
    };
    Err(format!("sysctl '{value}' is not {word}"))
}

/// `--attach` of `run`.
pub fn stream(value: &str) -> Result<String, String> {
    match value.to_lowercase().as_str() {
        stream @ ("stdin" | "stdout" | "stderr") => Ok(stream.to_owned()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// Whether a `--network` is written in the long form: some `word=word` stands in it.
fn is_long(value: &str) -> bool {
    let word = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let chars: Vec<char> = value.chars().collect();
    chars
        .windows(3)
        .any(|three| word(three[0]) && three[1] == '=' && word(three[2]))
}

/// `--network`: only checks it.
pub fn network(value: &str, engine: Engine) -> Result<(), String> {
    attachment(value, engine).map(|_| ())
}

/// `--network`: the network and the options of the endpoint there. The long form
/// (`name=N,alias=A,ip=…`) is read in lower case, as the client does.
pub fn attachment(value: &str, engine: Engine) -> Result<(String, EndpointSpec), String> {
    let mut endpoint = EndpointSpec::default();
    if !is_long(value) {
        return Ok((value.to_owned(), endpoint));
    }
    let old = engine == Engine::V20_10;
    let mut target = String::new();
    for field in csv(value)? {
        let lower = field.to_lowercase();
        let (key, value) = match lower.split_once('=') {
            Some((key, value)) if old || !key.is_empty() => (key.trim(), value.trim()),
            _ => return Err(format!("invalid field {field}")),
        };
        match key {
            "name" => target = value.to_owned(),
            "alias" => endpoint.aliases.push(value.to_owned()),
            "ip" if old => endpoint.ipv4 = value.to_owned(),
            "ip6" if old => endpoint.ipv6 = value.to_owned(),
            "ip" => endpoint.ipv4 = netip(value)?,
            "ip6" => endpoint.ipv6 = netip(value)?,
            "link-local-ip" if !old => endpoint.link_local_ips.push(netip(value)?),
            "mac-address" if !old => endpoint.mac_address = value.to_owned(),
            "driver-opt" => match value.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    endpoint
                        .driver_opts
                        .insert(key.trim().to_owned(), value.trim().to_owned());
                }
                _ => return Err("invalid key value pair format in driver options".to_owned()),
            },
            "gw-priority" if !old => match value.parse() {
                Ok(priority) => endpoint.gw_priority = priority,
                Err(_) => return Err(format!("invalid gw-priority ({value}): invalid syntax")),
            },
            key => return Err(format!("invalid field key {key}")),
        }
    }
    if target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok((target, endpoint))
}

/// Go's `netip.ParseAddr`.
pub fn netip(value: &str) -> Result<String, String> {
    match value.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(format!(
            "ParseAddr({}): unable to parse IP",
            go_quote(value)
        )),
    }
}

/// Go's `net.ParseMAC` for the six-byte forms.
#[must_use]
pub fn is_mac(value: &str) -> bool {
    let hex =
        |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts = |separator: char, count: usize, len: usize| {
        value.split(separator).count() == count && value.split(separator).all(|part| hex(part, len))
    };
    parts(':', 6, 2) || parts('-', 6, 2) || parts('.', 3, 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_forms() {
        let (name, endpoint) = attachment("web", Engine::V29).unwrap();
        assert_eq!((name.as_str(), endpoint), ("web", EndpointSpec::default()));
        let text = "name=Web,alias=A,alias=b,ip=10.0.0.5,mac-address=02:00:00:00:00:01,gw-priority=-3,\"driver-opt=x=y\"";
        let (name, endpoint) = attachment(text, Engine::V29).unwrap();
        assert_eq!(name, "web");
        assert_eq!(endpoint.aliases, ["a", "b"]);
        assert_eq!(endpoint.ipv4, "10.0.0.5");
        assert_eq!(endpoint.gw_priority, -3);
        assert_eq!(endpoint.driver_opts["x"], "y");
        for (text, message) in [
            ("alias=x", "network name/id is not specified"),
            ("name=x,foo=y", "invalid field key foo"),
            ("name=x,alias", "invalid field alias"),
            (
                "name=x,ip=1.2.3",
                "ParseAddr(\"1.2.3\"): unable to parse IP",
            ),
            (
                "name=x,gw-priority=a",
                "invalid gw-priority (a): invalid syntax",
            ),
        ] {
            assert_eq!(
                attachment(text, Engine::V29),
                Err(message.to_owned()),
                "{text}"
            );
        }
        assert_eq!(
            attachment("name=x,gw-priority=1", Engine::V20_10),
            Err("invalid field key gw-priority".to_owned())
        );
    }

    #[test]
    fn hosts() {
        for (text, taken) in [
            ("h:1.2.3.4", "h:1.2.3.4"),
            ("h=1.2.3.4", "h:1.2.3.4"),
            ("h=[::1]", "h:::1"),
            ("h:::1", "h:::1"),
            ("hg:host-gateway", "hg:host-gateway"),
        ] {
            assert_eq!(extra_host(text, Engine::V29).as_deref(), Ok(taken));
        }
        assert_eq!(
            extra_host("h", Engine::V29),
            Err("bad format for add-host: \"h\"".to_owned())
        );
        assert_eq!(
            extra_host("h:nope", Engine::V29),
            Err("invalid IP address in add-host: \"nope\"".to_owned())
        );
    }

    #[test]
    fn other_values() {
        assert_eq!(csv("a,\"b,c\",d").unwrap(), ["a", "b,c", "d"]);
        assert!(csv("a\"b").is_err());
        assert_eq!(
            label("a b=c"),
            Err("label 'a b' contains whitespaces".to_owned())
        );
        assert_eq!(link("a:b:c"), Err("bad format for links: a:b:c".to_owned()));
        assert_eq!(dns_search("ex.lab."), Ok("ex.lab".to_owned()));
        assert!(dns_search("-x").is_err());
        assert!(is_mac("02:42:ac:11:00:02") && !is_mac("02:42") && !is_mac("zz:42:ac:11:00:02"));
        assert_eq!(
            sysctl("a=1", Engine::V29),
            Err("sysctl 'a=1' is not allowed".to_owned())
        );
        assert_eq!(pflag_net_item("10.0.0.7/24").unwrap(), "10.0.0.0/24");
    }
}
