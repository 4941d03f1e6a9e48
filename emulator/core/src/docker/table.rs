//! Things with a number, a name and an id, found as Docker finds them: by full id, by name, by a
//! prefix of the id that fits only one.

use core::ops::Bound;
use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Why nothing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nothing fits.
    None,
    /// This many ids start so.
    Ambiguous(usize),
}

/// What a table asks of its things.
pub(super) trait Entry {
    /// The 64-digit id, which the table shares.
    fn id(&self) -> &Arc<str>;
    /// The name.
    fn name(&self) -> &str;
}

/// Things in the order in which they were made.
#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    /// By number; those that are gone or lifted leave a gap.
    list: Vec<Option<Box<T>>>,
    names: HashMap<Box<str>, u32, FixedState>,
    /// In order, for prefixes.
    ids: BTreeMap<Arc<str>, u32>,
    /// Bytes of an id; all have the same.
    id_len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            names: HashMap::default(),
            ids: BTreeMap::new(),
            id_len: 0,
        }
    }
}

impl<T: Entry> Table<T> {
    /// The number that the next thing gets.
    #[must_use]
    pub(super) const fn next_key(&self) -> u32 {
        self.list.len() as u32
    }

    /// Adds a thing under [`Self::next_key`].
    pub(super) fn insert(&mut self, thing: T) -> u32 {
        let key = self.next_key();
        self.names.insert(thing.name().into(), key);
        self.id_len = thing.id().len();
        self.ids.insert(Arc::clone(thing.id()), key);
        self.list.push(Some(Box::new(thing)));
        key
    }

    /// Takes a thing out for good.
    pub(super) fn remove(&mut self, key: u32) -> Option<Box<T>> {
        let thing = self.lift(key)?;
        self.names.remove(thing.name());
        self.ids.remove(thing.id());
        Some(thing)
    }

    /// Takes a thing out for the time of a change; it can still be found, but not read.
    pub(super) fn lift(&mut self, key: u32) -> Option<Box<T>> {
        self.list.get_mut(key as usize)?.take()
    }

    /// Puts back what [`Self::lift`] took.
    pub(super) fn settle(&mut self, key: u32, thing: Box<T>) {
        if let Some(place) = self.list.get_mut(key as usize) {
            *place = Some(thing);
        }
    }

    /// Moves a thing to another name.
    pub(super) fn rename(&mut self, key: u32, old: &str, new: &str) {
        self.names.remove(old);
        self.names.insert(new.into(), key);
    }

    /// A thing by its number.
    #[must_use]
    pub(super) fn get(&self, key: u32) -> Option<&T> {
        self.list.get(key as usize)?.as_deref()
    }

    /// A thing by its number, to change.
    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.list.get_mut(key as usize)?.as_deref_mut()
    }

    /// A thing's number by its exact name.
    #[must_use]
    pub(super) fn by_name(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// Finds a thing's number: full id, then full name, then a prefix of one id.
    ///
    /// # Errors
    /// See [`Missing`].
    pub(super) fn find(&self, text: &str) -> Result<u32, Missing> {
        let whole = text.len() == self.id_len;
        let by_id = whole.then(|| self.ids.get(text)).flatten();
        if let Some(key) = by_id.or_else(|| self.names.get(text)) {
            return Ok(*key);
        }
        if text.is_empty() {
            return Err(Missing::None);
        }
        let mut fitting = self
            .ids
            .range::<str, _>((Bound::Included(text), Bound::Unbounded))
            .take_while(|(id, _)| id.starts_with(text));
        let Some((_, first)) = fitting.next() else {
            return Err(Missing::None);
        };
        match fitting.count() {
            0 => Ok(*first),
            more => Err(Missing::Ambiguous(more + 1)),
        }
    }

    /// All, in the order in which they were made.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let numbered = (0..).zip(&self.list);
        numbered.filter_map(|(key, thing)| Some((key, thing.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(Arc<str>, &'static str);

    impl Entry for Thing {
        fn id(&self) -> &Arc<str> {
            &self.0
        }
        fn name(&self) -> &str {
            self.1
        }
    }

    #[test]
    fn id_before_name_before_prefix_case_71() {
        let mut table = Table::default();
        let a = table.insert(Thing("aa11".into(), "web"));
        let b = table.insert(Thing("aa22".into(), "aa11"));
        let c = table.insert(Thing("bb33".into(), "aa2"));
        assert_eq!(
            table.find("aa11"),
            Ok(a),
            "the id, not the thing of that name"
        );
        assert_eq!(table.find("aa2"), Ok(c), "the name, not the prefix");
        assert_eq!(table.find("aa22"), Ok(b));
        assert_eq!(table.find("bb"), Ok(c));
        assert_eq!(table.find("aa"), Err(Missing::Ambiguous(2)));
        assert_eq!(table.find(""), Err(Missing::None));
        table.remove(b);
        assert_eq!(table.find("aa"), Ok(a));
        assert_eq!(table.find("zz"), Err(Missing::None));
    }
}
