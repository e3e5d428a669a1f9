//! Options and marks that there are not.

use ganger_macros::object;

struct Shop;

#[object(typeid = "shop/1", version = 2)]
impl Shop {
    #[cost(1)]
    pub fn len(&self) -> usize {
        0
    }
}

struct Depot;

#[object("depot/1")]
impl Depot {
    pub fn len(&self) -> usize {
        0
    }
}

struct Barn;

#[object(typeid = 1, typeid = "barn/1")]
impl Barn {
    #[make]
    pub fn len(&self) -> usize {
        0
    }

    #[cost("O(1)")]
    fn helper(&self) {}
}

fn main() {}
