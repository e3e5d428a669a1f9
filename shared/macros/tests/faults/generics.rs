//! Calls come as bytes: nothing is generic.

use ganger_macros::object;

struct Shop;

#[object(typeid = "shop/1")]
impl Shop {
    pub fn put<T: Into<String>>(&mut self, item: T) {
        let _ = item.into();
    }

    pub fn size<const N: usize>(&self) -> usize {
        N
    }
}

struct Depot<T> {
    first: T,
}

#[object(typeid = "depot/1")]
impl<T> Depot<T> {
    pub fn len(&self) -> usize {
        0
    }
}

fn main() {}
