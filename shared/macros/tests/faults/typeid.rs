//! A typeid is there once, a name and a version.

use ganger_macros::object;

struct Shop;

#[object]
impl Shop {
    pub fn len(&self) -> usize {
        0
    }
}

struct Depot;

#[object(typeid = "depot")]
impl Depot {
    pub fn len(&self) -> usize {
        0
    }
}

struct Barn;

#[object(typeid = "barn/v1")]
impl Barn {
    pub fn len(&self) -> usize {
        0
    }
}

struct Shed;

#[object(typeid = "garden shed/1")]
impl Shed {
    pub fn len(&self) -> usize {
        0
    }
}

fn main() {}
