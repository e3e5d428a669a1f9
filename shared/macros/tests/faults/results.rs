//! What may be a result.

use ganger_macros::object;

struct Shop;

#[object(typeid = "shop/1")]
impl Shop {
    pub fn name(&self) -> &str {
        "shop"
    }

    pub fn open(&mut self) -> std::io::Result<u32> {
        Ok(1)
    }

    pub fn each(&self) -> impl Iterator<Item = u32> {
        0..1
    }
}

fn main() {}
