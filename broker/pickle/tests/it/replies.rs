//! Answers of each kind, and proxies both ways, as every Python that is found reads them.

use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use ganger_pickle::write::{self, Exception, Item, Reply};
use ganger_pickle::{Address, Limits, Proxy, Request, Token, Values};
use ganger_shared::{ObjectId, Value};

use crate::python::{Python, pythons, receive, send};

/// The proxy that `replies.py` sends.
fn proxy() -> Proxy {
    let address = Address::Tcp { host: "localhost".into(), port: 5000 };
    Proxy {
        module: "multiprocessing.managers".into(),
        class: "AutoProxy".into(),
        token: Token { typeid: "list".into(), address, ident: "7f1".into() },
        exposed: Some(vec!["append".into(), "pop".into()]),
        authkey: None,
    }
}

fn answer(python: &mut Python, request: Bytes) {
    let limits = Limits::default();
    let request = Request::read(request, &limits).unwrap();
    let mut values = Values::new(&request.graph, &limits);
    let named = values.value(request.arguments[0], &mut |found| {
        assert_eq!(*found, proxy());
        Some(ObjectId(7).into())
    });
    let named = named.unwrap();
    assert_eq!(named, Value::List(vec![ObjectId(7).into(), 1.into()]));
    assert_eq!(values.tokens(request.arguments[1]), Ok(vec![proxy().token]));
    let kept = values.value(request.arguments[1], &mut |_| None).unwrap();

    let token = proxy().token;
    let exposed = ["append", "pop"];
    let text = [Value::from("pop from empty list")];
    let key = [Value::Tuple(vec!["a".into(), 1.into()])];
    let items = [Value::from(1), "a".into(), Value::None];
    let numbers = [1_i32, -2].map(i32::to_ne_bytes).concat();
    let replies = [
        Reply::Return(Item::Value(&named)),
        Reply::Return(Item::Value(&kept)),
        Reply::Error { exception: Exception::IndexError, arguments: &text },
        Reply::Error { exception: Exception::Empty, arguments: &[] },
        Reply::Error { exception: Exception::KeyError, arguments: &key },
        Reply::Proxy { exposed: &exposed, token: &token },
        Reply::Traceback("Traceback: nö"),
        Reply::Unserializable("it"),
        Reply::Return(Item::Tuple(vec![Item::Text("7f1"), Item::Names(&exposed)])),
        Reply::Return(Item::Iter(&items)),
        Reply::Return(Item::List(&items)),
        Reply::Return(Item::Array { typecode: 'i', bytes: &numbers }),
    ];
    let with_key = |_| Some(Proxy { authkey: Some(Bytes::from_static(b"key")), ..proxy() });
    for reply in &replies {
        send(&mut python.to, &write::reply(reply, &limits, &with_key).unwrap());
    }
    python.to.flush().unwrap();
}

#[test]
fn python_makes_of_each_answer_what_it_should() {
    for path in pythons() {
        let mut python = Python::start(Path::new(&path), "replies.py", &[]);
        loop {
            let request = receive(&mut python.from);
            if request.is_empty() {
                break;
            }
            answer(&mut python, request);
        }
        python.finish();
    }
}
