//! What the attribute goes on.

use ganger_macros::object;

struct Shop;

#[object(typeid = "shop/1")]
impl Clone for Shop {
    fn clone(&self) -> Self {
        Self
    }
}

#[object(typeid = "depot/1")]
struct Depot;

trait Stock {}

#[object(typeid = "stock/1")]
impl dyn Stock {
    pub fn len(&self) -> usize {
        0
    }
}

#[object(typeid = "depot/1")]
impl Depot {
    /// Not public.
    fn len(&self) -> usize {
        0
    }
}

fn main() {}
