//! Numbered places for connections: a number is free again as soon as its connection is gone.

/// Connections by number.
#[derive(Debug)]
pub(crate) struct Places<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Places<T> {
    /// How many are taken.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// The number that the next one gets.
    pub(crate) fn next(&self) -> u32 {
        self.free
            .last()
            .copied()
            .unwrap_or(self.places.len() as u32)
    }

    pub(crate) fn insert(&mut self, item: T) -> u32 {
        let number = self.next();
        match self.free.pop() {
            Some(place) => self.places[place as usize] = Some(item),
            None => self.places.push(Some(item)),
        }
        number
    }

    pub(crate) fn at(&mut self, number: u32) -> Option<&mut T> {
        self.places.get_mut(number as usize)?.as_mut()
    }

    /// All of them, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let numbered = (0..).zip(&self.places);
        numbered.filter_map(|(number, place)| Some((number, place.as_ref()?)))
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let item = self.places.get_mut(number as usize)?.take()?;
        self.free.push(number);
        // The last one gives the memory back that a storm took.
        if self.len() == 0 {
            *self = Self::default();
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again() {
        let mut places = Places::default();
        assert_eq!((places.insert('a'), places.insert('b')), (0, 1));
        assert_eq!(places.remove(0), Some('a'));
        assert_eq!(places.remove(0), None);
        assert_eq!((places.len(), places.next()), (1, 0));
        assert_eq!(places.insert('c'), 0);
        assert_eq!(places.at(0), Some(&mut 'c'));
        assert_eq!(places.at(7), None);
        assert_eq!(Vec::from_iter(places.iter()), [(0, &'c'), (1, &'b')]);
        assert_eq!((places.remove(0), places.remove(1)), (Some('c'), Some('b')));
        assert_eq!((places.len(), places.next()), (0, 0));
    }
}
