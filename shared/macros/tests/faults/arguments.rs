//! What may be an argument.

use ganger_macros::object;

struct Shop;

#[object(typeid = "shop/1")]
impl Shop {
    pub fn find(&self, item: &str) -> bool {
        item.is_empty()
    }

    pub fn put(&mut self, items: &[(String, u32)], first: &u32) {
        let _ = (items, first);
    }

    pub fn pair(&mut self, (item, count): (String, u32), _: u32) {
        let _ = (item, count);
    }

    pub fn any(&mut self, item: impl Into<String>, rest: Option<&'static str>) {
        let _ = (item.into(), rest);
    }
}

fn main() {}
