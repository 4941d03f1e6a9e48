//! The connections that an attachment holds, by the key under which their sockets are owned.

use crate::means::Share;
use crate::places::Places;
use crate::runtime::Cx;
use crate::splice::{Course, Splice};

/// Something with descriptors and lab sockets that is given up as a whole.
pub(crate) trait Connection {
    /// Gives up what it owns and watches.
    fn close(self, cx: &mut Cx<'_>);
}

impl Connection for Splice {
    fn close(self, cx: &mut Cx<'_>) {
        Self::close(self, cx);
    }
}

/// The connections. A key is free again as soon as its connection is gone.
#[derive(Debug)]
pub(crate) struct Held<T> {
    /// The key of the first.
    first: u64,
    places: Places<(T, Share)>,
}

impl<T: Connection> Held<T> {
    /// Nobody yet; keys begin with `first`.
    pub(crate) fn from(first: u64) -> Self {
        Self {
            first,
            places: Places::default(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The key that the next one gets.
    pub(crate) fn next(&self) -> u64 {
        self.first + u64::from(self.places.next())
    }

    pub(crate) fn insert(&mut self, connection: T, share: Share) {
        self.places.insert((connection, share));
    }

    fn number(&self, key: u64) -> Option<u32> {
        u32::try_from(key.checked_sub(self.first)?).ok()
    }

    pub(crate) fn at(&mut self, key: u64) -> Option<&mut T> {
        let number = self.number(key)?;
        self.places.at(number).map(|(connection, _)| connection)
    }

    /// Lets a connection go on, and closes it if it is over; true if that was so.
    pub(crate) fn step(
        &mut self,
        cx: &mut Cx<'_>,
        key: u64,
        act: impl FnOnce(&mut T, &mut Cx<'_>) -> Course,
    ) -> bool {
        let Some(connection) = self.at(key) else {
            return false;
        };
        act(connection, cx) == Course::Over && self.close(cx, key)
    }

    /// Closes a connection, if it is there.
    pub(crate) fn close(&mut self, cx: &mut Cx<'_>, key: u64) -> bool {
        let number = self.number(key);
        let Some((connection, share)) = number.and_then(|number| self.places.remove(number)) else {
            return false;
        };
        connection.close(cx);
        drop(share);
        true
    }
}
