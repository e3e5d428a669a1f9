//! What proxies have of their own, and the ways to make an object.

use ganger_macros::object;

struct Shop;

#[object(typeid = "shop/1")]
impl Shop {
    #[make]
    fn empty() -> Self {
        Self
    }

    #[make]
    fn full() -> Self {
        Self
    }

    pub fn object(&self) -> u8 {
        0
    }

    pub fn clone(&self) -> Self {
        Self
    }
}

struct Depot;

#[object(typeid = "depot/1")]
impl Depot {
    pub fn new(size: u32) {
        let _ = size;
    }

    pub fn len(&self) -> usize {
        0
    }
}

fn main() {}
