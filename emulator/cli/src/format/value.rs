//! The values that `--format` walks over: what `docker inspect` decodes from the engine's JSON.

use core::cmp::Ordering;

/// An ordered JSON value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; Docker's network answers hold no fractions.
    Number(i64),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Self>),
    /// Names and values in the order in which they are printed.
    Object(Vec<(String, Self)>),
}

impl Value {
    /// An object of the given fields.
    pub fn object<K: Into<String>>(fields: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(fields.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// A list of texts.
    pub fn list<S: Into<String>>(items: impl IntoIterator<Item = S>) -> Self {
        Self::Array(
            items
                .into_iter()
                .map(|item| Self::String(item.into()))
                .collect(),
        )
    }

    /// The field `name` of an object.
    ///
    /// Go programs name some fields otherwise than the JSON does (`ID` for `Id`, `HostIP` for
    /// `HostIp`); templates may use both.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else {
            return None;
        };
        let find = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, v)| v);
        find(name).or_else(|| match name {
            "ID" => find("Id"),
            "HostIP" => find("HostIp"),
            "NetworkID" => find("NetworkId"),
            "AuxAddress" => find("AuxiliaryAddresses"),
            _ => None,
        })
    }

    /// The value at a path of fields.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |value, name| value.field(name))
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The text at a path of fields, empty if there is none.
    #[must_use]
    pub fn text_at(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Self::as_str).unwrap_or_default()
    }

    /// Whether `{{if}}` takes it: not null, false, zero or empty.
    #[must_use]
    pub fn truth(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(yes) => *yes,
            Self::Number(n) => *n != 0,
            Self::String(text) => !text.is_empty(),
            Self::Array(items) => !items.is_empty(),
            Self::Object(fields) => !fields.is_empty(),
        }
    }

    /// The order of two numbers or two texts; `None` if they cannot be compared.
    #[must_use]
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Some(a.cmp(b)),
            (Self::String(a), Self::String(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// The name of the Go type that the value has when JSON is decoded into an empty interface.
    #[must_use]
    pub const fn go_type(&self) -> &'static str {
        match self {
            Self::Null => "<nil>",
            Self::Bool(_) => "bool",
            Self::Number(_) => "json.Number",
            Self::String(_) => "string",
            Self::Array(_) => "[]interface {}",
            Self::Object(_) => "map[string]interface {}",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}
