//! The rules, each with a switch: a test turns one off and has to notice.

/// A rule of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Bridges are isolated from each other.
    Isolation,
    /// `enable_icc=false` keeps the members of a bridge apart.
    Icc,
    /// A link opens exposed ports where that is so.
    Links,
    /// An internal network has no way in or out.
    Internal,
    /// What leaves a bridge gets the host's address.
    Masquerade,
    /// Published ports are translated to the container.
    Translation,
    /// docker-proxy answers where nothing translates, with the bridge's address.
    Proxy,
    /// A port is published at the address that was given, nowhere else.
    Binding,
    /// A socket takes what is sent to the address that it is bound to, nothing else.
    Listening,
    /// Nothing enters a bridge from outside but what is published.
    Entry,
    /// From 28.0 on a container's own address takes nothing from outside its bridge.
    DirectAccess,
    /// Which network a container's default route leads to.
    Gateway,
    /// Names are known on the networks that the asker is on.
    NameScope,
    /// The first network that knows a name answers for it.
    FirstNetwork,
    /// The default bridge has no names.
    DefaultBridgeNames,
    /// What `/etc/hosts` lists is looked at before resolvers.
    HostsFile,
    /// Joined containers share one namespace.
    Joining,
    /// Without `ip6tables`, IPv6 is neither filtered nor translated.
    Ip6tables,
}

impl Rule {
    /// Every rule.
    pub const ALL: &[Self] = &[
        Self::Isolation,
        Self::Icc,
        Self::Links,
        Self::Internal,
        Self::Masquerade,
        Self::Translation,
        Self::Proxy,
        Self::Binding,
        Self::Listening,
        Self::Entry,
        Self::DirectAccess,
        Self::Gateway,
        Self::NameScope,
        Self::FirstNetwork,
        Self::DefaultBridgeNames,
        Self::HostsFile,
        Self::Joining,
        Self::Ip6tables,
    ];
}

/// Which rules count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    off: Option<Rule>,
}

impl Rules {
    /// All of them: what Docker does.
    pub const ALL: Self = Self { off: None };

    /// All but one, to see who notices.
    #[must_use]
    pub const fn without(rule: Rule) -> Self {
        Self { off: Some(rule) }
    }

    pub(crate) fn has(self, rule: Rule) -> bool {
        self.off != Some(rule)
    }
}
