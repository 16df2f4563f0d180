//! Numbered places for things that come and go. Owns the numbers: the lowest free one is taken first, so that what
//! was needed at a peak can be given back; never hands one number to two.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Room for this many is not worth giving back.
const SMALL: usize = 64;

/// The places.
#[derive(Debug)]
pub(super) struct Slots<T> {
    /// Boxed, so that an empty place costs a word and growing moves words.
    places: Vec<Option<Box<T>>>,
    /// Empty places, and numbers beyond the last place that were empty when it was cut off.
    free: BinaryHeap<Reverse<u32>>,
    len: usize,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: BinaryHeap::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many places there are, empty ones included.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Room that is kept, for places and for numbers.
    pub(super) fn capacity(&self) -> usize {
        self.places.capacity() + self.free.capacity()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        self.places.get(slot as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.places.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Puts `thing` into the lowest empty place.
    pub(super) fn insert(&mut self, thing: T) -> u32 {
        self.len += 1;
        let thing = Some(Box::new(thing));
        if let Some(Reverse(slot)) = self.free.pop()
            && let Some(place) = self.places.get_mut(slot as usize)
        {
            *place = thing;
            return slot;
        }
        // The lowest number lies beyond the last place, hence all do: they must not be taken again later.
        self.free.clear();
        self.places.push(thing);
        (self.places.len() - 1) as u32
    }

    /// Empties a place.
    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let thing = self.places.get_mut(slot as usize)?.take()?;
        self.len -= 1;
        if self.len == 0 {
            *self = Self::new();
            return Some(*thing);
        }
        self.free.push(Reverse(slot));
        while self.places.last().is_some_and(Option::is_none) {
            self.places.pop();
        }
        if self.places.capacity() > SMALL && self.places.len() < self.places.capacity() / 4 {
            self.places.shrink_to(self.places.len() * 2);
            self.free.retain(|Reverse(slot)| (*slot as usize) < self.places.len());
            self.free.shrink_to(self.places.len() * 2);
        }
        Some(*thing)
    }
}

#[cfg(test)]
mod tests;
