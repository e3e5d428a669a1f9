//! Messages as Pythons send them, byte by byte: `shared/python` has where they were captured.

use bytes::Bytes;
use ganger_pickle::write::{self, Exception, Item, Reply};
use ganger_pickle::{Address, Known, Limits, Node, PickleError, Proxy, Request, Token, Values};
use ganger_shared::{ObjectId, Value};

fn request(message: &'static [u8]) -> Request {
    Request::read(Bytes::from_static(message), &Limits::default()).unwrap()
}

fn arguments(request: &Request) -> Vec<Value> {
    let limits = Limits::default();
    let mut values = Values::new(&request.graph, &limits);
    let value = |id: &_| values.value(*id, &mut |_| None).unwrap();
    request.arguments.iter().map(value).collect()
}

fn reply(reply: &Reply<'_>) -> Vec<u8> {
    write::reply(reply, &Limits::default(), &|_| None).unwrap()
}

fn token() -> Token {
    Token {
        typeid: "list".into(),
        address: Address::Tcp { host: "localhost".into(), port: 5000 },
        ident: "7f1".into(),
    }
}

#[test]
fn connect_is_a_request_for_nobody() {
    let connect = b"\x80\x04\x95\x10\0\0\0\0\0\0\0(N\x8c\x05dummy\x94)}\x94t\x94.";
    assert_eq!(connect.len(), 27);
    let request = request(connect);
    assert_eq!((request.ident.as_deref(), request.method.as_str()), (None, "dummy"));
    assert!(request.arguments.is_empty() && request.keywords.is_empty());
    // Python writes a frame around it and remembers both: 11 bytes that nobody needs.
    assert_eq!(reply(&Reply::Return(Item::Value(&Value::None))), b"\x80\x04\x8c\x07#RETURNN\x86.");
}

#[test]
fn append_of_plain_data_is_a_plain_value() {
    let request = request(
        b"\x80\x04\x95\x3d\0\0\0\0\0\0\0(\x8c\x08ident001\x94\x8c\x06append\x94}\x94(\x8c\x01a\x94K\x01\x8c\x01b\
          \x94]\x94(G?\xf8\0\0\0\0\0\0N\x88eu\x85\x94}\x94t\x94.",
    );
    assert_eq!(request.method, "append");
    assert_eq!(arguments(&request)[0].to_json(), r#"{"a":1,"b":[1.5,null,true]}"#);
}

#[test]
fn argument_may_be_what_the_envelope_remembers() {
    let request = request(b"\x80\x04(\x8c\x03id1\x94\x8c\x06append\x94h\x01\x85\x94}\x94t\x94.");
    assert_eq!(arguments(&request), [Value::from("append")]);
}

#[test]
fn protocol_3_is_read_with_its_slots() {
    let request = request(
        b"\x80\x03(X\x03\0\0\0id1q\0X\x03\0\0\0putq\x01cbuiltins\nset\nq\x02]q\x03(K\x01K\x02e\x85q\x04Rq\x05\x85q\x06}\
          q\x07X\x07\0\0\0timeoutq\x08G@\x04\0\0\0\0\0\0stq\x09.",
    );
    assert_eq!(arguments(&request), [Value::Set(vec![1.into(), 2.into()])]);
    let [(name, timeout)] = &request.keywords[..] else { panic!("there is one") };
    assert_eq!(name, "timeout");
    assert!(matches!(request.graph.node(*timeout), Node::Float(2.5)));
}

#[test]
fn slices_ranges_and_complex_numbers_are_recognised() {
    let limits = Limits::default();
    let known = |call: &[u8]| {
        let message = [b"\x80\x04\x8c\x08builtins", call, b"R."].concat();
        let graph = ganger_pickle::read(message.into(), &limits).unwrap();
        let known = graph.known(graph.root());
        (known, graph)
    };
    let (slice, graph) = known(b"\x8c\x05slice\x93K\x01NN\x87");
    let Some(Known::Slice { start, stop, .. }) = slice else { panic!("{slice:?}") };
    assert!(matches!(graph.node(start), Node::Int(one) if one.as_i64() == Some(1)));
    assert!(matches!(graph.node(stop), Node::None));
    let (range, _) = known(b"\x8c\x05range\x93K\x05J\xff\xff\xff\xffJ\xfd\xff\xff\xff\x87");
    let numbers: Vec<i64> = range.unwrap().numbers().unwrap().collect();
    assert_eq!(numbers, [5, 2]);
    let (complex, _) = known(b"\x8c\x07complex\x93G?\xf8\0\0\0\0\0\0G\0\0\0\0\0\0\0\0\x86");
    assert_eq!(complex, Some(Known::Complex { real: 1.5, imaginary: 0.0 }));
    assert_eq!(known(b"\x8c\x04eval\x93\x8c\x01a\x85").0, None);
}

#[test]
fn items_of_whatever_can_be_looped_over_are_taken_one_at_a_time() {
    let limits = Limits::default();
    let items = |code: &[u8]| {
        let message = [b"\x80\x04", code, b"."].concat();
        let graph = ganger_pickle::read(message.into(), &limits).unwrap();
        let mut values = Values::new(&graph, &limits);
        let items = values.items(graph.root())?;
        Some(items.iter().map(|id| values.value(*id, &mut |_| None).unwrap()).collect::<Vec<_>>())
    };
    let numbers = Some(vec![Value::from(1), Value::from(2)]);
    assert_eq!(items(b"](K\x01K\x02e"), numbers);
    assert_eq!(items(b"K\x01K\x02\x86"), numbers);
    assert_eq!(items(b"\x8f(K\x01K\x02\x90"), numbers);
    assert_eq!(items(b"(K\x01K\x02\x91"), numbers);
    assert_eq!(items(b"}(K\x01NK\x02Nu"), numbers);
    assert_eq!(items(b"K\x01"), None);
}

#[test]
fn proxy_in_a_value_is_known_and_becomes_what_the_caller_says() {
    let proxy = Proxy {
        module: "multiprocessing.managers".into(),
        class: "AutoProxy".into(),
        token: token(),
        exposed: Some(vec!["append".into(), "pop".into()]),
        authkey: None,
    };
    // Written as an answer and read as if it had come with a request.
    let limits = Limits::default();
    let value = Value::List(vec![ObjectId(7).into(), 1.into()]);
    let written = write::reply(&Reply::Return(Item::Value(&value)), &limits, &|id| {
        (id == ObjectId(7)).then(|| proxy.clone())
    });
    let graph = ganger_pickle::read(written.unwrap().into(), &limits).unwrap();
    let Node::Tuple(parts) = graph.node(graph.root()) else { panic!("an answer is a pair") };
    let mut values = Values::new(&graph, &limits);
    let back = values.value(parts[1], &mut |found| {
        assert_eq!(*found, proxy);
        Some(ObjectId(7).into())
    });
    assert_eq!(back, Ok(value.clone()));
    assert_eq!(values.tokens(parts[1]), Ok(vec![token()]));
    // Whoever does not know it keeps it as it is.
    let opaque = values.value(parts[1], &mut |_| None).unwrap();
    assert_eq!(opaque.kind(), "opaque");
    assert_eq!(
        write::reply(&Reply::Return(Item::Value(&value)), &limits, &|_| None),
        Err(PickleError::NoProxy { id: 7 })
    );
}

#[test]
fn answers_of_each_kind_are_written_as_python_reads_them() {
    let text = [Value::from("pop from empty list")];
    assert_eq!(
        reply(&Reply::Error { exception: Exception::IndexError, arguments: &text }),
        b"\x80\x04\x8c\x06#ERROR\x8c\x08builtins\x8c\x0aIndexError\x93(\x8c\x13pop from empty listtR\x86."
    );
    assert_eq!(
        reply(&Reply::Error { exception: Exception::Empty, arguments: &[] }),
        b"\x80\x04\x8c\x06#ERROR\x8c\x05queue\x8c\x05Empty\x93(tR\x86."
    );
    assert_eq!(reply(&Reply::Traceback("no")), b"\x80\x04\x8c\x0a#TRACEBACK\x8c\x02no\x86.");
    assert_eq!(
        reply(&Reply::Return(Item::Tuple(vec![Item::Text("7f1"), Item::Names(&["a", "b"])]))),
        b"\x80\x04\x8c\x07#RETURN(\x8c\x037f1(\x8c\x01a\x8c\x01btt\x86."
    );
}

#[test]
fn fragment_of_another_format_is_not_answered() {
    let value = Value::Opaque { format: "bincode".into(), bytes: Bytes::new() };
    let answer = write::reply(&Reply::Return(Item::Value(&value)), &Limits::default(), &|_| None);
    assert_eq!(answer, Err(PickleError::ForeignFormat { format: "bincode".into() }));
}
