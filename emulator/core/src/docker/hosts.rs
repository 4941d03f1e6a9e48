//! `/etc/hosts` of a container.
//!
//! Models `libnetwork/etchosts`: the fixed head, `--add-host` in the order given, legacy links, then a
//! line for each address of the container, in the order of connecting. Tab-separated. A line belongs to
//! an endpoint, so that a disconnect takes exactly its own away.

use core::fmt::Write as _;
use core::net::IpAddr;
use std::borrow::Cow;

use super::error::{Error, Kind};
use super::spec::Engine;

/// One line: an address and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    /// The endpoint whose address it is; `None` for `--add-host`.
    owner: Option<u32>,
    /// A legacy link, which is replaced when the other side moves.
    link: bool,
    body: Body,
}

/// What stands in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    /// This, with its end.
    Written(Box<str>),
    /// An address of the container and its names.
    Own(IpAddr, Box<str>),
}

impl Body {
    fn write(&self, out: &mut String) {
        match self {
            Self::Written(text) => out.push_str(text),
            Self::Own(address, names) => {
                // Writing into a String cannot fail.
                let _ = writeln!(out, "{address}\t{names}");
            }
        }
    }

    fn names(&self) -> &str {
        match self {
            Self::Written(text) => text.trim_end().split_once('\t').map_or("", |(_, n)| n),
            Self::Own(_, names) => names.trim_end(),
        }
    }
}

/// The file of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsFile {
    head: Cow<'static, str>,
    lines: Vec<Line>,
}

/// A name for an address, as `--add-host` gives it; the address may be `host-gateway`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// The address as it was written, without brackets.
    pub address: String,
}

/// Reads `name:address`, `name=address`, `name=[v6]`.
///
/// # Errors
/// `bad format for add-host: "X"`, `invalid IP address in add-host: "X"`.
pub fn parse_extra_host(text: &str) -> Result<ExtraHost, Error> {
    let bad = |message: String| Error::new(Kind::Invalid, message);
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, address)| !name.is_empty() && !address.is_empty())
        .ok_or_else(|| bad(format!("bad format for add-host: {text:?}")))?;
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(bad(format!("invalid IP address in add-host: {address:?}")));
    }
    Ok(ExtraHost {
        name: name.to_owned(),
        address: bare.to_owned(),
    })
}

/// How long most lines are at most, in bytes.
const LINE: usize = 32;

const V4_HEAD: &str = "127.0.0.1\tlocalhost\n";
const HEAD: &str = "127.0.0.1\tlocalhost\n\
::1\tlocalhost ip6-localhost ip6-loopback\n\
fe00::\tip6-localnet\n\
ff00::\tip6-mcastprefix\n\
ff02::1\tip6-allnodes\n\
ff02::2\tip6-allrouters\n";
const HEAD_20_10: &str = "127.0.0.1\tlocalhost\n\
::1\tlocalhost ip6-localhost ip6-loopback\n\
fe00::0\tip6-localnet\n\
ff00::0\tip6-mcastprefix\n\
ff02::1\tip6-allnodes\n\
ff02::2\tip6-allrouters\n";

impl HostsFile {
    /// The file of a new sandbox. `v6` is off where the container has IPv6 switched off altogether.
    #[must_use]
    pub fn new(engine: Engine, v6: bool) -> Self {
        Self::with_head(Cow::Borrowed(match engine {
            Engine::V20_10 => HEAD_20_10,
            Engine::V29 if v6 => HEAD,
            Engine::V29 => V4_HEAD,
        }))
    }

    /// A copy of the host's own file.
    #[must_use]
    pub fn copy_of(text: &str) -> Self {
        Self::with_head(Cow::Owned(text.to_owned()))
    }

    fn with_head(head: Cow<'static, str>) -> Self {
        Self {
            head,
            lines: Vec::new(),
        }
    }

    /// Adds a line of `--add-host`.
    pub fn add_extra(&mut self, address: &str, name: &str) {
        let text = format!("{address}\t{name}\n");
        self.push(None, Body::Written(text.into()));
    }

    /// Adds a line of a legacy link.
    pub fn add_link(&mut self, address: IpAddr, names: &str) {
        let line = Line {
            owner: None,
            link: true,
            body: Body::Written(format!("{address}\t{names}\n").into()),
        };
        // Before the container's own lines, where they would stand had the link been there at start.
        let at = self
            .lines
            .iter()
            .position(|line| line.owner.is_some())
            .unwrap_or(self.lines.len());
        self.lines.insert(at, line);
    }

    /// Takes all lines of legacy links away.
    pub fn clear_links(&mut self) {
        self.lines.retain(|line| !line.link);
    }

    /// Adds the line of an endpoint's address.
    pub fn add_own(&mut self, endpoint: u32, address: IpAddr, names: &str) {
        self.push(Some(endpoint), Body::Own(address, names.into()));
    }

    /// Takes the lines of an endpoint away.
    pub fn remove_own(&mut self, endpoint: u32) {
        self.lines.retain(|line| line.owner != Some(endpoint));
    }

    /// Takes all lines away that give an address just one of these names, whosever they are: how Docker
    /// 20.10 disconnects.
    pub fn remove_named<S: AsRef<str>>(&mut self, names: &[S]) {
        self.lines.retain(|line| {
            let name = line.body.names();
            !names.iter().any(|n| n.as_ref() == name)
        });
    }

    /// Whether an endpoint has a line.
    #[must_use]
    pub fn has_own(&self) -> bool {
        self.lines.iter().any(|line| line.owner.is_some())
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.head.len() + LINE * self.lines.len());
        text.push_str(&self.head);
        for line in &self.lines {
            line.body.write(&mut text);
        }
        text
    }

    fn push(&mut self, owner: Option<u32>, body: Body) {
        let link = false;
        self.lines.reserve_exact(1);
        self.lines.push(Line { owner, link, body });
    }
}

/// What a container is called in its own file: `host.domain host`, or the name alone. A hostname with
/// dots has its domain in itself.
#[must_use]
pub fn own_names(hostname: &str, domainname: &str) -> String {
    if !domainname.is_empty() {
        return format!("{hostname}.{domainname} {hostname}");
    }
    match hostname.split_once('.') {
        Some((short, _)) => format!("{hostname} {short}"),
        None => hostname.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const HEAD: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

    #[test]
    fn a_disconnect_takes_its_own_lines_case_32() {
        let mut file = HostsFile::new(Engine::V29, true);
        file.add_own(1, ip("172.18.0.2"), "c1");
        file.add_own(1, ip("fd00::2"), "c1");
        file.add_own(2, ip("172.19.0.2"), "c1");
        assert_eq!(
            file.text(),
            format!("{HEAD}172.18.0.2\tc1\nfd00::2\tc1\n172.19.0.2\tc1\n")
        );
        file.remove_own(1);
        assert_eq!(file.text(), format!("{HEAD}172.19.0.2\tc1\n"));
        file.remove_own(2);
        assert_eq!(file.text(), HEAD);
    }

    #[test]
    fn heads() {
        let old = HostsFile::new(Engine::V20_10, false);
        assert_eq!(
            old.text(),
            HEAD.replace("fe00::\t", "fe00::0\t")
                .replace("ff00::\t", "ff00::0\t")
        );
        let mut off = HostsFile::new(Engine::V29, false);
        off.add_own(0, ip("172.18.0.2"), "c");
        assert_eq!(
            off.text(),
            "127.0.0.1\tlocalhost\n172.18.0.2\tc\n",
            "case 34"
        );
        assert_eq!(HostsFile::copy_of("x\n").text(), "x\n");
    }

    #[test]
    fn links_stand_before_the_own_line() {
        let mut file = HostsFile::new(Engine::V29, false);
        file.add_extra("10.1.2.3", "one");
        file.add_own(0, ip("172.17.0.3"), "web");
        file.add_link(ip("172.17.0.2"), "db 0123456789ab mydb");
        assert_eq!(
            file.text(),
            "127.0.0.1\tlocalhost\n10.1.2.3\tone\n172.17.0.2\tdb 0123456789ab mydb\n172.17.0.3\tweb\n"
        );
        file.clear_links();
        assert_eq!(
            file.text(),
            "127.0.0.1\tlocalhost\n10.1.2.3\tone\n172.17.0.3\tweb\n"
        );
    }

    #[test]
    fn names() {
        assert_eq!(
            own_names("somehost.example.com", ""),
            "somehost.example.com somehost",
            "case 33"
        );
        assert_eq!(own_names("whost", "ex.lab"), "whost.ex.lab whost");
        assert_eq!(own_names("0123456789ab", ""), "0123456789ab");
    }

    #[test]
    fn extra_hosts() {
        let get = |text| parse_extra_host(text).map(|e| (e.name, e.address));
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(get("h:10.0.0.1"), pair("h", "10.0.0.1"));
        assert_eq!(get("h=10.0.0.1"), pair("h", "10.0.0.1"));
        assert_eq!(get("h:fd00::5"), pair("h", "fd00::5"));
        assert_eq!(get("h=[fd00::5]"), pair("h", "fd00::5"));
        assert_eq!(get("hg:host-gateway"), pair("hg", "host-gateway"));
        assert_eq!(
            get("h").unwrap_err().message,
            "bad format for add-host: \"h\""
        );
        assert_eq!(
            get(":1.2.3.4").unwrap_err().message,
            "bad format for add-host: \":1.2.3.4\""
        );
        assert_eq!(
            get("h:1.2.3").unwrap_err().message,
            "invalid IP address in add-host: \"1.2.3\""
        );
    }
}
