//! How a method may take its object.

use ganger_macros::object;

struct Shop;

#[object(typeid = "shop/1")]
impl Shop {
    pub fn close(self) {}

    pub fn lend(self: Box<Self>) {}

    pub async fn wait(&mut self) {}

    pub unsafe fn trust(&mut self) {}

    pub fn len(&self) -> usize {
        0
    }
}

fn main() {}
