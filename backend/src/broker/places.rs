//! A fixed number of places, of which one holder may take only a few: for connections by address
//! and calls by sandbox, so that a hostile sandbox cannot keep the others out.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex},
};

pub struct Places<K> {
    /// How many one holder may have.
    each: usize,
    /// How many there are.
    all: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// One place; free again when dropped.
pub struct Place<K: Copy + Eq + Hash> {
    holder: K,
    places: Arc<Places<K>>,
}

impl<K: Copy + Eq + Hash> Places<K> {
    pub fn new(each: usize, all: usize) -> Arc<Self> {
        Arc::new(Self {
            each,
            all,
            taken: Mutex::default(),
        })
    }

    /// A place, or `None` when this holder has too many or there are none left.
    pub fn take(self: &Arc<Self>, holder: K) -> Option<Place<K>> {
        let mut taken = self.taken.lock().expect("no holder of the count can panic");
        let in_all: usize = taken.values().sum();
        let own = taken.get(&holder).copied().unwrap_or(0);
        if own >= self.each || in_all >= self.all {
            return None;
        }
        taken.insert(holder, own + 1);
        Some(Place {
            holder,
            places: self.clone(),
        })
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self
            .places
            .taken
            .lock()
            .expect("no holder of the count can panic");
        match taken.get_mut(&self.holder) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_has_a_few_and_all_have_a_limit_and_what_is_dropped_is_free() {
        let places = Places::new(2, 3);
        let first = places.take("a").unwrap();
        let _second = places.take("a").unwrap();
        assert!(places.take("a").is_none());
        let _third = places.take("b").unwrap();
        assert!(places.take("c").is_none());
        drop(first);
        let _fourth = places.take("c").unwrap();
        assert!(places.take("a").is_none());
    }
}
